/* SPDX-License-Identifier: MIT
 *
 * The stage of the tests of the socket adapter: listeners of their own, a pool, and short words for
 * what they all do.
 */
#ifndef TESTS_SOCKET_STAGE_H
#define TESTS_SOCKET_STAGE_H

#include <keyedpool_socket.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct stage {
    char     folder[64], path[96], place[32];   /* a Unix socket; 127.0.0.1:port */
    int      tcp, local;                        /* who listens there */
    int      port;
    kp_pool *pool;
    kp_why   why;
    kp_socket_counts counts;
    int      opens, closes, open_code;
    char     invalid[256];                      /* why the last bad one was bad, ... */
    int      invalid_code;                      /* ... and was the other side gone? */
};

static inline int listen_tcp(int *port, int backlog)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static inline int listen_unix(const char *path, int backlog)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static inline int set_up(void **state)
{
    struct stage *s = calloc(1, sizeof *s);

    if (!s)
        return -1;
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/keyedpool-test-XXXXXX");
    if (!mkdtemp(s->folder))
        return -1;
    (void)snprintf(s->path, sizeof s->path, "%s/s", s->folder);
    s->tcp = listen_tcp(&s->port, 16);
    s->local = listen_unix(s->path, 16);
    (void)snprintf(s->place, sizeof s->place, "127.0.0.1:%d", s->port);
    *state = s;
    return 0;
}

static inline int tear_down(void **state)
{
    struct stage *s = *state;

    (void)close(s->tcp);
    (void)close(s->local);
    (void)unlink(s->path);
    (void)rmdir(s->folder);
    free(s);
    return 0;
}

static inline void note_invalid(const kp_event *event, void *ctx)
{
    struct stage *s = ctx;

    if (event->kind != KP_EVENT_INVALID)
        return;
    (void)snprintf(s->invalid, sizeof s->invalid, "%s", event->why->text);
    s->invalid_code = event->code;
}

/* A failed create is tried again at once, and every idle one is looked at by who gets it: no test
 * here is about back-off, or upkeep. */
static inline void stage_open(struct stage *s, kp_socket_options how)
{
    kp_options more = { .why = &s->why, .on_event = note_invalid, .ctx = s };

    more.limits.retry_first_ms = KP_NONE;
    more.limits.validate_after_ms = KP_NONE;
    more.watch_every_ms = KP_OFF;
    how.ctx = s;
    how.counts = &s->counts;
    assert_int_equal(kp_socket_open(&how, &more, &s->pool), 0);
}

static inline void stage_close(struct stage *s)
{
    kp_socket_counts counts;

    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_WAIT, KP_SECONDS(20)), 0);
    counts = kp_socket_counts_read(&s->counts);
    assert_int_equal(counts.opened, counts.closed);
}

static inline int try_get(struct stage *s, const char *key, int64_t within_ms, kp_lease *lease)
{
    memset(&s->why, 0, sizeof s->why);
    return kp_get(s->pool, kp_str(key), KP_ASK(.within_ms = within_ms, .why = &s->why), lease);
}

static inline kp_lease get(struct stage *s, const char *key)
{
    kp_lease lease;

    if (try_get(s, key, 10000, &lease) != 0)
        fail_msg("get of %s: %s", key, s->why.text);
    return lease;
}

/* The other side of what was connected last. */
static inline int peer_of(int listener)
{
    int fd = accept(listener, NULL, NULL);

    assert_true(fd >= 0);
    return fd;
}

static inline void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Read what was put there, and nothing else. */
static inline void take(int fd, const char *text)
{
    char buf[64];

    assert_int_equal(recv(fd, buf, strlen(text), MSG_WAITALL), strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

/* Wait until there is something to read, or an end. */
static inline void wait_for_input(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    assert_int_equal(poll(&p, 1, 10000), 1);
}

static inline void expect_text(const struct stage *s, const char *part)
{
    if (!strstr(s->why.text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, s->why.text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
