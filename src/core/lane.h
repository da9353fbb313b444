/* SPDX-License-Identifier: MIT
 *
 * Lanes: the hit path without a lock (L9).
 *
 * The pool's lock guards a key's *books*: the lists and counts that say which of its slots are idle
 * and which are lent. A lane lets gets and releases of one key do without lock and books for a
 * while.
 *
 *   cell    the cache line of one slot. Its *word* holds the slot's generation and a state: IDLE,
 *           LENT, or SHUT (only the books know).
 *   lane    the cache line of one key. It names the cells of the key's slots.
 *   swing   one atomic step of a word from an expected value to another. A get claims a cell by a
 *           swing from IDLE to LENT, a release gives it back by one from LENT to IDLE (flow/hit.c).
 *   open    the words of the lane's cells are the truth, and the books stay as they were when the
 *           lane opened.
 *   shut    all these words are SHUT, and the books are the truth.
 *
 * A lane opens under the lock, when nobody waits for the key and nothing is under way in it
 * (kp__lane_open). A thread that has the lock and is about to look at the books shuts the lane
 * first (kp__lane_shut): it sets one word after the other to SHUT and enters in the books what each
 * of them said. So every decision is taken on books that are true. lane.c opens and shuts a lane,
 * term.c says when and for how long, lanes.c has all open lanes of a pool, guide.h leads from a key
 * to its lane.
 *
 * WHY NOTHING IS LOST. Every word is its own gate: gets, releases and shutting all change it by one
 * atomic operation. The shutting of a word sees each swing that came before it, and enters it in
 * the books. A swing that comes after it fails, and its thread takes the lock, under which the
 * books are the truth. A request shuts the lane, under the lock, before it waits, and no lane opens
 * while one waits. So a release that ends by a swing need not look for requests that wait: it came
 * before the shutting, and whoever waits has found in the books what it gave back (I6). No gate is
 * looked at twice, and no memory order between different words is needed.
 *
 * The exception is a turn (KP_EVENTUAL), in which a lane may be open though requests wait: the
 * first of them comes and looks by itself (kp__offer), and one release in KP__LOOKS takes the lock
 * to see whether the turn is over.
 *
 * RELEASES THAT ASK. Where the driver is asked whether what comes back is clean (driver.is_clean),
 * a release swings the word twice: to ENDING, then, after the answer, to IDLE. If the lane is shut
 * in between, the books count the lease as lent and ending. The second swing fails, and the thread
 * that asked ends the lease with the lock (flow/release.c).
 *
 * HOMES. A cell that is used much gets a home: one processor, on which its word is swung by a few
 * plain instructions instead of an atomic operation (base/home.h). On other processors it can be
 * neither claimed nor given back without the lock, and a thread that takes the lock for that takes
 * the home away. Shutting a lane begins with taking its homes away.
 *
 * OLD NUMBERS. Each lease increments the generation in the word. So the number of a lease that has
 * ended does not match the word any more: its release takes the lock, under which the misuse is
 * told (I8). Leases, pins and guides name lines by number, and the line may be another key's by
 * now. But lines are never freed and never change their kind (base/lines.h). So a get claims a cell
 * first, and then compares whose it is, which cannot change while it is claimed.
 */
#ifndef KP__CORE_LANE_H
#define KP__CORE_LANE_H

#include "base/home.h"
#include "base/lines.h"
#include "base/mix.h"
#include "core/slot.h"

struct kp__lane_books;

/* What the lowest bits of a word say. */
enum {
    KP__SHUT = 0,    /* only the books know */
    KP__WORD_IDLE = 1, /* in a lease's variable: it has ended, through this variable */
    KP__WORD_LENT = 2,
    KP__TURN = 4,    /* and requests wait until a turn is over (KP_EVENTUAL) */
    KP__ASKS = 8,    /* the release asks first whether the resource is clean (driver.is_clean) */
    KP__ENDING = 16, /* with LENT: that is being asked, and nobody else can end this lease */
    KP__HOMED = 32   /* without the lock, only the cell's home may change this word, if it still has
                        one. In a lease's number: it was lent at a home */
};
enum { KP__WORD_STATE = 63, KP__WORD_BITS = 6, KP__WORD_NEXT = 1 << KP__WORD_BITS };

/* In a turn, one lease in KP__LOOKS ends with the lock, under which the clock is read. */
enum { KP__LOOKS = 32, KP__NO_LOOK = (KP__LOOKS - 1) * KP__WORD_NEXT };

/* One lease in KP__SEEKS *seeks a home*: it ends with the lock, if that is free, and its cell may
 * get a home then. Taking homes away is paid for by KP__HOME_PRICE leases that sought one (home.c).
 * The explorer has smaller numbers for both. */
