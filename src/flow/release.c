/* SPDX-License-Identifier: MIT
 *
 * The way back: return (7), reset (8), give (9, core/give.c). What else can be done with a lease:
 * lease.c.
 */
#include <stdio.h>

#include "core/give.h"
#include "core/revoke.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/here.h"
#include "flow/job.h"
#include "flow/lease.h"
#include "flow/loop.h"
#include "flow/settings.h"

/* ---- 7. return: whose lease is it, and is it still one? -------------------------------------- */

/* NULL: it is a lease that is held. Otherwise what the caller most likely did. */
static const char *not_held(struct kp__held *h, uint64_t word)
{
    const char *dead = "this is not a lease of this pool; was the variable initialised?";
    uint64_t generation = word >> KP__WORD_BITS;

    if (!h->slot || h->number >= h->slot->errand->seats) return dead;
    const struct kp__seat *seat = kp__seat_at(h->slot, h->number);
    uint64_t latest = h->slot->errand->seats == 1 ? h->slot->generation : seat->generation;
    bool mine = !seat->ending || h->asked >= KP__CLEAN;
    if (word == kp__seat_word(seat, h->pool->core.asks) && seat->lent && mine) return NULL;
    if ((word & ~(uint64_t)(KP__TURN | KP__ASKS | KP__HOMED)) !=
        kp__word(generation, KP__WORD_LENT))
        return dead;
    if (generation == 0 || generation > h->slot->generation) return dead;
    h->over = true;
    if (latest <= generation)
        return "this lease has ended already, through a copy of it: released twice, or used after "
               "its release";
    /* or a line was taken over, whose numbers go on (core/lane.c): so it is not said how often */
    return "stale lease: it has ended, and its resource may have been lent again since";
}

/* Was it lent by a process that this one was forked from? */
static bool is_of_before_fork(const kp_lease *lease)
{
    /* relaxed: written only in a child of fork, before that has a second thread */
    return (lease->opaque[2] & KP__LEASE_LIVE) && !kp__has_ended(lease) &&
           lease->opaque[2] >> KP__LEASE_FORKS_AT <
               (atomic_load_explicit(&kp__forks, memory_order_relaxed) & KP__LEASE_FORKS);
}

/* Are its marks those of a lease of this pool? Then it names its seat, or, for seat 0, its cell. */
static bool is_in_order(struct kp__held *h, const kp_lease *lease)
{
    uint64_t marks = kp__lease_marks(h->pool->forks), last = lease->opaque[2];

    h->number = (uint32_t)last;
    if (last == (marks | h->number)) return true;
    if (last != (marks | KP__LEASE_CELL | h->number) || !h->slot || h->number == 0 ||
        h->slot->cell != h->number)
        return false;
    h->number = 0;
    return true;
}

/* The sentence about a lease that is not held; and which key it was of, if that can be told: it was
 * lent by this process, and its slot has lent nothing but this resource since. With the lock. */
static const char *with_key(const struct kp__held *h, const kp_lease *lease, const char *sentence,
                            char *text, size_t size)
{
    uint64_t marks = kp__lease_marks(h->pool->forks);
    char name[48];

    if (!h->over || !h->slot || h->slot->state == KP__FREE ||
        (lease->opaque[2] ^ marks) >> KP__LEASE_FORKS_AT != 0 ||
        h->slot->generation - (lease->opaque[1] >> KP__WORD_BITS) >= h->slot->lends)
        return sentence;
    kp__key_print_plain(&h->pool->key_type, kp__key_of(h->pool, h->slot->sub), name, sizeof name);
    snprintf(text, size, "%s (key %s)", sentence, name);
    return text;
}

static const char inherited[] =
    "this lease was lent before fork: only the parent can give it back";
static const char no_lease[] = "this is not a lease; was the variable initialised?";
static const char bare[] = "this has a resource, but not the numbers of its lease: keep the whole "
                           "lease, or ask kp_lease_of";

/* Enter the pool that a lease names, and look up the slot. False: it cannot be entered, which was
 * told as misuse (unless quiet). */
