/* SPDX-License-Identifier: MIT
 *
 * pthread_create comes back when the thread has begun: for tests that fork under AddressSanitizer.
 * A thread that begins allocates there, before it runs anything of ours (pthread_getattr_np). Who
 * forks in that moment leaves the child a lock of the allocator's that nobody gives back, and the
 * child's own threads wait for it as they begin, for ever. A test that sees to it that all threads
 * are where it wants them cannot see the keyedpool thread that shuts lanes, which may begin late:
 * once in some hundred runs it hung. The C library's malloc goes on in a child, so without the
 * sanitizer no test needs this, and none has it.
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
