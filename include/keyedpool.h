/* SPDX-License-Identifier: MIT
 *
 * keyedpool: one budget, many keys, nothing ever lost.
 *
 * Lends expensive, reusable resources by key. Each key has its own subpool, made on first use; all
 * keys share one budget, one keeper and one set of laws. In sixty seconds:
 *
 *     kp_options options = { .driver = { .create = connect,
 *                                        .destroy = disconnect } };
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
 * scope.h (scopes and kp_use), stats.h (counters and reports), typed.h (no void pointers).
 *
 * Four rules hold everywhere, and no comment repeats them:
 *
 *  R1  int results: 0 is success, negative is a KP_E... code (kp_strerror), positive is a count or
 *      KP_PENDING. When a call fails the caller holds nothing and every out parameter is zeroed.
 *  R2  Zero in a struct that you WRITE means "not said": at open the default, in kp_limits_set
 *      unchanged. In a struct that you are HANDED, a number is just that number. Zero never means
 *      unlimited. To say more there are KP_NONE (really zero), KP_UNLIMITED (a count without bound)
 *      and KP_OFF (a time that never comes, a feature not wanted). Any other negative number,
 *      KP_OFF for a count and KP_UNLIMITED for a time are refused, with the field's name.
 *  R3  The library holds no lock while it calls a function of yours (L3), and that may call back
 *      into the pool. Exceptions: hash, equal, copy and drop of a key type, which must be pure, and
 *      the functions of kp_world.
 *  R4  A misuse that can be detected (L10) has no effect, except that it is counted and reported in
 *      a sentence: by KP_EVENT_MISUSE to on_event; without on_event, to kp_on_misuse; without that,
 *      in one line on standard error. Misuse that cannot be detected is marked "unchecked"; a
 *      dangling pointer always is. NULL is detected: it is misuse unless it is said to be allowed.
 *      But ending NULL, or deciding on it (a lease, a pin, a scope, a request, a loop), does
 *      nothing, as free does; and a question whose answer is not a code is answered as for
 *      something that has ended.
 *
 * Every function states, in this order: Threads, Blocks, Calls, Owns, Errors, Order, Since.
 * "Threads" is one of: any thread | one at a time per <object> | the loop's. "Calls" lists your
 * functions that may run before the call returns. L1..L12 are the laws in docs/LAWS.md.
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
