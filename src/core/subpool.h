/* SPDX-License-Identifier: MIT
 *
 * Subpools: everything for one key. Its slots by state, its waiting requests, its rules, its
 * health. table.c makes and drops them; decide.c, create.c and give.c change what they have.
 */
#ifndef KP__CORE_SUBPOOL_H
#define KP__CORE_SUBPOOL_H

#include "core/budget.h"
#include "core/circuit.h"
#include "core/late.h"
#include "core/request.h"
#include "core/rules.h"
#include "core/slot.h"

/* Counters that only grow, of a key and of the whole pool (kp_stats). */
struct kp__tally {
    uint64_t gets, hits, creates, destroys, held_ns, create_ns;
};

/* The same, of what happens to few keys. */
struct kp__seldom {
    uint64_t waits, wait_ns, timeouts, refusals, create_failures, destroy_failures;
    uint64_t invalid, invalidated, expired, evicted, leaks, renewed, revokes, revoke_failures;
    uint64_t surplus;
};

/* How creations of this key have gone lately. */
struct kp__health {
    uint32_t failures;        /* creates that failed, in a row */
    uint64_t back_off;        /* no creation begins before this */
    bool tripped;             /* the circuit is open, or half-open */
    bool refused;             /* a create said KP_EREFUSED: none is tried, until told otherwise */
    const struct kp__circuit *circuit; /* to be read; core/circuit.c writes */
    struct kp__failure *last; /* the latest failure, or the one that refused; or NULL. May be on
                                 `kept`, too */
    struct kp__list kept;     /* cache_failure_ms = KP_ONCE: background failures still to be told */
    uint32_t kept_count;
};

/* CoDel on the waiting time (limits.shed_target_ms). */
struct kp__shed {
    uint64_t interval_end, least_wait; /* 0: no interval has begun, and no least wait is known */
    bool slow;
};

/* Make before break (core/renew.c). Each slot whose end is near and that is needed is *ageing*
 * until it closes, and gets a replacement: in the making, or a *spare*, which is there already. */
struct kp__renewal {
    uint32_t ageing;    /* slots */
    uint32_t making;    /* creations under way to replace one */
    uint32_t spare;     /* replacements made whose old one has not closed yet; <= ageing */
    uint64_t epoch;     /* the pool's when kp_rotate last found it making something; or 0 */
    uint64_t retire_by; /* what was begun in an earlier epoch and is not made yet goes by then, */
    uint64_t overdue;   /* or at once, if it was begun before this one */
};

/* When a request is to look again by itself, because time may let it go on (a pause ends, a token
 * comes); and which request was told so. */
struct kp__moment {
    const struct kp__request *told; /* or NULL */
    uint64_t at;
};

/* What most keys never need: for when somebody waits, something fails, or a resource is shared. */
struct kp__rare {
    struct kp__list queue[KP__QUEUES];
    struct kp__moment moment[KP__QUEUES]; /* what the first of each waits for */
    uint32_t handed;            /* resources handed over in order since the turn began ... */
    uint64_t turn_began;        /* ... which was at this time (KP_EVENTUAL, serve.c) */
    struct kp__list open_seats; /* lent slots with a seat left */
    struct kp__slot *draining;  /* at most one of its slots; or NULL */
    struct kp__list drains;     /* on core->drains, if a slot drains */
    struct kp__health health;
    struct kp__shed shed;
    struct kp__renewal renewal;
    struct kp__late late;
    struct kp__seldom seldom;
    struct kp__list tested;     /* slots in TESTED: the keeper is having them validated */
    uint32_t tests;             /* how many: part of count[KP__CREATING] */
    uint32_t doubts;            /* live ones in doubt: while there are any, the key is suspect */
    struct kp__list taken;      /* slots in REVOKED */
    struct kp__list waived;     /* its victims that none of its requests waits for (permit.h) */
    uint32_t revoked;           /* how many are in REVOKED or RECLAIMED */
    uint32_t revoking;          /* slots for which driver.revoke is under way */
};

/* The books of a key's lane (core/lane.h), which it has as long as it has a line: unlike what is in
 * the line, nobody reads them without the pool's lock. */
struct kp__lane_books {
    struct kp__heap_node node; /* among those with an open lane, by `until` */
    struct kp__subpool *sub;
    uint64_t until;            /* the end of the latest term */
    uint64_t opened;           /* when it opened last ... */
    uint64_t served;           /* ... and how many leases began on it until it was shut */
    uint32_t line;             /* the number of that line */
    uint32_t era;              /* the core's when it opened last */
    uint16_t room;             /* how many cells its lists hold */
    uint16_t penalty;          /* opening did not pay lately: so many releases more to wait */
    uint8_t cells;             /* how many were on it when it opened last */
    uint8_t homes;             /* how many of these have a home (core/home.c) */
};

/* A key that leaves makes nothing in the background. It stays if somebody wants it again. */
enum kp__leaving {
    KP__STAYS,
    KP__LEAVES, /* it is being forgotten, with its last idle ones */
    KP__DROPPED /* kp_drop: it keeps nothing that comes back, and goes as soon as nobody uses it */
};

