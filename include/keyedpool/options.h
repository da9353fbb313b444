/* SPDX-License-Identifier: MIT
 *
 * What a pool is told when it opens: how a resource is made and destroyed (driver), how many there
 * may be (limits, budget), and where time, memory and wake-ups come from (world). Defaults are in
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

/* One run of a driver function. The pool makes it and you read it; it is valid until you answer it.
 * The struct grows at the end only. */
typedef struct kp_job {
    kp_pool    *pool;
    kp_job_kind kind;
    void       *resource;               /* NULL in create */
    void       *ctx;                    /* driver.ctx */
    kp_key      key;                    /* the pool's own copy, followed by a NUL; valid until this
                                           resource is destroyed */
    kp_deadline deadline;               /* absolute, on the pool's clock; {0}: none */
    int64_t     left_ms;                /* how much time was left when the job began (or was handed
                                           to kp_options.threads, or to a loop: `deadline` tells
                                           what is left of that), for connect_timeout and the like;
                                           at least 1. INT64_MAX: no deadline, as for creates in the
                                           background (refill, warm-up) unless
                                           limits.create_timeout_ms is set (which may give a create
                                           more time than its request has), and for destroy: cap it
                                           before it becomes an int */
    const char *tag;                    /* of the request that caused it; NULL for refill, warm-up
                                           and keeper */
    kp_loop    *loop;                   /* the loop on whose thread it runs: do not block. NULL: a
                                           thread that may block */
    uint64_t    serial;                 /* 1, 2, 3, ...: the resource's number in this pool */
    uint32_t    attempt;                /* create: 1 + failures of this key in a row */
    void       *scratch;                /* yours until it is answered */
    uint64_t    epoch;                  /* create: 1 + how many kp_rotates of the pool came before
                                           it began: tells which configuration or credentials to
                                           use; else 0 */
} kp_job;

/* Each function may run on several threads at once, for different resources. It answers exactly
 * once: either by its result (0, or negative), or by returning KP_PENDING and calling kp_job_done
 * later, from any thread. Any other positive number is as 0, except in create: so negate an errno,
 * or a code of SQLite's or libcurl's: else what validate finds bad is lent. */
typedef struct kp_driver {
    int  (*create)(kp_job *job, void **resource);   /* returns 0 and a resource that is not NULL.
                                                       Negative fails the request that ran it, with
                                                       KP_ECREATE (or with KP_EREFUSED, if it
                                                       returned that: then nothing is created for
                                                       this key until kp_retry_now); so does any
                                                       positive number but KP_PENDING, and *resource
                                                       is not looked at then. If NULL, only
                                                       resources from kp_add are lent */
    int  (*destroy)(kp_job *job, void *resource);   /* called once per resource; a failure is
                                                       counted, the resource is gone all the same.
                                                       Required with create */
    int  (*validate)(kp_job *job, void *resource);  /* optional, called before lending; negative:
                                                       the resource is destroyed, and another one
                                                       taken (KP_EGONE: limits.on_gone applies,
                                                       too) */
    int  (*reset)(kp_job *job, void *resource);     /* optional, called when it is given back;
                                                       negative: it is destroyed (KP_EGONE: as for
                                                       validate) */
    int  (*abandon)(kp_job *job, void *resource);   /* optional, called in a child of fork: let go
                                                       of a resource of the parent's. Close the
                                                       descriptor, send nothing to the peer, take no
                                                       lock that belongs to the resource: its
                                                       borrower may have been using it at that
                                                       moment. Must answer at once. If NULL, the
                                                       resource stays as it is */
    void (*cancel)(kp_job *job);                    /* optional: make a pending create,
                                                       validate or reset end soon, because nobody
                                                       waits for it any more (a create that has a
                                                       time of its own goes on:
                                                       limits.create_timeout_ms), its pool closes,
                                                       or its time is over (so it needs no timer of
                                                       its own); kp_job_done must still answer it,
                                                       and may in here. With kp_options.loop it is
                                                       called on the loop's thread. Else on any: the
                                                       function may still be running on another one,
                                                       and kp_job_done, too, or have just returned;
                                                       the job is valid until cancel has returned */
    void  *ctx;
    void (*drop_ctx)(void *ctx);                    /* optional: the last call of a closed pool to
                                                       any of your callbacks, at the end of
                                                       kp_pool_close or on another thread later.
                                                       Free here, and not before, what ctx and
                                                       kp_options.ctx point to and what the
                                                       callbacks use */
    uint32_t flags, reserved0;                      /* KP_NEVER_BLOCKS */
    int  (*fd)(void *resource, void *ctx);          /* optional: the descriptor of the resource's
                                                       socket, which is watched until it is closed;
                                                       -1: none. Called once, when the resource is
                                                       new; must answer at once. Upkeep drops
                                                       resources whose peer has closed the
                                                       connection (kp_options.watch_every_ms): the
                                                       end of the stream counts (EPOLLRDHUP), unread
                                                       bytes do not. Linux only */
    int  (*revoke)(kp_job *job, void *resource);    /* optional: take a resource back from a
                                                       borrower that has had it too long
                                                       (limits.revoke_after_ms), or still has it at
                                                       the deadline of kp_pool_close. Make it
                                                       useless to the borrower, who may be using it
                                                       right now: shut its socket down, cancel its
                                                       query; free nothing, close no descriptor. 0:
                                                       its place is free for another one, and it is
                                                       destroyed when the borrower ends the lease.
                                                       Negative: nothing was done, it stays lent,
                                                       and revoke is not called for it again */
    bool (*is_clean)(void *resource, void *ctx);    /* optional, with reset: true if the resource is
                                                       good and nothing is left to reset (a fix that
                                                       takes no time may be made right here). Called
                                                       where reset would be, on the thread that
                                                       gives back (in a pool with a loop, only on
                                                       the loop's). If true, reset is not called,
                                                       and the give-back may need no lock. Must
                                                       answer at once */
    void (*reserved[3])(void);
} kp_driver;

