/* SPDX-License-Identifier: MIT
 *
 * keyedpool: one budget, many keys, nothing ever lost.
 *
 * Lends expensive, reusable resources by key. Each key has its own subpool, made on first use; all
 * keys share one budget, one keeper and one set of laws. Sixty seconds:
 *
 *     kp_options options = { .driver = { .create = connect, .destroy = disconnect } };
 *     kp_pool *pool;
 *     kp_lease lease;
 *     if (kp_pool_open(&options, &pool) == 0 &&
 *         kp_get(pool, kp_str("eu-west"), KP_IN_S(5), &lease) == 0) {
 *         use(lease.resource);
 *         kp_release(&lease);
 *     }
 *
 * Where to read on: words.h (errors, keys, time, leases), options.h (driver, limits, budget,
 * world), pool.h (open, get, release, close), loop.h (event loops: borrowing without waiting),
 * scope.h (scopes and kp_use), stats.h (looking in), typed.h (a face without void pointers).
 *
 * Four rules hold everywhere, so that no comment repeats them:
 *
 *  R1  int results: 0 is success, negative is a KP_E... code (kp_strerror), positive is a count or
 *      KP_PENDING. When a call fails the caller holds nothing and every out parameter is zeroed.
 *  R2  Zero in a struct you WRITE means "not said": the default when opening, unchanged in
 *      kp_limits_set. A number in a struct you are HANDED is that number. Zero never means
 *      unlimited. To say more: KP_NONE (the number zero, and meant), KP_UNLIMITED (a count without
 *      bound), KP_OFF (a time that never comes, a feature not wanted). Any other negative number,
 *      KP_OFF for a count and KP_UNLIMITED for a time are refused, with the field's name.
 *  R3  No function of yours is ever called under a lock of ours (L3); each may call back into the
 *      pool, except hash, equal, copy and drop of a key type, which must be pure, and the functions
 *      of kp_world.
 *  R4  Misuse that can be told from use (L10) does nothing but count, and send KP_EVENT_MISUSE with
 *      a sentence to on_event; without on_event, to kp_on_misuse; without that, one line to
 *      standard error. What cannot be told is marked "unchecked"; everywhere that is a pointer to
 *      nothing. NULL can be told: it is misuse where nothing says that it is fine. But to end NULL,
 *      or to decide on it (a lease, a pin, a scope, a request, a loop) does nothing, as free does;
 *      and a question that no code answers is answered as of something that has ended.
 *
 * Every function says, in this order: Threads, Blocks, Calls, Owns, Errors, Order, Since. "Threads"
 * is one of: any thread | one at a time per <object> | the loop's. "Calls" lists functions of yours
 * that may run before it returns. L1..L12 are the laws of docs/LAWS.md.
 */
#ifndef KEYEDPOOL_H
#define KEYEDPOOL_H

#include "keyedpool/words.h"
#include "keyedpool/options.h"
#include "keyedpool/pool.h"
#include "keyedpool/loop.h"
#include "keyedpool/scope.h"
#include "keyedpool/stats.h"
#include "keyedpool/typed.h"

#endif
