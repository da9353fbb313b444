/* SPDX-License-Identifier: MIT
 *
 * The pool: open, get, release, discard, close; many keys at once; upkeep.
 *
 * In a child of fork the first call on a pool, whichever function it is, opens the pool again
 * there: it also runs driver.abandon, allocates memory, and may answer KP_ENOMEM (docs/PROCESS.md).
 */
#ifndef KEYEDPOOL_POOL_H
#define KEYEDPOOL_POOL_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- open and close -------------------------------------------------------------------------- */

/* kp_pool_open for bindings: they pass the size of the struct they know and the version they were
 * built for. If these do not fit the library (a shorter struct, another minor version), the answer
 * is KP_ECONFIG, and the sentence goes where misuse without a pool does (kp_on_misuse): where such
 * a struct has its `why` is not known.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_pool_open. */
KP_API int kp_pool_open_sized(const kp_options *options, size_t size, int version,
                              kp_pool **out) KP_NODISCARD;

/* Open a pool. Nothing is created until a key is asked for or warmed.
 * Threads: any thread. Blocks: no. Calls: world.alloc. Owns: copies options, and name; keeps
 * driver.ctx, options.ctx and key_type.fields until driver.drop_ctx is called, which may be after
 * kp_pool_close has returned; keeps world until the last call into the pool has returned. Errors:
 * KP_ECONFIG (why->field names the option), KP_ENOMEM; KP_EMISUSE (a NULL). Order: none.
 * Since: 0.1 */
static inline KP_NODISCARD int kp_pool_open(const kp_options *options, kp_pool **out)
{
    return kp_pool_open_sized(options, sizeof *options, KP_VERSION, out);
}

typedef enum kp_close_mode { KP_CLOSE_NOW = 1, KP_CLOSE_WAIT, KP_CLOSE_DRAIN } kp_close_mode;

/* Close the pool: there are no new gets from now on. NOW: waiting requests fail with KP_ECLOSED.
 * WAIT: the same, and the call waits for leases to end. DRAIN: waiting requests are served first,
 * then as WAIT.
 * At the deadline (0: 30 s; KP_NONE: at once) each mode becomes NOW, and WAIT and DRAIN call
 * driver.revoke, if there is one, to take back what is still lent. An unknown mode, or a time that
 * never ends, is misuse (R4); it is taken as WAIT, or as 30 s, and the pool closes all the same.
 * Returns how many resources are still out (lent, revoked, or being created or destroyed on other
 * threads): each is destroyed when it comes back, and the last one frees the pool; until then
 * kp_explain says who has them. `pool` itself keeps answering KP_ECLOSED: 192 bytes of it stay for
 * the life of the process. A second close waits for the same end, with its own deadline.
 * The call may return, even with 0 and in every mode, while another thread (the keeper, say) is
 * still inside on_event or another callback. Free what driver.ctx and options.ctx point to, and
 * what callbacks use, only when driver.drop_ctx is called: it comes after all of them.
 * Threads: any thread; on the thread of an event loop it does not wait, as with NOW: go on with the
 * loop, and close it again, until the answer is 0.
 * Blocks: WAIT and DRAIN until the deadline; every mode in destroy, WAIT and DRAIN in revoke.
 * Calls: cancel, destroy, revoke, on_event, drop_ctx. Owns: takes the pool. Errors: none;
 * KP_EMISUSE for something that is no pool, KP_EFORKED in a child (options.on_fork). Order: none
 * between resources. Since: 0.1 */
KP_API int64_t kp_pool_close(kp_pool *pool, kp_close_mode mode, int64_t within_ms);

/* Is this an open pool of this process? False for anything else; the pointer is looked up, never
 * followed.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API bool kp_is_pool(const void *maybe);

/* Do the upkeep that is due: expiry, refill, validation, leak reports, forgetting keys. Returns the
 * ms until upkeep is due again, or -1 if none will be. Only needed with threads = KP_NONE, harmless
 * otherwise. The work is proportional to what is due (L8).
 * Threads: any thread, several at once. Blocks: as the driver does. Calls: create, fd, destroy,
 * validate, cancel, revoke, on_event; never limits_for. Owns: nothing. Errors: none; -1 for a
 * closed pool of which nothing is out, and for NULL, which is misuse (R4). Order: earliest due
 * first. Since: 0.1 */
