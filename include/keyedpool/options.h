/* SPDX-License-Identifier: MIT
 *
 * What a pool is told when it opens: how one resource lives (driver), how many there may be
 * (limits, budget), and where time, memory and wake-ups come from (world). A default stands in
 * [brackets]. live = creating + idle + lent + closing.
 */
#ifndef KEYEDPOOL_OPTIONS_H
#define KEYEDPOOL_OPTIONS_H

#include "words.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the driver: how one resource lives ------------------------------------------------------ */

typedef enum kp_job_kind {
    KP_JOB_CREATE = 1,
    KP_JOB_VALIDATE,
    KP_JOB_RESET,
    KP_JOB_DESTROY,
    KP_JOB_ABANDON,
    KP_JOB_REVOKE
} kp_job_kind;

/* One run of a driver function. Made by the pool, read by you, valid until it is answered; grows at
 * the end only. */
typedef struct kp_job {
    kp_pool    *pool;
    kp_job_kind kind;
    void       *resource;               /* NULL in create */
    void       *ctx;                    /* driver.ctx */
    kp_key      key;                    /* the pool's own copy, a NUL after it; stays until this
                                           resource is destroyed */
    kp_deadline deadline;               /* absolute, on the pool's clock; {0}: none */
    int64_t     left_ms;                /* until then, when the job began: for connect_timeout
                                           and friends; at least 1. INT64_MAX: no deadline, as
                                           of creates in the background (refill, warm-up) unless
                                           limits.create_timeout_ms is set, and of destroy: cap
                                           it before it becomes an int */
    const char *tag;                    /* of the request that caused it; NULL: refill, warm-up,
                                           keeper */
    kp_loop    *loop;                   /* the loop on whose thread it runs: do not block. NULL: a
                                           thread that may */
    uint64_t    serial;                 /* 1, 2, 3, ...: the resource's number in this pool */
    uint32_t    attempt;                /* create: 1 + failures of this key in a row */
    void       *scratch;                /* yours until answered */
    uint64_t    epoch;                  /* create: 1 + the kp_rotates of the pool before it began:
                                           which configuration, which credentials; else 0 */
} kp_job;

/* Each function may run on several threads at once, for different resources, and answers exactly
 * once: by its result (0, or negative), or by returning KP_PENDING and calling kp_job_done later,
 * from any thread. */
typedef struct kp_driver {
    int  (*create)(kp_job *job, void **resource);   /* 0, and a resource that is not NULL;
                                                       negative fails the request that ran it, as
                                                       KP_ECREATE (or as KP_EREFUSED, if it
                                                       returned that: then nothing is created
                                                       for this key until kp_retry_now). NULL:
                                                       only what kp_add gave is lent */
    int  (*destroy)(kp_job *job, void *resource);   /* once per resource; a failure is counted,
                                                       the resource is gone. Needed with create */
    int  (*validate)(kp_job *job, void *resource);  /* optional, before lending; negative:
                                                       destroy it, take another (KP_EGONE: and
                                                       limits.on_gone) */
    int  (*reset)(kp_job *job, void *resource);     /* optional, on give-back; negative: destroy
                                                       it (KP_EGONE: the same) */
    int  (*abandon)(kp_job *job, void *resource);   /* optional, in a child of fork: drop one of
                                                       the parent's. Close the descriptor, say
                                                       nothing to the peer, take no lock of the
                                                       resource's: its borrower may have been in
                                                       the middle of using it. Answers at once.
                                                       NULL: it stays as it is */
    void (*cancel)(kp_job *job);                    /* optional: hurry a pending job, which nobody
                                                       waits for any more, or whose time is over;
                                                       it is still answered by kp_job_done, maybe
                                                       in here */
    void  *ctx;
    void (*drop_ctx)(void *ctx);                    /* optional: after the pool's very last call;
                                                       free ctx here */
    uint32_t flags, reserved0;                      /* KP_NEVER_BLOCKS */
    int  (*fd)(void *resource, void *ctx);          /* optional: the descriptor of a resource's
                                                       socket, open until destroy; -1: none. Asked
                                                       once, when it was made; answers at once.
                                                       Upkeep drops what the peer has closed
                                                       (kp_options.watch_every_ms): what counts is
                                                       its end (EPOLLRDHUP), and bytes that nobody
                                                       has read are none. Linux only */
    int  (*revoke)(kp_job *job, void *resource);    /* optional: take one back from a borrower who
                                                       has had it for too long
                                                       (limits.revoke_after_ms), or still has it
                                                       at the deadline of kp_pool_close. Make it
                                                       useless to him, who may be using it this
                                                       very moment: shut its socket down, cancel
                                                       its query; free nothing, close no
                                                       descriptor. 0: its place is free for
                                                       another one; it is destroyed when he ends
                                                       the lease. Negative: nothing was done, it
                                                       stays lent, and is not asked for again */
    bool (*is_clean)(void *resource, void *ctx);    /* optional, beside reset: is it good, and is
                                                       there nothing left to reset (what takes no
                                                       time may be put right here)? Asked where
                                                       reset would be called, but on the thread
                                                       that gives back (never on another than the
                                                       pool's own loop's); true: reset is not
                                                       called, and the give-back may do without the
                                                       lock. Answers at once */
    void (*reserved[3])(void);
} kp_driver;

