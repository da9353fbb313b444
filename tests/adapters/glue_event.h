/* SPDX-License-Identifier: MIT
 *
 * The glue for libevent, as the tests of drivers that never block use it (loop_stage.h).
 */
#ifndef TESTS_ADAPTERS_GLUE_EVENT_H
#define TESTS_ADAPTERS_GLUE_EVENT_H

#include <keyedpool_event.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct glue { kp_event_loop event; };

static inline kp_loop *glue_loop(struct glue *g) { return g->event.loop; }
static inline kp_watcher *glue_watcher(struct glue *g) { return &g->event.watcher; }
static inline void glue_turn(struct glue *g) { (void)event_base_loop(g->event.base, EVLOOP_ONCE); }
static inline bool glue_watching(struct glue *g) { return g->event.watching > 0; }

static inline int glue_open(struct glue *g)
{
    struct event_base *base = event_base_new();

    return base ? kp_event_loop_open(&g->event, base) : KP_ENOMEM;
}

static inline void glue_close(struct glue *g)
{
    assert_int_equal(kp_event_loop_close(&g->event), 0);
    event_base_free(g->event.base);
}

#endif
