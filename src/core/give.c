/* SPDX-License-Identifier: MIT
 *
 * The way back: creations that end (step 4 of docs/PATH.md), leases that end (step 9), resources
 * that go. Each changes the books, then settles (serve.c): what became free goes to whoever is
 * next.
 */
#include "base/check.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/permit.h"
#include "core/renew.h"
#include "core/resize.h"
#include "core/serve.h"
#include "core/table.h"
#include "core/todo.h"

static void close_slot(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
                       struct kp__todo *todo)
{
    slot->cause = (uint8_t)cause;
    kp__slot_move(core, slot, KP__CLOSING);
    kp__list_push_back(&todo->doomed, &slot->link);
}

/* ---- 4. create: how it ended ----------------------------------------------------------------- */

/* Nothing is under way any more for the sponsor of a creation or a check: if it still waits, it may
 * take or create anything again. It keeps its lent permit while its own key is served. */
static struct kp__request *release_sponsor(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__request *sponsor = slot->errand->sponsor;

    if (!sponsor) return NULL;
    kp__errand_of(slot)->sponsor = NULL;
    sponsor->slot = NULL;
    kp__queue_remove(core, sponsor);
    sponsor->queue = kp__queue_for(sponsor);
    kp__queue_insert(core, sponsor);
    return sponsor;
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

/* Begin the lease of a new resource for the request that it was made for. Returns its seat. */
static uint32_t lend_new(struct kp__core *core, struct kp__slot *slot,
                         const struct kp__request *request, uint64_t now)
{
    uint32_t seat = kp__seat_take(core, slot, now);

    kp__seat_at(slot, seat)->tag = request->tag;
    kp__seat_at(slot, seat)->site = kp__site_of(request);
    kp__probe_pass(&kp__errand_of(slot)->probe, &kp__seat_at(slot, seat)->probe);
    return seat;
}

static void created_too_late(struct kp__core *core, struct kp__slot *slot,
                             struct kp__request *request, struct kp__todo *todo)
{
    kp__probe_end(core, slot->sub, &kp__errand_of(slot)->probe);
    close_slot(core, slot, KP_CAUSE_CLOSED, todo);
    if (!request) return;
    kp__lent_drop(core, request);
    kp__grant_no(request, KP_ECLOSED, KP__NOT_BOUND);
}

/* A creation that no request stands by came out well: whoever is next gets the resource. If that is
 * not its sponsor, the sponsor goes on waiting. */
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
    sponsor = release_sponsor(core, slot);
    /* the creation's mark ends: whoever takes the resource may probe, and maybe nobody does */
    kp__probe_end(core, sub, &kp__errand_of(slot)->probe);
    kp__slot_move(core, slot, KP__IDLE);
    kp__file_slot(core, slot);
    kp__settle(core, sub, now, todo);
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
    KP__TALLY(core, sub, creates++);
    recovered(core, sub);
    enum kp__change change = KP__AS_BEFORE;
    bool *mark = &kp__errand_of(slot)->probe;
    if (kp__counts(sub->rules, KP_BREAK_CREATE, *mark))
        change = kp__outcome(core, sub, KP_BREAK_CREATE, true, mark, now);
    kp__slot_known(core, slot);
    slot->since = now;
    if (slot->errand->renews) kp__replaced(core, slot, todo);
    kp__file_age(core, slot);
    if (sub->refill || kp__renewal_wanted(sub)) kp__file_sub(core, sub, now);
    if (core->phase == KP__CLOSED) {
        created_too_late(core, slot, request, todo);
        return change;
    }
    if (request) {
        kp__grant(request, KP__GRANT_SLOT, slot);
        request->grant.seat = (uint16_t)lend_new(core, slot, request, now);
        request->holds_lent = false; /* the lease has it now */
        kp__settle(core, sub, now, todo);
    } else {
        created_late(core, slot, now, todo);
        kp__drop_surplus(core, slot, now, todo);
    }
    return change;
}

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

/* Keep the failure for requests that may be told it later. *keep is memory for it; what comes back
 * there is for the caller to free. */
