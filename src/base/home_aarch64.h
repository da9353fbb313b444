/* SPDX-License-Identifier: MIT
 *
 * The sequence of home.h on aarch64. It is the same as on x86-64, whose file says what the kernel
 * is told. Both loads acquire and the store releases (Arm ARM, B2.3), since nothing else orders
 * them.
 */
#ifndef KP__BASE_HOME_AARCH64_H
#define KP__BASE_HOME_AARCH64_H

static inline bool kp__swing_at_home(const kp__home *home, _Atomic uint64_t *word,
                                     uint64_t expected, uint64_t to)
{
    char *area = (char *)__builtin_thread_pointer() + kp__rseq_offset;

    KP__TOLD_RELEASE(word);
    __asm__ goto(".pushsection __rseq_cs, \"aw\"\n\t"
                 ".balign 32\n\t"
                 "3: .long 0, 0\n\t"                  /* version, flags */
                 ".quad 1f, 2f - 1f, 4f\n\t"          /* start, length, where to go on */
                 ".popsection\n\t"
                 "5:\n\t"
                 "adrp x16, 3b\n\t"
                 "add x16, x16, :lo12:3b\n\t"
                 "str x16, [%[area], %[cs]]\n\t"
                 "1:\n\t"
                 "ldr w17, [%[area], %[cpu]]\n\t"
                 "ldarh w16, %[home]\n\t"
                 "cmp w16, w17\n\t"
                 "b.ne %l[no]\n\t"
                 "ldar x16, %[word]\n\t"
                 "cmp x16, %[expected]\n\t"
                 "b.ne %l[no]\n\t"
                 "stlr %[to], %[word]\n\t"
                 "2:\n\t"
                 ".pushsection __rseq_failure, \"ax\"\n\t"
                 ".inst %c[sign]\n\t"                 /* an instruction that traps */
                 "4: b 5b\n\t"
                 ".popsection"
                 :
                 : [area] "r"(area), [cs] "i"(offsetof(struct rseq, rseq_cs)),
                   [cpu] "i"(offsetof(struct rseq, cpu_id)), [sign] "i"(RSEQ_SIG),
                   [home] "Q"(*home), [word] "Q"(*word), [expected] "r"(expected), [to] "r"(to)
                 : "memory", "cc", "x16", "x17"
                 : no);
    KP__TOLD_ACQUIRE(word);
    return true;
no:
    return false;
}

#endif
