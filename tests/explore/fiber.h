/* SPDX-License-Identifier: MIT
 *
 * Fibers: stacks that one thread of the operating system runs in turns. A switch is twenty
 * instructions on x86-64; elsewhere, or with -DEX_PORTABLE=1, ucontext starts a fiber and setjmp
 * and longjmp switch.
 */
#ifndef KP_EXPLORE_FIBER_H
#define KP_EXPLORE_FIBER_H

#include <stddef.h>

#if defined __x86_64__ && !(defined EX_PORTABLE && EX_PORTABLE)
#define FIBER_ASM 1
struct fiber {
    void *stack_pointer;
};
#else
#define FIBER_ASM 0
#include <setjmp.h>
#include <stdbool.h>
#include <ucontext.h>
struct fiber {
    jmp_buf at;
    ucontext_t first;
    bool fresh;
};
#endif

/* Makes `fiber` run fn on this stack when it is switched to; fn must not return. */
void fiber_make(struct fiber *fiber, void *stack, size_t size, void (*fn)(void));

/* Saves the caller's place in *from and continues `to`. A fiber that was left may also be made
 * anew. */
void fiber_switch(struct fiber *from, struct fiber *to);

#endif
