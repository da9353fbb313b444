/* SPDX-License-Identifier: MIT
 *
 * The pool as the story sees it: the core's books, the driver, and what the functions of this
 * folder ask of each other.
 *
 * THE LOCK. kp__enter takes it, kp__leave gives it back and does what the decisions left to do. In
 * between a call may step out (to run a driver function, to sleep) and in again; while it is
 * outside it counts in `inside`, and the pool is not freed. Nothing of the user's is called between
 * stepping in and stepping out (L3), but for key equality and the world.
 */
#ifndef KP__FLOW_FLOW_H
#define KP__FLOW_FLOW_H

#include "base/lock.h"
#include "base/world.h"
#include "core/table.h"
#include "flow/here.h"
#include "flow/key.h"
#include "keyedpool.h"

/* When somebody is to look after a pool: an entry in the heap of whoever does (life.c, loop.c). */
struct kp__wanted {
    struct kp__heap_node node;
    uint64_t at;
};

/* A door: what the user's kp_pool * points to. It stays for the life of the process, so that every
 * call after close can be answered (L10). What is behind it, while the pool lives, is a struct
 * kp__pool; in a child of fork that is another one. */
struct kp_pool {
    /* read at every hit (hit.c), and seldom written: apart from what follows */
    _Alignas(64) uint32_t index;       /* constant: leases name doors by it */
    int16_t on_fork;                   /* constant: KP_FORK_... */
    _Atomic int16_t on_deadlock;       /* constant once it is open: KP_DEADLOCK_..., or 0 */
    _Atomic(struct kp__guide *) guide; /* to lanes of its pool, or NULL */
    _Atomic uint64_t quick_seed;       /* of the hash by which guides find keys */
    const struct kp__form *form;       /* constant, of keys told by their fields; or NULL */
    _Atomic uint32_t forks;            /* kp__forks when `pool` was opened (fork.c) */
    uint32_t id;                       /* constant: as in the core, index + 1 */
    _Atomic bool homes, uses_count;    /* its core's, constant once open; kp__uses_count */
    struct kp__world world;            /* constant */

    struct kp__lock lock;
    _Atomic(struct kp__pool *) pool; /* NULL: closed, and all came back. Written under the lock */
    struct kp__wanted upkeep, terms; /* Guard: the lock of whoever is wanted (life.c, loop.c) */
};

struct kp__job;
struct kp__crew;
struct kp_loop;
struct kp__again;

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
    struct kp__again *again;    /* constant: how to open it again in a child; NULL: it is refused */
    uint32_t forks;             /* constant: kp__forks when it was opened */
    struct kp__pool *before;    /* constant: in a child, the parent's pool of this door */
    struct kp__pool *left;      /* the next of the parents' pools that a child has left behind */
    _Atomic uint32_t abandoned; /* slots that a child has looked at, to abandon what is in them */

    /* Guard: door->lock */
    kp_budget budget;      /* as it was said, in all */
    struct kp__slab jobs;
    uint32_t inside;       /* calls that stepped out and will step in again */
    uint32_t getting;      /* gets between claim and answer: KP_CLOSE_DRAIN waits for them */
    uint32_t watchers;     /* who parks on `news`: close, warm, drain, drop */
    _Atomic uint32_t news; /* while watched: changes when a resource was made, went or came back */
    uint64_t announced;    /* the due time that upkeep was told last */
    uint64_t term;         /* the same, of the thread that shuts lanes */
    uint64_t watch_at;     /* when upkeep looks at the set of descriptors next */
    bool late_reported;    /* that upkeep is long overdue was told */
    bool overpromised;     /* that keys are to keep more than there can be was told */
    bool seated;           /* some errand has memory of its own: seats, or traces */

    /* deadlock.c */
    struct kp__list sleepers; /* Guard: door->lock */
    struct kp__pool *stopped; /* the next of those that somebody stopped, while he looks */
};

/* ---- doors and the lock (door.c) ------------------------------------------------------------- */

int kp__door_open(struct kp__pool *pool, const struct kp__world *world);
bool kp__is_door(const void *maybe);         /* looked up, not followed */
struct kp_pool *kp__door_at(uint32_t index); /* NULL: there has never been one */

/* Take the lock of an open or closing pool; NULL, and why in *code (KP_EMISUSE, KP_EFORKED,
 * KP_ECLOSED; KP_ENOMEM in a child), if that can't be. */
struct kp__pool *kp__enter(kp_pool *door, int *code);

