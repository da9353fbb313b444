/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, with the glue for epoll.
 */
#include <keyedpool_epoll.h>
#include <poll.h>

struct glue { kp_epoll epoll; bool guest; };

static kp_loop *glue_loop(struct glue *g) { return g->epoll.loop; }
static kp_watcher *glue_watcher(struct glue *g) { return &g->epoll.watcher; }
static int glue_open(struct glue *g) { return kp_epoll_open(&g->epoll); }
static bool glue_watching(struct glue *g) { return g->epoll.watched.next != &g->epoll.watched; }

/* A loop of its own and a guest in another one, in turn. */
static void glue_turn(struct glue *g)
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

static void glue_close(struct glue *g);

#include "adapters/postgres_loop.h"

static void glue_close(struct glue *g)
{
    assert_int_equal(kp_epoll_close(&g->epoll), 0);
}

int main(void)
{
    return run_on("postgres with epoll");
}
