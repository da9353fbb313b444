/* SPDX-License-Identifier: MIT
 *
 * The sequence of home.h on x86-64, which orders loads, and stores, among themselves.
 *
 * The area that the kernel looks at (struct rseq) is told where the sequence is: from 1 to 2. It is
 * not told when it is over, which the kernel finds out for itself; so this library is not unloaded
 * (cmake/library.cmake). Who is held up goes on at 4, which the kernel believes for the number
 * before it.
 */
#ifndef KP__BASE_HOME_X86_64_H
#define KP__BASE_HOME_X86_64_H

static inline bool kp__swing_at_home(const kp__home *home, _Atomic uint64_t *word,
                                     uint64_t expected, uint64_t to)
{
    KP__TOLD_RELEASE(word);
    __asm__ goto(".pushsection __rseq_cs, \"aw\"\n\t"
                 ".balign 32\n\t"
                 "3: .long 0, 0\n\t"                  /* version, flags */
                 ".quad 1f, 2f - 1f, 4f\n\t"          /* from, how long, where then */
                 ".popsection\n\t"
                 "5:\n\t"
                 "leaq 3b(%%rip), %%rax\n\t"
                 "movq %%rax, %%fs:%c[cs](%[area])\n\t"
                 "1:\n\t"
                 "movl %%fs:%c[cpu](%[area]), %%eax\n\t"
                 "cmpw %%ax, %[home]\n\t"
                 "jne %l[no]\n\t"
                 "cmpq %[expected], %[word]\n\t"
                 "jne %l[no]\n\t"
                 "movq %[to], %[word]\n\t"
                 "2:\n\t"
                 ".pushsection __rseq_failure, \"ax\"\n\t"
                 ".byte 0x0f, 0xb9, 0x3d\n\t"         /* makes an instruction of the number */
                 ".long %c[sign]\n\t"
                 "4: jmp 5b\n\t"
                 ".popsection"
                 :
                 : [area] "r"(__rseq_offset), [cs] "i"(offsetof(struct rseq, rseq_cs)),
                   [cpu] "i"(offsetof(struct rseq, cpu_id)), [sign] "i"(RSEQ_SIG),
                   [home] "m"(*home), [word] "m"(*word), [expected] "r"(expected), [to] "r"(to)
                 : "memory", "cc", "rax"
                 : no);
    KP__TOLD_ACQUIRE(word);
    return true;
no:
    return false;
}

#endif