/* kp_driver.flags: all functions of the driver return at once (and answer later what takes time),
 * so that the thread of an event loop may call them. Unchecked. */
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
/* when something is checked */
enum { KP_CHECK_GET = 1, KP_CHECK_RETURN = 2, KP_CHECK_KEEPER = 4 };
enum { KP_KIND_IDLE = 1, KP_KIND_EXCESS = 2, KP_KIND_AGE = 4, KP_KIND_NONE = 8 };
enum { KP_BREAK_CREATE = 1, KP_BREAK_USE = 2 };
typedef enum kp_gone { KP_GONE_TEST = 1, KP_GONE_REPLACE } kp_gone;

typedef struct kp_limits {
    int64_t min_live, max_live;         /* [0, 10] min_live are kept until the key is forgotten
                                           (forget_key_after_ms) */
    int64_t max_lent;                   /* [UNLIMITED] leases; a request holds one while it creates,
                                           a discard until the resource is destroyed */
    int64_t max_idle, min_idle;         /* [UNLIMITED, 0] how many are kept on return; how many are
                                           kept ready in the background, within max_live */
    int64_t max_creating, max_waiting;  /* [2, 4 * max_live + 64] creates in flight; requests that
                                           may wait */
    int64_t sharing, utilization_pct;   /* [1 borrower per resource, 100] below 100, spare resources
                                           are made ahead of need */
    int64_t idle_ttl_ms, excess_ttl_ms; /* [10 min, OFF] how long one may be idle; the same, only
                                           for those above excess_over */
    int64_t max_age_ms, age_spread_pct; /* [30 min, 20] since creation; minus a random part of at
                                           most this percentage */
    int64_t excess_over;                /* [min_live] how many excess_ttl_ms leaves alone
                                           (apr_reslist's smax) */
    int64_t create_timeout_ms;          /* [OFF] upper bound of job->left_ms and deadline; a driver
                                           that blocks has to keep to it. The request's deadline is
                                           one as well, except where kp_options.threads or loop run
                                           the driver: there, with this set, a create has exactly
                                           this time, whatever becomes of its request, and what it
                                           makes serves the next or is idle. Set it where requests
                                           may wait for less time than a create takes */
    int64_t validate_timeout_ms;        /* [OFF] the same for validate */
    int64_t validate_after_ms;          /* [1 s] validate only what has been idle this long; NONE:
                                           always */
    int64_t retry_first_ms, retry_max_ms;   /* [100 ms, 30 s] pause after failed creates: doubles
                                               each time, with full jitter, then one probe;
                                               retry_first_ms = NONE: no pause */
    int64_t cache_failure_ms;           /* [NONE] for how long a failed create's error is also given
                                           to other requests; ONCE: a background failure goes to the
                                           next request that would create (ZIO, Effect) */
    int64_t breaker_failures, breaker_open_ms;      /* [OFF, 30 s] failures in a row that open the
                                                       circuit; how long it stays open before
                                                       breaker_probes are let through. Other
                                                       breaker options need this or the rate */
    int64_t shed_target_ms, shed_interval_ms;       /* [OFF, 100 ms] CoDel: if every wait in an
                                                       interval was longer than the target, the
                                                       queue refuses requests older than twice the
                                                       target, except its last one */
    int64_t reserve, reserve_after_ms;  /* [0, 5 s] how many more may be live for a request that has
                                           waited so long */
    int64_t weight, floor;              /* [1, 0] share of a contended budget, at most 65536; how
                                           many live (or lent) come before any share */
    int64_t group[2];                   /* [none] this key counts against budget.group_max_live,
                                           in up to two groups */
    int32_t prefill, refill;            /* [FIRST_GET, LAZY] when min_live is filled: when the key
                                           appears; after losses (min_idle, too: EAGER, at once;
                                           LAZY, with the next get) */
    int32_t wait_order, idle_order;     /* [FIFO, LIFO] KP_EVENTUAL: whoever is faster is first, but
                                           nobody is overtaken for more than 20 ms */
    int32_t on_create_failure;          /* [FAIL_REQUEST] FAIL_RETRY: keep trying until the
                                           deadline (HikariCP, r2d2) */
    int32_t on_return, over_idle;       /* [REUSE, DROP_RETURNED] what a release does; which one
                                           goes when max_idle is exceeded */
    int32_t idle_check, excess_check, age_check;    /* [GET|KEEPER each] */
    int32_t validate_on;                /* [GET] also RETURN, KEEPER (see validate_every_ms), which
                                           need driver.validate */
    int32_t respects_min;               /* [IDLE|EXCESS] kinds of expiry that stop at min_live;
                                           NONE: none does */
    int32_t breaker_counts;             /* [BREAK_CREATE] which failures the circuit counts */
    int32_t fail_fast;                  /* [OFF] 1: while creates fail (in the pause, and while the
                                           probe is under way) a request that only a create could
                                           serve is answered KP_ECREATE at once, with the last
                                           cause; but it waits while a resource of its key is lent
                                           that may come back */
    int64_t max_uses;                   /* [UNLIMITED] how many leases one resource serves; then it
                                           is destroyed */
    int64_t validate_every_ms;          /* [30 s] with validate_on KEEPER: upkeep validates an idle
                                           resource this long after it was last used or validated,
                                           minus a random part of at most a quarter */
    int64_t on_gone;                    /* [GONE_TEST] what happens when validate, reset,
                                           kp_lease_report or the function of kp_use says KP_EGONE
                                           of a resource: the others of its key are lent only once
                                           they were validated, idle ones are validated at once, and
                                           if a second one is gone the rest is destroyed.
                                           GONE_REPLACE, or no driver.validate: the first one has
                                           the rest destroyed. KP_OFF: it is a failure like any
                                           other */
    int64_t renew_ahead_ms, surplus;    /* [OFF, 1 with renew_ahead_ms] this long before a resource
                                           reaches its age a replacement is begun, if it is needed;
                                           the old one is lent meanwhile, and goes when the new one
                                           is there. By how many max_live may be exceeded for
                                           that */
    int64_t breaker_rate_pct;           /* [OFF] percentage of failures in the last
                                           breaker_window_ms that opens the circuit as well, once
                                           there were breaker_calls in all */
    int64_t breaker_window_ms, breaker_calls;       /* [10 s, 20] */
    int64_t breaker_probes;             /* [1] how many probes run at once when breaker_open_ms is
                                           over; as many successes in a row close the circuit, one
                                           failure opens it again */
    int64_t refuse_late;                /* [OFF] 1: a request that cannot be served before its
                                           deadline is answered KP_EFULL at once instead of
                                           KP_ETIMEDOUT later: because only a create could serve it
                                           and none may begin in time; or because the requests ahead
                                           of it will take longer, judged by the recent time between
                                           grants */
    int64_t revoke_after_ms;            /* [OFF] driver.revoke takes back what has been lent this
                                           long; not with sharing */
    int64_t reserved[9];
} kp_limits;

