/* SPDX-License-Identifier: MIT
 *
 * The stage of the tests of drivers that never block, on an event loop of one thread. Who includes
 * this has said before what the loop is (glue_epoll.h): struct glue with a watcher and a loop,
 * glue_open, glue_turn, glue_watching, glue_close.
 */
#ifndef TESTS_ADAPTERS_LOOP_STAGE_H
#define TESTS_ADAPTERS_LOOP_STAGE_H

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ASKS = 20 };

struct ask {
    kp_request request;
    kp_why     why;
    kp_lease   lease;
    int        status;          /* KP_PENDING: no answer so far */
};

static struct {
    struct glue loop;
    kp_pool *pool;
    kp_why   why;
    int      invalid, answers;
    char     cause[200];
    struct ask ask[ASKS];
} stage;

static inline void note(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind != KP_EVENT_INVALID)
        return;
    stage.invalid++;
    (void)snprintf(stage.cause, sizeof stage.cause, "%s", event->why ? event->why->text : "");
}

/* A new loop, and what its pool is told but for the adapter's part. */
static inline kp_options plan_on_loop(void)
{
    kp_options more = { .why = &stage.why, .on_event = note };

    memset(&stage, 0, sizeof stage);
    assert_int_equal(glue_open(&stage.loop), 0);
    more.loop = glue_loop(&stage.loop);
    more.limits.max_live = 2;
    more.limits.retry_first_ms = KP_NONE;
    more.limits.validate_after_ms = KP_NONE;
    more.watch_every_ms = KP_OFF;
    return more;
}

static inline void turn(void)
{
    glue_turn(&stage.loop);
}

/* Nothing is watched for it any more. */
static inline void end_loop(void)
{
    (void)kp_pool_close(stage.pool, KP_CLOSE_NOW, 0);
    while (glue_watching(&stage.loop))
        turn();
    (void)kp_loop_dispatch(glue_loop(&stage.loop));
    glue_close(&stage.loop);
}

static inline void done(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;

    a->status = status;
    a->lease = lease;
    stage.answers++;
}

static inline struct ask *begin(int number, const char *key, int64_t within_ms)
{
    struct ask *a = &stage.ask[number];

    memset(a, 0, sizeof *a);
    a->request.loop = glue_loop(&stage.loop);
    a->request.done = done;
    a->request.arg = a;
    a->status = KP_PENDING;
    assert_int_equal(kp_get_start(stage.pool, kp_str(key),
                                  KP_ASK(.within_ms = within_ms, .why = &a->why, .tag = "loop"),
                                  &a->request), 0);
    return a;
}

static inline int await(struct ask *a)
{
    while (a->status == KP_PENDING)
        turn();
    return a->status;
}

static inline const kp_lease *lease_of(int number, const char *key)
{
    struct ask *a = begin(number, key, 20000);

    if (await(a) != 0)
        fail_msg("get: %s", a->why.text);
    return &a->lease;
}

static inline void give_back(int number)
{
    kp_release(&stage.ask[number].lease);
}

/* Ask more often than there is room for, and look at what each is lent. */
static inline void all_in_turn(const char *key, void (*look)(const kp_lease *lease))
{
    for (int i = 0; i < ASKS; i++)
        (void)begin(i, key, 20000);
    assert_int_equal(await(&stage.ask[1]), 0);
    for (int i = 0; i < ASKS; i++) {
        assert_int_equal(await(&stage.ask[i]), 0);
        look(&stage.ask[i].lease);
        give_back(i);
    }
}

/* ---- a peer that takes calls and never says a word ------------------------------------------- */

static inline int deaf_peer(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof at;

    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* ---- a question without blocking ------------------------------------------------------------- */

static inline void told(kp_watch *watch, int events)
{
    *(bool *)watch->arg = events != 0;
}

/* Turn until a descriptor is ready; false: it never was. */
static inline bool turn_until(int fd, int events)
{
    kp_watcher *watcher = glue_watcher(&stage.loop);
    bool ready = false;
    kp_watch watch = { .told = told, .arg = &ready };

    assert_int_equal(watcher->start(watcher, &watch, fd, events, 20000), 0);
    while (watch.next)
        turn();
    return ready;
}

#endif