KP_API int64_t kp_keep(kp_pool *pool);

/* ---- borrowing ------------------------------------------------------------------------------- */

/* Borrow a resource for `key`, waiting until the deadline if none is free. With `ask` NULL
 * everything has its default.
 * Threads: any thread except that of the pool's own loop, where it is misuse (use kp_get_start;
 * kp_try_get is allowed). Blocks: until the deadline; longer only in a create, validate or destroy
 * that blocks longer (job->left_ms tells it how much time is left; with options.threads, create
 * runs on those, and the deadline is exact).
 * Calls: limits_for, create, fd, validate, cancel (of its own create or validate, when it gives
 * up), destroy, stack, on_event. Owns: the lease is yours until kp_release or kp_discard; `key` is
 * copied if kept; ask.tag is kept, use a literal. Errors: KP_ETIMEDOUT, KP_EAGAIN, KP_EFULL,
 * KP_ECREATE, KP_EREFUSED, KP_EBREAKER, KP_ECLOSED, KP_EFORKED, KP_ENOMEM, KP_EMISUSE, KP_EDEADLK
 * (on_deadlock), KP_ECONFIG (what limits_for wrote). Then *out is {0} and nothing is held.
 * Unchecked: `out` is NULL (L9). Order: first come, first served per key (limits.wait_order).
 * Since: 0.1 */
KP_API int kp_get(kp_pool *pool, kp_key key, const kp_ask *ask, kp_lease *out) KP_NODISCARD;

/* A kp_get that takes an idle resource or answers KP_EAGAIN: it never waits, never creates, never
 * overtakes a waiting request.
 * Threads: any thread. Blocks: in validate, and destroy, for as long as the driver does. Calls,
 * Owns, Order, Since: as kp_get. Errors: as kp_get, without a kp_why. */
static inline KP_NODISCARD int kp_try_get(kp_pool *pool, kp_key key, kp_lease *out)
{
    kp_ask ask = { KP_NONE, { 0 }, NULL, NULL, KP_DONT_WAIT, 0, { 0, 0, 0 } };
    return kp_get(pool, key, &ask, out);
}

/* End a lease: give the resource back. The caller's copy is marked ended.
 * Threads: any thread, not only the borrower's. Blocks: in reset and validate, and in destroy if
 * the resource is not to be kept; not on the thread of a loop, and not if a loop runs the driver.
 * Calls: is_clean, reset, validate (limits.validate_on), cancel (limits.validate_timeout_ms),
 * destroy, on_event. Owns: takes the lease, and allocates nothing. Errors: none; NULL and {0} do
 * nothing, an ended lease is misuse (R4). Order: the first waiting request gets the resource.
 * Since: 0.1 */
KP_API void kp_release(kp_lease *lease);

/* End a lease and destroy its resource, because it is broken or in doubt. The capacity is free when
 * this returns, so that a discard followed by a get works at size 1 (if a loop runs the driver, or
 * this is a loop's thread: as soon as the resource is destroyed).
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: takes the lease, and
 * allocates nothing. Errors: none; NULL and {0} do nothing, an ended lease is misuse (R4). Order:
 * as kp_release. Since: 0.1 */
KP_API void kp_discard(kp_lease *lease);

/* KP_AUTO_RELEASE: kp_release, of what was not ended before. */
static inline void kp__auto_release(kp_lease *lease)
{
    if (lease->resource)
        kp_release(lease);
}

/* Decide now what kp_release will do with this resource: keep it for reuse, or destroy it. This
 * overrides limits.on_return.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; NULL and {0} do
 * nothing, an ended lease is misuse (R4). Order: the last call counts. Since: 0.1 */
KP_API void kp_lease_reuse(kp_lease *lease, bool reuse);

/* Report how the use went: 0, or negative for a failure. The breaker counts it (with
 * limits.breaker_counts |= KP_BREAK_USE). After KP_EGONE this resource is destroyed when it comes
 * back, and the others of its key are tested or destroyed (limits.on_gone). kp_use reports for you.
 * Threads: any thread. Blocks: no; after KP_EGONE in destroy. Calls: on_event, destroy. Owns:
 * nothing. Errors: none; NULL and {0} do nothing, an ended lease is misuse (R4). Order: none.
 * Since: 0.1 */