/* ---- budget: over all keys ------------------------------------------------------------------- */

typedef struct kp_budget {
    int64_t max_live, max_lent, max_idle;           /* [UNLIMITED each] where max_live is reached,
                                                       the longest idle one of another key makes
                                                       room; where max_idle is, what comes back is
                                                       destroyed, and other keys keep theirs */
    int64_t max_creating, max_waiting, max_keys;    /* [UNLIMITED each] if one more key is needed,
                                                       the longest unused one is forgotten */
    int64_t group_max_live[2];          /* [UNLIMITED each] for each group named in
                                           kp_limits.group[0], group[1] */
    int64_t evict_other_keys;           /* [1] KP_OFF: idle resources of other keys are never
                                           evicted to make room */
    int64_t across;                     /* [ACROSS_SHARE] who gets a freed permit: the key furthest
                                           below its share; or (ACROSS_ARRIVAL) the request that
                                           came first (last, if the pool was opened with wait_order
                                           KP_LIFO; else a key that is LIFO has turns) */
    int64_t create_rate, create_burst;  /* [UNLIMITED, as create_rate] creates begun per second; how
                                           many may begin at once after a quiet time */
    int64_t reserved[6];
} kp_budget;

/* ---- the world as functions; NULL: the real one (L12) --------------------------------------- */

