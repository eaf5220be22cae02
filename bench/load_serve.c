/* The practice upstream: a chat provider in the OpenAI dialect that costs its core as little as it can.

   A request whose body has "stream": true gets server-sent events, --chunks of them at --chunk-rate per second, then a
   finish chunk, a usage chunk if it has "include_usage": true, and [DONE]. The content of each chunk says its number
   and when it was due, on the monotonic clock: "@000123:0000123456789012 word ". Any other request gets a chat.completion
   after --delay-ms. GET /count tells what has been served. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CARRY 64
#define MODEL "gpt-4o-mini-2024-07-18"

enum turn { READING, WAITING, STREAMING };
struct client {
    int fd;
    enum turn turn;
    bool wants_stream, wants_usage, closing;
    uint32_t events;
    long sequence;
    int64_t due;
    size_t place; /* in the queue of what is due, counted from 1; 0: not in it */
    size_t tail_size;
    char tail[CARRY];
    char *out;
    size_t out_size, out_sent, out_room;
    struct message message;
};

static struct {
    long long requests, streams, streams_done, usages, chunks, body_bytes, connections, open_connections, open_streams;
} total;
static int poller, listener;
static long chunks;
static double chunk_rate, delay_ms;
static long prompt_tokens, completion_tokens;
static char *read_space;
static size_t read_room;

/* What is due, as a heap: the next at queue[1]. */
static struct client **queue;
static size_t queued, queue_room;

static void put(struct client *client, size_t place)
{
    queue[place] = client;
    client->place = place;
}

static void settle(size_t place)
{
    struct client *client = queue[place];
    for (; place > 1 && queue[place / 2]->due > client->due; place /= 2)
        put(queue[place / 2], place);
    for (size_t child; (child = place * 2) <= queued; place = child) {
        if (child < queued && queue[child + 1]->due < queue[child]->due)
            child++;
        if (queue[child]->due >= client->due)
            break;
        put(queue[child], place);
    }
    put(client, place);
}

static void schedule(struct client *client, int64_t due)
{
    client->due = due;
    if (!client->place) {
        if (queued + 1 >= queue_room)
            queue = realloc(queue, (queue_room = queue_room * 2 + 1024) * sizeof *queue);
        put(client, ++queued);
    }
    settle(client->place);
}

static void unschedule(struct client *client)
{
    size_t place = client->place;
    if (!place)
        return;
    client->place = 0;
    struct client *last = queue[queued--];
    if (last != client) {
        put(last, place);
        settle(place);
    }
}

static void leave(struct client *client)
{
    if (client->turn == STREAMING)
        total.open_streams--;
    total.open_connections--;
    unschedule(client);
    close(client->fd);
    free(client->out);
    free(client);
}

static void listen_for(struct client *client, uint32_t events)
{
    if (client->events != events)
        watch(poller, EPOLL_CTL_MOD, client->fd, client->events = events, client);
}