KP_API void kp_lease_report(kp_lease *lease, int status);

typedef struct kp_lease_about {         /* fixed size for ever */
    bool        reused, doomed;         /* taken from the pool, not made for this get; will be
                                           destroyed when it comes back */
    bool        old;                    /* begun before the latest kp_rotate of its key */
    bool        revoked;                /* by driver.revoke: it is useless now, give it back */
    kp_key      key;                    /* the pool's copy: valid while the lease is */
    const char *tag;
    uint64_t    serial, times_lent;
    int64_t     age_ms, lent_ms;
    uint64_t    reserved[4];
} kp_lease_about;

/* What is known about a lease; false, and *out zeroed, if it has ended, or is NULL.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API bool kp_lease_read(const kp_lease *lease, kp_lease_about *out);

/* The lease of a resource that is lent, for code that was handed only the resource.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: *out is a copy of the borrower's lease.
 * Errors: KP_ENOTFOUND (not lent; or its borrower has no answer yet, as during KP_EVENT_CREATED),
 * KP_EMISUSE (sharing above 1: it may have several leases), KP_ECLOSED, KP_EFORKED.
 * Order: none. Since: 0.1 */
KP_API int kp_lease_of(kp_pool *pool, const void *resource, kp_lease *out) KP_NODISCARD;

/* ---- keys ------------------------------------------------------------------------------------ */

/* Resolve a key once. The pinned key can be passed wherever a key can; it skips hash and lookup,
 * and its subpool is not forgotten.
 * Threads: any thread. Blocks: no. Calls: limits_for, on_event. Owns: the pin is yours until
 * kp_unpin, or close frees it. Errors: KP_ENOMEM, KP_ECLOSED, KP_EFORKED, KP_EFULL
 * (budget.max_keys), KP_EMISUSE, KP_ECONFIG. Order: none. Since: 0.1 */
KP_API int kp_pin(kp_pool *pool, kp_key key, kp_key *pinned) KP_NODISCARD;

/* Let a pinned key go; *pinned becomes {0}.
 * Threads: any thread, one at a time per pin. Blocks: no. Calls: nothing. Owns: takes the pin.
 * Errors: none; `pinned` NULL does nothing, what is not a pin of this pool is misuse (R4).
 * Order: none. Since: 0.1 */
KP_API void kp_unpin(kp_pool *pool, kp_key *pinned);

/* Bring each key up to min_live resources (at least 1). With ask NULL this is done in the
 * background and the call returns 0 at once; else it waits, and returns how many keys got there
 * before the deadline. A key that has to wait for its turn to create holds up no other. Nothing of
 * other keys is evicted for it, nor for any minimum: where their idle ones fill a budget, it waits.
 * Failures are counted and go to on_event; ask->why has the last one, and its text begins with the
 * key: KP_EBREAKER, at once, where a circuit is open, and retry_after_ms; KP_ECONFIG, at once, and
 * the field, where so many may not be kept ready (max_idle, or a ttl of nothing); KP_ETIMEDOUT
 * tells the limit.
 * Threads: any thread; with an ask, not that of the pool's own loop. Blocks: only with an ask,
 * until its deadline and as the driver does.
 * Calls: limits_for, create, fd, destroy (of what may no longer be kept), on_event. Owns: keys are
 * copied. Errors: KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: none between keys. Since: 0.1 */
KP_API int64_t kp_warm(kp_pool *pool, const kp_key *keys, size_t count, const kp_ask *ask);

/* Give the pool a resource made elsewhere. The driver destroys it when its time comes; without
 * driver.destroy nobody does (ZIO's fromIterable).
 * Threads: any thread. Blocks: in destroy. Calls: limits_for, fd, on_event; destroy, if a waiting
 * request was its only place and does not take it. Owns: takes the resource on 0; on failure it is
 * still yours. Errors: KP_EFULL (without saying which limit), KP_ECLOSED, KP_EFORKED, KP_ENOMEM,
 * KP_EMISUSE (NULL, or in the pool already), KP_ECONFIG. Order: the first waiting request gets it.
 * Since: 0.1 */
KP_API int kp_add(kp_pool *pool, kp_key key, void *resource) KP_NODISCARD;