/* None may be a cancellation point. Set both alloc and free, or neither; and both park and wake, or
 * neither. */
typedef struct kp_world {
    uint64_t (*now_ns)(void *ctx);                  /* monotonic, never 0 */
    /* NULL: out of memory; may be called under our lock */
    void    *(*alloc)(size_t size, size_t align, void *ctx);
    void     (*free)(void *p, size_t size, void *ctx);
    uint64_t (*random)(void *ctx);
    /* sleep while *word == while_it_is and until_ns is ahead (UINT64_MAX: no end); may end early */
    void     (*park)(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx);
    /* never read *word: the memory may be gone, only its address counts */
    void     (*wake)(uint32_t *word, int how_many, void *ctx);
    /* arrange that kp_keep(pool) is called at due_ns (UINT64_MAX: never again), which replaces the
     * pool's previous due_ns. NULL, with a now_ns of your own: nobody calls kp_keep for you */
    void     (*upkeep)(kp_pool *pool, uint64_t due_ns, void *ctx);
    void     *ctx;                                  /* must live until every call into the pool has
                                                       returned */
    void    (*reserved[4])(void);
} kp_world;

/* ---- events ---------------------------------------------------------------------------------- */

#define KP_EVENT_MAP(X) /* name, sentence */                                     \
    X(CREATED, "a resource was made")                                            \
    X(CREATE_FAILED, "a create failed; why has the reason")                      \
    X(DESTROYED, "a resource was destroyed")                                     \
    X(DESTROY_FAILED, "a destroy failed; the resource is gone all the same")     \
    X(INVALID, "validate or reset found a resource bad")                         \
    X(TIMEOUT, "a request ran out of time; why names the limit it waited for")   \
    X(LEAK, "a lease is older than leak_after_ms; tag and site say who took it") \
    X(BREAKER_OPENED, "the circuit of a key opened; why has the failure")        \
    X(BREAKER_CLOSED, "the circuit of a key closed")                             \
    X(KEY_MADE, "a key appeared")                                                \
    X(KEY_FORGOTTEN, "an unused key was forgotten; its totals are kept")         \
    X(DEADLOCK, "requests wait for each other in a circle; why describes it")    \
    X(KEEPER_LATE, "upkeep is more than 10 s overdue: nobody calls kp_keep, or it hangs") \
    X(MISUSE, "a call broke its contract; why says what you most likely did")    \
    X(BREAKER_PROBING, "the circuit of a key is half-open: a probe is let through") \
    X(SUSPECT, "a peer is gone: other resources of its key are tested or destroyed") \
    X(REVOKED, "a lease was revoked; its resource is destroyed when it is given back") \
    X(REVOKE_FAILED, "a revoke failed; the lease goes on, and it is not tried again")

typedef enum kp_event_kind {
    KP_EVENT_NONE,
#define X(name, sentence) KP_EVENT_##name,
    KP_EVENT_MAP(X)
#undef X
} kp_event_kind;

