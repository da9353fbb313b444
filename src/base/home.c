/* SPDX-License-Identifier: MIT
 *
 * What home.h asks of the kernel. errno belongs to the caller.
 */
#include "base/home.h"

#if KP__SEQUENCES
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

ptrdiff_t kp__rseq_offset;

/* Also where no word ever gets a home: the number of a lease that is none may say that it was lent
 * at one, and then a sequence begins. 101: before other constructors, which may open pools. */
__attribute__((constructor(101))) static void find_area(void)
{
    kp__rseq_offset = __rseq_offset;
}

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

/* Each process has to register, and so has a child of fork. That takes long if there are threads
 * already, but only the first time. */
bool kp__sequences_begin(void)
{
    int saved = errno;
    bool may = __rseq_size > 0 && sysconf(_SC_NPROCESSORS_CONF) <= KP__HOMES &&
               membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ);

    errno = saved;
    return may;
}

uint16_t kp__home_here(void)
{
    int processor = sched_getcpu();

    return processor >= 0 && processor < KP__HOMES ? (uint16_t)processor : KP__NO_HOME;
}

static _Noreturn void give_up(void)
{
    fprintf(stderr, "keyedpool: the kernel now refuses membarrier, which it allowed when the pool "
                    "was opened, and sched_setaffinity as well: set options.hits to "
                    "KP_HITS_PORTABLE\n");
    abort();
}

/* If membarrier has been forbidden since (seccomp): run on each processor once, so that whatever
 * thread ran there has been interrupted. Where this thread may not run, no thread of this process
 * does: they share one cpuset (docs/PROCESS.md). How many processors there are is not asked: their
 * numbers may have gaps, and a process that may not open files is told only how many it may run on.
 */
static void visit_all(void)
{
    cpu_set_t mine, one;

    if (sched_getaffinity(0, sizeof mine, &mine) != 0) give_up();
    for (size_t i = 0; i < KP__HOMES; i++) {
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        if (sched_setaffinity(0, sizeof one, &one) != 0 && errno != EINVAL) give_up();
    }
    (void)sched_setaffinity(0, sizeof mine, &mine);
}

void kp__sequences_end(void)
{
    int saved = errno;

    if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ)) visit_all();
    errno = saved;
}

#elif !defined KP__SEQUENCES_PLAYED
bool kp__sequences_begin(void)
{
    return false;
}

uint16_t kp__home_here(void)
{
    return KP__NO_HOME;
}

void kp__sequences_end(void)
{
}
#endif
