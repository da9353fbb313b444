/* SPDX-License-Identifier: MIT
 *
 * The core: everything that is decided under a pool's one lock. It makes decisions and keeps the
 * books; it calls nobody, does no I/O, reads no clock (`now` is handed in) and never looks into a
 * resource. The two ends of its story are kp__claim (serve.c) and kp__give (give.c).
 *
 * Every function in src/core needs the pool's lock, but for those that say otherwise. What has to
 * happen outside the lock (waking, destroying) leaves as a to-do.
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
#include "core/guide.h"
#include "core/lane.h"
#include "core/rate.h"
#include "core/request.h"
#include "core/rules.h"
#include "core/slot.h"
#include "core/subpool.h"

enum kp__phase { KP__OPEN, KP__DRAINING, KP__CLOSED };

struct kp__core {
    const struct kp__world *world;
    bool can_create;
    bool validates; /* there is a driver.validate */
    bool resets;    /* there is a driver.reset */
    bool asks;      /* and a driver.is_clean */
    bool clocked; /* some rule needs the time of day at every get and release */
    bool lanes;     /* hits may do without the lock (lane.h) */
    bool homes;     /* and without atomic operations (base/home.h) */
    uint32_t id;    /* of the pool, in leases */
    bool by_bytes;  /* keys are bytes: guides may find them */
    /* keys are told by their fields, and by this hash guides may find them; or NULL */
    uint64_t (*by_fields)(const struct kp__core *core, const void *key);
    uint64_t quick_seed;
    struct kp__guide *guide; /* or NULL */
    uint64_t least_term; /* a lane opens for more than this, or not */
    uint64_t leak_after, forget_after;
    int64_t max_idle, max_waiting, max_keys; /* budgets nobody waits for */
    int64_t group_max_live[2];
    bool evicts, by_arrival; /* budget.evict_other_keys, KP_ACROSS_ARRIVAL */
    bool shrunk;             /* a budget was lowered once: more may be live than it allows */
    enum kp__spare spare;    /* which idle ones may be evicted; USUAL but in resize.c */

    enum kp__phase phase;
    struct kp__map keys, idents, groups;
    struct kp__slab slots, errands, subpools;
    struct kp__list unused; /* each that nobody uses, the longest unused first; others, too */
    struct kp__heap open; /* those whose lane is open, by the end of their terms */
    bool shuts;           /* somebody does nothing but shut lanes in time; else upkeep does */
    uint32_t key_count, key_serials, group_serials;
    struct kp__rules *rules; /* of keys to come */

    uint64_t now; /* of the latest decision that was told the time */
    struct kp__budget live, lent, creating;
    uint32_t starved;   /* subpools in their heaps */
    struct kp__list drains;  /* keys with one that is left to drain (decide.c) ... */
    uint32_t draining;       /* ... so many */
    uint64_t contended; /* since when there has been one */
    struct kp__usual usual[KP__MEASURES];
    int64_t minima, floors; /* of all keys, added up */
    struct kp__timers slots_due, keys_due; /* the calendar */
    uint32_t count[KP__STATES];
    int64_t settled; /* leases, less what the taking of homes cost (home.c) */
    int64_t returning; /* lent ones on open lanes: any of them may be idle by now (lane.h) */
    uint32_t leases, waiting, promised, revoked, revoking;
    uint64_t stamps, returns, serials;
    struct kp__tally tally;
    struct kp__seldom seldom;
    uint64_t misuses, keys_made, keys_forgotten;
    uint64_t epoch; /* 1 + the times that kp_rotate was called */
    uint32_t era; /* ends whenever somebody waits for the leases of before (kp_drain) */
    struct kp__rate rate; /* of creations that begin */
    uint32_t tripped, probing; /* keys whose circuit is not closed; of these, half-open */
    uint32_t tests; /* by the keeper, under way: part of the count of those being created */
};

/* One more of what happens to few keys (struct kp__seldom): of this one, and in all. */
#define KP__COUNT_SELDOM(core, sub, what) \
    ((void)kp__rare(core, sub)->seldom.what++, (void)(core)->seldom.what++)

/* Count what this key held until now. Before each change of what it holds. */
static inline void kp__account(struct kp__core *core, struct kp__subpool *sub)
{
    if (core->starved) kp__account_now(core, sub);
}

/* May this subpool take a permit now: is there one, and is nobody starved who ranks before it? */
static inline bool kp__budget_may_take(struct kp__core *core, struct kp__budget *budget,
                                       struct kp__subpool *sub)
{
    return budget->used < budget->cap &&
           (core->starved == 0 || !kp__budget_outranked(core, budget, sub));
}

