#include "show.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { most_lines = 256, most_parts = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static const char *now = "";
static char *lines[most_lines];
static int line_count;

void show_begin(const char *name)
{
    pthread_mutex_lock(&lock);
    while (line_count > 0)
        free(lines[--line_count]);
    now = name;
    pthread_mutex_unlock(&lock);
}

void show(const char *event, const char *client, const char *more)
{
    pthread_mutex_lock(&lock);
    size_t size = strlen(now) + strlen(event) + strlen(client) + strlen(more) + 64;
    char *line = malloc(size);
    if (line == NULL || line_count == most_lines)
        abort();
    snprintf(line, size, "{\"case\":\"%s\",\"event\":\"%s\",\"client\":\"%s\"%s}", now, event, client, more);
    puts(line);
    fflush(stdout);
    lines[line_count++] = line;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void show_number(const char *event, const char *client, const char *name, int value)
{
    char more[64];
    snprintf(more, sizeof more, ",\"%s\":%d", name, value);
    show(event, client, more);
}

void show_message(const char *client, const char *topic, const char *payload, int length, int retained)
{
    size_t size = strlen(topic) + (size_t)length * 6 + 64;
    char *more = malloc(size);
    if (more == NULL)
        abort();
    char *end = more + snprintf(more, size, ",\"topic\":\"%s\",\"retain\":%s,\"payload\":\"", topic, retained ? "true" : "false");
    for (int at = 0; at < length; at++) {
        unsigned char c = (unsigned char)payload[at];
        if (c == '"' || c == '\\')
            *end++ = '\\';
        if (c < ' ')
            end += sprintf(end, "\\u%04x", c);
        else
            *end++ = (char)c;
    }
    strcpy(end, "\"");
    show("message", client, more);
    free(more);
}

void show_wait(int count, ...)
{
    const char *parts[most_parts];
    int part_count = 0;
    va_list args;
    va_start(args, count);
    for (const char *part; (part = va_arg(args, const char *)) != NULL && part_count < most_parts;)
        parts[part_count++] = part;
    va_end(args);
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    pthread_mutex_lock(&lock);
    for (;;) {
        int found = 0;
        for (int at = 0; at < line_count; at++) {
            int all = 1;
            for (int part = 0; part < part_count; part++)
                all = all && strstr(lines[at], parts[part]) != NULL;
            found += all;
        }
        if (found >= count)
            break;
        if (pthread_cond_timedwait(&changed, &lock, &deadline) != 0) {
            fprintf(stderr, "%s: not %d of %s …\n", now, count, parts[0]);
            exit(1);
        }
    }
    pthread_mutex_unlock(&lock);
}

void check(int code, const char *what)
{
    if (code == 0)
        return;
    fprintf(stderr, "%s: %s: %d\n", now, what, code);
    exit(1);
}
