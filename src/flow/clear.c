/* SPDX-License-Identifier: MIT
 *
 * Clearing keys: invalidate a resource, or all that a key has; evict what is idle; drain, that is,
 * wait for what is out; drop a key. Each call returns when that is done, or its time is over.
 * (kp_rotate, which retires what a key has over a period, is in rotate.c.)
 */
#include "base/check.h"
#include "core/give.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/here.h"
#include "flow/upkeep.h"

/* When to stop waiting: 0 means the default, and the thread of an event loop does not wait. */
static uint64_t end_of_wait(const struct kp__pool *pool, int64_t within_ms)
{
    uint64_t now = kp__time(pool);

    return kp__here.loops ? now : kp__end_of(now, within_ms);
}

/* ---- invalidate ------------------------------------------------------------------------------ */

static struct kp__slot *live_slot(struct kp__pool *pool, const void *resource)
{
    struct kp__slot *slot = kp__slot_of_live(&pool->core, resource);

    if (slot) kp__shut(pool, slot->sub);
    return slot;
}

int64_t kp_invalidate(kp_pool *door, const void *resource)
{
    struct kp__todo todo;
    struct kp__slot *slot;
    int64_t found = 0;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (!pool)
        return code == KP_EMISUSE ? kp__misuse(NULL, NULL, "kp_invalidate: pool is NULL") : 0;
    kp__note_time(&pool->core, kp__time(pool));
    while (pool->core.phase != KP__CLOSED &&
           (slot = live_slot(pool, resource)) != NULL &&
           /* cover: never, because a live slot is idle or lent, and not doomed */
           kp__doom(&pool->core, slot, KP_CAUSE_INVALIDATED, &todo))
        found++;
    kp__leave(pool, &todo);
    return found;
}

static int64_t invalidate_sub(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    int64_t found = 0;

    kp__note_time(&pool->core, kp__time(pool));
    for (int i = 0; i < KP__HOLDINGS && pool->core.phase != KP__CLOSED; i++) {
        const struct kp__list *list = kp__holding(sub, i);
        struct kp__list *node = kp__list_first(list), *next;
        for (; node; node = next) {
            next = kp__list_next(list, node);
            found += kp__doom(&pool->core, KP__OF(node, struct kp__slot, link),
                              KP_CAUSE_INVALIDATED, todo);
        }
    }
    kp__do(pool, todo);
    return found;
}

int64_t kp_invalidate_key(kp_pool *door, kp_key key)
{
    struct kp__todo todo;
    struct kp__subpool *sub = NULL;
    int64_t found = 0;
    int code;
    struct kp__pool *pool =
        kp__enter_with(door, key, "kp_invalidate_key: pool is NULL", NULL, &todo, &code);

    if (!pool) return code == KP_EMISUSE ? code : 0;
    while ((sub = kp__next_named(pool, key, sub)) != NULL)
        found += invalidate_sub(pool, sub, &todo);
    kp__leave(pool, &todo);
    return found;
}

/* ---- evict ----------------------------------------------------------------------------------- */

/* How many idle ones there are, with those that the keeper is validating at this moment: they are
 * idle again afterwards, unless they are doomed. */
static int64_t count_idle(const struct kp__subpool *sub)
{
    const struct kp__slot *slot = NULL;
    int64_t idle = sub->count[KP__IDLE];

    while ((slot = kp__next_slot(&sub->rare->tested, slot)) != NULL) idle += !slot->errand->doomed;
    return idle;
}

/* How many of them are more than `keep`; or, if that is 0, than the limits keep. */
static int64_t too_many(const struct kp__subpool *sub, int64_t keep)
{
    int64_t idle = count_idle(sub);

    if (keep == KP_NONE) return idle;
    if (keep > 0 || idle == 0) return idle - keep;
    int64_t more = idle - sub->rules->min_idle;
    int64_t stay = kp__sub_staying(sub) - sub->rules->min_live;
    return more < stay ? more : stay;
}

