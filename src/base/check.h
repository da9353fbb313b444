/* SPDX-License-Identifier: MIT
 *
 * Checks for the programmer: a debug assertion, and the step from a member back to its struct.
 */
#ifndef KP__BASE_CHECK_H
#define KP__BASE_CHECK_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* The struct of `type` whose `member` is at ptr. ptr must not be NULL. */
#define KP__OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* KP__DCHECK(cond): with -DKP_VERIFY=1 a false cond ends the program; otherwise cond is compiled
 * but never evaluated, so that it cannot rot. It must have no side effect. */
#if defined KP_VERIFY && KP_VERIFY
#define KP__DCHECK(cond) ((cond) ? (void)0 : kp__check_failed(__FILE__, __LINE__, #cond))
#else
#define KP__DCHECK(cond) ((void)sizeof(!(cond)))
#endif

/* KP__KNOWN(cond): the same with -DKP_VERIFY=1; otherwise the compiler may assume that it holds. */
#if (defined KP_VERIFY && KP_VERIFY) || !defined __GNUC__
#define KP__KNOWN(cond) KP__DCHECK(cond)
#else
#define KP__KNOWN(cond) ((cond) ? (void)0 : __builtin_unreachable())
#endif

/* cond, for the compiler to lay out the code for its being true. */
#if defined __GNUC__
#define KP__MOSTLY(cond) (__builtin_expect(!!(cond), 1))
#else
#define KP__MOSTLY(cond) (cond)
#endif

static inline _Noreturn void kp__check_failed(const char *file, int line, const char *cond)
{
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, cond);
    abort();
}

#endif