/* After its counts changed: can room be made of what it has? Only where a budget may want it. */
static inline void kp__evictable_update(struct kp__core *core, struct kp__subpool *sub)
{
    if (core->live.cap < KP__UNBOUND || kp__group_budget(sub, 0) || kp__group_budget(sub, 1))
        kp__evictable_file(core, sub);
}

/* May so many more be idle, over all keys? */
static inline bool kp__may_idle(struct kp__core *core, uint32_t more)
{
    return core->count[KP__IDLE] + core->returning + more <= core->max_idle ||
           kp__lanes_leave_idle(core, more);
}

/* Whenever somebody is starved, the time is known. */
static inline void kp__at(struct kp__core *core, uint64_t now)
{
    if (now > core->now) core->now = now;
}

/* What a decision leaves to be done without the lock. Wake-ups need the address only, not the
 * memory behind it. */
enum { KP__WAKES = 16, KP__BELLS = 4 };
struct kp__todo {
    const struct kp__world *world;
    uint32_t *wake[KP__WAKES];
    struct kp__mailbox *bell[KP__BELLS]; /* of event loops */
    int wakes, bells;
    struct kp__list doomed; /* slots in CLOSING, to be destroyed */
    struct kp__list spent;  /* failures that have been told, to be freed */
};

static inline void kp__todo_init(struct kp__todo *todo, const struct kp__world *world)
{
    todo->world = world;
    todo->wakes = todo->bells = 0;
    kp__list_init(&todo->doomed);
    kp__list_init(&todo->spent);
}

static inline bool kp__todo_is_empty(const struct kp__todo *todo)
{
    return todo->wakes == 0 && todo->bells == 0 && kp__list_empty(&todo->doomed) &&
           kp__list_empty(&todo->spent);
}

void kp__todo_wake(struct kp__todo *todo, _Atomic uint32_t *word);
void kp__todo_run_wakes(struct kp__todo *todo); /* without the lock */

/* ---- the way in (serve.c, request.c) --------------------------------------------------------- */

/* A request before anything is known of it, but who asks; and where, for its lease. */
void kp__request_init(struct kp__request *request, bool of_loop, const void *site, kp_why *why);
const void *kp__site_of(const struct kp__request *request);

/* One decision for a request that has just come: a grant at once, a place in the queue, or no. */
void kp__claim(struct kp__core *core, struct kp__request *request, uint64_t now,
               struct kp__todo *todo);

/* The queue for who wants this, and has this under way. */
enum kp__queue kp__queue_for(const struct kp__request *request);