/* A key's entry in the calendar, and its place among the keys that nobody uses (table.c). */
struct kp__key_due {
    struct kp__timer due;   /* in the calendar, as a slot's */
    struct kp__subpool *sub;
    struct kp__list unused; /* on core->unused; or among those dropped for another (flow/find.c) */
    uint64_t since;         /* unused: when it was used last */
    uint64_t token_look;    /* the last time that kp__token_look gave it */
};

/* Parts that lie apart (base/slab.h). */
enum { KP__PART_DUE, KP__PART_CONTEST, KP__PART_RARE, KP__PART_LANE_BOOKS, KP__PART_CIRCUIT };

/* Two states have a list in the subpool itself: idle and lent. */
enum { KP__LISTED = KP__LENT - KP__IDLE + 1 };

/* A key of bytes that is shorter than this lies in the subpool itself. */
enum { KP__NEAR = 24 };

struct kp__subpool {
    struct kp__slab_item item; /* first: base/slab.h */
    struct kp__map_node node;  /* of the table of keys */
    uint64_t hash;             /* in that table */
    uint32_t serial;           /* of this use of the slab item: it shows that a pin is stale */
    uint32_t pins;             /* kp_pin */
    bool in_use : 1;           /* I9 */
    bool ruling : 1;           /* limits_for is being asked */
    bool refill : 1, warm : 1; /* bring it to its minimum in the background; to one at least */
    bool has_due : 1;          /* its entry in the calendar is begun (core/calendar.c) */
    bool open : 1;             /* its lane is open; the books are as of then (core/lane.h) */
    uint8_t leaving : 2;       /* enum kp__leaving */
    bool far;                  /* its key has memory of its own. Read without the lock, and
                                  therefore no bit-field beside others that change */
    uint16_t shut_for;         /* so many more releases before its lane opens again */
    uint32_t key_size;         /* constant, as is the key: they are read without the lock, too */
    union {
        void *far;           /* whatever the key type makes of it (flow/key.h) */
        char near[KP__NEAR]; /* fewer bytes than that, and a NUL */
    } key;
    struct kp__rules *rules; /* NULL while limits_for is being asked: then everybody waits */

    struct kp__list listed[KP__LISTED]; /* its slots: idle, lent (KP__SLOTS) */
    uint32_t count[KP__STATES]; /* a permit counts as creating before it has a slot */
    uint32_t leases, lent_permits, waiting;

    uint32_t interest; /* calls under way that need it to stay */
    uint64_t used_at;  /* the last time anybody wanted anything of it */

    /* parts that lie apart. To be read; to write: kp__contest, kp__rare, which begin them */
    const struct kp__contest *contest; /* how it competes with other keys (core/budget.h) */
    const struct kp__rare *rare;
    struct kp__lane_books *lane_books; /* or NULL: it has no lane */

    struct kp__tally tally;
};

/* The list of its slots in this state. */
#define KP__SLOTS(sub, state) (&(sub)->listed[(state) - KP__IDLE])

/* What it has, whether anybody uses it or not, is on three lists: idle, lent, and tested. */
enum { KP__HOLDINGS = KP__LISTED + 1 };
static inline const struct kp__list *kp__holding(const struct kp__subpool *sub, int i)
{
    return i < KP__LISTED ? &sub->listed[i] : &sub->rare->tested;
}

/* Goes through the slots on one of these lists: NULL asks for the first, and means no more. */
static inline struct kp__slot *kp__next_slot(const struct kp__list *list,
                                             const struct kp__slot *after)
{
    struct kp__list *node = after ? kp__list_next(list, &after->link) : kp__list_first(list);

    return node ? KP__OF(node, struct kp__slot, link) : NULL;
}

/* The same through the idle slots, then the lent ones, which is where those on a lane are. */
static inline struct kp__slot *kp__next_idle_or_lent(const struct kp__subpool *sub,
                                                     const struct kp__slot *after)
{
    bool idle = !after || after->state == KP__IDLE;
    struct kp__slot *next = kp__next_slot(KP__SLOTS(sub, idle ? KP__IDLE : KP__LENT), after);

    return next || !idle ? next : kp__next_slot(KP__SLOTS(sub, KP__LENT), NULL);
}

/* Its key, where that lies. */
static inline void *kp__key_at(const struct kp__subpool *sub)
{
    return sub->far ? sub->key.far : (void *)(uintptr_t)sub->key.near;
}

/* What readers find in its parts until these are begun. */
extern const struct kp__contest kp__no_contest;
extern const struct kp__rare kp__no_rare;
void kp__contest_begin(struct kp__core *core, struct kp__subpool *sub);
void kp__rare_begin(struct kp__core *core, struct kp__subpool *sub);
void kp__lane_books_begin(struct kp__core *core, struct kp__subpool *sub, uint32_t line);

/* Has it been begun? */
static inline bool kp__has_rare(const struct kp__subpool *sub)
{
    return sub->rare != &kp__no_rare;
}

