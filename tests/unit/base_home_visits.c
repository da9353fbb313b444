/* SPDX-License-Identifier: MIT
 *
 * Where membarrier is forbidden later, a thread that takes a home away visits each processor
 * instead; also in a sandbox that opens no file, where the C library cannot tell how many there
 * are.
 */
#include "base/home.h"

#if KP__SEQUENCES
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#if KP__SEQUENCES

#define REFUSE(number) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

static bool forbid(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        REFUSE(SYS_membarrier),
        REFUSE(SYS_openat),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static long switches(void)
{
    struct rusage r;

    if (getrusage(RUSAGE_THREAD, &r) != 0) abort();
    return r.ru_nvcsw + r.ru_nivcsw;
}

enum { SEEN = 0, NOT_SEEN, NOT_HERE };

/* From the first processor to the second and back takes two changes of threads. */
static int visit(void)
{
    cpu_set_t all, one, after;
    size_t first = 0;

    if (sched_getaffinity(0, sizeof all, &all) != 0) return NOT_HERE;
    while (!CPU_ISSET(first, &all)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    if (CPU_COUNT(&all) < 2 || !kp__sequences_begin() || !forbid()) return NOT_HERE;
    if (sched_setaffinity(0, sizeof one, &one) != 0) return NOT_HERE;
    long before = switches();
    kp__sequences_end();
    if (switches() - before < 2) return NOT_SEEN;
    if (sched_getaffinity(0, sizeof after, &after) != 0) return NOT_SEEN;
    return CPU_EQUAL(&one, &after) ? SEEN : NOT_SEEN;
}

static void in_a_sandbox_each_processor_must_be_visited(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) _exit(visit());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), NOT_SEEN);
    if (WEXITSTATUS(status) == NOT_HERE) skip();
}
#else
static void in_a_sandbox_each_processor_must_be_visited(void **state)
{
    (void)state;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_sandbox_each_processor_must_be_visited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
