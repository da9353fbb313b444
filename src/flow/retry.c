/* SPDX-License-Identifier: MIT
 *
 * kp_retry_now: forgive a key its failed creates. No pause, refusal, open circuit or kept error
 * remains.
 */
#include "core/create.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"

void kp__retry(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    bool tripped = sub->rare->health.tripped;

    kp__forgive(&pool->core, sub, kp__time(pool), todo);
    kp__tell_news(pool, todo); /* a kp_warm of it need not wait */
    kp__do(pool, todo);
    if (tripped) kp__event_within(pool, KP_EVENT_BREAKER_CLOSED, sub, NULL, 0, NULL, todo);
}

int kp_retry_now(kp_pool *door, kp_key key)
{
    struct kp__todo todo;
    struct kp__subpool *sub = NULL;
    int code;
    struct kp__pool *pool =
        kp__enter_with(door, key, "kp_retry_now: pool is NULL", NULL, &todo, &code);

    if (!pool) return code;
    if (pool->core.phase != KP__OPEN) code = KP_ECLOSED;
    else if (!kp__is_every_key(key) && !kp__known(pool, key)) code = KP_ENOTFOUND;
    while (code == 0 && (sub = kp__next_named(pool, key, sub)) != NULL)
        kp__retry(pool, sub, &todo);
    kp__leave(pool, &todo);
    return code;
}
