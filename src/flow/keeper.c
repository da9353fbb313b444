/* SPDX-License-Identifier: MIT
 *
 * Upkeep: expiry, refill, leak reports, forgetting keys (10). It visits only what the calendar
 * (core/calendar.c) says is due (L8), and whoever calls kp_keep does the work: the process's keeper
 * (life.c), the pool's own threads (crew.c), a simulated world, or the program.
 */
#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/renew.h"
#include "core/serve.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/job.h"
#include "flow/peers.h"
#include "flow/resource.h"
#include "flow/upkeep.h"

/* What one call does at most, so that nobody is held up for long. */
enum {
    AT_ONCE = KP__TOGETHER, /* looks; before them it shuts as many lanes at most */
    TESTS = 16              /* of these looks, those that begin a test, which takes longer */
};

#define LATE UINT64_C(10000000000)     /* 10 s: KP_EVENT_KEEPER_LATE */

/* ---- when ------------------------------------------------------------------------------------ */

/* keep_every_ms: upkeep runs at multiples of it since the pool was opened. */
static uint64_t rounded(const struct kp__pool *pool, uint64_t at)
{
    uint64_t every = pool->keep_every, since = at > pool->opened ? at - pool->opened : 0;

    if (at == KP__NEVER || every == KP__NEVER) return at;
    return pool->opened + (since + every - 1) / every * every;
}

static uint64_t next_due(const struct kp__pool *pool)
{
    return rounded(pool, kp__first_due(pool));
}

void kp__announce_now(struct kp__pool *pool)
{
    uint64_t at = kp__first_due(pool);

    if (pool->core.shuts && kp__terms_next(&pool->core) < pool->term)
        kp__life_terms(pool->door, pool->term = kp__terms_next(&pool->core));
    if (!pool->upkeep || at >= pool->announced || (at = rounded(pool, at)) >= pool->announced)
        return;
    pool->announced = at;
    pool->upkeep(pool->door, at, pool->world->ctx);
}

/* ---- a slot ---------------------------------------------------------------------------------- */

static void report_leak(struct kp__pool *pool, struct kp__slot *slot, const struct kp__seat *seat,
                        uint64_t now, struct kp__todo *todo)
{
    struct kp__notice notice;

    if (!pool->on_event) return;
    kp__notice(pool, slot, seat, KP_EVENT_LEAK, now, &notice);
    kp__send_within(pool, slot->sub, &notice.event, todo);
}

/* `tests`: how many were begun in this call of kp_keep. */
static void look_at_slot(struct kp__pool *pool, struct kp__slot *slot, uint64_t now, int *tests,
                         struct kp__todo *todo)
{
    kp__shut(pool, slot->sub);
    struct kp__seat *leak = kp__look_at_slot(&pool->core, slot, now, todo);
    if (leak) report_leak(pool, slot, leak, now, todo);
    else if (slot->errand->job) kp__job_hurry_due(pool, slot, todo);
    else if (kp__test_due(&pool->core, slot, now, *tests < TESTS))
        *tests += kp__test(pool, slot, todo);
    kp__revoke_due(pool, slot, now, todo);
}

/* ---- a key ----------------------------------------------------------------------------------- */

/* Spend the permit on one resource. Its key is filed again for the next, so that others get their
 * turn in between. */
static void refill_one(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now)
{
    bool begun = kp__create(pool, sub, NULL, kp__time(pool)); /* else out of memory */

    if (sub->refill) kp__file_sub(&pool->core, sub, begun ? now : now + KP__LOOK_AGAIN);
}

/* No creation may begin now: file the key for another look. */
static void look_again(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    if (now < kp__rests_until(sub)) kp__file_sub(core, sub, kp__rests_until(sub));
    else if (kp__token_lacks(&core->rate, now))
        kp__file_for_token(core, sub, now);
    else { /* changes in this key file it at once (core); else look now and then */
        kp__hold_up(core, sub);
        kp__file_sub(core, sub, now + KP__LOOK_AGAIN);
    }
}

static void refill(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now)
{
    if (!sub->refill) return;
    if (kp__refill_wanted(&pool->core, sub, sub->warm) == 0) {
        if (kp__sub_creating(sub) > 0) /* which may fail, or be given up */
            kp__file_sub(&pool->core, sub, now + KP__LOOK_AGAIN);
        else sub->refill = sub->warm = false;
        return;
    }
    if (sub->rare->health.refused) return; /* until kp_retry_now, which files it */
    if (kp__refill_permit(&pool->core, sub, sub->warm, now)) refill_one(pool, sub, now);
    else look_again(&pool->core, sub, now);
}