/* The number of its line for the hit path (core/lane.h), or 0. */
static inline uint32_t kp__lane_number(const struct kp__subpool *sub)
{
    return sub->lane_books ? sub->lane_books->line : 0;
}

/* Are requests that would be served too late told so at once (core/late.h)? */
static inline bool kp__refuses_late(const struct kp__subpool *sub)
{
    return sub->rules && sub->rules->refuse_late;
}

/* A part to write to, begun if it was not. */
static inline struct kp__rare *kp__rare(struct kp__core *core, struct kp__subpool *sub)
{
    if (!kp__has_rare(sub)) kp__rare_begin(core, sub);
    return (struct kp__rare *)(uintptr_t)sub->rare;
}

static inline struct kp__contest *kp__contest(struct kp__core *core, struct kp__subpool *sub)
{
    if (sub->contest == &kp__no_contest) kp__contest_begin(core, sub);
    return (struct kp__contest *)(uintptr_t)sub->contest;
}

/* The budget of its group of this number (below KP__GROUPS), or NULL: it has none. */
static inline struct kp__budget *kp__group_budget(const struct kp__subpool *sub, int which)
{
    struct kp__group *group = sub->contest->group[which];

    return group ? &group->budget : NULL;
}

/* Those that will be live when what is being destroyed is gone. */
static inline int64_t kp__sub_staying(const struct kp__subpool *sub)
{
    return (int64_t)sub->count[KP__CREATING] + sub->count[KP__IDLE] + sub->count[KP__LENT];
}

static inline int64_t kp__sub_live(const struct kp__subpool *sub)
{
    return kp__sub_staying(sub) + sub->count[KP__CLOSING];
}

/* Do ages of this kind not end anything now, since the key is at its minimum? */
static inline bool kp__stops_at_min(const struct kp__subpool *sub, uint32_t kind)
{
    return (sub->rules->respects_min & kind) && kp__sub_staying(sub) <= sub->rules->min_live;
}

/* Creations under way, or promised until a victim is gone. */
static inline int64_t kp__sub_creating(const struct kp__subpool *sub)
{
    return (int64_t)sub->count[KP__CREATING] - sub->rare->tests + sub->contest->promised;
}

/* How many do not count against max_live, because they are there beside what they replace, or are
 * in the making while that is still there. */
static inline int64_t kp__sub_extra(const struct kp__subpool *sub)
{
    const struct kp__renewal *n = &sub->rare->renewal;
    int64_t extra = (int64_t)n->making + n->spare;

    if (extra > n->ageing) extra = n->ageing;
    return extra < sub->rules->surplus ? extra : sub->rules->surplus;
}

/* How many live ones are not evicted: its minimum or its floor, whichever is more. */
static inline int64_t kp__sub_kept(const struct kp__subpool *sub)
{
    const struct kp__rules *r = sub->rules;

    return r->floor > r->min_live ? r->floor : r->min_live;
}

/* The idle slot that was used least recently; there must be one. */
static inline struct kp__slot *kp__oldest_idle(const struct kp__subpool *sub)
{
    return KP__OF(KP__SLOTS(sub, KP__IDLE)->prev, struct kp__slot, link);
}

/* Is a resource there, idle or with a seat left? */
static inline bool kp__any_ready(const struct kp__subpool *sub)
{
    return sub->count[KP__IDLE] > 0 || !kp__list_empty(&sub->rare->open_seats);
}

/* Has it had all the leases that it may have (max_uses)? */
static inline bool kp__is_used_up(const struct kp__slot *slot)
{
    return slot->lends >= (uint64_t)slot->sub->rules->max_uses;
}

void kp__subpool_init(struct kp__core *core, struct kp__subpool *sub, uint64_t hash);

/* One of its resources is gone, for this cause. */
void kp__count_cause(struct kp__core *core, struct kp__subpool *sub, kp_cause cause);

/* Nobody uses it: no slot, no request, no call under way, no pin. */
bool kp__subpool_unused(const struct kp__subpool *sub);

/* The request that arrived first (LIFO: last) of a queue. */
static inline struct kp__request *kp__queue_first(const struct kp__subpool *sub,
                                                  enum kp__queue queue)
{
    const struct kp__list *list = &sub->rare->queue[queue];

    if (kp__list_empty(list)) return NULL;
    return KP__OF(sub->rules && sub->rules->wait_lifo ? list->prev : list->next,
                  struct kp__request, link);
}

/* When a request in a queue looks again by itself; KP__NEVER: it waits for no moment. Only the
 * first of a queue ever does: a request that becomes the first is decided about anew. */
static inline uint64_t kp__next_look(const struct kp__request *request)
{
    const struct kp__moment *moment = &request->sub->rare->moment[request->queue];

    return moment->told == request ? moment->at : KP__NEVER;
}

void kp__next_look_set(struct kp__core *core, const struct kp__request *request, uint64_t at);

void kp__queue_insert(struct kp__core *core, struct kp__request *request);
void kp__queue_remove(struct kp__core *core, struct kp__request *request);

/* How many requests would be served before this one, which does not wait (any more). */
uint32_t kp__queue_ahead(const struct kp__request *request);

#endif
