/* What the parts of the load generator share: options, clock, event loop, messages of HTTP/1.1, histograms. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>

#define SECOND 1000000000LL
#define NEVER INT64_MAX
#define READ_SIZE (256 * 1024)

/* load.c: the command line. An option that nobody asked for is an error, found by options_end(). */
_Noreturn void die(const char *what);
const char *option(const char *name, const char *otherwise);
double number(const char *name, double otherwise);
void options_end(void);

/* load_wire.c: clock and sockets. */
int64_t now_ns(void);
int await_events(int poller, struct epoll_event *events, int room, int64_t until);
void watch(int poller, int operation, int fd, uint32_t events, void *owner);
void pin(int core);
void many_files(void);
void no_delay(int fd);
struct buffer {
    char *data;
    size_t size;
};
struct buffer read_whole(const char *path);

/* load_wire.c: one request or response as it comes in. What follows its end is left to the caller. */
enum part { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, UNTIL_CLOSE, DONE, MALFORMED };
struct message {
    enum part part;
    bool request, chunked, sized, close, expects, extension, get_count, get;
    int minor, status;
    uint64_t left;
    size_t line;
    size_t head_size;
    char head[8192];
};
typedef void sink(void *context, const char *data, size_t size);
void message_begin(struct message *message, bool request);
size_t message_feed(struct message *message, const char *data, size_t size, sink *payload, void *context);

/* load_wire.c: microseconds in buckets that are at most 0.8 % wide. */
struct histogram {
    uint64_t count, max;
    uint64_t buckets[64 * 128];
};
void record_us(struct histogram *histogram, int64_t us);
void print_us(FILE *out, const struct histogram *histogram);

/* The commands. */
int serve(void);
int rate(void);
int streams(void);
int idle(void);

#endif