static bool come_to(const kp_lease *lease, struct kp__held *h, struct kp__todo *todo)
{
    struct kp_pool *door = kp__lease_door(lease);
    int code = 0;

    h->stranded = door && is_of_before_fork(lease);
    if (h->stranded && h->quiet) return false;
    h->pool = door ? kp__enter(door, todo, &code) : NULL;
    if (h->pool) {
        h->slot = kp__slab_at(&h->pool->core.slots, (uint32_t)lease->opaque[0]);
        return true;
    }
    const char *sentence = h->stranded ? inherited : no_lease;
    if (!h->stranded && code == KP_ECLOSED)
        sentence = "this lease has ended: its pool is closed and everything came back";
    if (kp__lease_is_bare(lease)) sentence = bare;
    if (!h->quiet) kp__misuse(NULL, NULL, sentence);
    return false;
}

/* NULL: it is a lease that is held, by the books, for which its lane is shut. Otherwise what the
 * caller most likely did. */
static const char *what_is_wrong(const kp_lease *lease, struct kp__held *h)
{
    if (h->stranded) return inherited;
    h->over = kp__has_ended(lease);
    if (h->slot && h->slot->sub && !(h->over && h->quiet)) kp__shut(h->pool, h->slot->sub);
    if (h->over)
        return "this lease has ended already, through this variable: released twice, or used after "
               "its release";
    return is_in_order(h, lease) ? not_held(h, lease->opaque[1]) : no_lease;
}

/* Of a lease that we have come to: is it held? False, without the lock: it is not, which was told
 * as misuse (unless quiet). */
static bool is_held(const kp_lease *lease, struct kp__held *h, struct kp__todo *todo)
{
    const char *sentence = what_is_wrong(lease, h);
    char text[200];

    if (!sentence) {
        h->seat = kp__seat_at(h->slot, h->number);
        return true;
    }
    if (!h->quiet)
        kp__misuse_within(h->pool, todo, NULL, with_key(h, lease, sentence, text, sizeof text));
    kp__leave(h->pool, todo);
    return false;
}

bool kp__lease_find(const kp_lease *lease, struct kp__held *h, struct kp__todo *todo)
{
    return come_to(lease, h, todo) && is_held(lease, h, todo);
}

/* ---- the end of a lease ---------------------------------------------------------------------- */

enum readiness { READY, UNFIT, LATER };

/* Is it clean, so that it need not be reset? Only a loop's own thread may touch its resources. */
static bool is_clean(const struct kp__held *h, struct kp__todo *todo)
{
    struct kp__pool *pool = h->pool;
    bool clean;

    if (h->asked != KP__UNASKED) return h->asked != KP__UNCLEAN;
    if (!pool->driver.is_clean || (pool->loop && !kp__loop_is_mine(pool->loop))) return false;
    kp__step_aside(pool, todo);
    clean = kp__is_clean(pool, h->slot->resource);
    kp__step_in(pool);
    return clean;
}

static bool is_going(const struct kp__held *h)
{
    return kp__is_going(&h->pool->core, h->slot);
}

/* 8. reset, and validate on return: when the resource's last borrower returns it, while it still
 * counts as lent. LATER: the answer of the job gives it back. UNFIT: *cause says why. */
static enum readiness made_ready(struct kp__held *h, kp_cause *cause, struct kp__todo *todo)
{
    struct kp__pool *pool = h->pool;
    bool validate = pool->driver.validate && (h->slot->sub->rules->validate_on & KP_CHECK_RETURN);
    int status = 0;

    if (!pool->driver.reset && !validate) return READY;
    if (h->slot->errand->borrowers > 1 || is_going(h)) return READY;
    kp__close_seats(h->slot); /* nobody shares it while it is being reset */
    h->seat->ending = true; /* from here on, copies of the lease have ended */
    bool reset = pool->driver.reset && !is_clean(h, todo);
    *cause = reset ? KP_CAUSE_RESET : KP_CAUSE_INVALID;
    if ((!reset && !validate) || is_going(h)) return READY; /* maybe since is_clean ran */
    if (!kp__stands_by(pool))
        return kp__return_by_job(pool, h->slot, h->number, reset, validate, todo) ? LATER : UNFIT;
    if (reset) status = kp__lent_call(pool, KP_JOB_RESET, h->slot, h->number, NULL, todo);
    if (status == 0 && validate && !is_going(h)) {
        *cause = KP_CAUSE_INVALID;
        status = kp__lent_call(pool, KP_JOB_VALIDATE, h->slot, h->number, NULL, todo);
    }
    return status == 0 ? READY : status == KP_PENDING ? LATER : UNFIT;
}