/* False when the client is gone, and with it `client`. */
static bool flush(struct client *client)
{
    while (client->out_sent < client->out_size) {
        ssize_t n = send(client->fd, client->out + client->out_sent, client->out_size - client->out_sent, 0);
        if (n < 0 && errno == EAGAIN) {
            listen_for(client, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
            return true;
        }
        if (n < 0) {
            leave(client);
            return false;
        }
        client->out_sent += (size_t)n;
    }
    client->out_size = client->out_sent = 0;
    listen_for(client, EPOLLIN | EPOLLRDHUP);
    if (!client->closing)
        return true;
    leave(client);
    return false;
}

static void say(struct client *client, const char *data, size_t size)
{
    if (client->out_size + size > client->out_room)
        client->out = realloc(client->out, client->out_room = (client->out_size + size) * 2);
    memcpy(client->out + client->out_size, data, size);
    client->out_size += size;
}

static void say_chunk(struct client *client, const char *data, size_t size)
{
    char line[16];
    bool framed = client->message.minor > 0;
    if (framed)
        say(client, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", size));
    say(client, data, size);
    if (framed)
        say(client, "\r\n", 2);
}

static bool ended(struct client *client)
{
    client->closing = client->message.close;
    client->turn = READING;
    message_begin(&client->message, true);
    client->tail_size = 0;
    client->wants_stream = client->wants_usage = false;
    return flush(client);
}

static bool say_json(struct client *client, const char *body, size_t size)
{
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\nx-request-id: req_%032llx\r\n"
                     "openai-processing-ms: 1\r\n\r\n",
                     size, total.requests);
    say(client, head, (size_t)n);
    say(client, body, size);
    return ended(client);
}

static bool completion(struct client *client)
{
    char body[1024];
    int n = snprintf(body, sizeof body,
                     "{\"id\":\"chatcmpl-%024llx\",\"object\":\"chat.completion\",\"created\":1732320000,\"model\":\"" MODEL "\","
                     "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The quick brown fox jumps over the lazy "
                     "dog and runs away.\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                     "\"usage\":{\"prompt_tokens\":%ld,\"completion_tokens\":%ld,\"total_tokens\":%ld,"
                     "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
                     "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}},"
                     "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\"}\n",
                     total.requests, prompt_tokens, completion_tokens, prompt_tokens + completion_tokens);
    return say_json(client, body, (size_t)n);
}

static bool count(struct client *client)
{
    char body[512];
    int n = snprintf(body, sizeof body,
                     "{\"requests\": %lld, \"streams\": %lld, \"streams_done\": %lld, \"usages\": %lld, \"open_streams\": %lld, "
                     "\"chunks\": %lld, \"body_bytes\": %lld, \"connections\": %lld, \"open_connections\": %lld}\n",
                     total.requests, total.streams, total.streams_done, total.usages, total.open_streams, total.chunks,
                     total.body_bytes, total.connections, total.open_connections);
    return say_json(client, body, (size_t)n);
}

static bool stream_begins(struct client *client)
{
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n%sx-request-id: req_%032llx\r\n\r\n",
                     client->message.minor > 0 ? "transfer-encoding: chunked\r\n" : "", total.requests);
    say(client, head, (size_t)n);
    client->turn = STREAMING;
    client->sequence = 0;
    total.streams++;
    total.open_streams++;
    schedule(client, now_ns() + (int64_t)(SECOND / chunk_rate));
    return flush(client);
}

static void say_event(struct client *client, const char *choices, const char *usage)
{
    char event[768];
    int n = snprintf(event, sizeof event,
                     "data: {\"id\":\"chatcmpl-%024llx\",\"object\":\"chat.completion.chunk\",\"created\":1732320000,\"model\":\"" MODEL "\","
                     "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[%s]%s}\n\n",
                     (unsigned long long)(uintptr_t)client, choices, usage);
    say_chunk(client, event, (size_t)n);
}

static bool stream_ends(struct client *client)
{
    const char *no_usage = client->wants_usage ? ",\"usage\":null" : "";
    say_event(client, "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}", no_usage);
    if (client->wants_usage) {
        char usage[128];
        snprintf(usage, sizeof usage, ",\"usage\":{\"prompt_tokens\":%ld,\"completion_tokens\":%ld,\"total_tokens\":%ld}", prompt_tokens,
                 chunks, prompt_tokens + chunks);
        say_event(client, "", usage);
    }
    say_chunk(client, "data: [DONE]\n\n", 14);
    if (client->message.minor > 0)
        say(client, "0\r\n\r\n", 5);
    unschedule(client);
    total.open_streams--;
    total.streams_done++;
    total.usages += client->wants_usage;
    return ended(client);
}

static void next_due(struct client *client)
{
    if (client->turn == WAITING) {
        unschedule(client);
        completion(client);
        return;
    }
    if (client->sequence == chunks) {
        stream_ends(client);
        return;
    }
    char choice[192];
    snprintf(choice, sizeof choice, "{\"index\":0,\"delta\":{%s\"content\":\"@%06ld:%016lld word \"},\"logprobs\":null,\"finish_reason\":null}",
             client->sequence ? "" : "\"role\":\"assistant\",", client->sequence, (long long)client->due);
    client->sequence++;
    total.chunks++;
    say_event(client, choice, client->wants_usage ? ",\"usage\":null" : "");
    schedule(client, client->due + (int64_t)(SECOND / chunk_rate));
    flush(client);
}