/* Why a resource was destroyed. Each cause raises `destroys` and, if it has one of its own, the
 * counter of kp_stats that is named here. docs/STATS.md */
#define KP_CAUSE_MAP(X) /* name, the counter, sentence */                                          \
    X(DISCARDED, invalidated, "its borrower discarded it")                                         \
    X(INVALIDATED, invalidated, "kp_invalidate, kp_invalidate_key or kp_drop named it")            \
    X(INVALID, invalid, "validate found it bad")                                                   \
    X(RESET, invalid, "it could not be reset")                                                     \
    X(GONE, invalid, "its peer is gone")                                                           \
    X(IDLE, expired, "nobody borrowed it for idle_ttl_ms")                                         \
    X(EXCESS, expired, "nobody borrowed it for excess_ttl_ms, and the minimum did not need it")    \
    X(AGE, expired, "it had reached max_age_ms")                                                   \
    X(USES, expired, "it was lent max_uses times")                                                 \
    X(ROTATED, expired, "kp_rotate retired it, and no replacement was ready")                      \
    X(FORGOTTEN, expired, "its key was not used for forget_key_after_ms")                          \
    X(RENEWED, renewed, "its replacement was ready")                                               \
    X(EVICTED, evicted, "another key needed its room")                                             \
    X(SURPLUS, surplus, "there were more than limits, budget or kp_evict keep")                    \
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
    kp_event_kind kind;                 /* later releases have more: no index, unless checked */
    int           code;                 /* KP_E..., or the driver's own result; 0 */
    kp_pool      *pool;
    kp_key        key;                  /* {0} if no key is concerned */
    const void   *resource;
    const char   *tag;                  /* of the request, with TIMEOUT and DEADLOCK; of the lease,
                                           with LEAK, REVOKED and REVOKE_FAILED; or NULL */
    const kp_why *why;                  /* or NULL */
    const void   *site;                 /* with LEAK, REVOKED, REVOKE_FAILED, like the fields below:
                                           the address that called kp_get, kp_scope_get or kp_use;
                                           or the done of a kp_request. dladdr names its module and
                                           dli_fbase, which addr2line wants subtracted from it,
                                           unless that is a program that is not PIE */
    int64_t       lent_ms;              /* how long it has been lent */
    uint64_t      thread;               /* that got it: gettid() on Linux. 0: not known, because
                                           hits without the lock leave no trace (options.hits) */
    const void *const *stack;           /* what options.stack wrote, the innermost first */
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
    /* ... and this edits them for one key, once, when the key appears: 0 is zero here (R2) */
    void      (*limits_for)(kp_key key, kp_limits *limits, void *ctx);
    kp_budget   budget;
    kp_key_type key_type;
    /* called on the thread on which it happened, afterwards; events of two threads may come in
     * either order */
    void      (*on_event)(const kp_event *event, void *ctx);
    void       *ctx;                                /* of limits_for, on_event and stack; like
                                                       driver.ctx, in use until driver.drop_ctx is
                                                       called: kp_pool_close may return while
                                                       another thread is in on_event */
    kp_loop    *loop;                               /* this loop is the keeper and runs all
                                                       functions of the driver (KP_NEVER_BLOCKS); or
                                                       ... */
    int64_t     threads;                            /* [the one keeper thread of the process] this
                                                       many threads of the pool's own, which also
                                                       run create, so that a get is never late;
                                                       NONE: call kp_keep yourself */
    int64_t     deadline_ms;                        /* [30 s] for requests that name none */
    int64_t     keep_every_ms;                      /* [OFF: exactly when due] upkeep runs at
                                                       multiples of this, at least 1 */
    int64_t     forget_key_after_ms;                /* [5 min] how long a key may be unused; NONE:
                                                       forgotten at once */
    int64_t     leak_after_ms;                      /* [60 s] at least 1; older leases are
                                                       reported */
    int32_t     on_fork;                            /* [FORK_FRESH; with loop FORK_REFUSE] in a
                                                       child of fork the pool starts empty;
                                                       FORK_REFUSE: its calls are answered
                                                       KP_EFORKED. docs/PROCESS.md */
    int32_t     on_misuse_abort;                    /* [0] 1: abort() after the event, for
                                                       debugging */
    const kp_world *world;                          /* NULL: the real world */
    kp_why     *why;                                /* says why kp_pool_open or kp_options_set
                                                       refused */
    int32_t     hits;                               /* [HITS_QUICK] a get that finds an idle
                                                       resource, and a release that nobody waits
                                                       for, need no lock where the limits allow it,
                                                       and no atomic operation for a resource that
                                                       is used a lot on one processor;
                                                       HITS_PORTABLE: always atomic operations;
                                                       HITS_LOCKED: always the lock. docs/OPTIONS.md
                                                       says which limits */
    int32_t     on_deadlock;                        /* [0: not checked] finds a thread's get that
                                                       can never be served because all who hold what
                                                       it needs are waiting, too, in pools that
                                                       check: DEADLOCK_REPORT sends the event,
                                                       DEADLOCK_REFUSE also answers KP_EDEADLK. Only
                                                       for programs that end each lease on the
                                                       thread that got it. Hits take the lock;
                                                       before a thread sleeps, the locks of all
                                                       these pools are taken. docs/PROCESS.md */
    int64_t     watch_every_ms;                     /* [1 s] with driver.fd: how often upkeep looks
                                                       for resources whose peer has closed; OFF:
                                                       never */
    /* [NULL] the stack of the calling thread, for leak reports: write up to `most` (16) return
     * addresses, the innermost first, and return how many. Called in each kp_get that gets a lease,
     * with no lock held; for example backtrace() of <execinfo.h>. With it hits take the lock */
    size_t    (*stack)(const void **frames, size_t most, void *ctx);
} kp_options;

