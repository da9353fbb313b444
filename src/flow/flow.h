/* SPDX-License-Identifier: MIT
 *
 * The pool: a door, which is what the user has, and behind it the core's books, the driver and the
 * options. How a call comes in by the door: door.h.
 */
#ifndef KP__FLOW_FLOW_H
#define KP__FLOW_FLOW_H

#include "base/heap.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/slab.h"
#include "base/world.h"
#include "core/core.h"
#include "keyedpool.h"

struct kp__form;

/* When a pool wants to be looked after: an entry in the heap of the thread that does (life.c,
 * loop.c). */
struct kp__wanted {
    struct kp__heap_node node;
    uint64_t at;
};

/* A door: what the user's kp_pool * points to. It stays for the life of the process, so that every
 * call after close can be answered (L10). Behind it, while the pool lives, is a struct kp__pool;
 * in a child of fork that is a new one. */
struct kp_pool {
    /* read at every hit (hit.c), and seldom written: apart from what follows */
    _Alignas(64) int16_t on_fork;      /* constant: KP_FORK_... */
    _Atomic int16_t on_deadlock;       /* constant once it is open: KP_DEADLOCK_..., or 0 */
    _Atomic(struct kp__guide *) guide; /* to lanes of its pool, or NULL */
    _Atomic uint64_t quick_seed;       /* of the hash by which guides find keys */
    const struct kp__form *form;       /* constant, of keys told by their fields; or NULL */
    _Atomic uint32_t forks;            /* kp__forks when `pool` was opened (fork.c) */
    uint32_t id;                       /* constant: as in the core; leases name doors by it */
    _Atomic bool homes, uses_count;    /* constant once open, as in its core; kp__uses_count */
    struct kp__world world;            /* constant */

    struct kp__lock lock;
    _Atomic(struct kp__pool *) pool; /* NULL: closed, and all came back. Written under the lock */
    struct kp__wanted upkeep, terms; /* Guard: the lock of the heap they are in (life.c, loop.c) */
};

struct kp__crew;
struct kp__reopen;

/* The pool itself. It is freed when it is closed and everything came back. */
struct kp__pool {
    struct kp__core core; /* Guard: door->lock */

    /* constant after open: what the options said */
    struct kp_pool *door;
    const struct kp__world *world; /* the door's */
    void (*upkeep)(kp_pool *pool, uint64_t due_ns, void *ctx); /* NULL: the program calls kp_keep */
    kp_driver driver;
    kp_key_type key_type;
    uint64_t seed[2];
    void (*limits_for)(kp_key key, kp_limits *limits, void *ctx);
    void (*on_event)(const kp_event *event, void *ctx);
    size_t (*stack)(const void **frames, size_t most, void *ctx);
    void *ctx;
    char *name;
    size_t name_size;
    uint64_t opened, deadline, keep_every, watch_every;
    int watch; /* the set of descriptors, or -1 */
    bool abort_on_misuse;
    struct kp__crew *crew; /* options.threads, or NULL */
    kp_loop *loop;         /* options.loop, or NULL */

    /* fork.c */
    struct kp__reopen *reopen;  /* constant: how to open it again in a child; NULL: not at all */
    uint32_t forks;             /* constant: kp__forks when it was opened */
    struct kp__pool *before;    /* constant: in a child, the parent's pool of this door */
    struct kp__pool *left;      /* the next of the parents' pools that a child has left behind */
    _Atomic uint32_t abandoned; /* slots that a child has looked at, to abandon what is in them */
    kp_budget budgets[2];       /* what was said when it opened, and since then by kp_budget_set */
    _Atomic uint32_t budget;    /* which of them holds; the other is the next, so that a child never
                                   finds half of one. Guard, of writing both: door->lock */

    /* Guard: door->lock */
    struct kp__slab jobs;
    uint32_t inside;       /* calls that stepped out and will step in again */
    uint32_t getting;      /* gets between claim and answer: KP_CLOSE_DRAIN waits for them */
    uint32_t awaiting;     /* calls that park on `news`: close, warm, drain, drop */
    _Atomic uint32_t news; /* changes with what they wait for, if there are any (kp__tell_news) */
    uint64_t announced;    /* when upkeep is due, as it was told last; 0: it is not to be told */
    uint64_t term;         /* the same, of the thread that shuts lanes */
    uint64_t watch_at;     /* when upkeep next looks at the set of descriptors */
    bool late_reported;    /* it was told that upkeep is long overdue */
    bool overpromised;     /* it was told that keys are to keep more than there can be */
    bool seated;           /* some errand has memory of its own: seats, or traces */

    /* deadlock.c */
    struct kp__list sleepers;     /* Guard: door->lock */
    struct kp__pool *next_locked; /* while a thread looks: the next pool whose lock it has */
};

/* The budget as it was said last. */
static inline const kp_budget *kp__said_budget(const struct kp__pool *pool)
{
    return &pool->budgets[atomic_load(&pool->budget)];
}

static inline uint64_t kp__time(const struct kp__pool *pool)
{
    return kp__now(pool->world);
}

/* Before a look at this key: shut its lane, so that no hit passes by and its books are up to date
 * (core/lane.h). With the lock. */
static inline void kp__shut(struct kp__pool *pool, struct kp__subpool *sub)
{
    if (sub->open) kp__lane_shut(&pool->core, sub, kp__time(pool));
}

/* The same for all keys. */
static inline void kp__shut_all(struct kp__pool *pool)
{
    if (kp__heap_top(&pool->core.open_lanes)) kp__lane_shut_all(&pool->core, kp__time(pool));
}

#endif