/* Give the lock back, and do what is to be done: wake, destroy, free what was told; the last one
 * out frees a closed pool. */
void kp__leave(struct kp__pool *pool, struct kp__todo *todo);

/* The same, but come back: for driver functions and sleeping. _aside: what is to be destroyed stays
 * to be done. */
void kp__step_out(struct kp__pool *pool, struct kp__todo *todo);
void kp__step_aside(struct kp__pool *pool, struct kp__todo *todo);
void kp__step_in(struct kp__pool *pool);

/* An answer comes in, to a pool that cannot be gone: what it is about keeps it. */
void kp__come_in(struct kp__pool *pool, struct kp__todo *todo);

/* Do the to-dos with the lock held before and after (it is given back meanwhile). False: there were
 * none. */
bool kp__do(struct kp__pool *pool, struct kp__todo *todo);

/* Wake those who park on `news`: a resource was made, went or came back. With the lock. */
void kp__tell_news(struct kp__pool *pool, struct kp__todo *todo);

/* Park on `news` until it changes or `until` comes. With the lock, given back meanwhile. */
void kp__await_news(struct kp__pool *pool, struct kp__todo *todo, uint64_t until);

/* Memory for one more of everything that a new resource or key needs, allocated without the lock.
 * False: out of memory. With the lock, which may be given back meanwhile. */
bool kp__make_room(struct kp__pool *pool);

/* ---- lanes ----------------------------------------------------------------------------------- */

/* About to look at this key: no hit passes by any more, and its books are up to date (core/lane.h).
 * With the lock. */
static inline void kp__shut(struct kp__pool *pool, struct kp__subpool *sub)
{
    if (sub->open) kp__lane_shut(&pool->core, sub, kp__now(pool->world));
}

void kp__shut_all(struct kp__pool *pool); /* those of all keys (keeper.c) */

/* ---- children of fork (fork.c) --------------------------------------------------------------- */

/* See to it that forks are counted, with the first pool. With the registry's lock. */
bool kp__fork_watch(void);

/* First use of a pool in a child: it starts anew, or why not. Without the lock. */
int kp__fork_arrive(kp_pool *door);

/* Open a pool again behind its door, which belongs to nobody meanwhile (open.c). */
int kp__pool_again(kp_pool *door, const struct kp__pool *old, struct kp__pool **out);
void kp__again_drop(const struct kp__world *world, struct kp__again *again); /* NULL is fine */

/* What a child has to put right of each file's own. No other thread is there. */
void kp__doors_in_child(void);
void kp__life_in_child(void);
void kp__listener_in_child(void);
void kp__loops_in_child(void);

/* ---- time (door.c) --------------------------------------------------------------------------- */

static inline uint64_t kp__time(const struct kp__pool *pool)
{
    return kp__now(pool->world);
}
uint64_t kp__after(uint64_t now, int64_t ms); /* KP_OFF: KP__NEVER, KP_NONE: now */
uint64_t kp__end_of(uint64_t now, int64_t ms); /* the same of a call whose default is 30 s */
int64_t kp__ms_up(uint64_t ns);               /* rounded up */
static inline int64_t kp__ms_since(uint64_t then, uint64_t now) /* 0 if then is */
{
    return then && now > then ? (int64_t)((now - then) / 1000000) : 0;
}

/* For kp_use: sleep on the pool's clock, and a random number of its world. */
void kp__pause_until(kp_pool *pool, uint64_t until_ns);
uint64_t kp__random(kp_pool *pool);

/* ---- telling (event.c) ----------------------------------------------------------------------- */

/* Send an event, without the lock. sub (or NULL) must be kept by a slot, a request or interest.
 * kp__send: one that is made already; it was looked whether anybody listens. */
void kp__event(struct kp__pool *pool, kp_event_kind kind, struct kp__subpool *sub,
               const void *resource, int code, const kp_why *why);
void kp__send(struct kp__pool *pool, kp_event *event);

/* What is told of a lease. With the lock; kp__send it without. */
struct kp__notice {
    kp_event event;
    const void *frame[KP__FRAMES];
};
void kp__notice(struct kp__pool *pool, const struct kp__slot *slot, const struct kp__seat *seat,
                kp_event_kind kind, uint64_t now, struct kp__notice *out);

/* Where a lease was got, if that is known: how many return addresses (trace.c). */
size_t kp__trace_of(const struct kp__slot *slot, const struct kp__seat *seat,
                    const void *frame[KP__FRAMES]);