/* Can its end do without the time, as nothing is counted or filed by it (L9)? */
static bool is_bare(const struct kp__held *h, bool keep)
{
    return !h->seat->since && keep && !h->pool->core.clocked && h->pool->core.waiting == 0;
}

/* 8 and 9. If a job is to make it ready, the job's answer gives it back. */
static void give_back(struct kp__held *h, bool discard, struct kp__todo *todo)
{
    struct kp__core *core = &h->pool->core;
    struct kp__subpool *sub = h->slot->sub;
    bool keep = !discard && kp__is_reused(h);
    kp_cause cause = discard ? KP_CAUSE_DISCARDED : KP_CAUSE_NOT_REUSED;
    enum readiness ready = keep ? made_ready(h, &cause, todo) : READY;

    if (ready == LATER) return;
    keep = keep && ready == READY;
    uint64_t now = is_bare(h, keep) ? 0 : kp__time(h->pool);
    kp__give(core, h->slot, h->number, keep ? KP_CAUSE_NONE : cause, now, todo); /* 9 */
    kp__lane_open(core, sub, now);
}

/* The same if it is revoked, or that is under way: nobody will be lent it again. */
static void give_back_revoked(struct kp__held *h, bool discard, struct kp__todo *todo)
{
    kp_cause cause = discard ? KP_CAUSE_DISCARDED : KP_CAUSE_REVOKED;

    kp__note_time(&h->pool->core, kp__time(h->pool));
    kp__give_revoked(&h->pool->core, h->slot, h->number, cause, todo);
}

/* Does it matter that this use went well? If its resource is in doubt, which is never so on an open
 * lane (core/term.c); or if a circuit counts uses, as limits set a moment ago may say. */
static bool matters(const struct kp__held *h)
{
    return h->slot->doubted || kp__uses_count(h->pool->door);
}

/* False: its use is to be reported first, and the lease has not ended. */
static bool end(kp_lease *lease, enum kp__lease_end how, enum kp__asked asked)
{
    struct kp__held h = { .quiet = how >= KP__END_OF_SCOPE, .asked = asked };
    bool discard = how == KP__DISCARDED;
    struct kp__todo todo;

    bool there = come_to(lease, &h, &todo);
    if (there && !discard && kp__swing_back_locked(h.pool, h.slot, lease)) {
        kp__leave(h.pool, &todo);
        return true;
    }
    if (!there || !is_held(lease, &h, &todo)) {
        lease->resource = NULL;
        return true;
    }
    if (how == KP__END_OF_USE && asked == KP__UNASKED && matters(&h)) {
        kp__leave(h.pool, &todo);
        return false;
    }
    kp__mark_ended(lease, lease->opaque[1]);
    if (kp__is_revoked(h.slot, h.seat)) give_back_revoked(&h, discard, &todo);
    else give_back(&h, discard, &todo);
    kp__tell_news(h.pool, &todo);
    kp__leave(h.pool, &todo);
    return true;
}

bool kp__release(kp_lease *lease, enum kp__lease_end how)
{
    if (kp__lease_is_none(lease)) return true;
    enum kp__asked asked = kp__back_if_clean(lease);
    if (asked != KP__BACK) return end(lease, how, asked);
    kp__mark_ended(lease, lease->opaque[1]);
    return true;
}

void kp_discard(kp_lease *lease)
{
    if (!kp__lease_is_none(lease)) (void)end(lease, KP__DISCARDED, KP__UNASKED);
}

void kp__unlend(kp_lease *lease)
{
    struct kp__held h = { .quiet = true };
    struct kp__todo todo;

    kp__here.claimed_wrong = true;
    if (kp__lease_find(lease, &h, &todo)) {
        KP__TALLY(&h.pool->core, h.slot->sub, gets--);
        KP__TALLY(&h.pool->core, h.slot->sub, hits--);
        h.slot->lends--;
        kp__leave(h.pool, &todo);
    }
    (void)end(lease, KP__RELEASED, KP__MISTAKEN);
}
