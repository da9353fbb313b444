/* SPDX-License-Identifier: MIT
 *
 * The pool: open, get, release, discard, close; many keys at once; upkeep.
 *
 * In a child of fork the first call on a pool opens it again, whichever function that is: then it
 * also calls driver.abandon, takes memory, and may answer KP_ENOMEM (docs/PROCESS.md).
 */
#ifndef KEYEDPOOL_POOL_H
#define KEYEDPOOL_POOL_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- open and close -------------------------------------------------------------------------- */

/* kp_pool_open for bindings: they pass the size of the struct they know and the version they were
 * built for.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_pool_open. */
KP_API int kp_pool_open_sized(const kp_options *options, size_t size, int version,
                              kp_pool **out) KP_NODISCARD;

/* Open a pool. Nothing is created until a key is asked for or warmed.
 * Threads: any thread. Blocks: no. Calls: world.alloc. Owns: copies options; keeps driver.ctx until
 * drop_ctx ran, and world until the last call into the pool has returned. Errors: KP_ECONFIG
 * (why->field names the option), KP_ENOMEM; KP_EMISUSE (a NULL). Order: none. Since: 0.1 */
static inline KP_NODISCARD int kp_pool_open(const kp_options *options, kp_pool **out)
{
    return kp_pool_open_sized(options, sizeof *options, KP_VERSION, out);
}

typedef enum kp_close_mode { KP_CLOSE_NOW = 1, KP_CLOSE_WAIT, KP_CLOSE_DRAIN } kp_close_mode;

/* No new gets from now on. NOW: waiting requests fail with KP_ECLOSED. WAIT: the same, and leases
 * are waited for. DRAIN: waiting requests are served first. At the deadline (0: 30 s; KP_NONE: at
 * once) any of them becomes NOW, and WAIT and DRAIN have driver.revoke, if there is one, take back
 * what is still lent. Another mode, or a time that does not end, is misuse (R4), and taken as WAIT
 * and as 30 s: it closes all the same. Returns how many resources are still out (lent, revoked,
 * being created or destroyed elsewhere): they are destroyed as they come back, and the last one
 * frees the pool. `pool` keeps answering KP_ECLOSED: 192 bytes stay for the life of the process.
 * Closing again waits for the same end, with its own deadline.
 * Threads: any thread; on the thread of an event loop nothing is waited for, as with NOW.
 * Blocks: WAIT and DRAIN, until the deadline; all of them in destroy and revoke.
 * Calls: destroy, revoke, on_event, drop_ctx. Owns: the pool is given up. Errors: none; KP_EMISUSE
 * for something that is no pool, KP_EFORKED in a child. Order: none between resources.
 * Since: 0.1 */
KP_API int64_t kp_pool_close(kp_pool *pool, kp_close_mode mode, int64_t within_ms);

/* Is this an open pool of this process? False for anything else; the pointer is looked up, never
 * followed.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API bool kp_is_pool(const void *maybe);

/* Do the upkeep that is due: expiry, refill, validation, leaks, forgetting keys. Returns ms until
 * the next is due, or -1 for "nothing is". Only needed with threads = KP_NONE; harmless otherwise.
 * Work is proportional to what is due (L8).
 * Threads: any thread, several at once. Blocks: as the driver does. Calls: create, fd, destroy,
 * validate, revoke, on_event, limits_for never. Owns: nothing. Errors: none; -1 for a closed pool,
 * and for NULL, which is misuse (R4). Order: earliest due first. Since: 0.1 */
KP_API int64_t kp_keep(kp_pool *pool);

/* ---- borrowing ------------------------------------------------------------------------------- */

/* Borrow a resource for `key`, waiting until the deadline if none is free. `ask` NULL: all
 * defaults.
 * Threads: any thread, but on the thread of the pool's own loop it is misuse (kp_get_start; only
 * kp_try_get is fine there). Blocks: until the deadline, and in a blocking create, validate or
 * destroy for as long as the driver does (job->left_ms is what it has; with options.threads, create
 * runs there, and the deadline is exact).
 * Calls: limits_for, create, fd, validate, destroy, stack, on_event. Owns: the lease is yours until
 * kp_release or kp_discard; `key` is copied if kept; ask.tag is kept, use a literal. Errors:
 * KP_ETIMEDOUT, KP_EAGAIN, KP_EFULL, KP_ECREATE, KP_EREFUSED, KP_EBREAKER, KP_ECLOSED, KP_EFORKED,
 * KP_ENOMEM, KP_EMISUSE, KP_EDEADLK (on_deadlock), KP_ECONFIG (what limits_for wrote). Then *out is
 * {0} and nothing is held. Unchecked: `out` is NULL (L9). Order: first come, first served per key
 * (limits.wait_order). Since: 0.1 */