static int64_t evict_sub(struct kp__pool *pool, struct kp__subpool *sub, int64_t keep,
                         struct kp__todo *todo)
{
    int64_t found = 0, many = too_many(sub, keep);
    struct kp__slot *slot = NULL;

    kp__note_time(&pool->core, kp__time(pool));
    for (; found < many && sub->count[KP__IDLE] > 0; found++)
        kp__close_idle(&pool->core, kp__oldest_idle(sub), KP_CAUSE_SURPLUS, todo);
    while (found < many) { /* these go when their tests end */
        slot = kp__next_slot(&sub->rare->tested, slot);
        found += kp__doom(&pool->core, slot, KP_CAUSE_SURPLUS, todo);
    }
    kp__do(pool, todo);
    return found;
}

static int64_t evict(struct kp__pool *pool, kp_key key, int64_t keep, struct kp__todo *todo)
{
    struct kp__subpool *sub = NULL;
    int64_t found = 0;

    while ((sub = kp__next_named(pool, key, sub)) != NULL)
        found += evict_sub(pool, sub, keep, todo);
    return found;
}

int64_t kp_evict(kp_pool *door, kp_key key, int64_t keep)
{
    struct kp__todo todo;
    int64_t found;
    int code;
    struct kp__pool *pool =
        kp__enter_with(door, key, "kp_evict: pool is NULL", NULL, &todo, &code);

    if (!pool) return code;
    if (keep < 0 && keep != KP_NONE)
        found = kp__misuse_within(pool, &todo, NULL,
                                  "kp_evict: keep must be a count, KP_NONE, or 0 for what the "
                                  "limits keep");
    else if (pool->core.phase != KP__OPEN) found = KP_ECLOSED;
    else found = evict(pool, key, keep, &todo);
    kp__leave(pool, &todo);
    return found;
}

/* ---- drain ----------------------------------------------------------------------------------- */

/* Did it begin in this era or before? Eras wrap around, but not while a lease lasts. */
static bool is_of(const struct kp__seat *seat, uint32_t era)
{
    return (int32_t)(seat->era - era) <= 0;
}

/* How many leases of this slot are out that began in this era or before. */
static int64_t leases_of(const struct kp__slot *slot, uint32_t era)
{
    int64_t out = 0;

    for (uint32_t i = 0; i < slot->errand->seats; i++)
        out += kp__seat_at(slot, i)->lent && is_of(kp__seat_at(slot, i), era);
    return out;
}

/* How many are out, and how many are being destroyed. `doomed`: only of what is not to be lent
 * again. */
static int64_t still_out(const struct kp__subpool *sub, uint32_t era, bool doomed)
{
    const struct kp__slot *slot = NULL;
    int64_t out = sub->count[KP__CLOSING];

    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__LENT), slot)) != NULL)
        if (slot->errand->doomed || !doomed) out += leases_of(slot, era);
    return out;
}

/* Our interest in the key keeps its lane shut, so the books are exact. */
static int64_t drain_one(struct kp__pool *pool, struct kp__subpool *sub, uint32_t era,
                         uint64_t until, struct kp__todo *todo)
{
    int64_t out;

    while ((out = still_out(sub, era, false)) > 0 && kp__time(pool) < until)
        kp__await_news(pool, todo, until);
    return out;
}

static int64_t drain(struct kp__pool *pool, kp_key key, int64_t within_ms, struct kp__todo *todo)
{
    uint64_t until = end_of_wait(pool, within_ms);
    struct kp__subpool *sub = NULL;
    int64_t out = 0;

    kp__shut_all(pool);
    uint32_t era = pool->core.era++;
    while ((sub = kp__next_named(pool, key, sub)) != NULL)
        out += drain_one(pool, sub, era, until, todo);
    return out;
}