/* Set one option by name, from text: ("limits.max_live", "20"), ("limits.max_age", "30min"),
 * ("preset", "effect-fixed 10"). For files, command lines and bindings. Times take the units ms, s,
 * min and h (a bare number is ms); counts take k and M; also none, unlimited, off. Presets:
 * effect-fixed N, effect-range MIN MAX TTL, zio-fixed N, zio-range MIN MAX TTL, effectful N,
 * keypool, commons, pgbouncer N, hikari N, apr MIN SMAX HMAX TTL, dbconnection N. docs/OPTIONS.md
 * lists all. A value that an option can never have is refused here, and options->why, if there is
 * one, says what the option takes; one that contradicts another, or is more than there can be, is
 * refused by kp_pool_open.
 * Threads: one at a time per options. Blocks: no. Calls: nothing. Owns: nothing; `name` and `value`
 * are read, and options->why is written, during the call. Errors: KP_ENOTFOUND (no such option;
 * name is NULL), KP_ECONFIG (not a value for it; value is NULL), KP_EMISUSE (options is NULL).
 * Order: a later call wins; a preset sets many. Since: 0.1 */
KP_API int kp_options_set(kp_options *options, const char *name, const char *value) KP_NODISCARD;

/* ---- answering a job ------------------------------------------------------------------------- */

/* Answer a pending job. `resource` is used only for create with status 0. A second answer is
 * misuse, and so is an answer to NULL: the resource stays yours.
 * Threads: any thread. Blocks: only as validate and destroy do. Calls: fd; validate, after a reset
 * (limits.validate_on); destroy, if the resource may no longer be lent; on_event. Owns: takes the
 * resource; the job is gone. Errors: none. Order: none. Since: 0.1 */
KP_API void kp_job_done(kp_job *job, int status, void *resource);

/* Say why a job fails: code and text reach the requester's kp_why (for validate and reset, the
 * event KP_EVENT_INVALID):
 *     return kp_job_fail(job, errno, "connect: refused");
 * or, to fail with a code that means more (KP_EREFUSED: do not try again; KP_EGONE: no peer):
 *     kp_job_fail(job, 0, "wrong password");
 *     return KP_EREFUSED;
 * A kp_why has one line: what ends a line, or controls a terminal, becomes a blank. What is too
 * long for it ends with a whole character of UTF-8.
 * Threads: the job's. Blocks: no. Calls: nothing. Owns: copies text, NULL is none. Errors: always
 * KP_ECREATE, so that it can be returned; if it is not called, vendor_code is the driver function's
 * result. Order: before the job is answered. Since: 0.1 */
KP_API int kp_job_fail(kp_job *job, int vendor_code, const char *text);

#ifdef __cplusplus
}
#endif
#endif