/* kp_driver.flags: all its functions return at once (what takes time is answered later), so that
 * the thread of an event loop may call them. Unchecked. */
enum { KP_NEVER_BLOCKS = 1 };

/* ---- limits: of one key ---------------------------------------------------------------------- */

/* Enumerations and masks begin at 1, so that 0 is "not said". */
typedef enum kp_order   { KP_FIFO = 1, KP_LIFO, KP_EVENTUAL } kp_order;
typedef enum kp_prefill { KP_PREFILL_NONE = 1, KP_PREFILL_FIRST_GET } kp_prefill;
typedef enum kp_refill  { KP_REFILL_LAZY = 1, KP_REFILL_EAGER } kp_refill;
typedef enum kp_on_fail { KP_FAIL_REQUEST = 1, KP_FAIL_RETRY } kp_on_fail;
typedef enum kp_end     { KP_REUSE = 1, KP_DESTROY } kp_end;
typedef enum kp_over    { KP_DROP_RETURNED = 1, KP_DROP_OLDEST } kp_over;
typedef enum kp_across  { KP_ACROSS_SHARE = 1, KP_ACROSS_ARRIVAL } kp_across;
/* when something is looked at */
enum { KP_CHECK_GET = 1, KP_CHECK_RETURN = 2, KP_CHECK_KEEPER = 4 };
enum { KP_KIND_IDLE = 1, KP_KIND_EXCESS = 2, KP_KIND_AGE = 4, KP_KIND_NONE = 8 };
enum { KP_BREAK_CREATE = 1, KP_BREAK_USE = 2 };
typedef enum kp_gone { KP_GONE_TEST = 1, KP_GONE_REPLACE } kp_gone;