static void remember(struct kp__core *core, struct kp__subpool *sub, const struct kp__failure *what,
                     bool background, uint64_t now, struct kp__failure **keep)
{
    const struct kp__rules *r = sub->rules;
    struct kp__health *h = &kp__rare(core, sub)->health;
    struct kp__failure *failure = *keep;
    bool refused = what->code == KP_EREFUSED;
    bool once = r->cache_once && background && !refused && (int64_t)h->kept_count < r->max_live;

    KP__COUNT_SELDOM(core, sub, create_failures);
    h->failures++;
    uint64_t pause = pause_after(core, r, h->failures);
    /* as long as it is kept, the background does not try again: without that it would spin */
    if (once && !failure && pause == 0) pause = LEAST_PAUSE;
    h->back_off = pause ? kp__later(now, pause) : 0;
    if (h->refused && !refused) return; /* the refusal stays the cause */
    h->refused = refused;
    if (failure) { /* else out of memory: counted and reported all the same */
        bool cached = r->cache_failure && !r->cache_once && !refused;
        *failure = *what;
        kp__list_init(&failure->link);
        failure->until = cached ? kp__later(now, r->cache_failure) : 0;
        if (once) {
            kp__list_push_back(&h->kept, &failure->link);
            h->kept_count++;
            *keep = NULL;
            return;
        }
    }
    *keep = h->last;
    h->last = failure;
}

enum kp__change kp__create_failed(struct kp__core *core, struct kp__slot *slot,
                                  struct kp__request *request, const struct kp__failure *what,
                                  struct kp__failure **keep, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__request *sponsor = release_sponsor(core, slot);
    bool final = !sub->rules->retry_requests || what->code == KP_EREFUSED;
    bool background = !request && !sponsor, probe = false;
    enum kp__change change = KP__AS_BEFORE;

    kp__note_time(core, now);
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
    return change;
}

/* ---- 9. give --------------------------------------------------------------------------------- */

void kp__close_idle(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
                    struct kp__todo *todo)
{
    KP__DCHECK(slot->state == KP__IDLE);
    close_slot(core, slot, cause, todo);
}

uint32_t kp__close_many(struct kp__core *core, struct kp__subpool *sub, kp_cause cause,
                        struct kp__slot **slots, uint32_t most)
{
    const struct kp__list *idle = KP__SLOTS(sub, KP__IDLE);
    struct kp__list *node = kp__list_first(idle);
    uint32_t many = 0;

    for (; node && many < most; node = kp__list_next(idle, node)) {
        struct kp__slot *slot = KP__OF(node, struct kp__slot, link);
        /* the list leads to them only one after the other: prefetch all of each meanwhile */
        for (size_t at = 0; at < sizeof *slot; at += 64) __builtin_prefetch((char *)slot + at);
        slot->cause = (uint8_t)cause;
        slots[many++] = slot;
    }
    kp__slots_move(core, slots, many, KP__CLOSING);
    return many;
}

/* The cause of its end: as given, unless a failed check of it has found its peer gone (doubt.c). */
static kp_cause cause_or_gone(const struct kp__slot *slot, kp_cause cause)
{
    bool gone = slot->errand->doomed && slot->cause == KP_CAUSE_GONE;

    return gone && (cause == KP_CAUSE_INVALID || cause == KP_CAUSE_RESET) ? KP_CAUSE_GONE : cause;
}

kp_cause kp__end_cause(struct kp__core *core, const struct kp__slot *slot, bool keep,
                       kp_cause cause, uint64_t now)
{
    const struct kp__rules *r = slot->sub->rules;

    if (!keep) return cause_or_gone(slot, cause);
    if (slot->errand->doomed) return (kp_cause)slot->cause;
    if (core->phase == KP__CLOSED) return KP_CAUSE_CLOSED;
    if (kp__is_used_up(slot)) return KP_CAUSE_USES;
    if (kp__is_too_old(slot, KP_CHECK_RETURN | KP_CHECK_GET, now)) return kp__end_of_age(slot);
    if (slot->ageing && kp__has_spare(slot->sub)) return KP_CAUSE_RENEWED;
    if (kp__over_live(core, slot->sub, slot->sub->waiting > 0)) return KP_CAUSE_SURPLUS;
    if (slot->sub->waiting || r->drop_oldest) return KP_CAUSE_NONE;
    return kp__over_idle(core, slot->sub, 1) ? KP_CAUSE_SURPLUS : KP_CAUSE_NONE;
}

