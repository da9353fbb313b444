/* SPDX-License-Identifier: MIT
 *
 * Threads with the smallest stack that is usual, 16 kB: each call of the pool must fit on it, with
 * a report of misuse to standard error, too.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>

#include "faults/child.h"

#if defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer) || NO_THREADS_IN_CHILDREN
#define STACKS_ARE_LARGER 1 /* sanitizers need some for themselves */
#else
#define STACKS_ARE_LARGER 0
#endif

enum { SMALL = 16 << 10, GUARD = 64 << 10 };

static struct {
    kp_pool *pool;
    kp_lease held;
} s;

static void one_each(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)ctx;
    limits->max_live = 1;
}

static void get_and_release(void)
{
    kp_lease lease = take(s.pool, "a");

    kp_release(&lease);
}

static void get_too_late(void)
{
    kp_why why;
    kp_lease lease;
    kp_ask ask = { .within_ms = 5, .why = &why };

    MUST(kp_get(s.pool, kp_str("held"), &ask, &lease) == KP_ETIMEDOUT && why.text[0]);
}

static int nothing(kp_lease *lease, void *arg)
{
    return (void)lease, (void)arg, 0;
}

static void use(void)
{
    MUST(kp_use(s.pool, kp_str("b"), NULL, nothing, NULL) == 0);
}

static void explain(void)
{
    MUST(kp_explain(s.pool, kp_str("held"), NULL, 0) > 0);
    MUST(kp_explain(s.pool, KP_EVERY_KEY, NULL, 0) > 0);
}

static void change_limits(void)
{
    MUST(kp_limits_set(s.pool, KP_EVERY_KEY, &(kp_limits){ .max_live = 2 }, NULL) == 0);
    MUST(kp_limits_set(s.pool, KP_EVERY_KEY, &(kp_limits){ .max_live = 1 }, NULL) == 0);
}

static void misuse(void)
{
    kp_lease lease = take(s.pool, "a"), copy = lease;
    kp_stats stats;

    kp_release(&lease);
    kp_release(&copy);
    MUST(kp_stats_read(s.pool, KP_EVERY_KEY, &stats) == 0 && stats.misuses == 1);
}

static void open_and_close(void)
{
    kp_options options = { .driver = thing_driver };
    kp_pool *pool;
    kp_lease lease;

    MUST(kp_pool_open(&options, &pool) == 0);
    MUST(kp_get(pool, kp_str("a"), NULL, &lease) == 0);
    kp_release(&lease);
    MUST(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

static const struct row {
    const char *name;
    void (*call)(void);
} rows[] = {
    { "get, release", get_and_release },
    { "get, too late", get_too_late },
    { "use", use },
    { "explain", explain },
    { "limits", change_limits },
    { "misuse", misuse },
    { "open, close", open_and_close },
};

static void *run(void *row)
{
    ((const struct row *)row)->call();
    return NULL;
}

/* Below the stack is memory that nobody may touch. */
static void run_on_a_small_stack(void *row)
{
    char *room = mmap(NULL, GUARD + SMALL, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attr;
    pthread_t thread;

    MUST(room != MAP_FAILED);
    MUST(mprotect(room + GUARD, SMALL, PROT_READ | PROT_WRITE) == 0);
    MUST(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
    MUST(pthread_attr_init(&attr) == 0);
    MUST(pthread_attr_setstack(&attr, room + GUARD, SMALL) == 0);
    MUST(pthread_create(&thread, &attr, run, row) == 0);
    MUST(pthread_join(thread, NULL) == 0);
}

static void run_in_a_child(void *row)
{
    s.held = take(s.pool, "held");
    run_on_a_small_stack(row);
}

static void each_call_must_fit_on_a_small_stack(void **state)
{
    kp_options options = { .driver = thing_driver, .limits_for = one_each };

    (void)state;
    if (STACKS_ARE_LARGER || sysconf(_SC_THREAD_STACK_MIN) > SMALL) skip();
    assert_int_equal(kp_pool_open(&options, &s.pool), 0); /* nobody listens for misuse */
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const char *failed =
            child_end(child_start(run_in_a_child, (void *)(uintptr_t)&rows[r]));
        if (failed) fail_msg("%s: %s", rows[r].name, failed);
    }
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

#define T(test) cmocka_unit_test_setup(test, things_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_call_must_fit_on_a_small_stack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
