/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, with the glue for libuv.
 */
#include <keyedpool_uv.h>

struct glue { kp_uv uv; uv_loop_t loop; };

static kp_loop *glue_loop(struct glue *g) { return g->uv.loop; }
static kp_watcher *glue_watcher(struct glue *g) { return &g->uv.watcher; }
static void glue_turn(struct glue *g) { (void)uv_run(&g->loop, UV_RUN_ONCE); }
static bool glue_watching(struct glue *g) { return g->uv.watching > 0; }

static int glue_open(struct glue *g)
{
    return uv_loop_init(&g->loop) == 0 ? kp_uv_open(&g->uv, &g->loop) : KP_ENOMEM;
}

static void glue_close(struct glue *g);

#include "adapters/postgres_loop.h"

static int closings;

static void count_closed(kp_uv *uv)
{
    (void)uv;
    closings++;
}

static void glue_close(struct glue *g)
{
    closings = 0;
    assert_int_equal(kp_uv_close(&g->uv, count_closed), 0);
    assert_int_equal(uv_run(&g->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(closings, 1);
    assert_int_equal(uv_loop_close(&g->loop), 0);       /* no handle is left */
}

int main(void)
{
    return run_on("postgres with libuv");
}