void kp__drop_surplus(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                      struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    if (slot->state != KP__IDLE) return;
    if ((sub->rules->idle_check | sub->rules->excess_check) & KP_CHECK_RETURN) {
        struct kp__slot *oldest = kp__oldest_idle(sub);
        if (now >= kp__expires_at(oldest, KP_CHECK_RETURN))
            kp__close_idle(core, oldest, kp__expired(oldest, KP_CHECK_RETURN), todo);
    }
    if (slot->state != KP__IDLE || !kp__is_surplus(core, sub)) return;
    if (sub->rules->drop_oldest) slot = kp__oldest_idle(sub);
    kp__close_idle(core, slot, KP_CAUSE_SURPLUS, todo);
}

static void end_lease(struct kp__core *core, struct kp__slot *slot, uint32_t seat, bool keep,
                      kp_cause cause, bool used, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    kp__note_time(core, now);
    if (sub->open) kp__lane_shut(core, sub, core->now); /* this slot was not on it */
    kp__seat_leave(core, slot, seat, now);
    if (now) sub->used_at = now;
    kp__probe_end(core, sub, &kp__seat_at(slot, seat)->probe);
    if (slot->errand->borrowers > 0) { /* the last one out closes it */
        if (!keep) (void)kp__doom(core, slot, cause, todo);
        kp__lent_refund(core, sub);
        kp__settle(core, sub, now, todo);
        return;
    }
    kp_cause why = kp__end_cause(core, slot, keep, cause, now);
    if (why) { /* its lent permit goes back when it is destroyed, not before */
        kp__errand_of(slot)->owes_lent = true;
        close_slot(core, slot, why, todo);
        return;
    }
    if (used) slot->since = now;
    kp__slot_move(core, slot, KP__IDLE);
    kp__lent_refund(core, sub);
    kp__settle(core, sub, now, todo);
    kp__drop_surplus(core, slot, now, todo);
    if (slot->state == KP__IDLE) kp__file_slot(core, slot); /* else it was only handed on */
    if (slot->doubted) kp__file_sub(core, sub, now); /* to be tested */
    if (now && kp__sub_live(sub) <= sub->rules->min_live) kp__file_forget(core, sub);
}

void kp__give(struct kp__core *core, struct kp__slot *slot, uint32_t seat, bool keep,
              kp_cause cause, uint64_t now, struct kp__todo *todo)
{
    end_lease(core, slot, seat, keep, cause, true, now, todo);
}

void kp__give_unused(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now,
                     struct kp__todo *todo)
{
    end_lease(core, slot, seat, true, KP_CAUSE_SURPLUS, false, now, todo);
}

void kp__checked(struct kp__core *core, struct kp__slot *slot, uint32_t seat, bool good,
                 uint64_t now, struct kp__todo *todo)
{
    struct kp__request *sponsor = slot->errand->sponsor;
    struct kp__subpool *sub = slot->sub;

    if (!sponsor || !good || slot->errand->doomed) {
        (void)release_sponsor(core, slot);
        slot->lends--; /* nobody had it */
        kp__give(core, slot, seat, good, KP_CAUSE_INVALID, now, todo);
        kp__settle(core, sub, now, todo); /* its sponsor may take something else now */
        if (sponsor) kp__send_away(core, sponsor, todo);
        return;
    }
    struct kp__seat *s = kp__seat_at(slot, seat);
    KP__TALLY(core, sub, hits += s->hit); /* it was not counted while in doubt */
    kp__doubt_end(core, slot);
    s->ending = false;
    kp__answer_slot(core, sponsor, slot, seat, todo);
    sponsor->grant.good = true; /* not too late: its owner reads it under the lock */
    kp__open_seats(core, slot);
    kp__settle(core, sub, now, todo); /* others may share it */
}

/* ---- resources that go ----------------------------------------------------------------------- */

