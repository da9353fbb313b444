/* SPDX-License-Identifier: MIT
 *
 * No cancellation (pthread_cancel) while something runs that may be a cancellation point: system
 * calls of ours, and functions of the user's. A thread that ended in there would never come back to
 * put the books right. What was asked for meanwhile happens at the thread's own next point.
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