/* Ask options.stack, on the thread of the get. With the lock, which is given back meanwhile. */
void kp__trace(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat, struct kp__todo *todo);

/* Misuse: counted, told, and nothing else done. Without the lock; pool NULL: no pool can be told.
 * Returns KP_EMISUSE. _within: with the lock, which is given back meanwhile. */
int kp__misuse(struct kp__pool *pool, kp_why *why, const char *sentence);
int kp__misuse_within(struct kp__pool *pool, struct kp__todo *todo, kp_why *why,
                      const char *sentence);

/* kp__enter said no: that is misuse if there is no pool at all (`sentence`). Returns the code. */
int kp__no_pool(int code, kp_why *why, const char *sentence);

/* Fill *why (if not NULL) with a code and a sentence of one's own. */
void kp__say(kp_why *why, int code, const char *sentence);

/* Why a request was refused, with the key's numbers of this moment. With the lock. */
void kp__explain_no(const struct kp__core *core, const struct kp__request *request, uint64_t now,
                    kp_why *why);
void kp__say_failure(kp_why *why, const struct kp__failure *failure);

/* ---- keys (find.c) --------------------------------------------------------------------------- */

/* The subpool of a key, with interest (kp__lose_interest gives it up); or NULL, and why in *code.
 * With the lock. `want`: somebody wants to use it: it is made if there is none, for which the lock
 * may be given back meanwhile. */
struct kp__subpool *kp__find(struct kp__pool *pool, kp_key key, uint64_t hash, bool want,
                             kp_why *why, int *code);

/* The subpool of a key without interest, and its lane as it is; or NULL. With the lock. */
struct kp__subpool *kp__known(struct kp__pool *pool, kp_key key);

/* While somebody has an interest in a key, it is not forgotten, and its lane stays shut. */
void kp__take_interest(struct kp__pool *pool, struct kp__subpool *sub);
void kp__lose_interest(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now);
uint64_t kp__hash(struct kp__pool *pool, kp_key key); /* 0 for a pinned key */
static inline kp_key kp__key_of(const struct kp__pool *pool, const struct kp__subpool *sub)
{
    return kp__key_stored(&pool->key_type, kp__key_at(sub), sub->key_size);
}

/* Is it a key of this pool? Else misuse. With the lock, which is then given back meanwhile. */
int kp__check_key(struct kp__pool *pool, kp_key key, kp_why *why, struct kp__todo *todo);
bool kp__key_fits(struct kp__pool *pool, kp_key key); /* the same, and nothing is told */
bool kp__every_key(kp_key key);

/* A pinned key: data is the number of its lane, size carries this mark, the door's index and the
 * subpool's serial, both as in the owner of a lane. */
#define KP__PIN_MARK (SIZE_MAX / 4 + 1)

static inline bool kp__is_pinned(kp_key key)
{
    return (key.size & KP__PIN_MARK) && !(key.size & KP_STRUCT_KEY);
}

#if SIZE_MAX > UINT32_MAX
enum { KP__PIN_DOOR_AT = 32 };
#else
enum { KP__PIN_DOOR_AT = 16 };
#endif

static inline size_t kp__pin_size(uint32_t door, uint32_t serial)
{
    size_t doors = KP__PIN_MARK - 1, serials = ((size_t)1 << KP__PIN_DOOR_AT) - 1;

    return KP__PIN_MARK | ((size_t)door << KP__PIN_DOOR_AT & doors) | (serial & serials);
}

/* Of the door that a pin is for: as much as the pin tells. */
static inline bool kp__pin_is_of(uint32_t door, size_t size)
{
    return (kp__pin_size(door, 0) ^ size) >> KP__PIN_DOOR_AT == 0;
}

/* The pool, open or closing, and a key that fits it (with `every`, KP_EVERY_KEY does); or NULL, and
 * why in *code and *why. `what`: the sentence for a pool that is NULL. With the lock. */
struct kp__pool *kp__enter_with(kp_pool *door, kp_key key, bool every, const char *what,
                                kp_why *why, int *code);

/* The next key after `sub` (NULL: the first), with interest; the interest in `sub` is given up.
 * With the lock. */
struct kp__subpool *kp__next_key(struct kp__pool *pool, struct kp__subpool *sub);

/* Free the pool's own copy of a key, if that has memory of its own. Without the lock. */
void kp__key_forget(struct kp__pool *pool, struct kp__subpool *sub);

/* Tell that a key is forgotten which kp__table_drop took out, and free its subpool. With the lock,
 * which is given back meanwhile. */
