/* SPDX-License-Identifier: MIT
 *
 * Slots: places in a subpool, each of which holds one resource or the making of it.
 *
 * An idle, lent, tested or revoked slot is on the list of its subpool that its state names, others
 * are on no list of it. kp__permit_spend sets the first state, kp__reclaimed the last one of a
 * revoked slot; otherwise only functions of slot.c change state and list (I1). Slots live in a
 * slab: they never move, their memory stays while the pool lives, and their generation never goes
 * back, so that a lease can be checked for as long as anybody holds its number (I8).
 */
#ifndef KP__CORE_SLOT_H
#define KP__CORE_SLOT_H

#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "base/timers.h"

struct kp__core;
struct kp__subpool;
struct kp__request;
struct kp__job;
struct kp__group;

/* Those before FREE are live, and counted by state. */
enum kp__state {
    KP__CREATING,
    KP__IDLE,
    KP__LENT,
    KP__CLOSING,
    KP__STATES,
    KP__FREE = KP__STATES,
    KP__TESTED,   /* being validated by the keeper. Counts as creating (I2); on a list of its key */
    KP__REVOKED,  /* taken from borrowers that have not given it back. Not live, counted apart */
    KP__RECLAIMED /* the same, but all have given it back: it is being destroyed */
};

/* How far a lease has come on the way to being revoked (revoke.c). */
enum kp__hold {
    KP__GRANTED,  /* its borrower does not know of it yet */
    KP__HELD,
    KP__REVOKING,    /* driver.revoke is under way */
    KP__REVOKE_TRIED /* driver.revoke has answered; if it failed, it is not tried again */
};

/* One borrower's place. */
struct kp__seat {
    uint64_t generation; /* of the lease that has it, or had it last */
    uint64_t since;      /* when that lease began; 0: the pool needs no clock */
    const char *tag;     /* of its get, and where that was: read them by kp__seat_tag ... */
    const void *site;    /* ... and kp__seat_site (core/lane.h) */
    uint32_t thread;     /* the one that got it, if deadlocks are looked for; 0: not known */
    uint32_t era;        /* the core's when that lease began, or an earlier one */
    uint32_t thread_id;  /* the system's number of that thread; 0: the get took no lock */
    uint8_t hold;        /* enum kp__hold */
    bool lent, ending;   /* ending: counts as lent, but nobody has the lease: it was given back and
                            is being reset, or is being validated first */
    bool reuse, decided; /* what kp_lease_reuse said, if it was called */
    bool hit, warned;    /* the resource was there already; its leak was reported */
    bool turn, homed;    /* its lease's number says KP__TURN, KP__HOMED (core/lane.h) */
    bool swung;          /* that lease began without the lock: its cell has tag and site */
    bool probe;          /* the mark of a probe of its key's circuit (core/circuit.h) */
};

/* Where a lease was got. */
enum { KP__FRAMES = 16 };
struct kp__trace {
    uint64_t generation; /* of that lease */
    size_t count;
    const void *frame[KP__FRAMES];
};

/* A victim is destroyed to make room for another key, or for a fresh resource of its own key. Its
 * *heir* is the key that gets its place, and holds a permit for that already. */
struct kp__victim {
    struct kp__subpool *promised_to; /* the heir, from kp__promise to kp__promise_end. Of two
                                        victims, only of the one that goes next */
    struct kp__slot *next;           /* a second victim, whose place the heir needs, too; or NULL */
    struct kp__subpool *heir;        /* the heir, if no caller stands by until the victim is gone:
                                        kp__victim_gone_late hands its place on then. Where there
                                        is no sponsor (kp__errand), it is waived */
};

/* What a slot needs only while it is made, lent, or destroyed. It lies apart, and is free for
 * another slot when this one becomes idle: so only as many are used as were ever needed at once.
 * There is room for one for each slot, so beginning one never fails (flow/room.c). With shared
 * seats, it stays with its slot, because it knows the latest lease of each seat. */
struct kp__errand {
    struct kp__slab_item item; /* first: base/slab.h */
    struct kp__slot *slot;     /* the one that has it */
    uint32_t borrowers, seats;
    bool doomed;                 /* never lend again: closes when its last lease ends */
    bool draining;               /* shared: no new borrowers, its room is owed to another key */
    bool renews;                 /* it is made to replace another one (core/renew.c) */
    bool owes_lent;              /* closing: it holds a lent permit, which goes back in the end */
    bool probe;                  /* the mark of a probe (core/circuit.h): of its creation, or of the
                                    one that it makes room for */
    struct kp__job *job;         /* the run of a driver function, or NULL; flow's */
    struct kp__request *sponsor; /* the request for which it is being made, checked, or evicted */
    struct kp__list open_seat;   /* shared: on its key's list of lent slots with a seat left */
    struct kp__list victims;     /* a victim: on core->promises, or, if it is waived, on its heir's
                                    list of those (permit.h) */
    struct kp__victim victim;
    struct kp__seat first, *more;
    uint32_t more_room;          /* seats that fit in `more`, which is kept when the errand ends */
    uint32_t trace_room;         /* the same of `traces`, which is kept, too */
    struct kp__trace *traces;    /* where leases were got, by seats (options.stack); or NULL */
};

/* Parts that lie apart (base/slab.h): when it was tested last. */
enum { KP__PART_TESTED };

/* Guard of all: the pool's lock; `resource`, `serial` and `born` are constant from created to
 * closing. */
