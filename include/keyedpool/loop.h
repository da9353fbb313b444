/* SPDX-License-Identifier: MIT
 *
 * Borrowing without waiting, for event loops: a request stands in the same queue as a blocked
 * thread, and its answer comes from kp_loop_dispatch.
 *
 * A loop is the mailbox of one thread: one descriptor to poll, for any number of pools. What a pool
 * has for that thread (a request was answered, a driver function has to run, upkeep is due) waits
 * there until the thread dispatches:
 *
 *     for ever: poll kp_loop_fd(loop) for reading,
 *               for no longer than kp_loop_dispatch last said;
 *               then call kp_loop_dispatch(loop)
 *
 * Glue does this for you: keyedpool_epoll.h (Linux), keyedpool_event.h (libevent), keyedpool_uv.h
 * (libuv). It also waits for the descriptors of drivers that never block (keyedpool_watch.h).
 *
 * A driver function that may block never runs on a loop's thread. So a pool that is used from a
 * loop needs either a driver with KP_NEVER_BLOCKS, or threads of its own (kp_options.threads) that
 * run the driver. With kp_options.loop the loop is the pool's keeper and runs all functions of its
 * driver, so that no other thread is needed; threads that get or release then leave that work to
 * the loop, and do not wait for a destroy.
 */
#ifndef KEYEDPOOL_LOOP_H
#define KEYEDPOOL_LOOP_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kp_request kp_request;

/* The answer: 0 and a lease that is yours, or an error and {0}. The request is over: it may be
 * freed, or started again. */
typedef void (*kp_done_fn)(kp_request *request, int status, kp_lease lease);

/* Memory of yours, of a size that never changes. Zero it, except for the first three fields. It
 * must not move until done has begun or kp_cancel has returned. */
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

/* The descriptor of a loop: readable while there is something to dispatch, also if that is only a
 * new time to call kp_loop_dispatch again, sooner than it last said. Only poll it.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: stays the loop's. Errors: -1 for NULL.
 * Order: none. Since: 0.1 */
KP_API int kp_loop_fd(const kp_loop *loop);

/* Do what there is to do on a loop's thread: answer requests, run driver functions, do the upkeep
 * of the pools that name this loop. One call does a bounded part of it. Returns after how many ms
 * to call it again even if the descriptor is not readable (0: at once), or -1 if nothing is due.
 * Threads: the loop's. Blocks: no. Calls: done, the driver's functions, on_event. Owns: nothing.
 * Errors: KP_EMISUSE on another thread, or from inside itself, kp_loop_close or kp_get_start;
 * KP_EFORKED in a child (both below -1). Order: within a loop, in the order in which requests were
 * granted; one that need not wait is granted by the time its start returns. Since: 0.1 */
KP_API int64_t kp_loop_dispatch(kp_loop *loop);

/* Close the loop: requests that are still under way are cancelled. Returns how many there were; the
 * loop is gone. A pool that names this loop (kp_options.loop) must have been closed before, and all
 * it lent must have come back: else the answer is KP_EMISUSE, the requests are cancelled all the
 * same, and the loop stays. This can happen even after kp_pool_close answered 0, for a moment,
 * while another thread is leaving that pool: dispatch, and close the loop again.
 * Threads: the loop's. Blocks: no. Calls: the driver's functions, on_event; never done. Owns: takes
 * the loop. Errors: KP_EMISUSE; NULL does nothing. In a child of fork it only lets go of the
 * parent's loop. Order: none. Since: 0.1 */
KP_API int64_t kp_loop_close(kp_loop *loop);

/* kp_get without waiting. After a 0, either done runs once, from kp_loop_dispatch (never from in
 * here), or you cancel. After a failure done never runs. `ask` means the same as in kp_get, its
 * deadline, too; ask->why must live until the answer, the rest is copied. Waiting allocates
 * nothing.
 * Threads: the request's loop's. Blocks: no. Calls: limits_for, on_event; destroy, for an idle
 * resource that is too old, as everywhere on a loop. Owns: keeps the request; `key` is copied if
 * kept. Errors: KP_EAGAIN, KP_EFULL, KP_ECREATE (cache_failure_ms, fail_fast), KP_EREFUSED,
 * KP_EBREAKER, KP_ECLOSED, KP_EFORKED, KP_ENOMEM; KP_EMISUSE; KP_ECONFIG if the driver may block
 * and the pool has no threads for it, or what limits_for wrote. Order: as kp_get, in one queue with
 * it.
 * Since: 0.1 */
KP_API int kp_get_start(kp_pool *pool, kp_key key, const kp_ask *ask,
                        kp_request *request) KP_NODISCARD;

/* End a request. When this returns the request is over: done will not run, the memory is yours
 * again, and what had been granted is given back. A create or validate that was begun for it goes
 * on, for the next request; if none waits, and it has no time of its own
 * (limits.create_timeout_ms), driver.cancel may be called to hurry it, and then its failure counts
 * nowhere. The request counts as refused. Does nothing for a request that is over, for {0} or NULL,
 * or inside the request's own start.
 * Threads: the request's loop's. Blocks: no. Calls: driver.cancel, destroy, on_event. Owns: gives
 * the request back. Errors: none; on another thread it is misuse (R4). Order: none. Since: 0.1 */
KP_API void kp_cancel(kp_request *request);

#ifdef __cplusplus
}
#endif
#endif
