/* SPDX-License-Identifier: MIT
 *
 * fork, continued: locks that belong to the process, not to a pool, and are held by another thread
 * at the moment of the fork. Two of them are held while the library allocates, for which it uses
 * posix_memalign; so that is replaced by a function with a gate.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "faults/child.h"

/* ---- a gate in the allocator ----------------------------------------------------------------- */

static atomic_bool armed; /* the next call stops at the gate */
static sem_t reached, go;

int posix_memalign(void **out, size_t align, size_t size)
{
    if (atomic_exchange(&armed, false)) {
        sem_post(&reached);
        while (sem_wait(&go) != 0) continue;
    }
    *out = aligned_alloc(align, (size + align - 1) / align * align);
    return *out ? 0 : ENOMEM;
}

/* The pool's world allocates by malloc, so that only the library's own memory meets the gate. */
static void *plain_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align < 16 ? 16 : align, (size + 63) / 64 * 64);
}

static void plain_free(void *p, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    free(p);
}

static const kp_world plain = { .alloc = plain_alloc, .free = plain_free };

static kp_pool *open_one(void)
{
    const kp_options options = { .driver = thing_driver, .world = &plain, .threads = KP_NONE };
    kp_pool *pool;

    return kp_pool_open(&options, &pool) == 0 ? pool : NULL;
}

static void *open_and_close(void *arg)
{
    kp_pool *pool = open_one();

    (void)arg;
    if (pool) (void)kp_pool_close(pool, KP_CLOSE_NOW, 0);
    return pool;
}

static void *open_a_loop(void *arg)
{
    kp_loop *loop = NULL;

    (void)arg;
    if (kp_loop_open(&loop) == 0) (void)kp_loop_close(loop);
    return loop;
}

/* Forks while fn, in another thread, is stopped at the gate. */
static void fork_at_the_gate(void *(*fn)(void *), void (*child)(void *))
{
    pthread_t thread;
    void *result;

    sem_init(&reached, 0, 0);
    sem_init(&go, 0, 0);
    atomic_store(&armed, true);
    assert_int_equal(pthread_create(&thread, NULL, fn, NULL), 0);
    while (sem_wait(&reached) != 0) continue;
    pid_t pid = child_start(child, NULL);
    const char *failed = child_end(pid);
    sem_post(&go);
    assert_int_equal(pthread_join(thread, &result), 0);
    if (failed) fail_msg("%s", failed);
    assert_non_null(result);
}

static void open_in_the_child(void *arg)
{
    kp_lease lease;
    kp_pool *pool = open_one();

    (void)arg;
    MUST(pool && kp_get(pool, kp_str("k"), NULL, &lease) == 0);
    kp_release(&lease);
    MUST(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

static void a_pool_that_another_thread_was_opening_must_not_keep_the_child_from_it(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* at the first doors' allocation; then when more are needed */
        fork_at_the_gate(open_and_close, open_in_the_child);
        for (int door = i ? 200 : 1; door < 64; door++) assert_non_null(open_and_close(NULL));
    }
}

static void open_a_loop_in_the_child(void *arg)
{
    MUST(open_a_loop(arg) != NULL);
}

static void a_loop_that_another_thread_was_opening_must_not_keep_the_child_from_it(void **state)
{
    (void)state;
    fork_at_the_gate(open_a_loop, open_a_loop_in_the_child);
}

/* ---- the listener: its lock is never held for long ------------------------------------------- */

static atomic_bool over;

static void hear_nothing(const kp_why *why, void *arg)
{
    (void)why, (void)arg;
}

static void *listen(void *arg)
{
    while (!over) kp_on_misuse(hear_nothing, arg);
    return NULL;
}

static void misuse_and_hear_of_it(void *arg)
{
    kp_lease none = { NULL, { 1, 1, 1 } };

    (void)arg;
    kp_on_misuse(hear, NULL);
    kp_release(&none);
    MUST(told.count == 1);
}

static void a_thread_that_changes_the_listener_must_not_keep_the_child_from_it(void **state)
{
    pthread_t thread[2];

    (void)state;
    assert_non_null(open_and_close(NULL)); /* forks are counted from now on */
    over = false;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, listen, NULL), 0);
    for (int i = 0; i < 100; i++) {
        sched_yield();
        child_run(misuse_and_hear_of_it, NULL);
    }
    over = true;
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    kp_on_misuse(NULL, NULL);
}

#define T(test) cmocka_unit_test_setup(test, things_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_pool_that_another_thread_was_opening_must_not_keep_the_child_from_it),
        T(a_loop_that_another_thread_was_opening_must_not_keep_the_child_from_it),
        T(a_thread_that_changes_the_listener_must_not_keep_the_child_from_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