typedef struct kp_limits {
    int64_t min_live, max_live;         /* [0, 10] the minimum is kept until the key is forgotten
                                           (forget_key_after_ms) */
    int64_t max_lent;                   /* [UNLIMITED] leases; a request that creates holds one,
                                           a discard until destroyed */
    int64_t max_idle, min_idle;         /* [UNLIMITED, 0] kept on return; kept ready in the
                                           background, within max_live */
    int64_t max_creating, max_waiting;  /* [2, 4 * max_live + 64] creations in flight; requests
                                           that may wait */
    int64_t sharing, utilization_pct;   /* [1 borrower per resource, 100] below 100: spare
                                           resources are made early */
    int64_t idle_ttl_ms, excess_ttl_ms; /* [10 min, OFF] idle for so long; the same, of those
                                           above excess_over only */
    int64_t max_age_ms, age_spread_pct; /* [30 min, 20] since creation, less a random part of at
                                           most so much */
    int64_t excess_over;                /* [min_live] what excess_ttl_ms calls excess
                                           (apr_reslist's smax) */
    int64_t create_timeout_ms;          /* [OFF] the most that job->left_ms and deadline say: a
                                           driver that blocks has to keep to it. The request's
                                           deadline covers it anyway */
    int64_t validate_timeout_ms;        /* [OFF] the same */
    int64_t validate_after_ms;          /* [1 s] validate only what has been idle that long;
                                           NONE: always */
    int64_t retry_first_ms, retry_max_ms;   /* [100 ms, 30 s] pause after failing creates:
                                               doubles, full jitter, then one probe;
                                               retry_first_ms = NONE: no pause */
    int64_t cache_failure_ms;           /* [NONE] give a failed create's error to others for so
                                           long; ONCE: a background failure goes to the next
                                           request that would create (ZIO, Effect) */
    int64_t breaker_failures, breaker_open_ms;      /* [OFF, 30 s] failures in a row that open
                                                       it; then breaker_probes */
    int64_t shed_target_ms, shed_interval_ms;       /* [OFF, 100 ms] CoDel: a queue that waits
                                                       longer throughout an interval refuses
                                                       requests older than twice the target,
                                                       but not its last */
    int64_t reserve, reserve_after_ms;  /* [0, 5 s] so many more live for a request that has
                                           waited so long */
    int64_t weight, floor;              /* [1, 0] share of a contended budget; so many live (or
                                           lent) come first */
    int64_t group[2];                   /* [none] this key counts against budget.group_max_live,
                                           in up to two groups */
    int32_t prefill, refill;            /* [FIRST_GET, LAZY] min_live: when a key appears; after
                                           losses */
    int32_t wait_order, idle_order;     /* [FIFO, LIFO] KP_EVENTUAL: the faster one
                                           first; nobody is overtaken for more than 20 ms */
    int32_t on_create_failure;          /* [FAIL_REQUEST] FAIL_RETRY: keep trying until the
                                           deadline (HikariCP, r2d2) */
    int32_t on_return, over_idle;       /* [REUSE, DROP_RETURNED] what a release does; who goes
                                           when max_idle is exceeded */
    int32_t idle_check, excess_check, age_check;    /* [GET|KEEPER each] */
    int32_t validate_on;                /* [GET] RETURN, KEEPER: see validate_every_ms */
    int32_t respects_min;               /* [IDLE|EXCESS] kinds of expiry that stop at min_live;
                                           NONE: no kind does */
    int32_t breaker_counts;             /* [BREAK_CREATE] */
    int32_t fail_fast;                  /* [OFF] 1: while creates fail (in the pause, and beside
                                           the probe) a request that only a create could help is
                                           answered KP_ECREATE at once, with the last cause; while
                                           one of its key is lent, that may come back, it waits */
    int64_t max_uses;                   /* [UNLIMITED] leases of one resource; then it is
                                           destroyed */
    int64_t validate_every_ms;          /* [30 s] with validate_on KEEPER: upkeep validates what
                                           is idle when so long has passed, less a part of at
                                           most a quarter, since it was used or validated */
    int64_t on_gone;                    /* [GONE_TEST] when validate, reset, kp_lease_report or
                                           the function of kp_use says KP_EGONE of one: the
                                           others of its key are lent when they were validated
                                           only, and idle ones are at once; a second one that
                                           is gone has the rest destroyed. GONE_REPLACE, and
                                           without driver.validate: the first one does. KP_OFF:
                                           it is a failure like any other */
    int64_t renew_ahead_ms, surplus;    /* [OFF, 1 with renew_ahead_ms] so long before its age
                                           ends, one that is needed has its replacement begun; it
                                           is lent meanwhile, and goes when the new one is there.
                                           So many more than max_live for that */
    int64_t breaker_rate_pct;           /* [OFF] failures of a hundred in the last
                                           breaker_window_ms that open it, too, if there were
                                           breaker_calls in all */
    int64_t breaker_window_ms, breaker_calls;       /* [10 s, 20] */
    int64_t breaker_probes;             /* [1] so many at once, when breaker_open_ms are over;
                                           that many in a row that went well close it, one that
                                           did not opens it again */
    int64_t refuse_late;                /* [OFF] 1: a request that cannot be served before its
                                           deadline is answered KP_EFULL at once, not
                                           KP_ETIMEDOUT then: no creation may begin so soon, and
                                           nothing else could help; or, by the recent time
                                           between grants, those ahead of it take longer */
    int64_t revoke_after_ms;            /* [OFF] driver.revoke takes back what has been lent for
                                           so long; not with sharing */
    int64_t reserved[9];
} kp_limits;

/* ---- budget: over all keys ------------------------------------------------------------------- */

