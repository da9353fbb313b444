/* SPDX-License-Identifier: MIT
 *
 * Lanes: the hit path without a lock (L9). While the lane of a key is open, its idle resources may
 * be taken, and those that are lent given back, by one swing of a word each (flow/hit.c), and the
 * key's books stay as they were when it opened: the words are the truth. Whoever holds the pool's
 * lock and is about to look at such a key, shuts its lane first. That takes the words back one by
 * one and brings the books up to date, so that all decisions are taken on books that are true.
 *
 * WHY NOTHING IS LOST. Every word is its own gate. A get swings IDLE to LENT, a release LENT to
 * IDLE; shutting swings either to SHUT, with one atomic operation on the same word. So each swing
 * of a borrower comes before the shutting, which then sees what it did, or fails and takes the
 * lock, under which the books are the truth. Who waits has shut the lane before, under the lock,
 * and no lane opens while somebody waits: a release that did not see him is one that he has seen
 * (I6). But for a turn (KP_EVENTUAL), in which he comes and looks by himself, and so does one
 * release of KP__LOOKS. No second look at a gate is needed, nor any order between different words.
 *
 * Where what comes back is asked first whether it is clean (driver.is_clean), a release swings
 * twice, from LENT to ENDING and from there to IDLE. Shutting between them leaves the lease to end
 * in the books, where it counts as lent, by whoever is asking (flow/release.c).
 *
 * A cell that is used much gets a home, a processor on which alone its word is swung, without an
 * atomic operation (base/home.h). Elsewhere it cannot be claimed, nor given back, without the lock,
 * under which it loses its home; and so it does before its lane is shut.
 *
 * A cell carries the generation of its slot: each lease swings its word to the next one, so a lease
 * that has ended finds another word and takes the lock to be told (I8). A stale number leads to a
 * line of the same kind, for those stay; what was claimed there is compared afterwards, for what is
 * claimed cannot go.
 */
#ifndef KP__CORE_LANE_H
#define KP__CORE_LANE_H

#include "base/home.h"
#include "base/lines.h"
#include "base/mix.h"
#include "core/slot.h"

/* What the lowest bits of a word say. */
enum {
    KP__SHUT = 0,    /* ask the books */
    KP__HERE = 1,    /* idle */
    KP__GONE = 2,    /* lent */
    KP__TURN = 4,    /* and: others wait, until a turn is over (KP_EVENTUAL) */
    KP__ASKS = 8,    /* who gives it back asks first whether it is clean (driver.is_clean) */
    KP__ENDING = 16, /* of GONE: that is being asked, and nobody else can end this lease any more */
    KP__HOMED = 32   /* only its home, if it has one, may change this word. Of a lease: it began
                        there */
};
enum { KP__WORD_STATE = 63, KP__WORD_BITS = 6, KP__WORD_NEXT = 1 << KP__WORD_BITS };

/* Of the leases in a turn, one of so many ends with the lock, where the clock is looked at. */
enum { KP__LOOKS = 32, KP__NO_LOOK = (KP__LOOKS - 1) * KP__WORD_NEXT };

/* One lease of so many settles: it ends with the lock, and its cell may get a home. What it costs
 * to take homes is paid for by so many that settled (home.c). The explorer has less of both. */
#ifndef KP__SETTLES
#define KP__SETTLES 1024
#define KP__HOME_PRICE 64
#endif
enum { KP__NOT_SETTLING = (KP__SETTLES - 1) * KP__WORD_NEXT };

/* Where a word of 64 bits needs a lock of its own, lanes would gain nothing. */
#define KP__LANES_PAY (ATOMIC_LLONG_LOCK_FREE == 2)

#define KP__LEAST_TERM UINT64_C(1000000) /* 1 ms: to open for less would not pay */

static inline uint64_t kp__word(uint64_t generation, uint64_t state)
{
    return generation << KP__WORD_BITS | state;
}