/* Never lend this resource again: if idle, it is destroyed now; if lent, when it comes back. It is
 * found by its pointer, in constant time; nothing is kept of an unknown one. Returns how many slots
 * it marked (0: unknown, marked before, or closed). To free the place of one that you hold, use
 * kp_discard.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing. Errors: none;
 * KP_EMISUSE for a pool that is NULL. Order: none. Since: 0.1 */
KP_API int64_t kp_invalidate(kp_pool *pool, const void *resource);

/* kp_invalidate for all resources that a key, or each (KP_EVERY_KEY), has now; those created later
 * are not affected, nor is what is just being created: where that must go, too, because it is made
 * with an old address or password, call kp_rotate with KP_NONE instead.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing.
 * Errors: none; KP_EMISUSE for what is no key of this pool. Order: none. Since: 0.1 */
KP_API int64_t kp_invalidate_key(kp_pool *pool, kp_key key);

/* Forget the failed creates of a key, or of each (KP_EVERY_KEY): the pause ends, the circuit
 * closes, what KP_EREFUSED stopped may be tried again, and a failure kept for others
 * (cache_failure_ms) is dropped. Waiting requests are served at once. Call it when the cause is
 * gone: a new password is set, the backend is up again.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing.
 * Errors: KP_ENOTFOUND (key), KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: requests in the order in
 * which they wait. Since: 0.1 */
KP_API int kp_retry_now(kp_pool *pool, kp_key key);

/* Change limits of a key, or of all keys and those to come (KP_EVERY_KEY); fields that are zero do
 * not change. What follows from another number (max_waiting, excess_over and surplus do, until they
 * are said) goes on following where it is said to be just what follows.
 * Waiting requests are decided anew at once, and what KP_EREFUSED stopped may be tried again. Idle
 * resources that are now too many are destroyed, lent ones when they come back; nothing is taken
 * from borrowers. limits_for is asked about keys to come, not about those that exist.
 * `why` may be NULL.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: copies limits.
 * Errors: KP_ECONFIG (why->field), KP_ENOTFOUND (no such key, or it is being made right now),
 * KP_ENOMEM, KP_ECLOSED, KP_EFORKED, KP_EMISUSE; then nothing has changed (KP_ENOMEM with
 * KP_EVERY_KEY: some keys may have).
 * Order: none. Since: 0.1 */
KP_API int kp_limits_set(kp_pool *pool, kp_key key, const kp_limits *limits,
                         kp_why *why) KP_NODISCARD;

/* Read the limits that are in force: of a key, or (KP_EVERY_KEY) those of keys to come, before
 * limits_for. Each number is as it would be written: times in ms, exactly as they were said;
 * KP_UNLIMITED, KP_OFF, and KP_NONE for zero; what was not said as what it is. Given to
 * kp_limits_set at once, for the same key, that changes no limit; given later, all of it or some,
 * it sets the key back. For KP_EVERY_KEY it gives all keys the same, even one with its own.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing, *out is a copy.
 * Errors: KP_ENOTFOUND (no such key, or it is being made right now; asking makes none), KP_ECLOSED,
 * KP_EFORKED, KP_EMISUSE. Order: none. Since: 0.1 */
KP_API int kp_limits_read(kp_pool *pool, kp_key key, kp_limits *out) KP_NODISCARD;

/* Wait for the leases of a key, or of each (KP_EVERY_KEY): until all that began before this call
 * have ended, and nothing of the key is being destroyed. Then kp_invalidate_key, or smaller limits,
 * have taken effect everywhere, but for what is just being created for a get: that is lent to it
 * when it is there, even in a pause. Revoked leases are not waited for. New gets are served
 * meanwhile; to hold them back, set limits.max_lent to KP_NONE before the call and to its old value
 * (kp_limits_read) after it (docs/OPTIONS.md). Returns how many are still out at the deadline
 * (within_ms; 0: 30 s; KP_NONE: now); 0 means none, or no such key.
 * Threads: any thread; on the thread of an event loop it does not wait. Blocks: until the
 * deadline. Calls: nothing. Owns: nothing. Errors: KP_ECLOSED, KP_EFORKED, KP_EMISUSE.
 * Order: none. Since: 0.1 */
KP_API int64_t kp_drain(kp_pool *pool, kp_key key, int64_t within_ms) KP_NODISCARD;

