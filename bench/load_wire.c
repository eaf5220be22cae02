/* What both sides need: clock, sockets, messages of HTTP/1.1, histograms. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

int await_events(int poller, struct epoll_event *events, int room, int64_t until)
{
    int64_t wait = until == NEVER ? 3600 * SECOND : until - now_ns();
    if (wait < 0)
        wait = 0;
    struct timespec limit = {.tv_sec = wait / SECOND, .tv_nsec = wait % SECOND};
    int n = epoll_pwait2(poller, events, room, &limit, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_pwait2 failed; it needs Linux 5.11");
    return n < 0 ? 0 : n;
}

void watch(int poller, int operation, int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(poller, operation, fd, &event) < 0)
        die("epoll_ctl failed");
}

void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        die("no such core");
}

void many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void no_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

struct buffer read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die("a file of headers or of the body cannot be read");
    struct buffer all = {NULL, 0};
    size_t room = 0, n;
    do {
        if (all.size == room)
            all.data = realloc(all.data, room = room ? room * 2 : 65536);
        n = fread(all.data + all.size, 1, room - all.size, file);
        all.size += n;
    } while (n > 0);
    fclose(file);
    return all;
}

void message_begin(struct message *message, bool request)
{
    memset(message, 0, offsetof(struct message, head));
    message->request = request;
}

/* The value of a header line, if the line is of that header. */
static const char *header(const char *line, const char *name)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    line += n + 1;
    return line + strspn(line, " \t");
}

static void read_head(struct message *m)
{
    m->head[m->head_size] = 0;
    if (m->request) {
        m->get = strncmp(m->head, "GET ", 4) == 0;
        m->get_count = strncmp(m->head, "GET /count ", 11) == 0;
        const char *version = strstr(m->head, " HTTP/1.");
        m->minor = version ? version[8] - '0' : -1;
    } else if (strncmp(m->head, "HTTP/1.", 7) == 0) {
        m->minor = m->head[7] - '0';
        m->status = atoi(m->head + 9);
    } else {
        m->minor = -1;
    }
    m->close = m->minor == 0;
    for (char *line = strstr(m->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        const char *value;
        if ((value = header(line + 2, "content-length"))) {
            m->left = strtoull(value, NULL, 10);
            m->sized = true;
        } else if ((value = header(line + 2, "transfer-encoding"))) {
            m->chunked = strncasecmp(value, "chunked", 7) == 0;
        } else if ((value = header(line + 2, "connection"))) {
            m->close = strncasecmp(value, "close", 5) == 0 || (m->close && strncasecmp(value, "keep-alive", 10) != 0);
        } else if (header(line + 2, "expect")) {
            m->expects = true;
        }
    }
    bool bodiless = !m->request && (m->status == 204 || m->status == 304);
    if (m->minor < 0 || (!m->request && m->status < 100) || m->status > 599)
        m->part = MALFORMED;
    else if (!m->request && m->status < 200)
        message_begin(m, false);
    else if (m->chunked && !bodiless)
        m->part = CHUNK_SIZE, m->left = 0;
    else if (bodiless || (m->sized && m->left == 0) || (m->request && !m->sized))
        m->part = DONE;
    else if (m->sized)
        m->part = LENGTH;
    else
        m->part = UNTIL_CLOSE, m->close = true;
}

/* One byte of what stands around the payload. */
static void read_framing(struct message *m, char byte)
{
    switch (m->part) {
    case HEAD:
        if (m->head_size + 1 == sizeof m->head) {
            m->part = MALFORMED;
            return;
        }
        m->head[m->head_size++] = byte;
        if (byte == '\n' && m->head_size >= 4 && memcmp(m->head + m->head_size - 4, "\r\n\r\n", 4) == 0)
            read_head(m);
        return;
    case CHUNK_SIZE:
        if (byte == '\n') {
            m->part = m->line == 0 ? MALFORMED : m->left ? CHUNK_DATA : TRAILER;
            m->line = 0;
            m->extension = false;
        } else if (byte == ';') {
            m->extension = true; /* an extension: skip to the end of the line */
        } else if (byte != '\r' && !m->extension) {
            const char *digits = "0123456789abcdef", *digit = byte ? strchr(digits, byte | (byte > '9' ? 32 : 0)) : NULL;
            if (!digit || ++m->line > 15)
                m->part = MALFORMED;
            else
                m->left = m->left * 16 + (uint64_t)(digit - digits);
        }
        return;
    case CHUNK_END:
        if (byte == '\n')
            m->part = CHUNK_SIZE;
        else if (byte != '\r')
            m->part = MALFORMED;
        return;
    case TRAILER:
        if (byte == '\n' && m->line == 0)
            m->part = DONE;
        else if (byte == '\n')
            m->line = 0;
        else if (byte != '\r')
            m->line++;
        return;
    default:
        return;
    }
}

size_t message_feed(struct message *m, const char *data, size_t size, sink *payload, void *context)
{
    size_t at = 0;
    while (at < size && m->part != DONE && m->part != MALFORMED) {
        if (m->part == UNTIL_CLOSE) {
            payload(context, data + at, size - at);
            at = size;
        } else if (m->part == LENGTH || m->part == CHUNK_DATA) {
            size_t n = size - at < m->left ? size - at : (size_t)m->left;
            payload(context, data + at, n);
            at += n;
            m->left -= n;
            if (m->left == 0)
                m->part = m->part == LENGTH ? DONE : CHUNK_END;
        } else {
            read_framing(m, data[at++]);
        }
    }
    return at;
}

void record_us(struct histogram *histogram, int64_t us)
{
    uint64_t value = us > 0 ? (uint64_t)us : 0;
    int shift = value < 256 ? 0 : 56 - __builtin_clzll(value);
    histogram->buckets[shift * 128 + (value >> shift)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

/* The least value that `share` of all do not exceed, as the top of its bucket. */
static uint64_t quantile(const struct histogram *histogram, double share)
{
    uint64_t rank = (uint64_t)(share * (double)histogram->count), seen = 0;
    for (int i = 0; i < 64 * 128; i++) {
        seen += histogram->buckets[i];
        if (seen > rank || (seen == histogram->count && seen)) {
            int shift = i < 256 ? 0 : i / 128 - 1;
            uint64_t top = (((uint64_t)(i - shift * 128) + 1) << shift) - 1;
            return top < histogram->max ? top : histogram->max;
        }
    }
    return 0;
}

void print_us(FILE *out, const struct histogram *h)
{
    static const struct {
        const char *name;
        double share;
    } marks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    fprintf(out, "{");
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        fprintf(out, "\"%s\": %llu, ", marks[i].name, (unsigned long long)quantile(h, marks[i].share));
    fprintf(out, "\"max\": %llu}", (unsigned long long)h->max);
}