/* Whether `key`: true stands in a piece of JSON. */
static bool says_true(const char *text, size_t size, const char *key)
{
    const char *end = text + size, *at = text;
    size_t n = strlen(key);
    while ((at = memmem(at, (size_t)(end - at), key, n))) {
        at += n;
        const char *value = at;
        while (value < end && (*value == ' ' || *value == ':'))
            value++;
        if (end - value >= 4 && memcmp(value, "true", 4) == 0)
            return true;
    }
    return false;
}

static void look(struct client *client, const char *text, size_t size)
{
    client->wants_stream = client->wants_stream || says_true(text, size, "\"stream\"");
    client->wants_usage = client->wants_usage || says_true(text, size, "\"include_usage\"");
}

/* The body is looked at as it comes, the seams with what came before included. */
static void body_sink(void *context, const char *data, size_t size)
{
    struct client *client = context;
    char seam[2 * CARRY];
    size_t n = size < CARRY ? size : CARRY;
    total.body_bytes += (long long)size;
    memcpy(seam, client->tail, client->tail_size);
    memcpy(seam + client->tail_size, data, n);
    look(client, seam, client->tail_size + n);
    if (size > CARRY)
        look(client, data, size);
    size_t all = client->tail_size + n, keep = all < CARRY ? all : CARRY;
    if (size > CARRY)
        memcpy(client->tail, data + size - CARRY, keep = CARRY);
    else
        memcpy(client->tail, seam + all - keep, keep);
    client->tail_size = keep;
}

static void answer(struct client *client)
{
    if (client->message.get_count) {
        count(client);
        return;
    }
    if (client->message.get) {
        say_json(client, "{\"object\":\"list\",\"data\":[]}\n", 28);
        return;
    }
    total.requests++;
    if (client->wants_stream) {
        stream_begins(client);
    } else if (delay_ms > 0) {
        client->turn = WAITING;
        schedule(client, now_ns() + (int64_t)(delay_ms * 1e6));
    } else {
        completion(client);
    }
}

static void readable(struct client *client)
{
    ssize_t n = recv(client->fd, read_space, read_room, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || client->turn != READING) { /* gone, or it sends on before it has its answer */
        leave(client);
        return;
    }
    struct message *message = &client->message;
    size_t used = message_feed(message, read_space, (size_t)n, body_sink, client);
    if (message->part == MALFORMED || used < (size_t)n) {
        leave(client);
    } else if (message->part == DONE) {
        answer(client);
    } else if (message->expects && message->part != HEAD) {
        message->expects = false;
        say(client, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        flush(client);
    }
}

static void welcome(void)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = calloc(1, sizeof *client);
        no_delay(fd);
        client->fd = fd;
        client->events = EPOLLIN | EPOLLRDHUP;
        message_begin(&client->message, true);
        total.connections++;
        total.open_connections++;
        watch(poller, EPOLL_CTL_ADD, fd, client->events, client);
    }
}

static void open_listener(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&address, sizeof address) < 0 || listen(listener, 4096) < 0)
        die("the port is taken");
    getsockname(listener, (void *)&address, &size);
    watch(poller, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
}

int serve(void)
{
    struct epoll_event events[256];
    int port = (int)number("port", 0);
    chunks = (long)number("chunks", 200);
    chunk_rate = number("chunk-rate", 20);
    delay_ms = number("delay-ms", 0);
    prompt_tokens = (long)number("prompt-tokens", 20);
    completion_tokens = (long)number("completion-tokens", 20);
    options_end();
    read_space = malloc(read_room = READ_SIZE);
    poller = epoll_create1(EPOLL_CLOEXEC);
    open_listener(port);
    for (;;) {
        int n = await_events(poller, events, 256, queued ? queue[1]->due : NEVER);
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (!client)
                welcome();
            else if (events[i].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP) && !(events[i].events & EPOLLIN && client->turn == READING))
                leave(client);
            else if (!(events[i].events & EPOLLOUT) || flush(client)) {
                if (events[i].events & EPOLLIN)
                    readable(client);
            }
        }
        for (int64_t now = now_ns(); queued && queue[1]->due <= now;)
            next_due(queue[1]);
    }
}
