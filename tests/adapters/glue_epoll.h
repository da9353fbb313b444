/* SPDX-License-Identifier: MIT
 *
 * The glue for epoll, as the tests of drivers that never block use it (loop_stage.h).
 */
#ifndef TESTS_ADAPTERS_GLUE_EPOLL_H
#define TESTS_ADAPTERS_GLUE_EPOLL_H

#include <keyedpool_epoll.h>
#include <poll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct glue { kp_epoll epoll; bool guest; };

static inline kp_loop *glue_loop(struct glue *g) { return g->epoll.loop; }
static inline kp_watcher *glue_watcher(struct glue *g) { return &g->epoll.watcher; }
static inline int glue_open(struct glue *g) { return kp_epoll_open(&g->epoll); }
static inline bool glue_watching(struct glue *g)
{
    return g->epoll.watched.next != &g->epoll.watched;
}

/* A loop of its own and a guest in another one, in turn. */
static inline void glue_turn(struct glue *g)
{
    struct pollfd p = { .fd = g->epoll.fd, .events = POLLIN };
    int64_t next_ms;

    g->guest = !g->guest;
    if (!g->guest) {
        (void)kp_epoll_turn(&g->epoll, KP_OFF);
        return;
    }
    next_ms = kp_epoll_dispatch(&g->epoll);
    (void)poll(&p, 1, next_ms < 0 || next_ms > 5 ? 5 : (int)next_ms);   /* others have work, too */
}

static inline void glue_close(struct glue *g)
{
    assert_int_equal(kp_epoll_close(&g->epoll), 0);
}

#endif
