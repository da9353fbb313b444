/* SPDX-License-Identifier: MIT
 *
 * Tests of system calls that are refused: memory for scopes, doors, crews and loops; threads; and
 * descriptors. The calls are wrapped by the linker (tests/CMakeLists.txt).
 */
#include "flow_stage.h"

#include <errno.h>
#include <keyedpool/loop.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flow/flow.h"

/* How many calls of each succeed before the first that fails; negative: all. */
static int memory = -1, threads = -1, attributes = -1, descriptors = -1, handlers = -1;

int __real_posix_memalign(void **out, size_t align, size_t size);
int __wrap_posix_memalign(void **out, size_t align, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
int __real_pthread_attr_init(pthread_attr_t *attr);
int __wrap_pthread_attr_init(pthread_attr_t *attr);
int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);

int __wrap_madvise(void *at, size_t size, int advice);

int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

static bool fails(int *left)
{
    if (*left > 0) (*left)--;
    else if (*left == 0) return true;
    return false;
}

int __wrap_posix_memalign(void **out, size_t align, size_t size)
{
    return fails(&memory) ? ENOMEM : __real_posix_memalign(out, align, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg)
{
    return fails(&threads) ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

int __wrap_pthread_attr_init(pthread_attr_t *attr)
{
    return fails(&attributes) ? ENOMEM : __real_pthread_attr_init(attr);
}

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    return fails(&handlers) ? ENOMEM : __real_pthread_atfork(prepare, parent, child);
}

int __wrap_eventfd(unsigned value, int flags)
{
    if (!fails(&descriptors)) return __real_eventfd(value, flags);
    errno = EMFILE;
    return -1;
}

/* What was to come in large pages, if there are any. */
static struct {
    char *at;
    size_t size;
    int calls;
} large;

int __wrap_madvise(void *at, size_t size, int advice)
{
    (void)advice;
    large.at = at;
    large.size = size;
    large.calls++;
    errno = EINVAL; /* there are none */
    return -1;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void much_that_is_used_to_the_last_byte_must_come_in_large_pages(void **state)
{
    enum { MUCH = 32 << 20, ENOUGH = 8 << 20, PAGE = 65536 };

    (void)state;
#ifdef MADV_HUGEPAGE
    errno = EDOM;
    char *all = kp__alloc_raw(&kp__life, MUCH, 64, MUCH / 2);
    assert_non_null(all);
    assert_int_equal(large.calls, 1);
    assert_int_equal((uintptr_t)large.at % PAGE, 0);
    assert_true(large.at >= all && large.at < all + PAGE);
    assert_true(large.at + large.size <= all + MUCH / 2);
    assert_true(large.at + large.size > all + MUCH / 2 - PAGE);
    assert_int_equal(errno, EDOM);
    kp__free(&kp__life, all, MUCH);
    kp__free(&kp__life, kp__alloc_raw(&kp__life, MUCH, 64, ENOUGH - 1), MUCH);
    assert_int_equal(large.calls, 1);
    kp__free(&kp__life, kp__alloc(&kp__life, ENOUGH, 64), ENOUGH); /* it is zero to the last byte */
    assert_int_equal(large.calls, 2);
#endif
    memory = 0;
    large.calls = 0;
    assert_null(kp__alloc_raw(&kp__life, MUCH, 64, MUCH));
    assert_int_equal(large.calls, 0);
    memory = -1;
}

static size_t dense[32];
static int denses;

static void note_dense(void *p, size_t size, void *ctx)
{
    (void)ctx;
    assert_non_null(p);
    dense[denses++] = size;
}

static bool is_dense(size_t size)
{
    for (int i = 0; i < denses; i++)
        if (dense[i] == size) return true;
    return false;
}

/* Of a pool's memory, what is used one after the other, but not the parts that few need. */
static void items_must_be_said_to_be_dense_and_their_parts_not(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    stage_open(&s);
    assert_null(s.pool->world.dense); /* a world with its own memory has its own pages */
    s.pool->world.dense = note_dense;
    denses = 0;
    kp_lease lease = stage_get(&s, "a");
    assert_true(is_dense(KP__SLAB_FIRST * sizeof(struct kp__slot)));
    assert_true(is_dense(KP__SLAB_FIRST * sizeof(struct kp__errand)));
    assert_true(is_dense(KP__SLAB_FIRST * sizeof(struct kp__subpool)));
    assert_true(is_dense(16 * sizeof(void *))); /* a table */
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- the keeper of the process, and threads of a pool ---------------------------------------- */

static kp_options living(struct stage *s)
{
    stage_set(s);
    s->options.world = NULL;
    s->options.threads = 0;
    return s->options;
}

/* The first two tests, because fork is watched from the first success on, and because a loop that
 * did not open leaves its memory to the next. */
static void a_loop_must_not_open_without_memory_or_where_fork_cannot_be_watched(void **state)
{
    kp_loop *loop;

    (void)state;
    memory = 0;
    assert_int_equal(kp_loop_open(&loop), KP_ENOMEM);
    assert_null(loop);
    memory = -1;
    handlers = 0;
    assert_int_equal(kp_loop_open(&loop), KP_ENOMEM);
    assert_null(loop);
    handlers = -1;
}

static void a_pool_must_not_open_where_fork_cannot_be_watched(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    handlers = 0;
    assert_int_equal(kp_pool_open(&s.options, &s.pool), KP_ENOMEM);
    handlers = -1;
    stage_open(&s);
    stage_fall(&s);
}

/* Then: the keeper is started once. */
static void a_pool_must_not_open_without_the_keeper_it_needs(void **state)
{
    struct stage s;
    kp_options options = living(&s);

    (void)state;
    for (int i = 0; i < 2; i++) {
        *(i ? &threads : &attributes) = 0;
        assert_int_equal(kp_pool_open(&options, &s.pool), KP_ENOMEM);
        assert_null(s.pool);
        threads = attributes = -1;
    }
    threads = 1; /* without the thread that shuts lanes there are none */
    assert_int_equal(kp_pool_open(&options, &s.pool), 0);
    threads = -1;
    assert_false(atomic_load(&s.pool->pool)->core.lanes);
    stage_fall(&s);
    assert_int_equal(kp_pool_open(&options, &s.pool), 0); /* it runs already */
    assert_true(atomic_load(&s.pool->pool)->core.lanes);
    stage_fall(&s);
}

static void a_pool_must_not_open_with_fewer_threads_than_it_was_told(void **state)
{
    struct stage s;
    kp_options options = living(&s);

    (void)state;
    options.threads = 3;
    for (int started = 0; started < 3; started++) {
        threads = started;
        options.why = started == 1 ? NULL : &s.why;
        assert_int_equal(kp_pool_open(&options, &s.pool), KP_ENOMEM);
        assert_null(s.pool);
    }
    threads = -1;
    assert_int_equal(s.why.code, KP_ENOMEM);
    assert_non_null(strstr(s.why.text, "threads"));
    assert_int_equal(kp_pool_open(&options, &s.pool), 0);
    stage_fall(&s);
}

/* Everything that opening allocates, of the pool's world or of the process. */
static void a_pool_must_open_whole_or_not_at_all_where_memory_runs_out(void **state)
{
    struct stage s;
    int code = KP_ENOMEM;

    (void)state;
    for (int n = 0; code != 0; n++) {
        kp_options options = living(&s);
        assert_true(n < 100);
        options.threads = 1;
        options.name = "a pool";
        memory = n;
        code = kp_pool_open(&options, &s.pool);
        memory = -1;
        assert_true(code == 0 || code == KP_ENOMEM);
    }
    stage_fall(&s);
}

/* ---- doors ----------------------------------------------------------------------------------- */

/* The first pool that needs a new chunk of doors, and cannot have it. */
static void a_pool_must_not_open_without_a_door(void **state)
{
    enum { MOST = 300 };
    static struct stage s[MOST];
    int n = 0, code = 0;

    (void)state;
    for (; n < MOST && code == 0; n++) {
        stage_set(&s[n]);
        memory = 0;
        code = kp_pool_open(&s[n].options, &s[n].pool);
        memory = -1;
    }
    assert_int_equal(code, KP_ENOMEM);
    assert_null(s[--n].pool);
    assert_int_equal(kp_pool_open(&s[n].options, &s[n].pool), 0);
    for (; n >= 0; n--) stage_fall(&s[n]);
}

/* ---- scopes ---------------------------------------------------------------------------------- */

static int run;

static void count_run(void *arg)
{
    (void)arg;
    run++;
}

static kp_scope *crowded;

static int fill_scope(kp_job *job, void **resource)
{
    memory = 0;
    while (kp_scope_defer(crowded, count_run, NULL) == 0) continue;
    return stage_create(job, resource);
}

static void a_scope_that_cannot_grow_must_refuse_and_hold_what_it_has(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    for (int told = 0; told < 2; told++) {
        kp_scope scope = { { 0 } };
        int held = 0;
        run = 0;
        stage_raise(&s);
        memory = 0;
        while (kp_scope_defer(&scope, count_run, NULL) == 0) held++;
        kp_ask ask = { .why = &s.why };
        assert_int_equal(kp_scope_get(&scope, s.pool, kp_str("a"), told ? &ask : NULL, &lease),
                         KP_ENOMEM);
        if (told) assert_int_equal(s.why.code, KP_ENOMEM);
        assert_int_equal(s.made, 0);
        memory = -1;
        kp_scope_close(&scope);
        assert_int_equal(run, held);
        stage_fall(&s);
    }
}

/* A driver function used what was reserved: the lease is given back. */
static void a_scope_filled_up_meanwhile_must_give_the_lease_back(void **state)
{
    struct stage s;
    kp_scope scope = { { 0 } };
    kp_lease lease;
    kp_stats stats;

    (void)state;
    stage_set(&s);
    s.options.driver.create = fill_scope;
    stage_open(&s);
    crowded = &scope;
    int code = kp_scope_get(&scope, s.pool, kp_str("a"), NULL, &lease);
    crowded = NULL;
    memory = -1;
    assert_int_equal(code, KP_ENOMEM);
    assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
    assert_int_equal(stats.lent, 0);
    kp_scope_close(&scope);
    stage_fall(&s);
}

/* ---- loops ----------------------------------------------------------------------------------- */

static void a_loop_must_not_open_without_a_descriptor(void **state)
{
    kp_loop *loop;

    (void)state;
    descriptors = 0;
    assert_int_equal(kp_loop_open(&loop), KP_ENOMEM);
    assert_null(loop);
    descriptors = -1;
    assert_int_equal(kp_loop_open(&loop), 0);
    assert_int_equal(kp_loop_close(loop), 0);
}

/* ---- children -------------------------------------------------------------------------------- */

static int end_of(pid_t child)
{
    int status = -1;

    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A child's loops are its own: the parent's are neither used again nor joined. */
static void a_child_must_leave_the_parents_loops_alone(void **state)
{
    kp_loop *open, *closed, *loop;

    (void)state;
    assert_int_equal(kp_loop_open(&open), 0);
    assert_int_equal(kp_loop_open(&closed), 0);
    assert_int_equal(kp_loop_close(closed), 0);
    pid_t child = fork();
    if (child == 0) {
        struct stage s;
        stage_set(&s);
        s.options.driver.flags = KP_NEVER_BLOCKS;
        s.options.threads = 0;
        s.options.loop = open;
        if (kp_loop_open(&loop) != 0 || loop == open || loop == closed) _exit(1);
        if (kp_pool_open(&s.options, &s.pool) != KP_ECONFIG) _exit(2);
        s.options.loop = loop;
        if (kp_pool_open(&s.options, &s.pool) != 0) _exit(3);
        _exit(0);
    }
    assert_int_equal(end_of(child), 0);
    assert_int_equal(kp_loop_close(open), 0);
}

/* What could not start anew stays as it was, and is tried again. */
static void a_pool_that_cannot_start_anew_in_a_child_must_say_so_each_time(void **state)
{
    struct stage s;
    kp_options options = living(&s);
    kp_lease lease;

    (void)state;
    assert_int_equal(kp_pool_open(&options, &s.pool), 0);
    pid_t child = fork();
    if (child == 0) {
        threads = 0; /* its keeper */
        for (int i = 1; i < 4; i++)
            if (kp_get(s.pool, kp_str("a"), NULL, &lease) != KP_ENOMEM) _exit(i);
        _exit(0);
    }
    assert_int_equal(end_of(child), 0);
    lease = stage_get(&s, "a");
    kp_release(&lease);
    stage_fall(&s);
}

/* A fork may come while kp_budget_set writes what the child then reads, without the lock. */
static void a_budget_must_stay_whole_until_the_next_one_holds(void **state)
{
    struct stage s;

    (void)state;
    stage_raise(&s);
    for (int i = 1; i < 5; i++) {
        const kp_budget next = { .max_live = 10 * i, .max_lent = 10 * i };
        const kp_budget *said = kp__said_budget(s.pool->pool), before = *said;
        assert_int_equal(kp_budget_set(s.pool, &next, NULL), 0);
        assert_memory_equal(said, &before, sizeof before);
        assert_int_equal(kp__said_budget(s.pool->pool)->max_lent, 10 * i);
    }
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_must_not_open_without_memory_or_where_fork_cannot_be_watched),
        cmocka_unit_test(a_pool_must_not_open_where_fork_cannot_be_watched),
        cmocka_unit_test(much_that_is_used_to_the_last_byte_must_come_in_large_pages),
        cmocka_unit_test(items_must_be_said_to_be_dense_and_their_parts_not),
        cmocka_unit_test(a_pool_must_not_open_without_the_keeper_it_needs),
        cmocka_unit_test(a_pool_must_not_open_with_fewer_threads_than_it_was_told),
        cmocka_unit_test(a_pool_must_open_whole_or_not_at_all_where_memory_runs_out),
        cmocka_unit_test(a_pool_must_not_open_without_a_door),
        cmocka_unit_test(a_scope_that_cannot_grow_must_refuse_and_hold_what_it_has),
        cmocka_unit_test(a_scope_filled_up_meanwhile_must_give_the_lease_back),
        cmocka_unit_test(a_loop_must_not_open_without_a_descriptor),
        cmocka_unit_test(a_child_must_leave_the_parents_loops_alone),
        cmocka_unit_test(a_budget_must_stay_whole_until_the_next_one_holds),
        cmocka_unit_test(a_pool_that_cannot_start_anew_in_a_child_must_say_so_each_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
