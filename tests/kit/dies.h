/* SPDX-License-Identifier: MIT
 *
 * For tests in which something must end the process with a message. A forked child does it; so no
 * threads may be running when it is called.
 */
#ifndef KEYEDPOOL_TESTS_KIT_DIES_H
#define KEYEDPOOL_TESTS_KIT_DIES_H

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void must_die(void (*misuse)(void), const char *sentence)
{
    char said[4096];
    size_t size = 0;
    int ends[2], status = 0;

    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    fflush(stderr);

    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = { 0, 0 };

        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        misuse();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; size < sizeof said - 1; size += (size_t)n) {
        n = read(ends[0], said + size, sizeof said - 1 - size);
        if (n <= 0) {
            break;
        }
    }
    said[size] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(said, sentence)) {
        print_error("status %d, and it said:\n%s\n", status, said);
        fail();
    }
}

#endif