void kp__forgotten(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);

/* ---- limits (limits.c) ----------------------------------------------------------------------- */

/* Limits in which every number is said (R2): zero is zero. What was not said comes from `base`, or
 * (NULL) is the default; some of that depends on other numbers (max_waiting, excess_over) and is
 * worked out last, by kp__limits_given. */
kp_limits kp__limits_merge(const kp_limits *said, const kp_limits *base);

/* What limits_for is handed, and what it left: a number it did not touch may follow from one it
 * did. */
kp_limits kp__limits_given(const kp_limits *base);
kp_limits kp__limits_taken(const kp_limits *left, const kp_limits *given, const kp_limits *base);

int kp__rules_make(const struct kp__world *world, const kp_limits *limits, struct kp__rules **out,
                   kp_why *why);
void kp__rules_drop(const struct kp__world *world, struct kp__rules *rules); /* NULL is fine */
int kp__refused(kp_why *why, const char *field, const char *sentence);       /* KP_ECONFIG */
int kp__plan_check(const kp_plan *plan); /* can it be meant? 0, or KP_ECONFIG with its why filled */
int64_t kp__count(int64_t said);    /* KP_UNLIMITED, KP_OFF: KP__UNBOUND; KP_NONE: 0 */
uint64_t kp__span(int64_t said_ms); /* in ns; KP_OFF: KP__NEVER; KP_NONE: 0 */

/* What budgets allow, for limits to be held against. `keys`: how many have the same limits; 1 if
 * that is not known. */
struct kp__bounds {
    int64_t live, lent, group[2], keys;
    bool changing; /* the budgets change, so one of them is at fault */
};

/* Has the driver what they need? 0, or KP_ECONFIG with the field in *why. */
int kp__rules_driven(const struct kp__rules *rules, const kp_driver *driver, kp_why *why);

/* May these limits ever hold within the budgets? 0, or KP_ECONFIG with the field in *why. */
int kp__rules_fit(const struct kp__rules *rules, const struct kp__bounds *bounds, kp_why *why);

/* Can a budget be meant so? And can limits hold within it that all keys have (`same`), or one at
 * least? 0, or KP_ECONFIG with the field in *why. In budgets.c. */
int kp__budget_check(const kp_budget *budget, kp_why *why);
int kp__budget_holds(const kp_budget *budget, const struct kp__rules *rules, bool same,
                     kp_why *why);
struct kp__allowance kp__allowance_of(const kp_budget *budget);

/* And with what the other keys keep, where these replace `old`? With the lock. */
int kp__rules_add_up(const struct kp__pool *pool, const struct kp__rules *rules,
                     const struct kp__rules *old, kp_why *why);

/* Those of a pool; `every`: for the limits of every key. */
struct kp__bounds kp__bounds_of(const struct kp__pool *pool, bool every);

/* ---- rules (rules.c) and failures (retry.c) -------------------------------------------------- */

/* Work out the rules of a new key. If they are there, or somebody else is just asking limits_for,
 * there is nothing to do: until then, who comes waits in the key's queue. With the lock, given back
 * meanwhile. */
int kp__rule(struct kp__pool *pool, struct kp__subpool *sub, kp_why *why);

/* Forgive a key its failures (kp_retry_now). With the lock, given back meanwhile. */
void kp__retry(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);

/* ---- jobs and resources (job.c, create.c, destroy.c) ----------------------------------------- */

/* May this thread wait for a driver's answer? Not the thread of a loop: there, and wherever the
 * driver's functions run on another thread, nobody stands by, and a job is sent (job.h). */
bool kp__stands_by(const struct kp__pool *pool);

/* Run validate or reset on a lent slot, and stand by: 0, or negative; KP_PENDING if no answer came
 * by `until`: then the answer itself ends the lease. `now` may be 0 where `until` is KP__NEVER.
 * With the lock, which is given back meanwhile. */
int kp__job_run(struct kp__pool *pool, kp_job_kind kind, struct kp__slot *slot, uint32_t seat,
                const char *tag, uint64_t now, uint64_t until, struct kp__todo *todo);

/* The same on the way in, and nobody stands by: `request` waits for the outcome. With the lock,
 * which is given back meanwhile. */
void kp__job_check(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat,
                   struct kp__request *request, uint64_t until, struct kp__todo *todo);

/* The same on the way back: reset and then validate, as far as `reset` and `validate` say; the
 * outcome ends the lease. False: out of memory, nothing was begun. */
