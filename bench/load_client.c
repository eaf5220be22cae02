/* The clients: requests at a rate, many streams at once, many idle connections; one loop for all three.

   An open loop (--rps N) starts request i at i/N seconds, and counts its time from that moment even if no connection was
   free then, so that a server that stands still is charged for all who would have come. A closed loop (--rps 0) starts
   the next request on each connection when the last has been answered. Times are those of 2xx answers; everything else
   is counted in `statuses` and `errors`. What was due during --warmup is not counted at all. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LATE (50 * SECOND / 1000)
#define REST (100 * SECOND / 1000)
#define LOOK_ROUND (50 * SECOND / 1000)

enum kind { RATE, STREAMS, IDLE };
enum turn { FREE, CONNECTING, SENDING, AWAITING, RESTING };
struct call {
    int fd;
    enum turn turn;
    bool counted, done, usage;
    const struct buffer *head;
    size_t sent;
    int64_t due, deadline;
    long sequence, in_this_read;
    size_t line_size;
    char line[1536];
    struct message message;
};

static enum kind kind;
static struct sockaddr_in to;
static struct buffer *heads, body;
static size_t heads_n, next_head;
static struct call *calls, **free_calls; /* free_calls: a ring, the longest free first */
static size_t calls_n, free_first, free_n;
static double rps;
static int64_t begin, measured, end, timeout, ramp;
static int64_t started; /* requests, or first streams: the place in the schedule */
static int poller;
static char *read_space;

static struct {
    long long sent, ok, statuses[600], connects, refused, closed, timeouts, malformed, unsent;
    long long chunks, merged, late, late_or_merged, finished, usages, gaps;
    int64_t last;
    struct histogram us;
} total;

static long long errors(void)
{
    return total.refused + total.closed + total.timeouts + total.malformed + total.unsent;
}

static void release(struct call *call)
{
    call->turn = FREE;
    free_calls[(free_first + free_n++) % calls_n] = call;
}

static void hang_up(struct call *call)
{
    if (call->fd >= 0)
        close(call->fd);
    call->fd = -1;
}

/* A call that failed rests, so that a server that is away is not asked without pause. */
static void fail(struct call *call, long long *why)
{
    if (call->counted)
        ++*why;
    hang_up(call);
    call->turn = RESTING;
    call->deadline = now_ns() + REST;
}

static void send_on(struct call *call)
{
    size_t head = call->head->size, all = head + body.size;
    call->turn = SENDING;
    while (call->sent < all) {
        size_t in_body = call->sent > head ? call->sent - head : 0;
        struct iovec parts[2] = {{call->head->data + call->sent, head - call->sent}, {body.data + in_body, body.size - in_body}};
        bool past_head = call->sent >= head;
        ssize_t n = writev(call->fd, parts + past_head, 2 - past_head);
        if (n < 0 && errno == EAGAIN) {
            watch(poller, EPOLL_CTL_MOD, call->fd, EPOLLIN | EPOLLOUT, call);
            return;
        }
        if (n < 0) {
            fail(call, &total.closed);
            return;
        }
        call->sent += (size_t)n;
    }
    call->turn = AWAITING;
}