/* Change the budget while it is in use; fields that are zero do not change, and create_burst
 * follows create_rate as in kp_limits_set. Requests are decided anew at once, by the shares of the
 * new budget. Idle resources that are now too many are destroyed (least recently used first; what a
 * key has to keep, last), lent ones when they come back. Nothing is taken from borrowers; existing
 * keys and requests stay. max_lent = KP_NONE pauses the whole pool: until it is raised nobody gets
 * anything, but for what is just being created for a get. The change takes effect whole or not at
 * all; each key is looked at once. `why` may be NULL.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: copies budget.
 * Errors: KP_ECONFIG (why->field): a value that kp_pool_open would refuse; less than what existing
 * keys have to keep (limits.min_live, floor); or a group_max_live that had no limit at open, since
 * groups are counted from the start. KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Then nothing has changed.
 * Order: none. Since: 0.1 */
KP_API int kp_budget_set(kp_pool *pool, const kp_budget *budget, kp_why *why) KP_NODISCARD;

/* Read the budget that is in force. Each number is as it would be written, as in kp_limits_read,
 * so that kp_budget_set of it changes nothing, or sets back what has changed since. create_burst is
 * 0 where there is no create_rate: it cannot be said then.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing, *out is a copy.
 * Errors: KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: none. Since: 0.1 */
KP_API int kp_budget_read(kp_pool *pool, kp_budget *out) KP_NODISCARD;

/* Destroy idle resources of a key, or of each (KP_EVERY_KEY), until `keep` idle ones are left: a
 * count, or KP_NONE; 0: as many as its limits keep (min_live, min_idle). Least recently used first.
 * Those that the keeper is validating at this moment count as idle; they go last, when that has
 * ended. Resources that are lent, or made later, are not affected. If this goes below a minimum, it
 * is refilled as after any other loss (limits.refill). Returns how many were destroyed, or will be.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing. Errors:
 * KP_ECLOSED, KP_EFORKED, KP_EMISUSE. Order: of keys, as kp_each_key. Since: 0.1 */
KP_API int64_t kp_evict(kp_pool *pool, kp_key key, int64_t keep);

/* Drop a key, or each (KP_EVERY_KEY): its idle resources are destroyed now, lent ones when they
 * come back, and none are made in the background. No get fails because of it: waiting requests are
 * served first, as when a pool drains. Then the key is forgotten, without waiting for
 * forget_key_after_ms, and the next get makes it anew, with limits_for. A get, add, pin or warm-up
 * that comes before that is served at once, and the key stays, as it is wanted again. A pinned key
 * goes when it is unpinned.
 * The call waits until the key is gone, or is wanted again and nothing from before is out. Returns
 * how many resources and requests are still out at the deadline (within_ms; 0: 30 s; KP_NONE: now);
 * the last of them takes the key with it. Revoked leases count, too, unless the key is wanted
 * again.
 * Threads: any thread; on the thread of an event loop it does not wait. Blocks: until the
 * deadline, and in destroy. Calls: destroy, on_event. Owns: nothing. Errors: KP_ECLOSED,
 * KP_EFORKED, KP_EMISUSE. Order: none. Since: 0.1 */
KP_API int64_t kp_drop(kp_pool *pool, kp_key key, int64_t within_ms) KP_NODISCARD;

/* Retire all resources that a key, or each (KP_EVERY_KEY), has now or is creating: their turns are
 * spread evenly over the next over_ms (0: 30 s; KP_NONE: now; KP_OFF: each at the end of its age).
 * Idle ones go first, of these the least recently used; one that is lent at its turn goes when it
 * comes back.
 * With limits.renew_ahead_ms each one that is needed is replaced first, where there is room.
 * Creates that begin from now on have the next kp_job.epoch, so change the credentials before the
 * call. Earlier failures are forgotten, as by kp_retry_now. After several calls each resource goes
 * at the earliest of its turns. Returns how many will go, without those still being created. Once
 * over_ms has passed, kp_drain tells when the last of them has come back.
 * Threads: any thread. Blocks: in destroy. Calls: destroy, on_event. Owns: nothing.
 * Errors: KP_ECLOSED, KP_EFORKED, KP_EMISUSE; 0 if there is no such key. Order: as above.
 * Since: 0.1 */
KP_API int64_t kp_rotate(kp_pool *pool, kp_key key, int64_t over_ms);

#ifdef __cplusplus
}
#endif
#endif