typedef struct kp_budget {
    int64_t max_live, max_lent, max_idle;           /* [UNLIMITED each] */
    int64_t max_creating, max_waiting, max_keys;    /* [UNLIMITED each] for one key more the
                                                       longest unused one is forgotten */
    int64_t group_max_live[2];          /* [UNLIMITED each] of every group named in
                                           kp_limits.group[0], group[1] */
    int64_t evict_other_keys;           /* [1] KP_OFF: an idle one of another key never makes
                                           room */
    int64_t across;                     /* [ACROSS_SHARE] who gets a freed permit: the key
                                           furthest below its share, or (ACROSS_ARRIVAL) whoever
                                           came first (last, if wait_order is KP_LIFO) */
    int64_t create_rate, create_burst;  /* [UNLIMITED, as create_rate] creations begun in a
                                           second; at once, after a calm */
    int64_t reserved[6];
} kp_budget;

/* ---- the world as functions; a NULL one is life's own (L12) ---------------------------------- */

/* None may be a cancellation point. */
typedef struct kp_world {
    uint64_t (*now_ns)(void *ctx);                  /* monotonic, never 0 */
    /* NULL: out of memory; may be called under our lock */
    void    *(*alloc)(size_t size, size_t align, void *ctx);
    void     (*free)(void *p, size_t size, void *ctx);
    uint64_t (*random)(void *ctx);
    /* sleep while *word is that and until_ns has not come (UINT64_MAX: no end); may return early */
    void     (*park)(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx);
    /* `word` is a name, not a place: it may be gone */
    void     (*wake)(uint32_t *word, int how_many, void *ctx);
    /* see to it that kp_keep(pool) runs at due_ns (UINT64_MAX: never again); replaces the last
     * due_ns of that pool. NULL with a now_ns of your own: nobody does */
    void     (*upkeep)(kp_pool *pool, uint64_t due_ns, void *ctx);
    void     *ctx;                                  /* lives until every call into the pool has
                                                       returned */
    void    (*reserved[4])(void);
} kp_world;

/* ---- events ---------------------------------------------------------------------------------- */

#define KP_EVENT_MAP(X) /* name, sentence */                                     \
    X(CREATED, "a resource was made")                                            \
    X(CREATE_FAILED, "a create failed; why has its reason")                      \
    X(DESTROYED, "a resource was destroyed")                                     \
    X(DESTROY_FAILED, "a destroy failed; the resource is gone all the same")     \
    X(INVALID, "validate or reset found a resource bad")                         \
    X(TIMEOUT, "a request ran out of time; why has the limit that bound")        \
    X(LEAK, "a lease is older than leak_after_ms; tag and site say who took it") \
    X(BREAKER_OPENED, "the circuit of a key opened")                             \
    X(BREAKER_CLOSED, "the circuit of a key closed")                             \
    X(KEY_MADE, "a key appeared")                                                \
    X(KEY_FORGOTTEN, "an unused key was forgotten; its totals are kept")         \
    X(DEADLOCK, "a request waits, in the end, for itself; why has the way")      \
    X(KEEPER_LATE, "upkeep is more than 10 s overdue: nobody calls kp_keep")     \
    X(MISUSE, "a call broke its contract; why says what you most likely did")    \
    X(BREAKER_PROBING, "the circuit of a key is half-open: a probe is let through") \
    X(SUSPECT, "a peer is gone: others of its key are tested, or destroyed") \
    X(REVOKED, "a lease was revoked; it is destroyed when its borrower ends it") \
    X(REVOKE_FAILED, "a revoke failed; the lease goes on, and is not asked for again")

typedef enum kp_event_kind {
    KP_EVENT_NONE,
#define X(name, sentence) KP_EVENT_##name,
    KP_EVENT_MAP(X)
#undef X
} kp_event_kind;

/* Why a resource was destroyed. Each raises `destroys` and, where it has one, the counter of
 * kp_stats that is named here. docs/STATS.md */