/* The number of the lease that has a seat, or had it last. `asks`: as the core's. */
static inline uint64_t kp__seat_word(const struct kp__seat *seat, bool asks)
{
    return kp__word(seat->generation, KP__GONE | (seat->turn ? KP__TURN : 0) |
                                          (asks ? KP__ASKS : 0) | (seat->homed ? KP__HOMED : 0));
}

/* The last number of a lease: the count of forks, marks, and its cell or its seat. */
#define KP__LEASE_LIVE (UINT64_C(1) << 32)
#define KP__LEASE_ENDED (UINT64_C(1) << 33)
#define KP__LEASE_CELL (UINT64_C(1) << 34) /* it has seat 0 of a slot with this cell */
#define KP__LEASE_FORKS_AT 35
#define KP__LEASE_FORKS (UINT64_C(0xffffffff) >> (KP__LEASE_FORKS_AT - 32))

static inline uint64_t kp__lease_marks(uint32_t forks)
{
    return ((uint64_t)forks & KP__LEASE_FORKS) << KP__LEASE_FORKS_AT | KP__LEASE_LIVE;
}

/* One slot's line. All but `word` is written under the lock, while the word is SHUT; `tag` and
 * `site` also by the borrower. */
struct kp__cell {
    _Atomic uint64_t word;
    _Atomic uint64_t id; /* as in its leases: core->id, the slot's index */
    _Alignas(8) void *resource; /* of him who has it, as are those below */
    _Alignas(8) _Atomic(const char *) tag;
    _Alignas(8) _Atomic(const void *) site;
    _Alignas(8) struct kp__brief key; /* if it is guided, and brief */
    uint16_t key_size; /* or KP__NOT_BRIEF */
    kp__home home;     /* of a word that is HOMED. Written under the lock */
    union { /* not with the home, which is read by who comes too late for this line */
        uint32_t lane;
        struct kp__line_end end;
    };
};
#define KP__NOT_BRIEF UINT16_MAX

/* Keys of more bytes are not guided: to hash them takes longer than the lock. */
enum { KP__GUIDED_MOST = 4096 };

/* One key's line. A guess for whoever reads it without the lock. Each number in it, and in lists,
 * is of its own kind for ever, or 0, which is a line that nobody has. */
enum { KP__LANE_KEY = KP__LINE - (int)sizeof(size_t) - 8 * 4 }; /* 24; 28 on 32 bits */
struct kp__lane {
    _Atomic size_t pin;     /* the size of a key that was pinned to it (flow/find.c); or 0 */
    _Atomic uint32_t shape; /* how many cells, and by how many lists each is found; 0: shut */
    _Atomic uint32_t cell;  /* the only one */
    _Atomic uint32_t list;  /* the list of them */
    _Atomic uint32_t top;   /* the list of their lists */
    uint32_t sub;           /* its index; constant while a key has it, as are those below */
    uint32_t pool;          /* core->id */
    uint32_t key_size;
    char key[KP__LANE_KEY]; /* up to so many bytes; else a pointer to them */
    struct kp__line_end end;
};

enum { KP__LIST = KP__LINE / 4 - 1, KP__LANE_MOST = KP__LIST * KP__LIST };
struct kp__numbers {
    _Atomic uint32_t number[KP__LIST];
    struct kp__line_end end; /* so that a list nobody has still has numbers of its own kind */
};

#define KP__SHAPE(cells, levels) ((uint32_t)(levels) << 16 | (cells))
#define KP__SHAPE_CELLS UINT32_C(0xffff)

/* Lines by kind: cells, lanes, lists of cells, lists of lists. */
extern KP__INSIDE struct kp__lines kp__cells, kp__lanes, kp__lists, kp__tops;

/* With the lock: those of a slot and of a subpool that have one. */
#define KP__CELL_OF(slot) ((struct kp__cell *)kp__line(&kp__cells, (slot)->cell))
#define KP__LANE_OF(sub) ((struct kp__lane *)kp__line(&kp__lanes, (sub)->term->lane))

/* Without the lock: the cell a number in a lease names, or NULL; the lane one in a pin does. They
 * are numbers of the user's, and may be anything. */
