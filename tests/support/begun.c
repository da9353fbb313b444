/* SPDX-License-Identifier: MIT
 *
 * A pthread_create that returns only when the thread has begun: for tests that fork under
 * AddressSanitizer. There, a new thread allocates before it runs our code (pthread_getattr_np). If
 * the process forks at that moment, the child has a lock of the allocator that is never given back,
 * and its own threads wait for it for ever when they begin. A test can make sure that its threads
 * are where it wants them, but it cannot see the library's thread that shuts lanes, which may begin
 * late: once in some hundred runs the test hung. The C library's malloc works in a child, so
 * without the sanitizer no test needs this, and none has it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

struct beginning {
    void *(*fn)(void *arg);
    void *arg;
    atomic_bool over;
};

/* The linker's --wrap has names for them. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                          void *arg);

static void *begin(void *arg)
{
    struct beginning *b = arg, copy = { .fn = b->fn, .arg = b->arg };

    atomic_store(&b->over, true); /* from here on it is gone */
    return copy.fn(copy.arg);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                          void *arg)
{
    struct beginning b = { .fn = fn, .arg = arg };
    int failed = __real_pthread_create(thread, attr, begin, &b);

    while (!failed && !atomic_load(&b.over)) sched_yield();
    return failed;
}