#ifndef KP__SEEKS
#define KP__SEEKS 1024
#define KP__HOME_PRICE 64
#endif
enum { KP__NOT_SEEKING = (KP__SEEKS - 1) * KP__WORD_NEXT };

/* Where atomic operations on 64 bits need a lock of their own, lanes would gain nothing. */
#define KP__LANES_PAY (ATOMIC_LLONG_LOCK_FREE == 2)

#define KP__LEAST_TERM UINT64_C(1000000) /* 1 ms: to open for less would not pay */

static inline uint64_t kp__word(uint64_t generation, uint64_t state)
{
    return generation << KP__WORD_BITS | state;
}

/* The word of the lease that has this seat, or had it last, as it is in the lease's numbers
 * (opaque[1]). `asks`: core->asks. */
static inline uint64_t kp__seat_word(const struct kp__seat *seat, bool asks)
{
    return kp__word(seat->generation, KP__WORD_LENT | (seat->turn ? KP__TURN : 0) |
                                          (asks ? KP__ASKS : 0) | (seat->homed ? KP__HOMED : 0));
}

/* The last number of a lease (opaque[2]): the count of forks, marks, and its cell or its seat. */
#define KP__LEASE_LIVE (UINT64_C(1) << 32)
#define KP__LEASE_CELL (UINT64_C(1) << 33) /* it names a cell; its seat is 0 of that cell's slot */
#define KP__LEASE_FORKS_AT 34
#define KP__LEASE_FORKS (UINT64_C(0xffffffff) >> (KP__LEASE_FORKS_AT - 32))

static inline uint64_t kp__lease_marks(uint32_t forks)
{
    return ((uint64_t)forks & KP__LEASE_FORKS) << KP__LEASE_FORKS_AT | KP__LEASE_LIVE;
}

/* One slot's line. Written under the lock while the word is SHUT; except `word` itself, `home`, and
 * `tag` and `site`, which the borrower writes, too. */
struct kp__cell {
    _Atomic uint64_t word;
    _Atomic uint64_t id; /* as in its leases: core->id, the slot's index */
    _Alignas(8) void *resource; /* for whoever has claimed the cell, as is all but `home` below */
    _Alignas(8) _Atomic(const char *) tag;
    _Alignas(8) _Atomic(const void *) site;
    _Alignas(8) struct kp__brief key; /* if guides find this pool's keys by their bytes ... */
    uint16_t key_size; /* ... and this one is brief; else KP__NOT_BRIEF */
    kp__home home;     /* of a word that is HOMED. Written under the lock */
    union { /* `end` is not laid over `home`, which may be read after the cell was given back */
        uint32_t lane;
        struct kp__line_end end;
    };
};
#define KP__NOT_BRIEF UINT16_MAX

/* Keys of more bytes are not guided: to hash them takes longer than the lock. */
enum { KP__GUIDED_MOST = 4096 };

/* One key's line. Without the lock, all that is read here is a guess: the line may be another key's
 * by now. Each number in it, and in lists, always names a line of the same kind, or is 0, which
 * names a line that is never given to anybody. */
enum { KP__LANE_KEY = KP__LINE - (int)sizeof(size_t) - 8 * 4 }; /* 24; 28 on 32 bits */
struct kp__lane {
    _Atomic size_t pin;     /* kp_key.size of the pins of this key (flow/pin.c); 0: none */
    _Atomic uint32_t shape; /* how many cells, and levels of lists to each (KP__SHAPE); 0: shut */
    _Atomic uint32_t cell;  /* levels 0: the only cell */
    _Atomic uint32_t list;  /* levels 1: the list of the cells */
    _Atomic uint32_t top;   /* levels 2: the list of their lists */
    uint32_t sub;           /* its index; constant while a key has this line, as are those below */
    uint32_t pool;          /* core->id */
    uint32_t key_size;
    char key[KP__LANE_KEY]; /* the key's bytes if they fit, else a pointer to them */
    struct kp__line_end end;
};

enum { KP__LIST = KP__LINE / 4 - 1, KP__LANE_MOST = KP__LIST * KP__LIST };
struct kp__numbers {
    _Atomic uint32_t number[KP__LIST];
    struct kp__line_end end; /* apart, so that the numbers of a free list stay numbers of lines */
};

#define KP__SHAPE(cells, levels) ((uint32_t)(levels) << 16 | (cells))
#define KP__SHAPE_CELLS UINT32_C(0xffff)

/* Lines by kind: cells, lanes, lists of cells, lists of lists. */
extern KP__INSIDE struct kp__lines kp__cells, kp__lanes, kp__lists, kp__tops;