static void dial(struct call *call)
{
    call->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (call->fd < 0)
        die("no more sockets");
    no_delay(call->fd);
    total.connects++;
    if (connect(call->fd, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        fail(call, &total.refused);
        return;
    }
    call->turn = CONNECTING;
    watch(poller, EPOLL_CTL_ADD, call->fd, EPOLLIN | EPOLLOUT, call);
}

static void start(int64_t due)
{
    struct call *call = free_calls[free_first];
    free_first = (free_first + 1) % calls_n;
    free_n--;
    call->due = due;
    call->counted = kind != RATE || due >= measured; /* of streams, only the chunks of the ramp are left out */
    total.sent += call->counted;
    call->deadline = now_ns() + timeout;
    call->head = &heads[next_head++ % heads_n];
    call->sent = 0;
    call->done = call->usage = false;
    call->sequence = 0;
    call->line_size = 0;
    message_begin(&call->message, false);
    if (call->fd < 0)
        dial(call);
    else
        send_on(call);
}

/* "@000123:0000123456789012 ": the number of a chunk, and when it was due. */
static bool stamp(const char *line, size_t size, long *sequence, int64_t *due)
{
    for (const char *at = line; (at = memchr(at, '@', (size_t)(line + size - at))); at++) {
        char *after;
        if (line + size - at < 24 || at[7] != ':')
            continue;
        *sequence = strtol(at + 1, &after, 10);
        if (after != at + 7)
            continue;
        *due = strtoll(at + 8, &after, 10);
        if (*after == ' ')
            return true;
    }
    return false;
}

static void stream_line(struct call *call, const char *line, size_t size, int64_t now)
{
    long sequence;
    int64_t due;
    if (size < 6 || memcmp(line, "data:", 5) != 0)
        return;
    if (stamp(line, size, &sequence, &due)) {
        if (sequence != call->sequence)
            total.gaps += call->counted;
        call->sequence = sequence + 1;
        bool merged = call->in_this_read++ > 0;
        if (now < measured || now >= end)
            return;
        total.chunks++;
        total.merged += merged;
        total.late += now - due > LATE;
        total.late_or_merged += merged || now - due > LATE;
        record_us(&total.us, (now - due) / 1000);
    } else if (memmem(line, size, "[DONE]", 6)) {
        call->done = true;
    } else if (memmem(line, size, "\"total_tokens\"", 14)) {
        call->usage = true;
    }
}

static int64_t read_at;

/* A stream's lines, put together over reads. `line` has room for a terminating zero. */
static void stream_sink(void *context, const char *data, size_t size)
{
    struct call *call = context;
    while (size > 0) {
        const char *newline = memchr(data, '\n', size);
        size_t n = newline ? (size_t)(newline - data) : size;
        size_t room = sizeof call->line - 1 - call->line_size, kept = n < room ? n : room;
        memcpy(call->line + call->line_size, data, kept);
        call->line_size += kept;
        if (!newline)
            return;
        call->line[call->line_size] = 0;
        stream_line(call, call->line, call->line_size, read_at);
        call->line_size = 0;
        data += n + 1;
        size -= n + 1;
    }
}

static void ignore_sink(void *context, const char *data, size_t size)
{
    (void)context, (void)data, (void)size;
}

static void answered(struct call *call)
{
    int status = call->message.status;
    bool ok = status >= 200 && status < 300;
    if (kind == STREAMS && ok && !call->done) {
        fail(call, &total.closed);
        return;
    }
    if (call->counted) {
        total.statuses[status]++;
        total.ok += ok;
        total.last = read_at;
        total.finished += call->done;
        total.usages += call->usage;
        if (ok && kind != STREAMS)
            record_us(&total.us, (read_at - call->due) / 1000);
    }
    if (call->message.close || call->turn != AWAITING)
        hang_up(call);
    if (kind == STREAMS && !ok) {
        call->turn = RESTING;
        call->deadline = read_at + REST;
    } else {
        release(call);
    }
}

static void readable(struct call *call)
{
    ssize_t n = recv(call->fd, read_space, READ_SIZE, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    read_at = now_ns();
    if (call->turn == FREE) { /* the server closes a connection that waits, or says what nobody asked */
        hang_up(call);
        return;
    }
    if (n <= 0 && call->message.part == UNTIL_CLOSE) {
        answered(call);
        return;
    }
    if (n <= 0) {
        fail(call, &total.closed);
        return;
    }
    bool stream = kind == STREAMS;
    call->in_this_read = 0;
    size_t used = message_feed(&call->message, read_space, (size_t)n, stream ? stream_sink : ignore_sink, call);
    if (call->message.part == MALFORMED || used < (size_t)n)
        fail(call, &total.malformed);
    else if (call->message.part == DONE)
        answered(call);
    else if (stream)
        call->deadline = read_at + timeout;
}

static void happened(struct call *call, uint32_t events)
{
    if (events & EPOLLOUT && call->turn != FREE) {
        if (call->turn == CONNECTING) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) {
                fail(call, &total.refused);
                return;
            }
        }
        watch(poller, EPOLL_CTL_MOD, call->fd, EPOLLIN, call);
        send_on(call);
    }
    if (call->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        readable(call);
}

static void look_round(int64_t now)
{
    for (size_t i = 0; i < calls_n; i++) {
        struct call *call = &calls[i];
        if (call->turn == FREE || call->deadline > now)
            continue;
        if (call->turn == RESTING)
            release(call);
        else
            fail(call, call->turn == CONNECTING ? &total.refused : &total.timeouts);
    }
}

/* When the next may start, were a connection free. */
static int64_t next_due(void)
{
    if (kind == RATE && rps > 0)
        return begin + (int64_t)((double)started * 1e9 / rps);
    if (started < (int64_t)calls_n)
        return begin + ramp * started / (int64_t)calls_n;
    return kind == IDLE ? NEVER : begin;
}

static void start_what_is_due(int64_t now)
{
    for (int64_t due; free_n > 0 && (due = next_due()) <= now && due < end; started++)
        start(kind == RATE && rps > 0 ? due : now);
}

static void loop(void)
{
    struct epoll_event events[256];
    int64_t round = begin;
    for (;;) {
        int64_t now = now_ns();
        if (now < end || (kind == RATE && rps > 0))
            start_what_is_due(now);
        bool all_back = free_n == calls_n || kind != RATE;
        if (now >= end && (all_back || now >= end + timeout))
            return;
        if (now >= round) {
            look_round(now);
            round = now + LOOK_ROUND;
        }
        int64_t until = free_n > 0 && next_due() < round ? next_due() : round;
        if (now < end && end < until)
            until = end;
        int n = await_events(poller, events, 256, until);
        for (int i = 0; i < n; i++)
            happened(events[i].data.ptr, events[i].events);
    }
}

/* One head for each line of the file; a tab in a line stands for a further header. */
static void make_heads(const char *target, const char *path, const char *file)
{
    struct buffer lines = read_whole(file);
    char *line = lines.data, *last = lines.data + lines.size;
    while (line < last) {
        char *newline = memchr(line, '\n', (size_t)(last - line));
        int n = (int)((newline ? newline : last) - line);
        heads = realloc(heads, (heads_n + 1) * sizeof *heads);
        char *head = malloc((size_t)n * 2 + strlen(path) + strlen(target) + 256), *at = head;
        at += sprintf(at, "POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: %zu\r\n", path,
                      target, body.size);
        for (int i = 0; i < n; i++)
            at += line[i] == '\t' ? sprintf(at, "\r\n") : sprintf(at, "%c", line[i]);
        at += sprintf(at, n ? "\r\n\r\n" : "\r\n");
        heads[heads_n++] = (struct buffer){head, (size_t)(at - head)};
        line += n + 1;
    }
    if (!heads_n)
        die("the file of headers is empty");
}

static void prepare(enum kind which)
{
    const char *target = option("to", NULL), *colon = strrchr(target, ':');
    char host[64] = "";
    kind = which;
    if (!colon || colon - target >= (long)sizeof host)
        die("--to wants HOST:PORT");
    memcpy(host, target, (size_t)(colon - target));
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &to.sin_addr) != 1)
        die("--to wants an IPv4 address or localhost");
    body = read_whole(option("body", NULL));
    make_heads(target, option("path", NULL), option("headers", NULL));
    calls_n = (size_t)number("connections", 1);
    double seconds = number("seconds", 10), warmup = number("warmup", 0);
    rps = which == RATE ? number("rps", 0) : 0;
    ramp = which == RATE ? 0 : (int64_t)(number("ramp", 0) * SECOND);
    timeout = (int64_t)(number("timeout", 30) * SECOND);
    options_end();
    if (calls_n < 1)
        die("--connections wants one at least");

    poller = epoll_create1(EPOLL_CLOEXEC);
    read_space = malloc(READ_SIZE);
    calls = calloc(calls_n, sizeof *calls);
    free_calls = calloc(calls_n, sizeof *free_calls);
    for (size_t i = 0; i < calls_n; i++) {
        calls[i].fd = -1;
        release(&calls[i]);
    }
    begin = now_ns();
    measured = begin + ramp + (int64_t)(warmup * SECOND);
    end = measured + (int64_t)(seconds * SECOND);
}

