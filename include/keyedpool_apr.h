/* SPDX-License-Identifier: MIT
 *
 * A drop-in for apr_reslist: the same functions over a keyedpool with one key. Include this after
 * or instead of <apr_reslist.h>, link libkeyedpool-apr, and nothing else changes: the names of APR
 * are mapped to the ones below (define KP_APR_KEEP_NAMES before to have both).
 *
 * What is better: neither a slow constructor nor a slow destructor delays threads that take or give
 * back another resource; a time-out is one deadline; waiting threads are served in order; releasing
 * what is not lent is APR_NOTFOUND instead of a broken list; ages are on a monotonic clock. What
 * differs: constructor and destructor may run on another thread, also in a program that has one
 * (one at a time per list, as APR's, since they share the list's apr_pool_t: if they allocate from
 * it, let nothing else use that pool); apr_reslist_cleanup_order_set does nothing: the list always
 * goes as an ordinary clean-up of its pool; apr_reslist_maintain does not wait for what the
 * background is constructing; to the soft maximum resources that are out count, too, so that fewer
 * are left idle. A destructor's status only counts. Resources are told apart by their addresses: a
 * constructor that answers NULL has failed (APR_EGENERAL), and of two resources with one address
 * only the first can be released.
 * NULL instead of a list, a pool, a function or a place for the answer is APR_EINVAL, not a crash;
 * destroying NULL does nothing.
 */
#ifndef KEYEDPOOL_APR_H
#define KEYEDPOOL_APR_H

#include <apr_reslist.h>

#include "keyedpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Create a list, as apr_reslist_create does: filled to `min` when this returns, or the answer is
 * the constructor's own error.
 * Threads: any thread; `apr` as APR says. Blocks: in the constructor. Calls: con, de. Owns: the
 * list lives until kp_apr_reslist_destroy or the clean-up of `apr`; keeps params until de has
 * returned for all that con made, which is later if something is out then. Errors: APR_EINVAL,
 * APR_ENOMEM, con's own. Order: none. Since: 0.1 */
KP_API apr_status_t kp_apr_reslist_create(apr_reslist_t **out, int min, int smax, int hmax,
                                          apr_interval_time_t ttl, apr_reslist_constructor con,
                                          apr_reslist_destructor de, void *params, apr_pool_t *apr);

/* Destroy the list and all that is idle; what is out is destroyed when it is released, by a
 * destructor that is given no apr_pool_t (NULL). The constructor is not called any more.
 * Threads: one at a time per list. Blocks: in the destructor. Calls: de. Owns: takes the list.
 * Errors: none; NULL does nothing. Order: none. Since: 0.1 */
KP_API apr_status_t kp_apr_reslist_destroy(apr_reslist_t *list);

/* Borrow, waiting for the list's time-out (0: for ever, as in APR).
 * Threads: any thread. Blocks: until then, and in the constructor. Calls: con, de. Owns:
 * *resource is yours until it is released or invalidated. Errors: APR_TIMEUP, APR_ENOMEM,
 * APR_EINVAL (a NULL), con's own; then *resource is NULL. Order: first come, first served.
 * Since: 0.1 */
KP_API apr_status_t kp_apr_reslist_acquire(apr_reslist_t *list, void **resource);

/* Give back.
 * Threads: any thread. Blocks: in the destructor, of others that are too old. Calls: de. Owns:
 * takes the resource. Errors: APR_NOTFOUND (not lent by this list), APR_EINVAL (no list). Order:
 * the first who waits gets it. Since: 0.1 */
KP_API apr_status_t kp_apr_reslist_release(apr_reslist_t *list, void *resource);

/* Give back, and have it destroyed.
 * Threads: any thread. Blocks: in the destructor. Calls: de. Owns: takes the resource.
 * Errors: APR_NOTFOUND (not lent by this list), APR_EINVAL (no list). Order: none. Since: 0.1 */
KP_API apr_status_t kp_apr_reslist_invalidate(apr_reslist_t *list, void *resource);

/* Set the time-out of acquire, in microseconds (rounded up to milliseconds).
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; of NULL it does
 * nothing. Order: none. Since: 0.1 */
KP_API void kp_apr_reslist_timeout_set(apr_reslist_t *list, apr_interval_time_t timeout);

/* How many are lent.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; of NULL, 0.
 * Order: none. Since: 0.1 */
KP_API apr_uint32_t kp_apr_reslist_acquired_count(apr_reslist_t *list);

/* Do the upkeep that is due; it is done in the background anyway. Threads: any thread. Blocks:
 * in the constructor and the destructor. Calls: con, de. Owns: nothing. Errors: APR_EINVAL (no
 * list). Order: none. Since: 0.1 */
KP_API apr_status_t kp_apr_reslist_maintain(apr_reslist_t *list);

/* Do nothing: the list always goes as an ordinary clean-up of its pool.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API void kp_apr_reslist_cleanup_order_set(apr_reslist_t *list, apr_uint32_t mode);

#ifndef KP_APR_KEEP_NAMES
#  define apr_reslist_create            kp_apr_reslist_create
#  define apr_reslist_destroy           kp_apr_reslist_destroy
#  define apr_reslist_acquire           kp_apr_reslist_acquire
#  define apr_reslist_release           kp_apr_reslist_release
#  define apr_reslist_invalidate        kp_apr_reslist_invalidate
#  define apr_reslist_timeout_set       kp_apr_reslist_timeout_set
#  define apr_reslist_acquired_count    kp_apr_reslist_acquired_count
#  define apr_reslist_maintain          kp_apr_reslist_maintain
#  define apr_reslist_cleanup_order_set kp_apr_reslist_cleanup_order_set
#endif

#ifdef __cplusplus
}
#endif
#endif
