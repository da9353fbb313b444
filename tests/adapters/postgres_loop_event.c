/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, with the glue for libevent.
 */
#include <keyedpool_event.h>

struct glue { kp_event_loop event; };

static kp_loop *glue_loop(struct glue *g) { return g->event.loop; }
static kp_watcher *glue_watcher(struct glue *g) { return &g->event.watcher; }
static void glue_turn(struct glue *g) { (void)event_base_loop(g->event.base, EVLOOP_ONCE); }
static bool glue_watching(struct glue *g) { return g->event.watching > 0; }

static int glue_open(struct glue *g)
{
    struct event_base *base = event_base_new();

    return base ? kp_event_loop_open(&g->event, base) : KP_ENOMEM;
}

static void glue_close(struct glue *g);

#include "adapters/postgres_loop.h"

static void glue_close(struct glue *g)
{
    assert_int_equal(kp_event_loop_close(&g->event), 0);
    event_base_free(g->event.base);
}

int main(void)
{
    return run_on("postgres with libevent");
}