static void print_counts(void)
{
    const char *comma = "";
    printf("\"statuses\": {");
    for (int i = 0; i < 600; i++)
        if (total.statuses[i]) {
            printf("%s\"%d\": %lld", comma, i, total.statuses[i]);
            comma = ", ";
        }
    printf("}, \"errors\": %lld, \"why\": {\"refused\": %lld, \"closed\": %lld, \"timeout\": %lld, \"malformed\": %lld, "
           "\"unsent\": %lld}, \"connects\": %lld",
           errors(), total.refused, total.closed, total.timeouts, total.malformed, total.unsent, total.connects);
}

int rate(void)
{
    prepare(RATE);
    loop();
    for (; rps > 0 && next_due() < end; started++)
        total.unsent += next_due() >= measured;
    total.sent += total.unsent;
    for (size_t i = 0; i < calls_n; i++)
        total.timeouts += calls[i].turn != FREE && calls[i].turn != RESTING && calls[i].counted;
    int64_t last = total.last > end ? total.last : end;
    printf("{\"sent\": %lld, \"ok\": %lld, ", total.sent, total.ok);
    print_counts();
    printf(", \"rps\": %.1f, \"latency_us\": ", (double)total.ok * 1e9 / (double)(last - measured));
    print_us(stdout, &total.us);
    printf("}\n");
    return 0;
}

int streams(void)
{
    prepare(STREAMS);
    loop();
    long long open = 0;
    for (size_t i = 0; i < calls_n; i++)
        open += calls[i].turn == AWAITING && calls[i].message.status == 200;
    printf("{\"streams\": %lld, \"opened\": %lld, \"finished\": %lld, \"usages\": %lld, \"broken\": %lld, \"gaps\": %lld, ", open,
           total.sent, total.finished, total.usages, errors(), total.gaps);
    print_counts();
    printf(", \"chunks\": %lld, \"merged\": %lld, \"late\": %lld, \"late_or_merged\": %lld, \"lag_us\": ", total.chunks, total.merged,
           total.late, total.late_or_merged);
    print_us(stdout, &total.us);
    printf("}\n");
    return 0;
}

int idle(void)
{
    prepare(IDLE);
    loop();
    long long open = 0;
    for (size_t i = 0; i < calls_n; i++)
        open += calls[i].turn == FREE && calls[i].fd >= 0;
    printf("{\"connections\": %lld, ", open);
    print_counts();
    printf("}\n");
    return 0;
}
