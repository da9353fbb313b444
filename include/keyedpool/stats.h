/* SPDX-License-Identifier: MIT
 *
 * Looking into a pool: counters, keys, who holds and who waits; the pool's clock; misuse that
 * belongs to no pool.
 */
#ifndef KEYEDPOOL_STATS_H
#define KEYEDPOOL_STATS_H

#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Name, kind, sentence. A gauge is a current value, a counter only grows. */
#define KP_STATS_MAP(X)                                                                            \
    X(keys, gauge, "keys in use")                                                                  \
    X(live, gauge, "creating + idle + lent + closing")                                             \
    X(creating, gauge, "being made, or validated by the keeper")                                   \
    X(idle, gauge, "ready to be lent")                                                             \
    X(lent, gauge, "resources with borrowers")                                                     \
    X(closing, gauge, "being destroyed")                                                           \
    X(leases, gauge, "leases that have not ended; more than lent only with sharing")               \
    X(waiting, gauge, "requests that wait")                                                        \
    X(gets, counter, "gets that succeeded, ever")                                                  \
    X(hits, counter, "of these, served by a resource that was there already")                      \
    X(waits, counter, "gets that had to wait, ever")                                               \
    X(timeouts, counter, "gets that ran out of time, ever")                                        \
    X(refusals, counter, "gets that failed for any other reason except misuse, ever")              \
    X(creates, counter, "resources made or added, ever")                                           \
    X(create_failures, counter, "creates that failed, ever")                                       \
    X(destroys, counter, "resources destroyed, ever")                                              \
    X(destroy_failures, counter, "destroys that failed, ever")                                     \
    X(invalid, counter,                                                                            \
      "destroyed because validate or reset found them bad, or their peer was gone")                \
    X(invalidated, counter,                                                                        \
      "destroyed after kp_discard, kp_drop, kp_invalidate or kp_invalidate_key")                   \
    X(expired, counter, "destroyed for their age or their uses")                                   \
    X(evicted, counter, "destroyed to make room for another key")                                  \
    X(leaks, counter, "leases that passed leak_after_ms")                                          \
    X(misuses, counter, "calls that broke their contract")                                         \
    X(keys_made, counter, "keys that appeared, ever")                                              \
    X(keys_forgotten, counter, "keys forgotten, ever")                                             \
    X(wait_ns, counter, "sum of the time spent waiting, also by those that got nothing")           \
    X(held_ns, counter, "sum of the time spent lent; 0 where no option needs the clock")           \
    X(create_ns, counter, "sum of the time spent creating")                                        \
    X(renewed, counter, "destroyed because their replacement was ready")                           \
    X(circuits_open, gauge, "keys whose circuit is not closed: open, or half-open")                \
    X(circuits_probing, gauge, "of these, half-open")                                              \
    X(testing, gauge, "of creating, those that exist and are being validated by the keeper")       \
    X(revoked, gauge, "revoked and not yet given back by their borrowers; not in live")            \
    X(revokes, counter, "leases revoked, ever")                                                    \
    X(revoke_failures, counter, "revokes that failed, ever")                                       \
    X(surplus, counter, "destroyed because there were more than limits, budget or kp_evict keep")

typedef struct kp_stats {               /* append only; the readers pass its size */
#define X(name, kind, sentence) uint64_t name;
    KP_STATS_MAP(X)
#undef X
} kp_stats;

/* kp_stats_read for bindings: they pass the size of the struct they know. Counters that the library
 * does not know are 0.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_stats_read. */
KP_API int kp_stats_read_sized(kp_pool *pool, kp_key key, kp_stats *out, size_t size);

/* A consistent snapshot (L2 holds in it) of a key, or of all (KP_EVERY_KEY) with the totals of
 * forgotten ones.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: KP_ENOTFOUND (asking
 * makes no key), KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: none. Since: 0.1 */
static inline int kp_stats_read(kp_pool *pool, kp_key key, kp_stats *out)
{
    return kp_stats_read_sized(pool, key, out, sizeof *out);
}

/* kp_each_key for bindings: they pass the size of the struct they know, as to kp_stats_read_sized.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_each_key. */
KP_API int kp_each_key_sized(kp_pool *pool,
                             int (*fn)(kp_key key, const kp_stats *stats, void *arg),
                             void *arg, size_t size);

/* Call fn once for each key that exists during the whole call. Stops when fn returns non-zero, and
 * returns that.
 * Threads: any thread. Blocks: no. Calls: fn, which may call the pool. Owns: nothing; `key` is
 * valid during fn. Errors: KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: keys as they
 * appeared, except that a new one may take the place of a forgotten one. Since: 0.1 */
static inline int kp_each_key(kp_pool *pool,
                              int (*fn)(kp_key key, const kp_stats *stats, void *arg),
                              void *arg)
{
    return kp_each_key_sized(pool, fn, arg, sizeof(kp_stats));
}

/* Who holds, who waits, which limit binds: as text for people. With KP_EVERY_KEY of the pool, and
 * of the first 32 keys that have leases, waiting requests or trouble. Like snprintf, it returns the
 * length that the whole text needs; `buf` may be NULL, then nothing is written.
 * Threads: any thread. Blocks: no. Calls: key_type.text. Owns: nothing. Errors: none; a closed pool
 * says so in the text. Order: none. Since: 0.1 */
KP_API size_t kp_explain(kp_pool *pool, kp_key key, char *buf, size_t size);

/* A key as text, by the pool's key type; bytes that are not printable become \xNN. Like snprintf;
 * `buf` may be NULL.
 * Threads: any thread. Blocks: no. Calls: key_type.text. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API size_t kp_key_text(kp_pool *pool, kp_key key, char *buf, size_t size);

/* The time on the pool's clock, monotonic; 0 once the pool is closed and nothing of it is out.
 * Threads: any thread. Blocks: no. Calls: world.now_ns. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API uint64_t kp_now_ns(kp_pool *pool);

/* A deadline on the pool's clock, for several calls to share (kp_ask.until). within_ms is as in
 * kp_ask; with any other negative number the deadline is over already.
 * Threads: any thread. Blocks: no. Calls: world.now_ns. Owns: nothing. Errors: none; {0} once the
 * pool is closed and nothing of it is out. Order: none. Since: 0.1 */
KP_API kp_deadline kp_deadline_in(kp_pool *pool, int64_t within_ms);

/* Where misuse is reported if there is no on_event for it (a garbage lease does not even tell its
 * pool). NULL: standard error.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: keeps arg. Errors: none. Order: the last
 * call counts. Since: 0.1 */
KP_API void kp_on_misuse(void (*fn)(const kp_why *why, void *arg), void *arg);

/* The library's version at run time, as KP_VERSION.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API int kp_version(void);

/* Features, compiler, sanitizers: one line each.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing, the text is static. Errors: none.
 * Order: none. Since: 0.1 */
KP_API const char *kp_build_info(void);

#ifdef __cplusplus
}
#endif
#endif