KP_API int kp_get(kp_pool *pool, kp_key key, const kp_ask *ask, kp_lease *out) KP_NODISCARD;

/* kp_get that takes what is idle or answers KP_EAGAIN: never waits, never creates, never overtakes
 * a waiting request.
 * Threads: any thread. Blocks: in validate, and destroy, for as long as the driver does. Calls,
 * Owns, Order, Since: as kp_get. Errors: as kp_get, without a kp_why. */
static inline KP_NODISCARD int kp_try_get(kp_pool *pool, kp_key key, kp_lease *out)
{
    kp_ask ask = { KP_NONE, { 0 }, NULL, NULL, KP_DONT_WAIT, 0, { 0, 0, 0 } };
    return kp_get(pool, key, &ask, out);
}

/* End a lease: give the resource back. The caller's copy is marked ended.
 * Threads: any thread, not only the borrower's. Blocks: in reset, and in destroy where the resource
 * may not be kept; not on the thread of a loop, and not if a loop runs the driver. Calls: is_clean,
 * reset, validate (limits.validate_on), destroy, on_event. Owns: takes the lease, and allocates
 * nothing. Errors: none; NULL and {0} do nothing, an ended lease is misuse (R4). Order: the first
 * waiting request gets the resource. Since: 0.1 */
KP_API void kp_release(kp_lease *lease);

/* End a lease and destroy its resource: it is broken, or in doubt. The capacity is free when this
 * returns, so that discard and get again works at size 1 (if a loop runs the driver, or this is a
 * loop's thread: as soon as the resource is destroyed).
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: takes the lease, and
 * allocates nothing. Errors: none; NULL and {0} do nothing, an ended lease is misuse (R4). Order:
 * as kp_release. Since: 0.1 */
KP_API void kp_discard(kp_lease *lease);

/* Decide now what kp_release will do with this resource: let it be reused, or destroy it. Overrides
 * limits.on_return.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; NULL and {0} do
 * nothing, an ended lease is misuse (R4). Order: the last call counts. Since: 0.1 */
KP_API void kp_lease_reuse(kp_lease *lease, bool reuse);

/* Tell how the use went: 0, or negative for a failure. The breaker counts it (with
 * limits.breaker_counts |= KP_BREAK_USE); KP_EGONE has this resource destroyed when it comes back,
 * and others of its key looked into (limits.on_gone). kp_use does it for you.
 * Threads: any thread. Blocks: no; after KP_EGONE in destroy. Calls: on_event, destroy. Owns:
 * nothing. Errors: none; NULL and {0} do nothing, an ended lease is misuse (R4). Order: none.
 * Since: 0.1 */
KP_API void kp_lease_report(kp_lease *lease, int status);

typedef struct kp_lease_about {         /* fixed size for ever */
    bool        reused, doomed;         /* taken from the pool, not made for you; will be
                                           destroyed when it comes back */
    bool        old;                    /* begun before the latest kp_rotate of its key */
    bool        revoked;                /* by driver.revoke: it is of no use, give it back */
    kp_key      key;                    /* the pool's copy: valid while the lease is */
    const char *tag;
    uint64_t    serial, times_lent;
    int64_t     age_ms, lent_ms;
    uint64_t    reserved[4];
} kp_lease_about;

/* What is known of a lease; false, and zeroes, if it has ended, or is NULL.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API bool kp_lease_read(const kp_lease *lease, kp_lease_about *out);

/* The lease of a resource that is lent, for code that was handed only the resource.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: *out is a copy of the borrower's lease.
 * Errors: KP_ENOTFOUND (not lent, or its borrower has not been told so far, as while on_event hears
 * that it was created), KP_EMISUSE (sharing above 1: whose?), KP_ECLOSED, KP_EFORKED.
 * Order: none. Since: 0.1 */
KP_API int kp_lease_of(kp_pool *pool, const void *resource, kp_lease *out) KP_NODISCARD;

/* ---- keys ------------------------------------------------------------------------------------ */