static inline struct kp__cell *kp__cell_at(uint64_t number)
{
    return (struct kp__cell *)kp__line_at(&kp__cells, number);
}

static inline struct kp__lane *kp__lane_at(uint64_t number)
{
    return (struct kp__lane *)kp__line_at(&kp__lanes, number);
}

static inline uint32_t kp__listed(struct kp__lines *kind, uint32_t list, uint32_t k)
{
    const struct kp__numbers *l = (const struct kp__numbers *)kp__line(kind, list);

    /* acquire, here and below: pairs with the release of who wrote the number, after the line it
     * names was made; whose line it is by now, is compared after the claim */
    return atomic_load_explicit(&l->number[k], memory_order_acquire);
}

/* Without the lock: the number of the k-th cell of a lane of this shape, as a guess. */
static inline uint32_t kp__lane_cell(const struct kp__lane *lane, uint32_t shape, uint32_t k)
{
    if (shape >> 16 == 0) return atomic_load_explicit(&lane->cell, memory_order_acquire);
    uint32_t list = shape >> 16 == 1
                        ? atomic_load_explicit(&lane->list, memory_order_acquire)
                        : kp__listed(&kp__tops,
                                     atomic_load_explicit(&lane->top, memory_order_acquire),
                                     k / KP__LIST);
    return kp__listed(&kp__lists, list, k % KP__LIST);
}

/* A key gets its line, if it has none, and keeps it until it is forgotten. False: out of memory. */
bool kp__lane_make(struct kp__core *core, struct kp__subpool *sub);
void kp__lane_drop(struct kp__core *core, struct kp__subpool *sub);

/* Nobody waits, nothing is under way, no rule could be broken: from now on, without the lock. A
 * lane is open for a term only, after which it is shut (flow/keeper.c); by this, nothing on it
 * outlives its time, and what is lent for too long is found. */
void kp__lane_open(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* It is open: enter its key into the guide, if it is not there any more: a guide that grew, or
 * whose line is full, has lost some. */
void kp__lane_guide(struct kp__core *core, const struct kp__subpool *sub);

/* How many of its idle or lent ones a lane that opens now may have, if above 0. An open lane
 * reserves a lent permit for each idle one on it, and a place among the idle for each lent one, so
 * that whatever happens on it breaks no limit over all keys. */
int64_t kp__lane_most(const struct kp__core *core, const struct kp__subpool *sub, int state);

/* What is reserved is nobody's: whoever lacks it has lanes shut first, until he has it, or the
 * books are true. A lent permit; places for so many more idle ones (true: they are there). */
void kp__lanes_leave_lent(struct kp__core *core);
bool kp__lanes_leave_idle(struct kp__core *core, uint32_t more);

/* Bring the books up to date; what is lent meanwhile counts as lent since `now` at least. */
void kp__lane_shut(struct kp__core *core, struct kp__subpool *sub, uint64_t now);
void kp__lane_shut_all(struct kp__core *core, uint64_t now);

/* The terms of up to so many (at most KP__TOGETHER) are over. Those that were used begin another
 * one, so that he who comes next finds them open. */
enum { KP__TOGETHER = 256 };
void kp__lane_shut_due(struct kp__core *core, uint64_t now, uint32_t most);

/* A lease ends whose cell is on an open lane: is this its word? Then it is swung back, and may get
 * a home here. */
bool kp__home_settle(struct kp__core *core, const struct kp__slot *slot, uint64_t word);

/* The cell of a slot loses its home, if it has one; or all those of some open lanes do, at the
 * price of one. False: none had one. */
void kp__home_take(struct kp__core *core, const struct kp__slot *slot);
bool kp__homes_take(struct kp__core *core, struct kp__subpool *const *subs, uint32_t many);

void kp__lanes_init(struct kp__core *core);

/* A slot is free again: so is its cell. */
void kp__cell_drop(struct kp__core *core, struct kp__slot *slot);

void kp__lanes_in_child(void);

#endif