#define KP_CAUSE_MAP(X) /* name, the counter, sentence */                                          \
    X(DISCARDED, invalidated, "its borrower discarded it")                                         \
    X(INVALIDATED, invalidated, "kp_invalidate, kp_invalidate_key or kp_drop named it")            \
    X(INVALID, invalid, "validate found it bad")                                                   \
    X(RESET, invalid, "it could not be reset")                                                     \
    X(GONE, invalid, "its peer is gone")                                                           \
    X(IDLE, expired, "nobody borrowed it for idle_ttl_ms")                                         \
    X(EXCESS, expired, "nobody borrowed it for excess_ttl_ms, and it was more than the minimum")   \
    X(AGE, expired, "it was as old as max_age_ms allows")                                          \
    X(USES, expired, "it was lent max_uses times")                                                 \
    X(ROTATED, expired, "kp_rotate ended its age, and no replacement was there")                   \
    X(FORGOTTEN, expired, "its key was not used for forget_key_after_ms")                          \
    X(RENEWED, renewed, "its replacement was there")                                               \
    X(EVICTED, evicted, "another key needed its room")                                             \
    X(SURPLUS, surplus, "more were there than limits, budget or kp_evict keep")                    \
    X(FRESH, destroys, "a request for a fresh one needed its room")                                \
    X(NOT_REUSED, destroys, "on_return or kp_lease_reuse said not to keep it")                     \
    X(REVOKED, destroys, "it was revoked, and its lease has ended")                                \
    X(CLOSED, destroys, "the pool was closed")

typedef enum kp_cause {
    KP_CAUSE_NONE,
#define X(name, counter, sentence) KP_CAUSE_##name,
    KP_CAUSE_MAP(X)
#undef X
} kp_cause;

typedef struct kp_event {               /* made by the pool, valid during the call; grows at the
                                           end only */
    kp_event_kind kind;
    int           code;                 /* KP_E..., or the driver's own result; 0 */
    kp_pool      *pool;
    kp_key        key;                  /* {0} where no key is concerned */
    const void   *resource;
    const char   *tag;
    const kp_why *why;                  /* or NULL */
    const void   *site;                 /* LEAK, REVOKED, REVOKE_FAILED, as are those below: where
                                           kp_get, kp_scope_get or kp_use was called from, for
                                           addr2line; the done of a kp_request */
    int64_t       lent_ms;              /* how long it has been lent */
    uint64_t      thread;               /* that got it: gettid() on Linux. 0: not known, as hits
                                           without the lock leave no trace (options.hits) */
    const void *const *stack;           /* what options.stack said, the innermost first */
    size_t        stack_count;          /* 0: there is no options.stack */
    kp_cause      cause;                /* DESTROYED, DESTROY_FAILED: why it was destroyed */
} kp_event;

/* ---- all of it ------------------------------------------------------------------------------- */

typedef enum kp_fork { KP_FORK_FRESH = 1, KP_FORK_REFUSE } kp_fork;
typedef enum kp_hits { KP_HITS_QUICK = 1, KP_HITS_LOCKED, KP_HITS_PORTABLE } kp_hits;
typedef enum kp_deadlock { KP_DEADLOCK_REPORT = 1, KP_DEADLOCK_REFUSE } kp_deadlock;