/* With the lock: the cell of a slot, the lane of a subpool; each must have one. */
#define KP__CELL_OF(slot) ((struct kp__cell *)kp__line(&kp__cells, (slot)->cell))
#define KP__LANE_OF(sub) ((struct kp__lane *)kp__line(&kp__lanes, (sub)->lane_books->line))

/* With the lock: the tag of the get whose lease has this seat, and the place of its call. One that
 * did without the lock notes them in the cell after its claim, maybe not before the lane is shut:
 * so they are read there when they are wanted. */
static inline const char *kp__seat_tag(const struct kp__slot *slot, const struct kp__seat *seat)
{
    if (!seat->swung) return seat->tag;
    /* relaxed, here and below: an earlier lease's, if its borrower has yet to note its own */
    return atomic_load_explicit(&KP__CELL_OF(slot)->tag, memory_order_relaxed);
}

static inline const void *kp__seat_site(const struct kp__slot *slot, const struct kp__seat *seat)
{
    if (!seat->swung) return seat->site;
    return atomic_load_explicit(&KP__CELL_OF(slot)->site, memory_order_relaxed);
}

/* Without the lock: the cell that a number in a lease names, or the lane that one in a pin names;
 * NULL: there is no such line. These numbers come from the user, and may be anything. */
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

    /* acquire, here and in kp__lane_cell: pairs with the release of the number (lane.c, name_line),
     * which came after the line was made; whose line it is by now is compared after the claim */
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

/* Give a key its line, if it has none; it keeps it until it is forgotten. False: out of memory. */
bool kp__lane_make(struct kp__core *core, struct kp__subpool *sub);
void kp__lane_drop(struct kp__core *core, struct kp__subpool *sub);

/* Open a key's lane, if nobody waits, nothing is under way, and no rule could be broken by hits
 * without the lock. It is open for one *term* at most, then it is shut (flow/keeper.c): so that
 * nothing on it outlives its time, and what is lent for too long is found. */
void kp__lane_open(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* May it open now? Then kp__term_end says when it must be shut, so that nothing on it outlives its
 * time; and when it was shut, kp__term_pause says for how many releases it stays so: the more, the
 * more often in a row opening did not pay. In term.c. */
bool kp__lane_may_open(const struct kp__core *core, const struct kp__subpool *sub, uint64_t now);
uint64_t kp__term_end(const struct kp__core *core, const struct kp__subpool *sub, uint64_t now);
uint16_t kp__term_pause(const struct kp__core *core, struct kp__lane_books *books, uint64_t now);

/* Of an open lane: enter its key into the guide once more. A guide loses keys when it grows, and
 * where a bucket is full. */
void kp__lane_guide(struct kp__core *core, const struct kp__subpool *sub);

/* How many of the key's slots in this state, idle or lent, may be on a lane that opens now; below
 * 1: none. An open lane *reserves* a lent permit for each idle one on it, and a place among the
 * idle for each lent one, so that whatever happens on it breaks no limit over all keys. */
int64_t kp__lane_most(const struct kp__core *core, const struct kp__subpool *sub, int state);

/* Nobody is kept waiting by what lanes reserve: a thread that lacks it shuts one lane after the
 * other, until it is there, or no lane is open any more. _lent: one lent permit. _idle: places for
 * `more` idle ones; true: they are there. */
void kp__lanes_yield_lent(struct kp__core *core);
bool kp__lanes_yield_idle(struct kp__core *core, uint32_t more);

/* Shut a lane, and bring the books up to date. What was lent on it and is still out counts as lent
 * since `now`. */
void kp__lane_shut(struct kp__core *core, struct kp__subpool *sub, uint64_t now);
void kp__lane_shut_all(struct kp__core *core, uint64_t now);

/* Shut lanes whose terms are over, up to `most` (at most KP__TOGETHER). Those that were used begin
 * another term at once, so that the next caller finds them open. */
enum { KP__TOGETHER = 256 };
void kp__lane_shut_due(struct kp__core *core, uint64_t now, uint32_t most);

/* End a lease whose slot is on an open lane, if the cell has this word: the word is swung back, and
 * the cell may get this processor as its home. */
bool kp__home_seek(struct kp__core *core, const struct kp__slot *slot, uint64_t word);

/* Take the home of a slot's cell away, if it has one; or those of all cells of some open lanes, at
 * the price of one. False: none had a home. */
void kp__home_take(struct kp__core *core, const struct kp__slot *slot);
bool kp__homes_take(struct kp__core *core, struct kp__subpool *const *subs, uint32_t many);

void kp__lanes_init(struct kp__core *core);

/* The slot is free again: its cell, if it has one, is given back. */
void kp__cell_drop(struct kp__core *core, struct kp__slot *slot);

void kp__lanes_in_child(void);

#endif