/* Slots of one key become free. The key makes up for them (refill), or may be forgotten in time. */
static void vacate(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                   uint64_t now)
{
    struct kp__subpool *sub = slots[0]->sub;

    KP__TALLY(core, sub, destroys += many);
    kp__slots_move(core, slots, many, KP__FREE);
    for (uint32_t i = 0; i < many; i++) {
        struct kp__slot *slot = slots[i];
        kp__count_cause(core, sub, slot->cause);
        slot->resource = NULL;
        kp__cell_drop(core, slot);
        if (slot->errand->owes_lent) kp__lent_refund(core, sub);
        kp__slot_put(core, slot);
    }
    if (sub->rules->eager && kp__refill_missing(core, sub, false) > 0) sub->refill = true;
    if (sub->refill || kp__renewal_wanted(sub)) kp__file_sub(core, sub, now);
    if (kp__sub_live(sub) <= sub->rules->min_live) kp__file_forget(core, sub);
}

void kp__gone(struct kp__core *core, struct kp__slot *slot, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    kp__note_time(core, now);
    vacate(core, &slot, 1, now);
    kp__settle(core, sub, now, todo);
}

void kp__gone_many(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                   uint64_t now, struct kp__todo *todo)
{
    kp__note_time(core, now);
    for (uint32_t first = 0, end; first < many; first = end) {
        struct kp__subpool *sub = slots[first]->sub;
        for (end = first + 1; end < many && slots[end]->sub == sub;) end++;
        vacate(core, &slots[first], end - first, now);
        kp__settle(core, sub, now, todo);
    }
}

void kp__victim_gone(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
                     uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *loser = victim->sub;
    const struct kp__slot *next = victim->errand->victim.next;
    struct kp__group *left[2];

    kp__note_time(core, now);
    if (next) kp__promise_pass(core, sub, victim, left);
    else kp__promise_end(core, sub, victim, left);
    vacate(core, &victim, 1, now);
    if (!next) kp__permit_take(core, sub);
    kp__settle(core, sub, now, todo); /* with one more live, it may have an idle one to spare */
    kp__settle(core, loser, now, todo); /* its groups, or its own limit, may have room now */
    kp__settle_left(core, left, now, todo);
}

void kp__victim_gone_late(struct kp__core *core, struct kp__slot *victim, uint64_t now,
                          struct kp__todo *todo)
{
    const struct kp__victim *part = &victim->errand->victim;
    struct kp__subpool *loser = victim->sub, *sub = part->heir;
    struct kp__request *sponsor = victim->errand->sponsor;
    struct kp__slot *next = part->next;
    struct kp__group *left[2];
    bool probe = false;

    if (!sponsor) { /* it was waived */
        kp__list_remove(&kp__errand_of(victim)->waived);
        kp__gone(core, victim, now, todo);
        return;
    }
    kp__note_time(core, now);
    kp__probe_pass(&kp__errand_of(victim)->probe, &probe);
    if (next) kp__promise_pass(core, sub, victim, left);
    else kp__promise_end(core, sub, victim, left);
    vacate(core, &victim, 1, now);
    sponsor->slot = next;
    if (next) {
        kp__errand(core, next)->victim.heir = sub;
        kp__errand(core, next)->sponsor = sponsor;
        kp__probe_pass(&probe, &kp__errand_of(next)->probe);
        kp__list_push_back(&todo->doomed, &next->link);
    } else {
        kp__permit_take(core, sub);
        /* else it was granted what was waived, and has not gone on yet */
        if (kp__waits(sponsor)) kp__answer_permit(core, sponsor, todo);
        sponsor->grant.probe |= probe;
    }
    kp__settle(core, sub, now, todo);
    kp__settle(core, loser, now, todo);
    kp__settle_left(core, left, now, todo);
}

/* ---- marks ----------------------------------------------------------------------------------- */

bool kp__doom(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
              struct kp__todo *todo)
{
    if (slot->state == KP__IDLE) {
        kp__close_idle(core, slot, cause, todo);
        return true;
    }
    bool there = slot->state == KP__LENT || slot->state == KP__TESTED;
    if (!there || slot->errand->doomed) return false;
    kp__errand(core, slot)->doomed = true;
    slot->cause = (uint8_t)cause;
    kp__close_seats(slot);
    kp__doubt_end(core, slot);
    return true;
}
