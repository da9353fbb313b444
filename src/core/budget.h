/* SPDX-License-Identifier: MIT
 *
 * Budgets: limits over many keys, and who is next for what they hand out.
 *
 * A subpool whose first request lacks nothing but a permit of a budget stands in that budget's heap
 * of starved subpools, ranked by (below its floor, share held, arrival). A budget with starved
 * subpools has no permit to give, and nothing that could be evicted for one (I5). A key that its
 * own limits hold back is in no heap, so it never blocks another.
 */
#ifndef KP__CORE_BUDGET_H
#define KP__CORE_BUDGET_H

#include "base/heap.h"
#include "base/map.h"

#include <stdbool.h>
#include <stdint.h>

struct kp__core;
struct kp__subpool;

enum kp__member { KP__IN_POOL, KP__IN_GROUP_0, KP__IN_GROUP_1, KP__MEMBERS };

struct kp__budget {
    const char *name; /* of the option, for kp_why.limit */
    int64_t cap, used;
    struct kp__heap starved;   /* subpools, by kp__rank */
    struct kp__heap evictable; /* subpools with an idle one to spare, least recently used first */
    bool counts_lent;          /* what a share of it is measured in: leases, else live resources */
};

/* A live budget shared by the keys that name the same group. Made with its first key, kept until
 * close. */
struct kp__group {
    struct kp__map_node node;
    struct kp__budget budget;
    int64_t id;
    enum kp__member member;
};

/* Smaller goes first. */
struct kp__rank {
    uint32_t class;
    uint64_t score, stamp;
};

void kp__budget_init(struct kp__budget *budget, const char *name, int64_t cap,
                     enum kp__member member);

/* May this subpool take a permit now: is there one, and is nobody starved who ranks before it? */
bool kp__budget_may_take(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub);

/* The same of all that a new resource counts in: the pool's live budget, and its groups'. */
bool kp__budgets_have_room(struct kp__core *core, struct kp__subpool *sub);

/* Somebody starved ranks before this subpool. */
bool kp__budget_outranked(struct kp__core *core, struct kp__budget *budget,
                          struct kp__subpool *sub);

/* Stand in the heap of `budget`, at the rank of now; NULL: in none. */
void kp__starve(struct kp__core *core, struct kp__subpool *sub, struct kp__budget *budget);

struct kp__subpool *kp__starved_first(const struct kp__budget *budget);

/* ---- making room: whose idle resource is worth least ----------------------------------------- */

/* File or unfile a subpool among those with an idle resource to spare, after its counts changed.
 * Lazy: its rank is a lower bound. */
void kp__evictable_update(struct kp__core *core, struct kp__subpool *sub);

/* The least recently used idle slot under `budget` that is above its key's minimum; NULL: none. */
struct kp__slot *kp__evict_pick(struct kp__core *core, struct kp__budget *budget,
                                enum kp__member member);

#endif