/* Resolve a key once. The pinned key goes wherever a key goes, skips hash and lookup, and its
 * subpool is not forgotten.
 * Threads: any thread. Blocks: no. Calls: limits_for, on_event. Owns: until kp_unpin; the pool
 * frees it at close. Errors: KP_ENOMEM, KP_ECLOSED, KP_EFORKED, KP_EFULL (budget.max_keys),
 * KP_EMISUSE, KP_ECONFIG. Order: none. Since: 0.1 */
KP_API int kp_pin(kp_pool *pool, kp_key key, kp_key *pinned) KP_NODISCARD;

/* Let a pinned key go; *pinned becomes {0}.
 * Threads: any thread, one at a time per pin. Blocks: no. Calls: nothing. Owns: takes the pin.
 * Errors: none; `pinned` NULL does nothing, what is not a pin of this pool is misuse (R4).
 * Order: none. Since: 0.1 */
KP_API void kp_unpin(kp_pool *pool, kp_key *pinned);

/* Bring keys up to min_live (at least 1). With ask NULL in the background: returns 0 at once; else
 * waits, and returns how many keys got there before the deadline. Failures are counted and go to
 * on_event; ask->why has the last.
 * Threads: any thread; with ask not that of the pool's own loop. Blocks: only with ask, until its
 * deadline and as the driver does.
 * Calls: limits_for, create, fd, on_event. Owns: keys are copied. Errors: KP_ECLOSED, KP_EFORKED,
 * KP_EMISUSE. Order: none between keys. Since: 0.1 */
KP_API int64_t kp_warm(kp_pool *pool, const kp_key *keys, size_t count, const kp_ask *ask);

/* Give the pool a resource made elsewhere; it is destroyed by the driver when its time comes, or by
 * nobody if there is no driver.destroy (ZIO's fromIterable).
 * Threads: any thread. Blocks: no. Calls: limits_for, fd, on_event. Owns: takes the resource on 0;
 * on failure it is still yours. Errors: KP_EFULL (which limit is not told), KP_ECLOSED,
 * KP_EFORKED, KP_ENOMEM, KP_EMISUSE (NULL, or in the pool already), KP_ECONFIG. Order: the first
 * waiting request gets it. Since: 0.1 */
KP_API int kp_add(kp_pool *pool, kp_key key, void *resource) KP_NODISCARD;

/* Never lend this one again: idle, it is destroyed now; lent, when it comes back. By identity, in
 * constant time; an unknown one leaves no residue. Returns how many slots it marked (0: unknown,
 * marked before, or closed). To free the room of one that you hold: kp_discard.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing. Errors: none.
 * Order: none. Since: 0.1 */
KP_API int64_t kp_invalidate(kp_pool *pool, const void *resource);

/* The same for all that a key, or KP_EVERY_KEY, has now; what is created later is not concerned.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing.
 * Errors: none; KP_EMISUSE for a key of the wrong type. Order: none. Since: 0.1 */
KP_API int64_t kp_invalidate_key(kp_pool *pool, kp_key key);

/* Forgive a key, or KP_EVERY_KEY, its failed creates: the pause ends, the circuit closes, what
 * KP_EREFUSED stopped may be tried again, and a failure kept for others (cache_failure_ms) is
 * forgotten. Who waits is served at once. Say it when the cause is gone: a new password, a backend
 * that is up again.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing.
 * Errors: KP_ENOTFOUND (key), KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: requests in the order in
 * which they wait. Since: 0.1 */
KP_API int kp_retry_now(kp_pool *pool, kp_key key);

/* Change limits of a key, or of KP_EVERY_KEY and those to come; zero fields stay. Waiting requests
 * are re-decided at once, and what KP_EREFUSED stopped may be tried again; what is now too many
 * idle is destroyed, lent ones as they come back; nothing is taken from borrowers.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: copies limits.
 * Errors: KP_ECONFIG (why->field), KP_ENOTFOUND (no such key, or it is just being made),
 * KP_ENOMEM, KP_ECLOSED, KP_EFORKED, KP_EMISUSE; then nothing has changed (KP_ENOMEM with
 * KP_EVERY_KEY: some keys may have).
 * Order: none. Since: 0.1 */
KP_API int kp_limits_set(kp_pool *pool, kp_key key, const kp_limits *limits,
                         kp_why *why) KP_NODISCARD;