/* Make before break: the same for the replacement of one that is near its end. A creation that has
 * already ended has filed the key again itself. */
static void renew(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now)
{
    uint32_t making;

    if (!kp__renewal_wanted(sub) || sub->rare->health.refused) return;
    if (kp__renew_permit(&pool->core, sub, now)) {
        making = sub->rare->renewal.making;
        kp__renew(pool, sub, kp__time(pool));
        if (sub->rare->renewal.making == making) kp__file_sub(&pool->core, sub, now); /* more */
    } else {
        look_again(&pool->core, sub, now);
    }
}

/* 10. forget: destroy a key's last resources, if they are only its minimum; then drop the key. */
void kp__forget(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now,
                struct kp__todo *todo)
{
    struct kp__list *node;

    if (pool->core.phase != KP__OPEN || !kp__may_forget(&pool->core, sub, now)) return;
    sub->interest++;
    if (sub->leaving == KP__STAYS) sub->leaving = KP__LEAVES;
    while ((node = kp__list_first(KP__SLOTS(sub, KP__IDLE))) != NULL)
        kp__close_idle(&pool->core, KP__OF(node, struct kp__slot, link), KP_CAUSE_FORGOTTEN, todo);
    kp__do(pool, todo);
    if (sub->leaving == KP__LEAVES && sub->count[KP__CLOSING] == 0)
        sub->leaving = KP__STAYS; /* else it leaves until somebody wants it */
    sub->interest--;
    if (!kp__subpool_unused(sub) || !kp__may_forget(&pool->core, sub, now)) return;
    kp__table_drop(&pool->core, sub);
    kp__forgotten(pool, sub, todo);
}

/* `now`: when the call of kp_keep began. Requests may have come since then. */
static void look_at_key(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now,
                        struct kp__todo *todo)
{
    if (!sub->rules) return; /* warmed while limits_for is being asked, which files it again */
    kp__shut(pool, sub);
    sub->interest++;
    kp__settle(&pool->core, sub, kp__time(pool), todo); /* back-off may have ended */
    kp__do(pool, todo);
    kp__test_doubts(pool, sub, todo);
    refill(pool, sub, now);
    renew(pool, sub, now);
    kp__let_next_on(&pool->core, sub, now);
    sub->interest--;
    kp__forget(pool, sub, now, todo);
}

/* ---- the call -------------------------------------------------------------------------------- */

bool kp__look_at_keeper(struct kp__pool *pool, uint64_t now, struct kp__todo *todo)
{
    bool late = kp__later(kp__first_due(pool), LATE) < now &&
                kp__later(next_due(pool), LATE) < now;
    bool tell = late && !pool->late_reported;

    if (tell) {
        kp__step_out(pool, todo);
        kp__event(pool, KP_EVENT_KEEPER_LATE, NULL, NULL, 0, NULL);
        kp__step_in(pool);
    }
    pool->late_reported = late;
    return tell;
}

void kp__terms_end(kp_pool *door)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (!pool) return;
    kp__lane_shut_due(&pool->core, kp__time(pool), AT_ONCE);
    pool->term = KP__NEVER; /* so that kp__announce tells the next one */
    kp__leave(pool, &todo);
}

int64_t kp_keep(kp_pool *door)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (!pool) return (void)kp__no_pool(code, NULL, "kp_keep: pool is NULL"), -1;
    uint64_t now = kp__time(pool);
    pool->late_reported = false;
    kp__note_time(&pool->core, now);
    kp__lane_shut_due(&pool->core, now, AT_ONCE);
    /* kp__announce is quiet until the end of this call; but while a function of the driver's holds
     * up a thread of the pool's own, the others go on */
    pool->announced = pool->crew ? KP__NEVER : 0;
    kp__watch_keep(pool, now, &todo);
    for (int looks = 0, tests = 0; looks < AT_ONCE; looks++) {
        bool is_slot;
        struct kp__timer *due = kp__due_pop(&pool->core, now, &is_slot);
        if (!due) break;
        if (is_slot) {
            look_at_slot(pool, KP__OF(due, struct kp__slot, due), now, &tests, &todo);
        } else {
            look_at_key(pool, KP__OF(due, struct kp__key_due, due)->sub, now, &todo);
        }
        kp__do(pool, &todo);
    }
    pool->announced = KP__NEVER;
    uint64_t next = next_due(pool);
    now = kp__time(pool);
    kp__leave(pool, &todo);
    return next == KP__NEVER ? -1 : next > now ? kp__ms_up(next - now) : 0;
}