/* Grows at the end only; kp_pool_open passes its size, so nobody writes it. */
typedef struct kp_options {
    const char *name;                               /* in reports and messages; copied */
    kp_driver   driver;
    kp_limits   limits;                             /* of every key ... */
    /* ... edited for this one, once, when it appears */
    void      (*limits_for)(kp_key key, kp_limits *limits, void *ctx);
    kp_budget   budget;
    kp_key_type key_type;
    /* called by the thread that did it, when it is done: of two threads either may be first */
    void      (*on_event)(const kp_event *event, void *ctx);
    void       *ctx;                                /* of limits_for, on_event and stack */
    kp_loop    *loop;                               /* this loop is the keeper and runs all of the
                                                       driver's functions (KP_NEVER_BLOCKS);
                                                       or ... */
    int64_t     threads;                            /* [the process's one keeper thread] so many
                                                       of the pool's own, which also run create,
                                                       so that a get is never late; NONE: call
                                                       kp_keep yourself */
    int64_t     deadline_ms;                        /* [30 s] of a request that says none */
    int64_t     keep_every_ms;                      /* [OFF: exactly when due] upkeep runs at
                                                       multiples of this, at least 1 */
    int64_t     forget_key_after_ms;                /* [5 min] an unused key; NONE: at once */
    int64_t     leak_after_ms;                      /* [60 s] at least 1 */
    int32_t     on_fork;                            /* [FORK_FRESH; with loop FORK_REFUSE] in a
                                                       child of fork the pool starts empty;
                                                       FORK_REFUSE: calls are answered
                                                       KP_EFORKED. docs/PROCESS.md */
    int32_t     on_misuse_abort;                    /* [0] 1: abort() after the event, for
                                                       debugging */
    const kp_world *world;                          /* NULL: life */
    kp_why     *why;                                /* of a refused kp_pool_open */
    int32_t     hits;                               /* [HITS_QUICK] a get that finds an idle
                                                       resource, and the release that nobody waits
                                                       for, need no lock where the limits let them,
                                                       and of a resource that is used much on one
                                                       processor no atomic operation;
                                                       HITS_PORTABLE: atomic operations always;
                                                       HITS_LOCKED: the lock always.
                                                       docs/OPTIONS.md says which */
    int32_t     on_deadlock;                        /* [0: does not look] a thread's get that can
                                                       never be served, because whoever holds what
                                                       it needs waits, too, in a pool that looks:
                                                       DEADLOCK_REPORT sends the event, REFUSE
                                                       answers KP_EDEADLK besides. For programs that
                                                       end each lease on the thread that got it.
                                                       Hits take the lock; before a thread sleeps,
                                                       so do all these pools. docs/PROCESS.md */
    int64_t     watch_every_ms;                     /* [1 s] with driver.fd: how often upkeep looks
                                                       whose peers have closed; OFF: never */
    /* [NULL] where the calling thread is, for reports of leaks: write up to `most` (16) return
     * addresses, the innermost first, and return how many. Called by each kp_get that is given a
     * lease, with no lock held; for example backtrace() of <execinfo.h>. Hits take the lock */
    size_t    (*stack)(const void **frames, size_t most, void *ctx);
} kp_options;

/* Set one option by its name in text: ("limits.max_live", "20"), ("limits.max_age", "30min"),
 * ("preset", "effect-fixed 10"). For files, command lines and bindings. Times take ns-free units
 * (ms, s, min, h; a bare number is ms); counts take k and M; also none, unlimited, off. Presets:
 * effect-fixed N, effect-range MIN MAX TTL, zio-fixed N, zio-range MIN MAX TTL, effectful N,
 * keypool, commons, pgbouncer N, hikari N, apr MIN SMAX HMAX TTL, dbconnection N. docs/OPTIONS.md
 * lists all. What an option can never be is refused here; what contradicts another, or is more than
 * there can be, by kp_pool_open.
 * Threads: one at a time per options. Blocks: no. Calls: nothing. Owns: nothing; `name` and `value`
 * are read during the call. Errors: KP_ENOTFOUND (no such option: NULL is none), KP_ECONFIG (not a
 * value for it: NULL is none), KP_EMISUSE (options is NULL). Order: a later call wins; a preset
 * sets many. Since: 0.1 */
KP_API int kp_options_set(kp_options *options, const char *name, const char *value) KP_NODISCARD;

/* ---- answering a job ------------------------------------------------------------------------- */

/* Answer a pending job. `resource` counts only for create with status 0. A second answer is misuse,
 * and so is one to NULL: the resource stays yours.
 * Threads: any thread. Blocks: no. Calls: fd; destroy (of a resource that nobody may have any
 * more), on_event. Owns: takes the resource; the job is gone. Errors: none. Order: none.
 * Since: 0.1 */
KP_API void kp_job_done(kp_job *job, int status, void *resource);

/* Say why, whole; code and text reach the requester's kp_why (of validate and reset: the event
 * KP_EVENT_INVALID):
 *     return kp_job_fail(job, errno, "connect: refused");
 * or, to refuse for good, or to say that the peer is gone:
 *     kp_job_fail(job, 0, "wrong password");
 *     return KP_EREFUSED;
 * Threads: the job's. Blocks: no. Calls: nothing. Owns: copies text; NULL is none. Errors: always
 * KP_ECREATE, so that it can be returned; without it vendor_code is the result itself.
 * Order: before the job is answered. Since: 0.1 */
KP_API int kp_job_fail(kp_job *job, int vendor_code, const char *text);

#ifdef __cplusplus
}
#endif
#endif
