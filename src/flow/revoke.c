/* SPDX-License-Identifier: MIT
 *
 * Taking back what a borrower has had for too long, and at the end of the pool what is still out:
 * driver.revoke runs without the lock; then the books follow, and the place goes to whoever is next
 * (core/revoke.c). No thread stands by: whoever answers does what follows (kp__revoke_finish).
 */
#include "core/revoke.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/job.h"
#include "flow/resource.h"

void kp__revoke_finish(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    struct kp__slot *slot = job->slot;
    struct kp__subpool *sub = slot->sub;
    struct kp__failure failure = job->failure;
    int status = job->status;
    struct kp__notice n;
    kp_why why;
    struct kp__todo todo;

    kp__come_in(pool, &todo);
    uint64_t now = kp__time(pool);
    kp__job_put(job);
    const struct kp__seat *out = kp__revoke_end(&pool->core, slot, status >= 0, now, &todo);
    kp__tell_news(pool, &todo);
    if (out && pool->on_event) {
        kp__notice(pool, slot, out, KP_EVENT_REVOKED, now, &n);
        if (status < 0) {
            kp__say_failure(&why, status, &failure);
            n.event.kind = KP_EVENT_REVOKE_FAILED;
            n.event.code = status;
            n.event.why = &why;
        }
        kp__send_within(pool, sub, &n.event, &todo);
    }
    kp__leave(pool, &todo);
}

/* Is there memory for one more job? With the lock, which may be given back meanwhile: then any slot
 * may have become something else. */
static bool has_room(struct kp__pool *pool)
{
    return !kp__slab_wants(&pool->jobs) || kp__make_room(pool);
}

/* With the lock, given back meanwhile, and after has_room. */
static void revoke(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo)
{
    struct kp__job *job = kp__job_take(pool, slot);
    const char *tag = kp__seat_tag(slot, kp__seat_at(slot, 0));
    kp__job_init(job, pool, KP_JOB_REVOKE, slot, tag, 0, KP__NEVER);
    kp__revoke_begin(&pool->core, slot);
    kp__step_out(pool, todo);
    kp__job_send(job);
    kp__step_in(pool);
}

void kp__revoke_due(struct kp__pool *pool, struct kp__slot *slot, uint64_t now,
                    struct kp__todo *todo)
{
    if (!pool->driver.revoke || slot->state != KP__LENT || !has_room(pool)) return;
    kp__shut(pool, slot->sub); /* while its leak was told, the lane may have been opened */
    if (kp__revoke_is_due(&pool->core, slot, now)) revoke(pool, slot, todo);
}

/* Each lent slot is looked at once: it goes to the end of the list when its turn comes. */
void kp__revoke_all(struct kp__pool *pool, struct kp__todo *todo)
{
    struct kp__subpool *sub;

    for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
        struct kp__list *lent = KP__SLOTS(sub, KP__LENT), *node;
        for (uint32_t n = sub->count[KP__LENT]; n > 0 && has_room(pool); n--) {
            if ((node = kp__list_first(lent)) == NULL) break;
            kp__list_remove(node);
            kp__list_push_back(lent, node);
            struct kp__slot *slot = KP__OF(node, struct kp__slot, link);
            if (kp__may_revoke(slot)) revoke(pool, slot, todo);
        }
    }
}
