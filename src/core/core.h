/* SPDX-License-Identifier: MIT
 *
 * The core: everything that is decided under a pool's one lock. It makes decisions and keeps the
 * books; it calls nobody, does no I/O, reads no clock and never looks into a resource. This header
 * has the books; what is decided on them is in the headers beside it, from kp__claim (serve.h), by
 * which a request comes in, to kp__give (give.h), by which a lease ends.
 *
 * Every function in src/core needs the pool's lock, except those that say otherwise. What has to
 * happen outside the lock (waking, destroying) leaves as a to-do (todo.h).
 *
 * TIME. `now` is handed in: the call that brings a decision about has read the clock. Other calls
 * may have come in since then, with a later `now`. Or it is 0, for a hit or a release that needs no
 * time (L9). core->latest is the latest `now` that any decision was told. What must not go back
 * goes by that, and so does a decision that was told no time.
 */
#ifndef KP__CORE_CORE_H
#define KP__CORE_CORE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "base/timers.h"
#include "base/world.h"
#include "core/budget.h"
#include "core/lane.h"
#include "core/rate.h"
#include "core/rules.h"
#include "core/share.h"
#include "core/subpool.h"

struct kp__allowance;
struct kp__guide;
struct kp__todo;

enum kp__phase { KP__OPEN, KP__DRAINING, KP__CLOSED };

struct kp__core {
    const struct kp__world *world;
    uint32_t id; /* of the pool, in leases */

    /* what the driver can do */
    bool can_create;
    bool validates; /* there is a driver.validate */
    bool resets;    /* there is a driver.reset */
    bool asks;      /* and a driver.is_clean */
    bool clocked;   /* some rule needs the time at every get and release */

    /* lanes (lane.h), and guides to them */
    bool lanes;          /* hits may do without the lock */
    bool homes;          /* and without atomic operations (base/home.h) */
    bool shuts;          /* a thread of its own shuts lanes in time; else upkeep does */
    bool by_bytes;       /* keys are bytes: guides may find them */
    uint64_t least_term; /* a lane opens for a longer term than this, or not at all */
    struct kp__heap open_lanes; /* subpools that have one, by the end of its term */
    struct kp__guide *guide; /* or NULL */
    uint64_t quick_seed;     /* of the hash by which guides find keys */
    /* the same hash, of keys that are described by their fields; NULL: these keys are not */
    uint64_t (*by_fields)(const struct kp__core *core, const void *key);

    /* settings */
    struct kp__rules *rules; /* of new keys */
    uint64_t leak_after, forget_after;
    int64_t max_idle, max_waiting, max_keys; /* budgets that no request waits for */
    int64_t group_max_live[KP__GROUPS];
    bool evicts, by_arrival; /* budget.evict_other_keys, KP_ACROSS_ARRIVAL */
    bool last_first;         /* limits.wait_order of the pool, when it was opened */
    bool shrunk;             /* a budget was lowered once: more may be live than it allows */
    enum kp__evictable evictable; /* which idle ones; USUAL, except within resize.c */

    /* keys and resources */
    enum kp__phase phase;
    struct kp__map keys, idents, groups; /* idents: slots, by their resources */
    struct kp__slab slots, errands, subpools;
    struct kp__list used_groups, spare_groups;
    struct kp__list unused; /* keys that nobody uses, the longest unused first; and some that
                               have been used again (kp__table_spare) */
    uint32_t key_count, key_serials, group_serials;
    int64_t minima, floors; /* of all keys, added up */
    struct kp__timers slots_due, keys_due; /* the calendar */

    /* budgets, and who lacks something of them */
    struct kp__budget live, lent, creating;
    struct kp__rate rate; /* of creations that begin */
    uint32_t starved;     /* subpools in the heaps of budgets, ... */
    uint64_t contended;   /* ... since when there has been one, ... */
    uint64_t contention;  /* ... and for how long there was one before that, in all */
    struct kp__usual usual[KP__MEASURES];
    struct kp__list promises; /* victims for whose places permits are promised (permit.h) */
    struct kp__list held_up; /* keys whose background waits for budget.max_creating, in turn */
    struct kp__list drains; /* keys with a slot that is left to drain (decide.c) ... */
    uint32_t draining;      /* ... and how many they are */

