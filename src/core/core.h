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
    uint32_t id; /* of the pool, in leases */

    /* what the driver can do */
    bool can_create;
    bool validates; /* there is a driver.validate */
    bool resets;    /* there is a driver.reset */
    bool asks;      /* and a driver.is_clean */
    bool clocked;   /* some rule needs the time of day at every get and release */

    /* lanes (lane.h), and guides to them */
    bool lanes;          /* hits may do without the lock */
    bool homes;          /* and without atomic operations (base/home.h) */
    bool shuts;          /* a thread does nothing but shut lanes in time; else upkeep does */
    bool by_bytes;       /* keys are bytes: guides may find them */
    uint64_t least_term; /* a lane opens for more than this, or not */
    struct kp__heap open; /* subpools whose lane is open, by the end of their terms */
    struct kp__guide *guide; /* or NULL */
    uint64_t quick_seed;     /* of the hash by which guides find keys */
    /* that hash of a key told by its fields; NULL: keys are not */
    uint64_t (*by_fields)(const struct kp__core *core, const void *key);

    /* settings */
    struct kp__rules *rules; /* of keys to come */
    uint64_t leak_after, forget_after;
    int64_t max_idle, max_waiting, max_keys; /* budgets nobody waits for */
    int64_t group_max_live[2];
    bool evicts, by_arrival; /* budget.evict_other_keys, KP_ACROSS_ARRIVAL */
    bool shrunk;             /* a budget was lowered once: more may be live than it allows */
    enum kp__spare spare;    /* which idle ones may be evicted; USUAL but in resize.c */

    /* keys and resources */
    enum kp__phase phase;
    struct kp__map keys, idents, groups; /* idents: slots, by their resources */
    struct kp__slab slots, errands, subpools;
    struct kp__list unused; /* keys that nobody uses, the longest unused first; and some that were
                               used again since (kp__table_spare) */
    uint32_t key_count, key_serials, group_serials;
    int64_t minima, floors; /* of all keys, added up */
    struct kp__timers slots_due, keys_due; /* the calendar */

    /* budgets, and who lacks something of them */
    struct kp__budget live, lent, creating;
    struct kp__rate rate; /* of creations that begin */
    uint32_t starved;     /* subpools in the heaps of budgets ... */
    uint64_t contended;   /* ... and since when there has been one */
    struct kp__usual usual[KP__MEASURES];
    struct kp__list drains; /* keys with a slot that is left to drain (decide.c) ... */
    uint32_t draining;      /* ... and how many they are */

    /* the books */
    uint64_t now; /* of the latest decision that was told the time */
    uint32_t count[KP__STATES];
    uint32_t leases, waiting, promised, revoked, revoking;
    uint32_t tests;    /* by the keeper, under way: part of the count of those being created */
    int64_t returning; /* lent ones on open lanes: any of them may be idle by now (lane.h) */
    int64_t settled;   /* leases, less what the taking of homes cost (home.c) */
    uint64_t stamps, returns, serials; /* given out: to requests, to what comes back, to slots */
    uint64_t epoch;    /* 1 + the times that kp_rotate was called */
    uint32_t era;      /* ends whenever somebody waits for the leases of before (kp_drain) */
    uint32_t tripped, probing; /* keys whose circuit is not closed; of these, half-open */

    /* counters that only grow */
    struct kp__tally tally;
    struct kp__seldom seldom;
    uint64_t misuses, keys_made, keys_forgotten;
};

/* at + by, or KP__NEVER. */
static inline uint64_t kp__later(uint64_t at, uint64_t by)
{
    return by >= KP__NEVER - at ? KP__NEVER : at + by;
}

static inline uint64_t kp__sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

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

/* A decision was told the time. Some are not; but while somebody is starved, all are. */
static inline void kp__at(struct kp__core *core, uint64_t now)
{
    if (now > core->now) core->now = now;
}

/* What a decision leaves to be done without the lock. A wake-up needs an address, and not the
 * memory there. */
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

/* KP_EVENTUAL: for a turn, those who hold a resource may give it back and get it again before those
 * who wait. When the turn is over, as many resources as there are go to those who wait, in order.
 */
#define KP__ROUND UINT64_C(12000000)       /* 12 ms: after so long, all who want a turn had one */
#define KP__PASSED_MOST UINT64_C(20000000) /* 20 ms: nobody is passed for longer */
#define KP__LOOKS_AFTER UINT64_C(250000)   /* who came for one, and found it taken, looks again */

/* Is what this request could have left to whoever is faster? Then it is offered: the request is
 * told of it, once, and comes for it. */
bool kp__is_left(struct kp__core *core, const struct kp__request *request, uint64_t now);
void kp__offer(struct kp__request *request, struct kp__todo *todo);

/* Have the first of those who wait all been told, and may they be passed? Then the lane may be
 * open, though somebody waits. */
bool kp__may_be_passed(const struct kp__subpool *sub, uint64_t now);

/* A request that must not wait (KP_DONT_WAIT) is back in the queue since its check failed, and
 * nothing was there for it: it is answered no. */
