/* SPDX-License-Identifier: MIT
 *
 * Scopes, which own leases and finalizers; and kp_use: get, run, give back, by a plan.
 */
#ifndef KEYEDPOOL_SCOPE_H
#define KEYEDPOOL_SCOPE_H

#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An owner of leases and finalizers. {0} is an open scope. Fixed size; the first six entries need
 * no memory besides. A scope may be moved, even when it is not empty. Copying one and closing both
 * is unchecked: finalizers run twice, and with more than six entries freed memory is read. */
typedef struct kp_scope { uint64_t opaque[32]; } kp_scope;

/* kp_get, and the scope gives the resource back when it closes; if you ended the lease before, that
 * is fine.
 * Threads: one at a time per scope. Blocks: as kp_get. Calls: as kp_get. Owns: the scope owns the
 * lease; *out is a copy of the number. Errors: as kp_get, but NULL is misuse in every place;
 * KP_ENOMEM also if the scope cannot grow, and then no resource was asked for. Order: as kp_get.
 * Since: 0.1 */
KP_API int kp_scope_get(kp_scope *scope, kp_pool *pool, kp_key key, const kp_ask *ask,
                        kp_lease *out) KP_NODISCARD;

/* Call fn with arg when the scope closes. A scope inside a scope:
 *     kp_scope_defer(&outer, kp_scope_end, &inner);
 * Threads: one at a time per scope. Blocks: no. Calls: nothing. Owns: keeps arg until fn ran.
 * Errors: KP_ENOMEM (fn was not taken: call it yourself), KP_EMISUSE (scope or fn is NULL).
 * Order: last in, first out. Since: 0.1 */
KP_API int kp_scope_defer(kp_scope *scope, void (*fn)(void *arg), void *arg) KP_NODISCARD;

/* Give everything back and run the finalizers, the last one first. The scope is then {0}: open and
 * empty. Closing it again does nothing, nor does closing NULL.
 * Threads: one at a time per scope. Blocks: as kp_release and the finalizers do. Calls: what
 * kp_release calls, and the finalizers. Owns: takes all that it held. Errors: none.
 * Order: last in, first out. Since: 0.1 */
KP_API void kp_scope_close(kp_scope *scope);

/* kp_scope_close with the type that kp_scope_defer wants.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_scope_close. */
static inline void kp_scope_end(void *scope) { kp_scope_close((kp_scope *)scope); }

/* ---- get, run, give back --------------------------------------------------------------------- */

/* When to try again. The fields combine. Fixed pauses: factor_pct 100. Exponential: the default.
 * Capped: max_ms. Jittered: jitter_pct. At most so many: times. Up to a duration: for_ms. {0}: no
 * retries. */
typedef struct kp_schedule {
    int64_t times;                      /* [0] retries after the first attempt; KP_UNLIMITED:
                                           until for_ms, or the deadline */
    int64_t first_ms, max_ms;           /* [100 ms, 30 s] KP_NONE: at once */
    int64_t factor_pct, jitter_pct;     /* [200: doubles, 0: none] with jitter 100 a pause is
                                           anywhere between 0 and its full length */
    int64_t for_ms;                     /* [OFF] no retry begins later than this after the first
                                           attempt */
    int64_t reserved[2];
} kp_schedule;

typedef struct kp_plan {                /* fixed size for ever */
    kp_ask        ask;                  /* its deadline covers everything: waits, runs, pauses,
                                           fallbacks */
    kp_schedule   schedule;             /* per key */
    const kp_key *fallback;             /* tried in order when a key's attempts are used up */
    size_t        fallbacks;
    int64_t       each_ms;              /* [what is left, split evenly over the keys left] time for
                                           each key */
    bool        (*retry_if)(int status, void *arg);     /* NULL: kp_retry_helps */
    int64_t       on_error;             /* [destroy it before a retry, so that the next attempt gets
                                           another one; else reuse] what happens to the resource
                                           when fn fails: KP_REUSE or KP_DESTROY, in every case. If
                                           fn can fail in the middle of an exchange: KP_DESTROY */
    int64_t       reserved[4];
} kp_plan;

typedef int (*kp_use_fn)(kp_lease *lease, void *arg);       /* 0, or negative: a code of yours,
                                                               handed through unchanged */

/* Get, run fn, give back, by a plan (NULL: one attempt, default deadline). fn may discard or
 * release the lease itself. If the thread ends in fn or retry_if (pthread_cancel, pthread_exit),
 * the lease is discarded.
 * A fallback key is tried after a failure that retry_if would retry, or after KP_ETIMEDOUT,
 * KP_EBREAKER, KP_EREFUSED or KP_EFULL. retry_if is called while the lease is still held, and may
 * look at ask.why, which says then why the get failed; during a pause nothing is held.
 * Pauses are the schedule's, even where a circuit stays open, or fail_fast refuses, for longer than
 * that: where retries would be used up in vain, have a retry_if that ends them if retry_after_ms is
 * too long. After the codes above a fallback key is tried at once then.
 * Threads: any thread. Blocks: until the deadline, and in fn. Calls: fn, retry_if, and what kp_get
 * and kp_release call. Owns: nothing after. Errors: those of the last attempt: kp_get's, or fn's
 * own; KP_ECONFIG (why->field names the field of the plan that makes no sense; nothing was tried).
 * Order: kp_get's. Since: 0.1 */
KP_API int kp_use(kp_pool *pool, kp_key key, const kp_plan *plan, kp_use_fn fn,
                  void *arg) KP_NODISCARD;

/* Ready-made retry_if functions. kp_retry_any retries every failure; kp_retry_helps only the codes
 * that the error table calls retryable, so never fn's own failures.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API bool kp_retry_any(int status, void *arg);
/* Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_retry_any. */
KP_API bool kp_retry_helps(int status, void *arg);

/* The pause before a retry: number `attempt` (1, 2, ...), if elapsed_ms have passed since the first
 * attempt began; `random` decides the jitter. -1: the schedule gives up.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; -1 for a schedule
 * that makes no sense. Order: none. Since: 0.1 */
KP_API int64_t kp_schedule_pause_ms(const kp_schedule *schedule, int64_t attempt,
                                    int64_t elapsed_ms, uint64_t random);

#ifdef __cplusplus
}
#endif
#endif
