/* SPDX-License-Identifier: MIT
 *
 * Cancellation (pthread_cancel) is held off while something runs that may be a cancellation point:
 * our own system calls, and the user's functions. A thread that was cancelled in there would never
 * come back to put the books right. A cancellation that was asked for meanwhile takes effect at the
 * thread's next cancellation point.
 */
#ifndef KP__BASE_CANCEL_H
#define KP__BASE_CANCEL_H

#include <pthread.h>

static inline int kp__cancel_hold(void)
{
    int before;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void kp__cancel_free(int before)
{
    int held;

    (void)pthread_setcancelstate(before, &held);
}

#endif