/* Wait until each lease of a key, or of KP_EVERY_KEY, that has begun by now has ended, and nothing
 * of it is being destroyed. So it says when kp_invalidate_key or smaller limits have taken effect
 * everywhere. What was revoked is not waited for. New gets go on meanwhile; to hold them back set
 * limits.max_lent to KP_NONE before, and to what it was afterwards (docs/OPTIONS.md). Returns how
 * many are still out at the deadline (within_ms; 0: 30 s; KP_NONE: now); 0: none, or there is no
 * such key.
 * Threads: any thread; on the thread of an event loop nothing is waited for. Blocks: until the
 * deadline. Calls: nothing. Owns: nothing. Errors: KP_ECLOSED, KP_EFORKED, KP_EMISUSE.
 * Order: none. Since: 0.1 */
KP_API int64_t kp_drain(kp_pool *pool, kp_key key, int64_t within_ms) KP_NODISCARD;

/* Change the budget while in use; zero fields stay. Requests are re-decided at once, and shares
 * follow. What is now too many idle is destroyed (least recently used first, what a key is to keep
 * last), lent ones as they come back; nothing is taken from borrowers; keys and requests that are
 * there stay. max_lent = KP_NONE pauses the whole pool: until it is more again, nobody gets
 * anything. All or nothing, in one look at each key.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: copies budget.
 * Errors: KP_ECONFIG (why->field): a value that kp_pool_open would refuse, less than keys that are
 * there are to keep (limits.min_live, floor), or group_max_live where none was said at open: groups
 * are counted from the start; KP_ECLOSED, KP_EFORKED, KP_EMISUSE; then nothing has changed.
 * Order: none. Since: 0.1 */
KP_API int kp_budget_set(kp_pool *pool, const kp_budget *budget, kp_why *why) KP_NODISCARD;

/* Destroy idle ones of a key, or of each (KP_EVERY_KEY), down to `keep`: so many idle ones, or
 * KP_NONE; 0: down to what its limits keep (min_live, min_idle). Least recently used first. What is
 * lent, or made later, is not concerned, and a minimum that this went below is made up as after any
 * loss (limits.refill). Returns how many.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing. Errors:
 * KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: of keys, as kp_each_key. Since: 0.1 */
KP_API int64_t kp_evict(kp_pool *pool, kp_key key, int64_t keep);

/* Drop a key, or KP_EVERY_KEY: its idle ones are destroyed now, lent ones when they come back, and
 * nothing is made in the background. No get fails by it: who waits is served first, as when a pool
 * drains. Then the key is forgotten, without waiting for forget_key_after_ms, and the next get
 * makes it anew, with limits_for. A get, add, pin or warm-up that comes before that wants the key:
 * it is served at once, and the key stays; a pinned one goes when it is unpinned. Waits until the
 * key is gone, or is wanted and nothing of before is out; returns how many resources and requests
 * are still out at the deadline (within_ms; 0: 30 s): the last one takes the key with it.
 * Threads: any thread; on the thread of an event loop nothing is waited for. Blocks: until the
 * deadline, and in destroy. Calls: destroy, on_event. Owns: nothing. Errors: KP_ECLOSED,
 * KP_EFORKED, KP_EMISUSE. Order: none. Since: 0.1 */
KP_API int64_t kp_drop(kp_pool *pool, kp_key key, int64_t within_ms) KP_NODISCARD;

/* Retire all that a key, or KP_EVERY_KEY, has now, or has in the making, spread evenly over the
 * next over_ms (0: 30 s; KP_NONE: now; KP_OFF: each at the end of its age), first what is idle, of
 * that first what was used least recently; what is lent then, when it comes back. With
 * limits.renew_ahead_ms each that is needed is replaced first, where there is room. What is created
 * from now on has the next kp_job.epoch: change the credentials before. What failed before is
 * forgiven, as by kp_retry_now. Called again, each goes at the earlier of its moments. Returns how
 * many are to go, but for those in the making. When over_ms is over, kp_drain says when the last of
 * them has come back.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing.
 * Errors: KP_ECLOSED, KP_EFORKED, KP_EMISUSE; 0 if there is no such key. Order: as said.
 * Since: 0.1 */
KP_API int64_t kp_rotate(kp_pool *pool, kp_key key, int64_t over_ms);

#ifdef __cplusplus
}
#endif
#endif
