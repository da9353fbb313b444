/* SPDX-License-Identifier: MIT
 *
 * Budgets: limits over many keys, and who is next for what they hand out.
 *
 * A subpool whose first request lacks nothing but a permit of a budget stands in that budget's heap
 * of starved subpools, ranked by (below its floor, its score, arrival); share.h has the score. A
 * budget with starved subpools has no permit to give, and nothing that could be evicted for one
 * (I5). A key that its own limits hold back is in no heap, so it never blocks another.
 */
#ifndef KP__CORE_BUDGET_H
#define KP__CORE_BUDGET_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "core/limit.h"
#include "core/rules.h"
#include "core/share.h"
#include "core/slot.h"

#include <stdbool.h>
#include <stdint.h>

struct kp__core;
struct kp__subpool;

/* Behind the groups of a key comes the pair of both, if it is in two, which only serves to find
 * victims: index in, and size of, arrays of these. */
enum { KP__PAIR = KP__GROUPS, KP__GROUPS_AND_PAIR };

struct kp__budget {
    enum kp__limit limit; /* the option that sets it */
    int64_t cap, used; /* core->lent.used includes what open lanes reserve (core/lane.h) */
    int64_t peak;      /* after cap was lowered, `used` may still be up to this; it only falls */
    int64_t closing;   /* of a group: how many of `used` are being destroyed, and not promised */
    struct kp__heap starved;   /* subpools, by kp__rank */
    struct kp__heap evictable; /* subpools with an evictable slot, least recently used first */
    enum kp__place place;
    enum kp__measure measure;
    uint64_t virtual_time;     /* share.h: the lag of whoever was served last */
    uint32_t bout;             /* how often `starved` was filled after a calm (share.h) */
    uint64_t calm_since;       /* when `starved` became empty */
    int64_t lightest;          /* the smallest weight of the keys that competed in this bout */
    uint64_t looked_at;        /* when the top of `starved` was last looked at, and ... */
    uint32_t looks;            /* ... how often at that time */
};

/* A live budget shared by the keys that name the same group, from the first to the last of them;
 * then it is spare, for the next group. Or a pair of groups: its budget has no limit, and only
 * files those keys in both groups that have an idle slot to spare. */
struct kp__group {
    struct kp__map_node node;
    struct kp__budget budget;
    int64_t id;
    uint32_t serial;
    uint32_t keys;         /* in it */
    struct kp__list link; /* on core->used_groups, or core->spare_groups */
};

/* Smaller goes first. */
struct kp__rank {
    uint32_t class, stamp;
    uint64_t score, arrived;
};

/* One key in the heap of those with an evictable slot, by its contest's evict_rank. */
struct kp__evict {
    struct kp__heap_node node;
    struct kp__contest *contest;
};

/* How one key competes with others. */
struct kp__contest {
    struct kp__subpool *sub;
    struct kp__budget *lacks; /* the budget in whose heap it stands, or NULL */
    struct kp__heap_node starved;
    struct kp__list held_up; /* on core->held_up (background.h) */
    struct kp__rank rank;
    struct kp__rank served; /* LIFO: when this key was served last, as the arrival of a request
                               that had come then (budget.c, came) */
    struct kp__share share;
    struct kp__group *group[KP__GROUPS_AND_PAIR]; /* or NULL */
    struct kp__evict evict[KP__FILED]; /* by place */
    uint64_t evict_rank;
    uint32_t promised; /* permits of this key whose victims are not destroyed yet; not live */
    uint32_t ceded;    /* slots of this key that are closing as victims, to make room */
};

void kp__budget_init(struct kp__budget *budget, enum kp__limit limit, int64_t cap,
                     enum kp__place place);

/* Has it no permit left? */
static inline bool kp__budget_is_full(const struct kp__budget *budget)
{
    return budget->used >= budget->cap;
}

/* May this subpool take a permit now (kp__budget_may_take, core.h) of each budget that a new
 * resource counts in: the pool's, and those of its groups? */
bool kp__budgets_have_room(struct kp__core *core, struct kp__subpool *sub);

/* Does a starved subpool rank before this one? */
bool kp__budget_outranked(struct kp__core *core, struct kp__budget *budget,
                          struct kp__subpool *sub);

/* Is the room of one of this subpool's resources, idle or in use, owed to another key? A resource
 * stays with its key unless the other key ranks before it, and besides is below its floor, or ranks
 * better by one permit of the smaller weight, or would, with one permit more, hold no more for its
 * weight than this key with one less. That saves a destroy and a create wherever shares are not
 * whole numbers. */
bool kp__budget_owed(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub,
                     enum kp__state state);

/* Put the subpool into the heap of `budget`, ranked as of now, and no other; NULL: into none. For
 * kp__note_lack (core.h). */
void kp__note_lack_now(struct kp__core *core, struct kp__subpool *sub, struct kp__budget *budget);

/* This key is about to be handed a permit of each budget with this measure. */
void kp__served(struct kp__core *core, struct kp__subpool *sub, enum kp__measure measure);

struct kp__subpool *kp__starved_first(struct kp__core *core, struct kp__budget *budget);

/* ---- making room: whose idle resource is worth least ----------------------------------------- */

/* Which idle slots may be evicted. All but USUAL are only for the moment in which a budget changes
 * (resize.c). */
enum kp__evictable {
    KP__EVICT_USUAL, /* those above what their keys are to keep, if evict_other_keys allows it */
    KP__EVICT_NONE,
    KP__EVICT_ABOVE, /* those above what their keys are to keep */
    KP__EVICT_ANY
};

/* File or unfile a subpool among those with an evictable slot; called whenever its counts have
 * changed (kp__evictable_update, core.h). Its rank there may be too early: that is corrected when
 * it comes to the top. */
void kp__evictable_file(struct kp__core *core, struct kp__subpool *sub);

/* A tested slot is idle again, at its old place, which may be earlier than its key's rank. */
void kp__evictable_back(struct kp__core *core, const struct kp__slot *slot);

/* The least recently used idle slot under `budget` that may be evicted; NULL: none. */
struct kp__slot *kp__evict_pick(struct kp__core *core, struct kp__budget *budget);

#endif