/* Into the queue, at the place of its arrival; out of it, with the answer that is in `grant`. */
void kp__enqueue(struct kp__core *core, struct kp__request *request);
void kp__answer(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* What a request waits for: a permit of this budget, if that is all it lacks, else NULL; and a
 * moment at which it is to look again without being asked, or KP__NEVER. */
struct kp__lack {
    struct kp__budget *budget;
    uint64_t again;
};

/* Whether a request may have something now (decide.c). True: its grant says what. False: its limit
 * says what binds, and *lack what it waits for. */
bool kp__decide(struct kp__core *core, struct kp__request *request, uint64_t now,
                struct kp__todo *todo, struct kp__lack *lack);

/* Back to its place in the queue: sponsor of what is under way for it, or (NULL) of nothing. */
void kp__wait_again(struct kp__core *core, struct kp__request *request, struct kp__slot *making,
                    uint64_t now, struct kp__todo *todo);

/* KP_EVENTUAL: whoever holds may come back for a turn, before those who wait; when it is over, as
 * many as there are resources are handed over in order. It is so long that all who want one have
 * had theirs after KP__ROUND. Nobody is passed for longer than KP__PASSED_MOST. Who was woken for
 * what is idle, and found it taken, looks again after KP__LOOKS_AFTER. */
#define KP__ROUND UINT64_C(12000000)
#define KP__PASSED_MOST UINT64_C(20000000)
#define KP__LOOKS_AFTER UINT64_C(250000)

/* Is what a request could have left to whoever is faster? Then it is told, once, and comes. */
bool kp__is_left(struct kp__core *core, const struct kp__request *request, uint64_t now);
void kp__offer(struct kp__request *request, struct kp__todo *todo);

/* Others wait, and the first of them were told, come, and may be passed until then: the lane may be
 * open. */
bool kp__may_be_passed(const struct kp__subpool *sub, uint64_t now);

/* One that said not to wait, and whose check failed, was not asked if others are ahead of it: it is
 * told so. */
void kp__send_away(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* A waiting request has been woken, or has not yet gone to sleep: does it take what it was invited
 * to, or what it was offered? Then it is answered. */
void kp__heed(struct kp__core *core, struct kp__request *request, uint64_t now,
              struct kp__todo *todo);

/* Leave the queue without an answer (time-out). False: an answer came first, and stands. */
bool kp__withdraw(struct kp__core *core, struct kp__request *request, uint64_t now,
                  struct kp__todo *todo);

/* Give back what a request was granted and has not begun to use. */
void kp__decline(struct kp__core *core, struct kp__request *request, uint64_t now,
                 struct kp__todo *todo);

/* Answer a waiting request, or all those of a key, with no. */
void kp__refuse(struct kp__core *core, struct kp__request *request, int code,
                struct kp__todo *todo);
void kp__refuse_all(struct kp__core *core, struct kp__subpool *sub, int code,
                    struct kp__todo *todo);

/* Tell a request's owner that it was answered, or that one who waits should look again: a thread
 * now, an event loop by then. */
void kp__rouse(struct kp__todo *todo, struct kp__request *request);
void kp__nudge(struct kp__todo *todo, struct kp__request *request, uint64_t at);

/* Where the driver's reason goes that a request was told no. */
void kp__blame(struct kp__request *request, const struct kp__failure *failure);

/* Answer a waiting request with a lease that has begun. */
void kp__answer_slot(struct kp__core *core, struct kp__request *request, struct kp__slot *slot,
                     uint32_t seat, struct kp__todo *todo);

/* Answer a waiting request with a permit that was taken for it. */
void kp__answer_permit(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* Give whatever is free to whoever is next: in this key, then wherever a budget has something left.
 * The heart of L1. */
void kp__settle(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                struct kp__todo *todo);

/* The same for what one budget has left. */
void kp__settle_budget(struct kp__core *core, struct kp__budget *budget, uint64_t now,
                       struct kp__todo *todo);

/* Who was owed the room of what is left to drain may have gone, and the one who is first now be
 * owed nothing: then it is shared again. kp__settle does that, too. */
void kp__share_again(struct kp__core *core, uint64_t now, struct kp__todo *todo);

/* ---- permits (permit.c) ---------------------------------------------------------------------- */

/* Is no rule but the key's own number against one more creation: its health, budgets, the rate? */
bool kp__may_create(struct kp__core *core, struct kp__subpool *sub, uint64_t now);
/* A permit to create in the background (refill, warm-up), if no rule is against it. `force`: a
 * minimum of one is wanted. */
bool kp__refill_permit(struct kp__core *core, struct kp__subpool *sub, bool force, uint64_t now);
/* Have the keeper make what is wanted, if anything is. */
void kp__want_more(struct kp__core *core, struct kp__subpool *sub, uint64_t now);
/* So many are wanted, made or not; and those that the background should make; `force` as above. */
int64_t kp__ready_wanted(const struct kp__subpool *sub, bool force);
int64_t kp__refill_wanted(struct kp__core *core, const struct kp__subpool *sub, bool force);

void kp__permit_take(struct kp__core *core, struct kp__subpool *sub);
void kp__permit_refund(struct kp__core *core, struct kp__subpool *sub); /* settle afterwards */
/* A permit that waits for its victim: what the victim's place does not bring is taken at once.
 * After its end: take the permit, or settle; and settle what was held for it in groups that its key
 * has left meanwhile. */
void kp__promise(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim);
void kp__promise_end(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
                     struct kp__group *left[2]);
/* The first of two victims is gone: what its place brought is taken, the other brings the rest. */
void kp__promise_pass(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
                      struct kp__group *left[2]);
void kp__settle_left(struct kp__core *core, struct kp__group *const left[2], uint64_t now,
                     struct kp__todo *todo);
void kp__lent_take(struct kp__core *core, struct kp__subpool *sub);
void kp__lent_refund(struct kp__core *core, struct kp__subpool *sub); /* settle afterwards */
/* Refund the lent permit that a request holds, if it does. Settle afterwards. */
void kp__lent_drop(struct kp__core *core, struct kp__request *request);

/* The permit is spent into a slot, which is now creating. */
void kp__permit_spend(struct kp__subpool *sub, struct kp__slot *slot);

/* ---- the way back (give.c) ------------------------------------------------------------------- */

/* A creation came out well: the slot is lent to `request`, or goes to whoever is next (NULL). */
enum kp__turn kp__created(struct kp__core *core, struct kp__slot *slot,
                          struct kp__request *request, uint64_t now, struct kp__todo *todo);
/* A creation failed: health remembers (KP_ECANCELED: it was called off, which says nothing), the
 * sponsor (or `request`, which ran it) gets its capacity refunded, and the sponsor is told. *keep
 * is memory to remember it in, or NULL; what comes back there is for the caller to free. */
enum kp__turn kp__create_failed(struct kp__core *core, struct kp__slot *slot,
                                struct kp__request *request, const struct kp__failure *what,
                                struct kp__failure **keep, uint64_t now, struct kp__todo *todo);

/* A lease ends: the resource serves whoever is next, goes idle, or joins the to-do's list of those
 * to destroy. */
void kp__give(struct kp__core *core, struct kp__slot *slot, uint32_t seat, bool keep,
              kp_cause cause, uint64_t now, struct kp__todo *todo);

/* The same of a lease whose borrower never heard of it: the resource counts as idle since before it
 * was taken, and is in as much doubt as it was. */
void kp__give_unused(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now,
                     struct kp__todo *todo);

/* A slot in CLOSING has been destroyed: its room goes to whoever is next. */
void kp__gone(struct kp__core *core, struct kp__slot *slot, uint64_t now, struct kp__todo *todo);

/* The same of many, which nobody was promised. */
void kp__gone_many(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                   uint64_t now, struct kp__todo *todo);

/* A victim has been destroyed: its place is now a permit of `sub`, for which it was evicted. The
 * first leaves it with the caller; the second answers its sponsor with it, if that still waits,
 * else whoever is next. */
void kp__victim_gone(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
                     uint64_t now, struct kp__todo *todo);
void kp__victim_gone_late(struct kp__core *core, struct kp__slot *victim, uint64_t now,
                          struct kp__todo *todo);

/* A check that nobody stood by came to its end: the lease goes to its sponsor if all is well and
 * that still waits; else it ends. */
void kp__checked(struct kp__core *core, struct kp__slot *slot, uint32_t seat, bool good,
                 uint64_t now, struct kp__todo *todo);

/* Nothing is held against this key any more: no pause, no open circuit, no refusal, and no failure
 * to be told others. Who waits is served. */
void kp__forgive(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                 struct kp__todo *todo);

/* How a use went (kp_lease_report), and what that did to the circuit. */
enum kp__turn kp__reported(struct kp__core *core, struct kp__slot *slot, uint32_t seat, bool ok,
                           uint64_t now, struct kp__todo *todo);

/* Never lend it again: idle ones close now, lent ones when they come back. False: it was doomed
 * before. */
bool kp__doom(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
              struct kp__todo *todo);

/* Close an idle slot: it joins the to-do's list. */
void kp__close_idle(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
                    struct kp__todo *todo);

/* Why one that came back, or was tested, may not stay; KP_CAUSE_NONE: it may. */
kp_cause kp__end_cause(struct kp__core *core, const struct kp__slot *slot, bool keep,
                       kp_cause cause, uint64_t now);

/* After settling: close what was kept only for a waiting request that did not take it, or what it
 * pushes out. */
void kp__drop_surplus(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                      struct kp__todo *todo);

/* Close idle slots of a key that has some, at most so many, the latest first: which, and how many.
 * They are the caller's to destroy. */
uint32_t kp__close_many(struct kp__core *core, struct kp__subpool *sub, kp_cause cause,
                        struct kp__slot **slots, uint32_t most);

/* at + by, or KP__NEVER. */
static inline uint64_t kp__later(uint64_t at, uint64_t by)
{
    return by >= KP__NEVER - at ? KP__NEVER : at + by;
}

static inline uint64_t kp__sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void kp__count_cause(struct kp__core *core, struct kp__subpool *sub, kp_cause cause);

/* ---- ages and the calendar (calendar.c) ------------------------------------------------------ */

/* 1 s: then it is looked again at what was due and could not be begun. */
#define KP__ONCE_MORE UINT64_C(1000000000)

/* When an idle slot must go (KP__NEVER: it may stay), looked at on `check` (KP_CHECK_...). */
uint64_t kp__expires_at(const struct kp__slot *slot, uint32_t check);

/* Is that by its age, now? Of a lent one, too. */
bool kp__is_too_old(const struct kp__slot *slot, uint32_t check, uint64_t now);

/* By which of them it must, when that time has come. */
kp_cause kp__expired(const struct kp__slot *slot, uint32_t check);
static inline kp_cause kp__end_of_age(const struct kp__slot *slot)
{
    return slot->old ? KP_CAUSE_ROTATED : KP_CAUSE_AGE;
}

/* Have a slot that became idle or lent looked at in time, and a key no later than `at`. */
void kp__file_slot(struct kp__core *core, struct kp__slot *slot);
/* Of one that is lent, this lease: when it is to be told, or taken back. */
void kp__file_lease(struct kp__core *core, struct kp__slot *slot, const struct kp__seat *seat,
                    uint64_t now);
void kp__file_slot_at(struct kp__core *core, struct kp__slot *slot, uint64_t at);
void kp__file_sub(struct kp__core *core, struct kp__subpool *sub, uint64_t at);
void kp__unfile_slot(struct kp__core *core, struct kp__slot *slot);
void kp__unfile_sub(struct kp__core *core, struct kp__subpool *sub);

/* Its part of the calendar, if that is begun. */
static inline struct kp__key_due *kp__due_of(const struct kp__core *core,
                                             const struct kp__subpool *sub)
{
    return kp__slab_part(&core->subpools, sub->item.index, KP__PART_DUE);
}

/* The earliest that is due by now, off the calendar; or NULL. */
struct kp__timer *kp__due_pop(struct kp__core *core, uint64_t now, bool *is_slot);
static inline uint64_t kp__due_next(const struct kp__core *core) /* KP__NEVER: nothing */
{
    uint64_t slots = kp__timers_next(&core->slots_due), keys = kp__timers_next(&core->keys_due);

    return slots < keys ? slots : keys;
}

/* The same of terms (lane.h): no lane is open, or for ever. */
static inline uint64_t kp__lane_next(const struct kp__core *core)
{
    const struct kp__heap_node *first = kp__heap_top(&core->open);

    return first ? KP__OF(first, struct kp__term, node)->until : KP__NEVER;
}

/* A look at a slot that came due: expired ones join the to-do's list. Returns a seat whose leak is
 * to be reported, or NULL. */
struct kp__seat *kp__look_at_slot(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                                  struct kp__todo *todo);

/* ---- budgets while in use (resize.c) --------------------------------------------------------- */

/* kp_budget in numbers: KP__UNBOUND where there is no limit. */
struct kp__allowance {
    int64_t live, lent, idle, creating, waiting, keys, group[2];
    int64_t rate, burst;
    bool evicts, by_arrival;
};

/* From now on so many. What is idle and too much joins the to-do's list; who waits is served. */
void kp__budgets_set(struct kp__core *core, const struct kp__allowance *may, uint64_t now,
                     struct kp__todo *todo);

/* So many more stay in the pool than its budget allows, since that was lowered; or less than 1.
 * What is being destroyed does not stay, unless its place is promised. */
int64_t kp__surplus(const struct kp__core *core);

/* The same in its groups, the most of both; or 0. */
int64_t kp__group_surplus(const struct kp__subpool *sub);

/* Either, for who is asked before one of this key is kept. */
bool kp__exceeds(const struct kp__core *core, const struct kp__subpool *sub);

/* More live ones than may be? `reserve`: those that the reserve brought may. */
static inline bool kp__over_live(const struct kp__core *core, const struct kp__subpool *sub,
                                 bool reserve)
{
    int64_t most = sub->rules->max_live + (reserve ? sub->rules->reserve : 0);

    return (core->shrunk && kp__exceeds(core, sub)) || kp__sub_exceeds(sub, most);
}

/* More idle ones than may be kept, with so many more than there are now? */
static inline bool kp__over_idle(struct kp__core *core, const struct kp__subpool *sub,
                                 uint32_t more)
{
    return sub->leaving == KP__DROPPED ||
           (int64_t)sub->count[KP__IDLE] + more > sub->rules->max_idle ||
           !kp__may_idle(core, more);
}

/* Is one of its idle ones too many, whoever waits? */
static inline bool kp__is_surplus(struct kp__core *core, const struct kp__subpool *sub)
{
    return kp__over_live(core, sub, true) || kp__over_idle(core, sub, 0);
}

#if defined KP_VERIFY && KP_VERIFY
void kp__verify(struct kp__core *core); /* I1..I5 and I10, or abort with what is broken */
#endif

#endif