void kp__send_away(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* The owner of a waiting request looks for himself: if it was invited or offered something, and
 * that is still there, it is answered. */
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

/* Answer a waiting request with a lease that has begun; or with a permit that was taken for it. */
void kp__answer_slot(struct kp__core *core, struct kp__request *request, struct kp__slot *slot,
                     uint32_t seat, struct kp__todo *todo);
void kp__answer_permit(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* Give whatever is free to whoever is next: in this key, then wherever a budget has something left.
 * The heart of L1. */
void kp__settle(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                struct kp__todo *todo);

/* The same for what one budget has left. */
void kp__settle_budget(struct kp__core *core, struct kp__budget *budget, uint64_t now,
                       struct kp__todo *todo);

/* Slots that were left to drain, because their room was owed to another key: if it is owed to
 * nobody any more, they are shared again. kp__settle does this, too. */
void kp__share_again(struct kp__core *core, uint64_t now, struct kp__todo *todo);

/* ---- permits (permit.c) ---------------------------------------------------------------------- */

/* May one more creation begin, by all rules but max_live of the key itself: its health, budgets,
 * the rate? */
bool kp__may_create(struct kp__core *core, struct kp__subpool *sub, uint64_t now);
/* A permit to create in the background (refill, warm-up), if no rule is against it. `force`: a
 * minimum of one is wanted. */
bool kp__refill_permit(struct kp__core *core, struct kp__subpool *sub, bool force, uint64_t now);
/* How many the rules want the key to have (min_live, min_idle, utilization); `force` as above. */
int64_t kp__ready_wanted(const struct kp__subpool *sub, bool force);
/* How many of these are missing, for the background to make. */
int64_t kp__refill_wanted(struct kp__core *core, const struct kp__subpool *sub, bool force);
/* Have the keeper make them, if any are. */
void kp__want_more(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

void kp__permit_take(struct kp__core *core, struct kp__subpool *sub);
void kp__permit_refund(struct kp__core *core, struct kp__subpool *sub); /* settle afterwards */
/* A permit whose room comes from a victim that has yet to be destroyed: what the victim's place
 * will not bring is taken at once. */
void kp__promise(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim);
/* The victim is gone, or not needed any more. Afterwards take the permit, or settle; and settle
 * what is in `left`: groups that the key has left meanwhile, in which something was held for it. */
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

/* A creation came out well: the slot is lent to `request`, or (NULL) goes to whoever is next. */
enum kp__change kp__created(struct kp__core *core, struct kp__slot *slot,
                            struct kp__request *request, uint64_t now, struct kp__todo *todo);
/* A creation failed: health remembers (KP_ECANCELED: it was called off, which says nothing), the
 * sponsor (or `request`, which ran it) gets its capacity refunded, and the sponsor is told. *keep
 * is memory to remember it in, or NULL; what comes back there is for the caller to free. */
enum kp__change kp__create_failed(struct kp__core *core, struct kp__slot *slot,
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

/* ---- ages and the calendar (calendar.c) ------------------------------------------------------ */

/* 1 s: then it is looked again at what was due and could not be begun. */
#define KP__ONCE_MORE UINT64_C(1000000000)

/* When an idle slot must go, by those ages that are looked at on `check` (KP_CHECK_...); KP__NEVER:
 * it may stay. */
uint64_t kp__expires_at(const struct kp__slot *slot, uint32_t check);

/* Which of these ages ended it, when that time has come. */
kp_cause kp__expired(const struct kp__slot *slot, uint32_t check);

/* Has its max_age come, or what kp_rotate made of that? Idle or lent. */
bool kp__is_too_old(const struct kp__slot *slot, uint32_t check, uint64_t now);

static inline kp_cause kp__end_of_age(const struct kp__slot *slot)
{
    return slot->old ? KP_CAUSE_ROTATED : KP_CAUSE_AGE;
}

/* Have a slot, or a key, looked at by `at` at the latest. */
void kp__file_slot_at(struct kp__core *core, struct kp__slot *slot, uint64_t at);
void kp__file_sub(struct kp__core *core, struct kp__subpool *sub, uint64_t at);

/* Have a slot that became idle or lent looked at when its rules first ask for it. */
void kp__file_slot(struct kp__core *core, struct kp__slot *slot);

/* The same for one lease of a lent slot: when it is to be reported as leaked, or to be taken back.
 */
void kp__file_lease(struct kp__core *core, struct kp__slot *slot, const struct kp__seat *seat,
                    uint64_t now);

void kp__unfile_slot(struct kp__core *core, struct kp__slot *slot);
void kp__unfile_sub(struct kp__core *core, struct kp__subpool *sub);

/* A key's entry in the calendar, if that is begun (kp__subpool.dated). */
static inline struct kp__key_due *kp__due_of(const struct kp__core *core,
                                             const struct kp__subpool *sub)
{
    return kp__slab_part(&core->subpools, sub->item.index, KP__PART_DUE);
}

/* Take the earliest entry that is due by now off the calendar; NULL: there is none. */
struct kp__timer *kp__due_pop(struct kp__core *core, uint64_t now, bool *is_slot);

/* When the next one is due; KP__NEVER: nothing is filed. */
static inline uint64_t kp__due_next(const struct kp__core *core)
{
    uint64_t slots = kp__timers_next(&core->slots_due), keys = kp__timers_next(&core->keys_due);

    return slots < keys ? slots : keys;
}

/* When the first term of an open lane ends (lane.h); KP__NEVER: none does. */
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
