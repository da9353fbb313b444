/* SPDX-License-Identifier: MIT
 *
 * Borrowing without waiting, for event loops: a request stands in the same queue as a blocked
 * thread, and its answer comes from kp_loop_dispatch.
 *
 * A loop is the mailbox of one thread: one descriptor to poll, any number of pools. Whatever a pool
 * has to say to that thread (a request was answered, a driver function is to be run, upkeep is due)
 * waits there until it dispatches:
 *
 *     poll kp_loop_fd(loop) for reading, at most as long as kp_loop_dispatch said; dispatch; again
 *
 * A driver function that may block is never run on a loop's thread: a pool that is used from a loop
 * has a driver that says KP_NEVER_BLOCKS, or threads of its own (kp_options.threads) that run its
 * driver. With kp_options.loop the loop is the pool's keeper and runs all of its driver's
 * functions, so that nothing needs another thread; then threads that get or release hand that work
 * to the loop, and do not wait for a destroy.
 */
#ifndef KEYEDPOOL_LOOP_H
#define KEYEDPOOL_LOOP_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kp_request kp_request;

/* The answer: 0 and a lease that is yours, or why not and {0}. The request is over: it may be
 * freed, or started again. */
typedef void (*kp_done_fn)(kp_request *request, int status, kp_lease lease);

/* Yours, and fixed size for ever. {0} but for these three; it stays put until done has begun or
 * kp_cancel has returned. */
struct kp_request {
    kp_loop   *loop;
    kp_done_fn done;
    void      *arg;                     /* yours */
    uint64_t   opaque[13];
};

/* Open the mailbox of one event loop. The first thread that dispatches it, or starts a request on
 * it, is the loop's thread.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: kp_loop_close ends it. Errors: KP_ENOMEM
 * (of descriptors, too), KP_EMISUSE. Order: none. Since: 0.1 */
KP_API int kp_loop_open(kp_loop **out) KP_NODISCARD;

/* The descriptor: readable while there is something to dispatch. Only poll it.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: stays the loop's. Errors: -1 for NULL.
 * Order: none. Since: 0.1 */
KP_API int kp_loop_fd(const kp_loop *loop);

/* Do what is to be done on this thread: answer requests, run driver functions, upkeep of the pools
 * that name this loop. Does a bounded part at a time. Returns the ms until it wants to be called
 * again without the descriptor being readable (0: at once), or -1 for "nothing is due".
 * Threads: the loop's. Blocks: no. Calls: done, the driver's functions, on_event. Owns: nothing.
 * Errors: KP_EMISUSE on another thread, or from inside itself, kp_loop_close or kp_get_start;
 * KP_EFORKED in a child (both below -1). Order: of one loop, in order of being answered; who need
 * not wait is answered when its start returns. Since: 0.1 */
KP_API int64_t kp_loop_dispatch(kp_loop *loop);

/* Close it: requests that are still under way are cancelled. Returns how many there were; *loop is
 * gone. A pool that names this loop is closed first, and all it lent came back: else KP_EMISUSE,
 * the requests are cancelled all the same, and the loop stays. So it does while another thread is
 * on its way out of that pool, for a moment after kp_pool_close answered 0: dispatch, and close it
 * again.
 * Threads: the loop's. Blocks: no. Calls: the driver's functions, on_event; never done. Owns: takes
 * the loop. Errors: KP_EMISUSE; NULL does nothing. In a forked child the loop of the parent is let
 * go, and nothing else. Order: none. Since: 0.1 */
KP_API int64_t kp_loop_close(kp_loop *loop);

/* kp_get without waiting. On 0 exactly one of: done runs, once, from kp_loop_dispatch, never from
 * in here; or you cancel. On failure done never runs. `ask` means what it means to kp_get, its
 * deadline too; ask->why must live until the answer, the rest is copied. Waiting allocates nothing.
 * Threads: the request's loop's. Blocks: no. Calls: limits_for, on_event; destroy of an idle one
 * that is too old, as everywhere on a loop. Owns: keeps the request; `key` is copied if kept.
 * Errors: KP_EAGAIN, KP_EFULL, KP_ECREATE (cache_failure_ms, fail_fast), KP_EREFUSED, KP_EBREAKER,
 * KP_ECLOSED, KP_EFORKED, KP_ENOMEM; KP_EMISUSE; KP_ECONFIG if the driver may block and the pool
 * has no threads for it, or what limits_for wrote. Order: as kp_get, in one queue with it.
 * Since: 0.1 */
KP_API int kp_get_start(kp_pool *pool, kp_key key, const kp_ask *ask,
                        kp_request *request) KP_NODISCARD;

/* End a request. When this returns it is over: done will not run, the memory is yours, and what had
 * been granted is given back. A creation that was begun for it goes on, for the next one; if nobody
 * waits, driver.cancel may hurry it, and then its failure counts nowhere. The request counts as
 * refused. On one that is over, {0}, NULL, or inside its own start: nothing.
 * Threads: the request's loop's. Blocks: no. Calls: driver.cancel, destroy, on_event. Owns: gives
 * the request back. Errors: none; on another thread it is misuse (R4). Order: none. Since: 0.1 */
KP_API void kp_cancel(kp_request *request);

#ifdef __cplusplus
}
#endif
#endif