    /* the books */
    uint64_t latest; /* time that a decision was told */
    uint32_t count[KP__STATES];
    uint32_t leases, waiting, promised, revoked, revoking;
    uint32_t tests;      /* the keeper's, under way: part of the count of those being created */
    int64_t returning;   /* lent ones on open lanes: any of them may be idle by now (lane.h) */
    int64_t home_credit; /* leases that sought a home, less the price of homes taken (home.c) */
    uint64_t stamps, returns, serials; /* numbers given out: to requests, to returns, to slots */
    uint64_t epoch;    /* 1 + the times that kp_rotate was called */
    uint32_t era;      /* a new one begins when a call waits for the leases so far (kp_drain) */
    uint32_t tripped, probing; /* keys whose circuit is not closed; of these, half-open */

    /* counters that only grow */
    struct kp__tally tally;
    struct kp__seldom seldom;
    uint64_t misuses, keys_made, keys_forgotten;
};

/* The books of a pool that has just begun, within these budgets (resize.h). What the driver can do,
 * the settings, and whether there are lanes and guides, is for the caller to say. */
void kp__core_init(struct kp__core *core, const struct kp__allowance *may);

/* at + by, and KP__NEVER at most. */
static inline uint64_t kp__later(uint64_t at, uint64_t by)
{
    return by >= KP__NEVER - at ? KP__NEVER : at + by;
}

static inline uint64_t kp__sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Change a counter of this key, and that of the pool alike: KP__TALLY(core, sub, gets++). */
#define KP__TALLY(core, sub, change) \
    ((void)((sub)->tally.change), (void)((core)->tally.change))

/* One more of what happens to few keys (struct kp__seldom): of this one, and in all. */
#define KP__COUNT_SELDOM(core, sub, what) \
    ((void)kp__rare(core, sub)->seldom.what++, (void)(core)->seldom.what++)

/* Account for what this key has held until now: to be called before that changes. If no key is
 * starved now, one may have been since the last time. */
static inline void kp__account(struct kp__core *core, struct kp__subpool *sub)
{
    if (core->starved || sub->contest->share.at < core->contention) kp__account_now(core, sub);
}

/* This subpool lacks a permit of `budget`, and is starved; or (NULL) of none, which mostly was so
 * before. */
static inline void kp__note_lack(struct kp__core *core, struct kp__subpool *sub,
                                 struct kp__budget *budget)
{
    if (budget || sub->contest->lacks) kp__note_lack_now(core, sub, budget);
}

/* What this subpool holds has changed, or who waits first: if it lacks a permit, rank it anew. */
static inline void kp__rank_anew(struct kp__core *core, struct kp__subpool *sub)
{
    if (sub->contest->lacks) kp__note_lack_now(core, sub, sub->contest->lacks);
}

/* May this subpool take a permit now: is there one, and does no starved key rank before it? */
static inline bool kp__budget_may_take(struct kp__core *core, struct kp__budget *budget,
                                       struct kp__subpool *sub)
{
    return !kp__budget_is_full(budget) &&
           (core->starved == 0 || !kp__budget_outranked(core, budget, sub));
}

/* The budget at this place, below KP__FILED, if this key counts there; else NULL. */
static inline struct kp__budget *kp__budget_at(struct kp__core *core, const struct kp__subpool *sub,
                                               int place)
{
    return place == KP__POOL ? &core->live : kp__group_budget(sub, place - KP__GROUP_0);
}

/* The counts of a key have changed: file it by whether one of its idle resources can be evicted.
 * Only where some budget may want that. */
static inline void kp__evictable_update(struct kp__core *core, struct kp__subpool *sub)
{
    if (core->live.cap < KP__UNBOUND || kp__group_budget(sub, 0) || kp__group_budget(sub, 1))
        kp__evictable_file(core, sub);
}

/* May so many more be idle, over all keys? */
static inline bool kp__may_idle(struct kp__core *core, uint32_t more)
{
    return core->count[KP__IDLE] + core->returning + more <= core->max_idle ||
           kp__lanes_yield_idle(core, more);
}

/* Note the time that a decision was told: none (0) only while no key is starved. */
static inline void kp__note_time(struct kp__core *core, uint64_t now)
{
    if (now > core->latest) core->latest = now;
}

/* When the first term of those of open lanes ends (lane.h); KP__NEVER: none does. */
static inline uint64_t kp__terms_next(const struct kp__core *core)
{
    const struct kp__heap_node *first = kp__heap_top(&core->open_lanes);

    return first ? KP__OF(first, struct kp__lane_books, node)->until : KP__NEVER;
}

#if defined KP_VERIFY && KP_VERIFY
/* The invariants (docs/INVARIANTS.md), or abort with what is broken. In verify.c. */
void kp__verify(struct kp__core *core);
#endif

#endif
