/* SPDX-License-Identifier: MIT
 *
 * kp_rotate begins a new epoch: what a key has is retired over a period, and each creation from now
 * on is told of the new epoch (kp_job.epoch). How each resource is replaced: core/renew.c.
 */
#include "core/renew.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"

static int64_t retire(struct kp__core *core, struct kp__subpool *sub, uint64_t by, uint64_t now,
                      struct kp__todo *todo)
{
    return sub->rules ? kp__retire_all(core, sub, by, now, todo) : 0; /* without rules, no slots */
}

/* All keys in one step, so that whatever any of them makes from now on is of the new epoch. */
static int64_t retire_all(struct kp__pool *pool, uint64_t by, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = NULL;
    int64_t many = 0;

    kp__shut_all(pool);
    while ((sub = kp__next_sub(&pool->core, sub)) != NULL)
        many += retire(&pool->core, sub, by, now, todo);
    return many;
}

static int64_t rotate(struct kp__pool *pool, kp_key key, int64_t over_ms, struct kp__todo *todo)
{
    uint64_t now = kp__time(pool), by = kp__end_of(now, over_ms);
    struct kp__subpool *sub;
    int64_t many = 0;

    pool->core.epoch++;
    if (kp__is_every_key(key)) {
        many = retire_all(pool, by, now, todo);
        for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub))
            kp__retry(pool, sub, todo);
    } else if ((sub = kp__find(pool, key)) != NULL) {
        many = retire(&pool->core, sub, by, now, todo);
        kp__retry(pool, sub, todo);
        kp__lose_interest(pool, sub, sub->used_at);
    }
    return many;
}

int64_t kp_rotate(kp_pool *door, kp_key key, int64_t over_ms)
{
    struct kp__todo todo;
    int64_t many;
    int code;
    struct kp__pool *pool =
        kp__enter_with(door, key, "kp_rotate: pool is NULL", NULL, &todo, &code);

    if (!pool) return code;
    if (over_ms < 0 && over_ms != KP_NONE && over_ms != KP_OFF)
        many = kp__misuse_within(pool, &todo, NULL,
                                 "kp_rotate: over_ms must be a time, KP_NONE or KP_OFF");
    else if (pool->core.phase != KP__OPEN) many = KP_ECLOSED;
    else many = rotate(pool, key, over_ms, &todo);
    kp__leave(pool, &todo);
    return many;
}
