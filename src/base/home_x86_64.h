/* SPDX-License-Identifier: MIT
 *
 * The sequence of home.h on x86-64, where each plain load acquires and each plain store releases.
 *
 * The area that the kernel looks at (struct rseq) is told where the sequence is: from label 1 to
 * label 2. It is not cleared when the sequence is over; the kernel finds that out for itself. Until
 * then it points into this library, which therefore is never unloaded (cmake/library.cmake). A
 * thread that was interrupted goes on at label 4; the kernel accepts that address because of the
 * signature in front of it.
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
                 ".quad 1f, 2f - 1f, 4f\n\t"          /* start, length, where to go on */
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
                 ".byte 0x0f, 0xb9, 0x3d\n\t"         /* ud1, with the signature as operand */
                 ".long %c[sign]\n\t"
                 "4: jmp 5b\n\t"
                 ".popsection"
                 :
                 : [area] "r"(kp__rseq_offset), [cs] "i"(offsetof(struct rseq, rseq_cs)),
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