struct kp__slot {
    struct kp__slab_item item; /* first: base/slab.h */
    uint8_t state;               /* enum kp__state */
    uint8_t cause;               /* kp_cause; doomed or closing: why */
    bool on_lane;                /* on an open lane: its cell's word says whether it is lent */
    bool doubted : 1;            /* a peer of its key is gone: to be validated before it is lent */
    bool watched : 1;            /* its descriptor is watched */
    bool tested : 1;             /* idle: validated since it came back; KP__PART_TESTED says when */
    bool old : 1;                /* begun before the latest kp_rotate of its key: it goes at
                                    age_end, whatever the rules say */
    bool ageing : 1;             /* to be replaced (core/renew.c) */
    bool due_to_key : 1;         /* creating: for a request, whose key had its turn with that; idle:
                                    it was made like that, and its key is served first this once */
    uint32_t cell;               /* its line for the hit path (core/lane.h), or 0 */
    void *resource;
    struct kp__subpool *sub;
    const struct kp__errand *errand; /* to be read; to write: kp__errand_of, kp__errand */
    struct kp__list link;        /* idle, lent, tested, revoked: the subpool's list of this state;
                                    closing, reclaimed: a to-do's list of slots to destroy */
    struct kp__map_node ident;   /* index by resource */
    struct kp__timer due;        /* in the calendar: no later than when it needs a look */
    uint64_t generation;         /* of the latest lease; only grows (I8) */
    uint64_t serial, lends;
    uint64_t born, age_end;
    uint64_t since;              /* idle: since when */
    uint64_t order;              /* idle: the same, counted in returns to the pool */
};

/* Take a free slot, as new; NULL: none is free. And put it back. */
struct kp__slot *kp__slot_take(struct kp__core *core);
void kp__slot_put(struct kp__core *core, struct kp__slot *slot);

/* What readers find in a slot without an errand: one seat, and nobody in it. */
extern const struct kp__errand kp__no_errand;
void kp__errand_begin(struct kp__core *core, struct kp__slot *slot);

static inline bool kp__has_errand(const struct kp__slot *slot)
{
    return slot->errand != &kp__no_errand;
}

/* Its errand, to write to. The slot must have one, as each lent slot has. */
static inline struct kp__errand *kp__errand_of(const struct kp__slot *slot)
{
    return (struct kp__errand *)(uintptr_t)slot->errand;
}

/* The same, begun if the slot has none. */
static inline struct kp__errand *kp__errand(struct kp__core *core, struct kp__slot *slot)
{
    if (!kp__has_errand(slot)) kp__errand_begin(core, slot);
    return kp__errand_of(slot);
}

static inline struct kp__seat *kp__seat_at(const struct kp__slot *slot, uint32_t seat)
{
    struct kp__errand *errand = kp__errand_of(slot);

    return seat == 0 ? &errand->first : &errand->more[seat - 1];
}

/* Take it off the list of slots with a seat left, if it is there. */
static inline void kp__close_seats(const struct kp__slot *slot)
{
    if (slot->errand->seats > 1) kp__list_remove(&kp__errand_of(slot)->open_seat);
}

/* ---- states ---------------------------------------------------------------------------------- */

/* Move a slot to another state and its list, with all counts (I1, I2); or many of one key and state
 * at once. */
void kp__slot_move(struct kp__core *core, struct kp__slot *slot, enum kp__state to);
void kp__slots_move(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                    enum kp__state to);

/* The same for a move that was made on an open lane, while nobody was starved (core/lane.c). */
void kp__slot_record(struct kp__core *core, struct kp__slot *slot, enum kp__state state);

/* From idle to TESTED; from there to another state, or back to the place among the idle that it had
 * before. */
void kp__slot_test(struct kp__core *core, struct kp__slot *slot);
void kp__slot_tested(struct kp__core *core, struct kp__slot *slot, enum kp__state to);
void kp__slot_back(struct kp__core *core, struct kp__slot *slot);

/* From LENT to REVOKED, out of the books of what is live; and to RECLAIMED, when all its leases
 * have ended. */
void kp__slot_revoke(struct kp__core *core, struct kp__slot *slot);
void kp__slot_reclaim(struct kp__core *core, struct kp__slot *slot);

/* ---- seats ----------------------------------------------------------------------------------- */

/* Take a free seat for a new lease, of this request. The first one makes the slot lent. */
uint32_t kp__seat_take(struct kp__core *core, struct kp__slot *slot,
                       const struct kp__request *request, uint64_t now);

/* End the lease that has this seat. After the last one, the caller moves the slot. */
void kp__seat_leave(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now);

/* Let others share it, if it has a seat left and nothing is against it; or decide that anew,
 * because the rules have changed. */
void kp__open_seats(struct kp__core *core, struct kp__slot *slot);
void kp__review_seats(struct kp__core *core, struct kp__slot *slot);

/* Let nobody else share it, so that it becomes idle when its leases end; or allow it again. */
void kp__drain_begin(struct kp__core *core, struct kp__slot *slot);
void kp__drain_end(struct kp__core *core, struct kp__slot *slot);

/* ---- the index by resource ------------------------------------------------------------------- */

/* The slot that holds a resource, or NULL; _live: and is not doomed. */
struct kp__slot *kp__slot_of(struct kp__core *core, const void *resource);
struct kp__slot *kp__slot_of_live(struct kp__core *core, const void *resource);

/* Enter a slot into the index, in which room was made before. And the hash that the index uses. */
void kp__slot_enter(struct kp__core *core, struct kp__slot *slot);
uint64_t kp__slot_hash(const struct kp__map_node *node);

#endif
