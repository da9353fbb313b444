/* SPDX-License-Identifier: MIT
 *
 * Step 4 (docs/PATH.md), create: how it ended. The driver was run by flow/create.c.
 */
#include "core/create.h"

#include "core/background.h"
#include "core/calendar.h"
#include "core/give.h"
#include "core/permit.h"
#include "core/renew.h"
#include "core/serve.h"
#include "core/todo.h"

/* ---- the key's health ------------------------------------------------------------------------ */

#define LEAST_PAUSE UINT64_C(10000000) /* 10 ms */

/* Full jitter: anywhere between nothing and the doubling pause (Brooker, "Exponential Backoff And
 * Jitter", 2015). */
static uint64_t pause_after(struct kp__core *core, const struct kp__rules *r, uint32_t failures)
{
    uint64_t pause = r->retry_first ? r->retry_first : r->retry_requests ? LEAST_PAUSE : 0;

    for (uint32_t i = 1; i < failures && pause < r->retry_max; i++)
        pause = pause > r->retry_max / 2 ? r->retry_max : pause * 2;
    if (pause > r->retry_max) pause = r->retry_max;
    if (pause == 0 && r->retry_requests) pause = LEAST_PAUSE; /* retrying without one would spin */
    return pause ? core->world->random(core->world->ctx) % pause + 1 : 0;
}

/* One failure more, in a row: the key makes a pause. `unkept`: the failure was to be kept until one
 * request is told it, but there is no memory. */
static void make_pause(struct kp__core *core, struct kp__subpool *sub, bool background, bool unkept,
                       uint64_t now)
{
    struct kp__health *h = &kp__rare(core, sub)->health;
    uint64_t pause = pause_after(core, sub->rules, ++h->failures);

    /* as long as it is kept, the background does not try again: without that it would spin */
    if (unkept && pause == 0) pause = LEAST_PAUSE;
    h->back_off = pause ? kp__later(now, pause) : 0;
    /* with no pause between tries it would spin, too; with prefill, the next get tries again */
    if (background && !pause && !sub->rules->cache_once) sub->refill = sub->warm = false;
}

/* Keep the failure, as the latest, for all that ask why; and also for the first request that would
 * create (`once`). *keep is memory for it, or NULL: it is counted and reported all the same. What
 * comes back there is for the caller to free. */
static void keep_failure(struct kp__core *core, struct kp__subpool *sub,
                         const struct kp__failure *what, bool once, uint64_t now,
                         struct kp__failure **keep)
{
    const struct kp__rules *r = sub->rules;
    struct kp__health *h = &kp__rare(core, sub)->health;
    struct kp__failure *failure = *keep, *before = h->last;
    bool cached = r->cache_failure && !r->cache_once && what->code != KP_EREFUSED;

    if (failure) {
        *failure = *what;
        kp__list_init(&failure->link);
        failure->until = cached ? kp__later(now, r->cache_failure) : 0;
    }
    if (failure && once) {
        kp__list_push_back(&h->kept, &failure->link);
        h->kept_count++;
    }
    h->last = failure;
    *keep = before && !kp__list_linked(&before->link) ? before : NULL;
}

static void remember(struct kp__core *core, struct kp__subpool *sub, const struct kp__failure *what,
                     bool background, uint64_t now, struct kp__failure **keep)
{
    const struct kp__rules *r = sub->rules;
    struct kp__health *h = &kp__rare(core, sub)->health;
    bool refused = what->code == KP_EREFUSED;
    bool once = r->cache_once && background && !refused && (int64_t)h->kept_count < r->max_live;

    KP__COUNT_SELDOM(core, sub, create_failures);
    make_pause(core, sub, background, once && !*keep, now);
    if (h->refused && !refused) return; /* the refusal stays the cause */
    h->refused = refused;
    keep_failure(core, sub, what, once, now, keep);
}

static void recovered(struct kp__core *core, struct kp__subpool *sub)
{
    if (!kp__has_rare(sub)) return;
    struct kp__health *h = &kp__rare(core, sub)->health;
    h->failures = 0;
    h->back_off = 0;
    if (h->last) h->last->until = 0;
}

void kp__forgive(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                 struct kp__todo *todo)
{
    struct kp__list *kept;

    if (!sub->rules) return; /* nothing has happened so far */
    if (kp__has_rare(sub)) {
        struct kp__health *h = &kp__rare(core, sub)->health;
        if (h->last) kp__list_remove(&h->last->link); /* it stays the latest */
        h->kept_count = 0;
        h->refused = false;
        kp__circuit_forgive(core, sub);
        while ((kept = kp__list_first(&h->kept)) != NULL) {
            kp__list_remove(kept);
            kp__list_push_back(&todo->spent, kept);
        }
        recovered(core, sub);
    }
    if (sub->rules->eager) sub->refill = true;
    kp__file_sub(core, sub, now);
    kp__settle(core, sub, now, todo);
}

/* How long a creation usually takes is learnt when it is over, while any key is starved. */
static void learn_time(struct kp__core *core, struct kp__subpool *sub)
{
    kp__account(core, sub);
    if (core->starved) kp__usual_learn(core, KP__BEING_MADE);
}

/* ---- it came out well ------------------------------------------------------------------------ */