int64_t kp_drain(kp_pool *door, kp_key key, int64_t within_ms)
{
    struct kp__todo todo;
    int64_t out;
    int code;
    struct kp__pool *pool =
        kp__enter_with(door, key, "kp_drain: pool is NULL", NULL, &todo, &code);

    if (!pool) return code;
    if (!kp__is_finite(within_ms)) /* no call waits for ever */
        out = kp__misuse_within(pool, &todo, NULL,
                                "kp_drain: within_ms must be a finite time, or KP_NONE");
    else out = drain(pool, key, within_ms, &todo);
    kp__leave(pool, &todo);
    return out;
}

/* ---- drop ------------------------------------------------------------------------------------ */

/* A key without rules is just being made because somebody wants it: it is not dropped. */
static void begin_drop(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    if (!sub->rules) return;
    sub->leaving = KP__DROPPED;
    sub->refill = sub->warm = false;
    sub->used_at = kp__time(pool);
    (void)invalidate_sub(pool, sub, todo);
}

/* How much keeps a key that is being dropped from going; or, if somebody wants the key again
 * meanwhile, how much is still out of what it had before: that was doomed when the drop began. */
static int64_t still_there(const struct kp__subpool *sub, uint32_t era)
{
    if (sub->leaving != KP__DROPPED) return still_out(sub, era, true);
    return kp__sub_live(sub) + sub->rare->revoked + sub->contest->promised + sub->waiting;
}

static int64_t end_drop(struct kp__pool *pool, struct kp__subpool *sub, uint32_t era,
                        uint64_t until, struct kp__todo *todo)
{
    int64_t out;

    while ((out = still_there(sub, era)) > 0 && kp__time(pool) < until)
        kp__await_news(pool, todo, until);
    return out;
}

/* End our interest, and forget the key if nothing else uses it; else upkeep does that later. */
static void forget_if_last(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    bool goes = sub->leaving == KP__DROPPED;

    kp__lose_interest(pool, sub, sub->used_at);
    if (goes) kp__forget(pool, sub, kp__time(pool), todo);
}

/* The era that is waited for ends only when the drop of all keys has begun: until then a later key
 * lends what it has from before, and those leases are waited for, too. But what is made meanwhile
 * for a key whose drop has begun is not. */
static int64_t drop_every(struct kp__pool *pool, uint64_t until, struct kp__todo *todo)
{
    struct kp__subpool *sub, *next;
    int64_t out = 0;

    for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub))
        begin_drop(pool, sub, todo);
    kp__shut_all(pool); /* a lane that opened meanwhile would lend in the era in which it opened */
    uint32_t era = pool->core.era++;
    for (sub = kp__next_key(pool, NULL); sub; sub = next) {
        out += end_drop(pool, sub, era, until, todo);
        kp__take_interest(pool, sub); /* one more: kp__next_key gives up that of the walk */
        next = kp__next_key(pool, sub);
        forget_if_last(pool, sub, todo);
    }
    return out;
}

static int64_t drop(struct kp__pool *pool, kp_key key, int64_t within_ms, struct kp__todo *todo)
{
    uint64_t until = end_of_wait(pool, within_ms);
    struct kp__subpool *sub;
    int64_t out = 0;

    kp__shut_all(pool);
    if (kp__is_every_key(key)) return drop_every(pool, until, todo);
    uint32_t era = pool->core.era++;
    if ((sub = kp__find(pool, key)) != NULL) {
        begin_drop(pool, sub, todo);
        out = end_drop(pool, sub, era, until, todo);
        forget_if_last(pool, sub, todo);
    }
    return out;
}

int64_t kp_drop(kp_pool *door, kp_key key, int64_t within_ms)
{
    struct kp__todo todo;
    int64_t out;
    int code;
    struct kp__pool *pool =
        kp__enter_with(door, key, "kp_drop: pool is NULL", NULL, &todo, &code);

    if (!pool) return code;
    if (!kp__is_finite(within_ms))
        out = kp__misuse_within(pool, &todo, NULL,
                                "kp_drop: within_ms must be a finite time, or KP_NONE");
    else if (pool->core.phase != KP__OPEN) out = KP_ECLOSED;
    else out = drop(pool, key, within_ms, &todo);
    kp__leave(pool, &todo);
    return out;
}
