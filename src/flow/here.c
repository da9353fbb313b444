/* SPDX-License-Identifier: MIT
 *
 * Threads get a number when they first need one: it is shorter than the system's, and found without
 * a call.
 */
#include "flow/here.h"

#include <sys/syscall.h>
#include <unistd.h>

static _Atomic uint32_t threads; /* numbers given out */

_Thread_local struct kp__here kp__here;

uint32_t kp__number_thread(void)
{
    kp__here.cell = UINT32_MAX; /* beyond the cells of any lane: it has found none so far */
    /* relaxed: a number, and nothing else */
    return kp__here.thread = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
}

uint32_t kp__find_thread_id(void)
{
#ifdef __linux__
    return kp__here.id = (uint32_t)syscall(SYS_gettid);
#else
    return kp__here.id = kp__thread_number();
#endif
}

void kp__here_in_child(void)
{
    kp__here = (struct kp__here){ 0 };
}