bool kp__job_return(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat, bool reset,
                    bool validate, struct kp__todo *todo);

/* Destroy a slot in CLOSING and vacate it; `heir`: the subpool it was evicted for. With the lock,
 * which is given back meanwhile. */
void kp__destroy(struct kp__pool *pool, struct kp__slot *slot, struct kp__subpool *heir,
                 struct kp__todo *todo);

/* The same if another runs it, and nobody stands by. False: not so, or out of memory; then it is
 * to be destroyed as above. With the lock, given back meanwhile. */
bool kp__destroy_sent(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* The same of many, which nobody was promised, at the end of the pool: their places are given away
 * when all are gone, so nobody may be waiting for one. With the lock, given back meanwhile. */
enum { KP__MANY = 64 };
void kp__destroy_many(struct kp__pool *pool, struct kp__slot *const *slots, uint32_t many,
                      struct kp__todo *todo);

/* Have a victim destroyed, and nobody stands by: its heir `request` waits for the permit. With the
 * lock, given back meanwhile. */
void kp__job_evict(struct kp__pool *pool, struct kp__slot *victim, struct kp__request *request,
                   struct kp__todo *todo);

/* Spend a permit: create. With the lock, which is given back meanwhile. For `request` (or NULL: the
 * background) the outcome is in request->grant: SLOT, WAIT (pending: it is in the queue) or NO. */
void kp__create(struct kp__pool *pool, struct kp__subpool *sub, struct kp__request *request,
                uint64_t now);
/* The same for a replacement (core/renew.c), with the permit that kp__renew_permit gave. */
void kp__renew(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now);

/* Have the driver take one back from its borrower, if that is due. With the lock, which is given
 * back meanwhile. */
void kp__revoke_due(struct kp__pool *pool, struct kp__slot *slot, uint64_t now,
                    struct kp__todo *todo);
void kp__revoke_all(struct kp__pool *pool, struct kp__todo *todo); /* at the end of the pool */

/* Jobs run by the pool's own threads (crew.c). */
int kp__crew_open(struct kp__pool *pool, int64_t threads);
void kp__crew_post(struct kp__pool *pool, struct kp__job *job);

void kp__crew_end(struct kp__crew *crew);
void kp__job_perform(struct kp__job *job); /* without the lock */

/* ---- upkeep (keeper.c, life.c) --------------------------------------------------------------- */

/* Tell upkeep when it is next wanted. With the lock. */
void kp__announce(struct kp__pool *pool);

/* 10. Forget a key, if that may be now. With the lock, which is given back meanwhile. */
void kp__forget(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now,
                struct kp__todo *todo);

/* Shut the lanes whose term has come. Calls nobody. */
void kp__terms_end(kp_pool *door);

/* Is upkeep long overdue? Then say so, once: true. With the lock, which is given back meanwhile. */
bool kp__look_at_keeper(struct kp__pool *pool, uint64_t now, struct kp__todo *todo);

/* The process's one keeper thread: when a pool wants it next, and its start with the first pool. */
void kp__life_upkeep(kp_pool *pool, uint64_t due_ns, void *ctx);
int kp__life_keeper_start(void);
void kp__life_terms(kp_pool *pool, uint64_t due_ns); /* the same of his who shuts lanes */
int kp__life_shutter_start(void);
int kp__thread_start(void *(*fn)(void *), void *arg); /* detached, named, all signals blocked */

/* ---- event loops (loop.c) -------------------------------------------------------------------- */

bool kp__loop_is_mine(const kp_loop *loop);
bool kp__may_block(const struct kp__pool *pool); /* not on the thread of the pool's own loop */

/* The loop that a pool names serves it from now on, and no more. KP_ECONFIG: it cannot. And have
 * its thread run a job. */
int kp__loop_join(kp_loop *loop, struct kp__pool *pool);
void kp__loop_part(kp_loop *loop);
void kp__loop_post(kp_loop *loop, struct kp__job *job);

/* ---- leases (release.c) ---------------------------------------------------------------------- */

/* The number of a lease that has begun. With the lock. */
void kp__lease_write(const struct kp__pool *pool, const struct kp__slot *slot, uint32_t seat,
                     kp_lease *out);

/* ---- the end (close.c) ----------------------------------------------------------------------- */

/* Closed, and nothing and nobody is left? With the lock. Then free it, without: nobody can come. */
bool kp__is_over(const struct kp__pool *pool);
void kp__teardown(struct kp__pool *pool);

#endif
