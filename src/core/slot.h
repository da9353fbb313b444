/* SPDX-License-Identifier: MIT
 *
 * Slots: one place in a subpool, which holds one resource or the making of it.
 *
 * An idle or lent slot is on the list of its subpool that its state names, others are on none.
 * kp__permit_spend begins both, and only kp__slots_move changes either (I1). Slots live in a slab:
 * they never move, their memory stays while the pool lives, and their generation never goes back,
 * so that a lease can be checked for as long as anybody holds its number (I8).
 */
#ifndef KP__CORE_SLOT_H
#define KP__CORE_SLOT_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "base/timers.h"
#include "core/rules.h"

struct kp__core;
struct kp__subpool;
struct kp__request;
struct kp__job;
struct kp__group;

enum kp__state { KP__FREE, KP__CREATING, KP__IDLE, KP__LENT, KP__CLOSING, KP__STATES };

/* Why a slot is being closed: the counter that its destroy raises. */
enum kp__reason {
    KP__BY_BORROWER,
    KP__INVALID,
    KP__INVALIDATED,
    KP__EXPIRED,
    KP__EVICTED,
    KP__SURPLUS,
    KP__AT_CLOSE
};

/* An entry in the calendar: a lower bound of when something wants to be looked at. */
struct kp__due {
    struct kp__timer timer;
};

static inline bool kp__is_filed(const struct kp__due *due)
{
    return kp__timer_is_filed(&due->timer);
}

/* One borrower's place. The first is in the slot; with sharing, the others are in slot->more. */
struct kp__seat {
    uint64_t generation; /* of the lease that has it, or had it last */
    uint64_t since;      /* when that lease began; 0: the pool needs no clock */
    const char *tag;
    const void *site;
    bool lent, ending;   /* ending: counts as lent, but nobody has the lease: it was given back and
                            is being reset, or is being validated first */
    bool reuse, decided; /* what kp_lease_reuse said, if it was called */
    bool hit, warned;    /* it was there already; its leak was reported */
    bool turn;           /* its lease's number says KP__TURN (core/lane.h) */
};

/* What a slot needs that is destroyed to make room for another key, or a new resource of its own.
 * Part of a slot that lies apart (base/slab.h). */
struct kp__victim {
    struct kp__group *heirs[2]; /* groups of which its heir holds a permit already */
    struct kp__slot *next;      /* the heir needs this one's place, too; or NULL */
    struct kp__subpool *heir;   /* nobody stands by: whose permit its place is */
};

/* Guard of all: the pool's lock; `resource`, `serial` and `born` are constant from created to
 * closing. */
struct kp__slot {
    struct kp__slab_item item; /* first: base/slab.h */
    uint8_t state;               /* enum kp__state */
    uint8_t reason;              /* enum kp__reason; doomed or closing: why */
    bool doomed;                 /* never lend again: closes when its last lease ends */
    bool draining;               /* shared: no new borrowers, another key is owed its room */
    bool owes_lent;              /* while closing: a lent permit goes back when it is gone */
    bool on_lane;                /* while the lane is open: the cell's word is the truth */
    bool chosen;                 /* to make room for a key: it has a part of a victim */
    uint32_t borrowers, seats;
    void *resource;
    struct kp__subpool *sub;
    struct kp__job *job;         /* the run of a driver function, or NULL; flow's */
    struct kp__request *sponsor; /* the request for which it is being made, checked, or evicted */
    struct kp__list link;        /* idle, lent: the subpool's list of this state; closing: a
                                    to-do's list of slots to destroy */
    struct kp__list open_seat;   /* the subpool's list of lent slots with a seat left */
    struct kp__map_node ident;   /* index by resource */
    struct kp__due due;
    uint64_t generation;         /* of the latest lease; only grows (I8) */
    uint64_t serial, lends;
    uint64_t born, age_end;
    uint64_t since;              /* idle: since when */
    uint64_t order;              /* idle: the same, in returns of this pool */
    struct kp__seat first, *more;
    uint32_t more_room;          /* seats that fit in `more` */
    uint32_t cell;               /* its line for the hit path (core/lane.h), or 0 */
};

static inline struct kp__seat *kp__seat_at(struct kp__slot *slot, uint32_t seat)
{
    return seat == 0 ? &slot->first : &slot->more[seat - 1];
}

/* To another state and its list, with all counts (I1, I2). Those of one key and state, at once. */
void kp__slot_move(struct kp__core *core, struct kp__slot *slot, enum kp__state to);
void kp__slots_move(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                    enum kp__state to);

/* The same, of what happened already, while nobody was starved (core/lane.c). */
void kp__slot_found(struct kp__core *core, struct kp__slot *slot, enum kp__state state);

/* Take a free seat for a new lease; the first makes the slot lent. Then let others share it, if it
 * has a seat left. End the lease that has a seat; the caller moves the slot after the last. */
uint32_t kp__seat_take(struct kp__core *core, struct kp__slot *slot, uint64_t now);
void kp__open_seats(struct kp__core *core, struct kp__slot *slot);
/* Let nobody else share it, so that it becomes idle; or let them again. */
void kp__drain(struct kp__core *core, struct kp__slot *slot, bool on);
void kp__seat_leave(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now);

/* Its part as a victim, to be read; and to be written, begun if nobody did so far. */
const struct kp__victim *kp__victim_of(const struct kp__core *core, const struct kp__slot *slot);
struct kp__victim *kp__victim(struct kp__core *core, struct kp__slot *slot);

/* The slot that holds a resource, or NULL. */
struct kp__slot *kp__slot_of(struct kp__core *core, const void *resource);
struct kp__slot *kp__slot_of_live(struct kp__core *core, const void *resource); /* and not doomed */

/* Enter the index of resources; its room was made before. */
void kp__slot_known(struct kp__core *core, struct kp__slot *slot);

#endif
