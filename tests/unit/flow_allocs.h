/* SPDX-License-Identifier: MIT
 *
 * For tests of what others do while the pool asks for memory: world.alloc = busy_alloc, and a plan.
 */
#ifndef KP_TESTS_FLOW_ALLOCS_H
#define KP_TESTS_FLOW_ALLOCS_H

#include "flow_stage.h"

static struct stage *in_alloc;
static int skip;                        /* so many allocations before it happens */
static bool refuse;                     /* and then there is no memory */
static void (*happens)(struct stage *);

static inline void *busy_alloc(size_t size, size_t align, void *ctx)
{
    struct stage *s = in_alloc;

    if (s && skip-- == 0) {
        in_alloc = NULL;
        happens(s);
        if (refuse) return NULL;
    }
    return stage_alloc(size, align, ctx);
}

/* In the n-th allocation from now on. */
static inline void plan(struct stage *s, int n, void (*what)(struct stage *), bool no_memory)
{
    in_alloc = s;
    skip = n;
    happens = what;
    refuse = no_memory;
}

#endif
