/* SPDX-License-Identifier: MIT
 *
 * Fibers (fiber.h): how they are made and switched.
 */
#include "fiber.h"

#include <stdlib.h>

#if FIBER_ASM

void fiber_swap(void **from, void *to);

/* The callee-saved registers go onto the stack that is left, the stack pointer into *from. */
__asm__(".text\n"
        ".globl fiber_swap\n"
        ".type fiber_swap, @function\n"
        "fiber_swap:\n"
        "    push %rbp\n    push %rbx\n    push %r12\n"
        "    push %r13\n    push %r14\n    push %r15\n"
        "    mov %rsp, (%rdi)\n    mov %rsi, %rsp\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n"
        "    pop %r12\n    pop %rbx\n    pop %rbp\n"
        "    ret\n"
        ".size fiber_swap, . - fiber_swap\n");

void fiber_make(struct fiber *fiber, void *stack, size_t size, void (*fn)(void))
{
    void **top = (void **)(void *)((char *)stack + size);

    *--top = NULL;                      /* fn must find the stack aligned as after a call */
    *--top = (void *)(size_t)fn;
    for (int i = 0; i < 6; i++) *--top = NULL;
    fiber->stack_pointer = top;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    fiber_swap(&from->stack_pointer, to->stack_pointer);
}

#else

void fiber_make(struct fiber *fiber, void *stack, size_t size, void (*fn)(void))
{
    if (getcontext(&fiber->first) != 0) abort();
    fiber->first.uc_stack.ss_sp = stack;
    fiber->first.uc_stack.ss_size = size;
    fiber->first.uc_link = NULL;
    makecontext(&fiber->first, fn, 0);
    fiber->fresh = true;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    if (_setjmp(from->at) != 0) return;
    if (to->fresh) {
        to->fresh = false;
        (void)setcontext(&to->first);
        abort();
    }
    _longjmp(to->at, 1);
}

#endif
