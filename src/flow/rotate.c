/* SPDX-License-Identifier: MIT
 *
 * A new epoch: what a key has is retired over a period, and what is created from now on is told of
 * it (kp_job.epoch). How each is replaced: core/renew.c.
 */
#include "core/renew.h"
#include "flow/flow.h"

static int64_t rotate(struct kp__pool *pool, struct kp__subpool *sub, uint64_t by, uint64_t now,
                      struct kp__todo *todo)
{
    int64_t many = 0;

    if (sub->rules) many = kp__retire_all(&pool->core, sub, by, now, todo); /* else it is empty */
    kp__retry(pool, sub, todo);
    return many;
}

int64_t kp_rotate(kp_pool *door, kp_key key, int64_t over_ms)
{
    struct kp__todo todo;
    struct kp__subpool *sub;
    int64_t many = 0;
    int code;
    struct kp__pool *pool = kp__enter_with(door, key, true, "kp_rotate: pool is NULL", NULL, &code);

    if (!pool) return code;
    kp__todo_init(&todo, pool->world);
    uint64_t now = kp__time(pool), by = kp__end_of(now, over_ms);
    if (over_ms < 0 && over_ms != KP_NONE && over_ms != KP_OFF)
        many = kp__misuse_within(pool, &todo, NULL,
                                 "kp_rotate: over_ms is a time, KP_NONE or KP_OFF");
    else if (pool->core.phase != KP__OPEN) many = KP_ECLOSED;
    if (many < 0) {
        kp__leave(pool, &todo);
        return many;
    }
    pool->core.epoch++;
    if (kp__every_key(key)) {
        for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub))
            many += rotate(pool, sub, by, now, &todo);
    } else if ((sub = kp__find(pool, key, kp__hash(pool, key), false, NULL, &code)) != NULL) {
        many = rotate(pool, sub, by, now, &todo);
        kp__lose_interest(pool, sub, sub->used_at);
    }
    kp__leave(pool, &todo);
    return many;
}
