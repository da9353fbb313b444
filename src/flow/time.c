/* SPDX-License-Identifier: MIT
 *
 * Times: from what the user says, in ms, to points on the pool's clock, in ns, and back.
 */
#include "flow/door.h"

uint64_t kp__after(uint64_t now, int64_t ms)
{
    if (ms < 0 && ms != KP_OFF) return now; /* KP_NONE; or what was left of a time that is over */
    if (ms == KP_OFF || (uint64_t)ms > (KP__NEVER - now) / 1000000) return KP__NEVER;
    return now + (uint64_t)ms * 1000000;
}

uint64_t kp__end_of(uint64_t now, int64_t ms)
{
    return kp__after(now, ms ? ms : KP_SECONDS(30));
}

int64_t kp__ms_up(uint64_t ns)
{
    return (int64_t)(ns / 1000000 + (ns % 1000000 != 0));
}

uint64_t kp_now_ns(kp_pool *door)
{
    /* acquire: pairs with the release in leave_last (door.c) */
    if (!door || !atomic_load_explicit(&door->pool, memory_order_acquire)) return 0;
    return kp__now(&door->world);
}

kp_deadline kp_deadline_in(kp_pool *door, int64_t within_ms)
{
    kp_deadline deadline = { 0 };
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (!pool) return deadline;
    uint64_t now = kp__time(pool);
    deadline.ns = within_ms == 0 ? kp__later(now, pool->deadline) : kp__after(now, within_ms);
    kp__leave(pool, &todo);
    return deadline;
}
