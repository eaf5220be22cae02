/* A load generator and a practice upstream for measurements of gateways: the command line.

   load serve   --port P [--chunks N] [--chunk-rate R] [--delay-ms D] [--prompt-tokens N] [--completion-tokens N]
   load rate    --to HOST:PORT --path /... --headers FILE --body FILE --rps N --connections C --seconds S [--warmup S]
   load streams --to HOST:PORT --path /... --headers FILE --body FILE --connections N --seconds S [--ramp S] [--warmup S]
   load idle    --to HOST:PORT --path /... --headers FILE --body FILE --connections N --seconds S

   and for each [--core N]; for the clients [--timeout S]. The result is JSON on standard output. serve prints
   {"port": P} once it listens (port 0: one that is free) and runs until it is ended. See load_serve.c and load_client.c. */
#define _GNU_SOURCE
#include "load.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static char **words;
static int words_n;

void die(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(3);
}

const char *option(const char *name, const char *otherwise)
{
    for (int i = 0; i + 1 < words_n; i += 2)
        if (words[i] && strncmp(words[i], "--", 2) == 0 && strcmp(words[i] + 2, name) == 0) {
            words[i] = NULL;
            return words[i + 1];
        }
    if (!otherwise) {
        fprintf(stderr, "load: --%s is missing\n", name);
        exit(2);
    }
    return otherwise;
}

double number(const char *name, double otherwise)
{
    const char *text = option(name, "");
    if (!*text)
        return otherwise;
    char *end;
    double value = strtod(text, &end);
    if (*end || value < 0) {
        fprintf(stderr, "load: --%s wants a number, not %s\n", name, text);
        exit(2);
    }
    return value;
}

void options_end(void)
{
    for (int i = 0; i < words_n; i += 2)
        if (words[i]) {
            fprintf(stderr, "load: unknown or incomplete option %s\n", words[i]);
            exit(2);
        }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } commands[] = {{"serve", serve}, {"rate", rate}, {"streams", streams}, {"idle", idle}};

    words = argv + 2;
    words_n = argc - 2;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            const char *core = option("core", "");
            if (*core)
                pin(atoi(core));
            many_files();
            return commands[i].run();
        }
    fprintf(stderr, "usage: load serve|rate|streams|idle --option value ...\n");
    return 2;
}