/* Begin the lease of a new resource for the request that it was made for. Returns its seat. */
static uint32_t lend_new(struct kp__core *core, struct kp__slot *slot,
                         const struct kp__request *request, uint64_t now)
{
    uint32_t seat = kp__seat_take(core, slot, request, now);

    slot->due_to_key = false;
    kp__probe_pass(&kp__errand_of(slot)->probe, &kp__seat_at(slot, seat)->probe);
    return seat;
}

static void created_too_late(struct kp__core *core, struct kp__slot *slot,
                             struct kp__request *request, struct kp__todo *todo)
{
    kp__probe_end(core, slot->sub, &kp__errand_of(slot)->probe);
    kp__close_slot(core, slot, KP_CAUSE_CLOSED, todo);
    if (!request) return;
    kp__lent_drop(core, request);
    kp__grant_no(request, KP_ECLOSED, KP__NOT_BOUND);
}

/* A creation that no thread stands by came out well. The resource goes to whoever is next: to a
 * request of its own key, if it was made for one, even if that is gone by now; for the key had its
 * turn when the creation began. A sponsor that is not the next goes on waiting. */
static void created_late(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                         struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__request *sponsor = slot->errand->sponsor;

    if (sponsor && (sponsor->flags & KP_FRESH)) { /* takes its own creation, nobody else's */
        kp__answer_slot(core, sponsor, slot, lend_new(core, slot, sponsor, now), todo);
        kp__settle(core, sub, now, todo);
        return;
    }
    sponsor = kp__sponsor_release(core, slot);
    /* the creation's mark ends: whoever takes the resource may probe, and maybe nobody does */
    kp__probe_end(core, sub, &kp__errand_of(slot)->probe);
    kp__slot_move(core, slot, KP__IDLE);
    kp__file_slot(core, slot);
    kp__settle(core, sub, now, todo);
    slot->due_to_key = false;
    /* somebody ahead of the sponsor took the resource: it waits on, without its lent permit */
    if (sponsor && kp__waits(sponsor)) {
        kp__lent_drop(core, sponsor);
        kp__settle(core, sub, now, todo);
    }
}

enum kp__change kp__created(struct kp__core *core, struct kp__slot *slot,
                            struct kp__request *request, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    kp__note_time(core, now);
    learn_time(core, sub);
    KP__TALLY(core, sub, creates++);
    recovered(core, sub);
    enum kp__change change = KP__AS_BEFORE;
    bool *mark = &kp__errand_of(slot)->probe;
    if (kp__counts(sub->rules, KP_BREAK_CREATE, *mark))
        change = kp__outcome(core, sub, KP_BREAK_CREATE, true, mark, now);
    kp__slot_enter(core, slot);
    slot->since = now;
    if (slot->errand->renews) kp__replaced(core, slot, todo);
    kp__file_age(core, slot);
    if (sub->refill || kp__renewal_wanted(sub)) kp__file_sub(core, sub, now);
    if (core->phase == KP__CLOSED) { /* I12 */
        created_too_late(core, slot, request, todo);
        return change;
    }
    if (request) {
        kp__grant_slot(request, slot, lend_new(core, slot, request, now));
        kp__settle(core, sub, now, todo);
    } else {
        created_late(core, slot, now, todo);
        kp__drop_surplus(core, slot, todo);
    }
    kp__let_on(core, now);
    return change;
}

/* ---- it failed ------------------------------------------------------------------------------- */

enum kp__change kp__create_failed(struct kp__core *core, struct kp__slot *slot,
                                  struct kp__request *request, const struct kp__failure *what,
                                  struct kp__failure **keep, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__request *sponsor = kp__sponsor_release(core, slot);
    bool final = !sub->rules->retry_requests || what->code == KP_EREFUSED;
    bool background = !request && !sponsor, probe = false;
    enum kp__change change = KP__AS_BEFORE;

    kp__note_time(core, now);
    learn_time(core, sub);
    kp__probe_pass(&kp__errand_of(slot)->probe, &probe);
    if (sponsor && final) {
        kp__blame(sponsor, what);
        kp__refuse(core, sponsor, what->code, todo);
    }
    /* whoever goes on waiting does so without a lent permit */
    if (request) {
        kp__grant_no(request, what->code, KP__NOT_BOUND);
        kp__lent_drop(core, request);
    } else if (sponsor) {
        kp__lent_drop(core, sponsor);
    }
    if (slot->errand->renews) kp__renewal_failed(core, sub, now);
    kp__slot_move(core, slot, KP__FREE);
    kp__unfile_slot(core, slot); /* it is filed if its requester has gone */
    kp__slot_put(core, slot);
    if (what->code == KP_ECANCELED) { /* it was called off: nobody's failure */
        kp__probe_end(core, sub, &probe);
    } else {
        remember(core, sub, what, background, now, keep);
        change = kp__outcome(core, sub, KP_BREAK_CREATE, false, &probe, now);
    }
    if (sub->rare->health.back_off) kp__file_sub(core, sub, sub->rare->health.back_off);
    else if (sub->refill) kp__file_sub(core, sub, now);
    if (sub->leaving == KP__DROPPED) kp__file_forget(core, sub);
    kp__settle(core, sub, now, todo);
    kp__let_on(core, now);
    return change;
}
