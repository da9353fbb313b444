/* SPDX-License-Identifier: MIT
 *
 * What the tests of homes share: to put this thread on one processor, and to find out whether there
 * can be homes at all.
 */
#ifndef KP_TESTS_HOME_PIN_H
#define KP_TESTS_HOME_PIN_H

#include "base/home.h"

#if KP__SEQUENCES
#include <pthread.h>
#include <sched.h>

/* The processors that this program may use: those that it began with. */
static inline const cpu_set_t *pin_all(void)
{
    static cpu_set_t all;

    if (CPU_COUNT(&all) == 0) (void)sched_getaffinity(0, sizeof all, &all);
    return &all;
}

static inline int pin_count(void)
{
    return CPU_COUNT(pin_all());
}

/* The number of the n-th of them. */
static inline uint16_t pin_number(int n)
{
    size_t at = 0;

    while (!CPU_ISSET(at, pin_all()) || n-- > 0) at++;
    return (uint16_t)at;
}

/* Moves this thread to that processor; it stays there. */
static inline bool pin_to(int n)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)pin_number(n), &one);
    return pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
}

static inline void pin_off(void)
{
    (void)pthread_setaffinity_np(pthread_self(), sizeof *pin_all(), pin_all());
}

/* Tests begin with one of these. */
static inline void pin_or_skip(void)
{
    (void)pin_all();
    if (kp__sequences_begin()) return;
    print_message("skipped: kernel and C library do not agree on restartable sequences here\n");
    skip();
}

static inline void pin_two_or_skip(void)
{
    pin_or_skip();
    if (pin_count() >= 2) return;
    print_message("skipped: this process may use one processor only\n");
    skip();
}
#else
static inline void pin_or_skip(void)
{
    print_message("skipped: no words have homes on this platform\n");
    skip();
}

static inline void pin_two_or_skip(void)
{
    pin_or_skip();
}
#endif

#endif
