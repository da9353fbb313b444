/* SPDX-License-Identifier: MIT
 *
 * The glue for libuv, as the tests of drivers that never block use it (loop_stage.h).
 */
#ifndef TESTS_ADAPTERS_GLUE_UV_H
#define TESTS_ADAPTERS_GLUE_UV_H

#include <keyedpool_uv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct glue { kp_uv uv; uv_loop_t loop; };

static inline kp_loop *glue_loop(struct glue *g) { return g->uv.loop; }
static inline kp_watcher *glue_watcher(struct glue *g) { return &g->uv.watcher; }
static inline void glue_turn(struct glue *g) { (void)uv_run(&g->loop, UV_RUN_ONCE); }
static inline bool glue_watching(struct glue *g) { return g->uv.watching > 0; }

static inline int glue_open(struct glue *g)
{
    return uv_loop_init(&g->loop) == 0 ? kp_uv_open(&g->uv, &g->loop) : KP_ENOMEM;
}

static int closings;

static inline void count_closed(kp_uv *uv)
{
    (void)uv;
    closings++;
}

static inline void glue_close(struct glue *g)
{
    closings = 0;
    assert_int_equal(kp_uv_close(&g->uv, count_closed), 0);
    assert_int_equal(uv_run(&g->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(closings, 1);
    assert_int_equal(uv_loop_close(&g->loop), 0);       /* no handle is left */
}

#endif
