/* SPDX-License-Identifier: MIT
 *
 * fork, continued: what ends in the child but not in the parent; driver.abandon; jobs that are
 * answered in the wrong process; calls within which a child may be forked.
 */
#include <sys/mman.h>

#include "base/world.h"
#include "faults/child.h"

/* ---- ends ------------------------------------------------------------------------------------ */

static atomic_int contexts_dropped;

static void drop_context(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&contexts_dropped, 1);
}

static void find_it_closed(void *arg)
{
    kp_lease lease;

    MUST(kp_get(arg, kp_str("k"), NULL, &lease) == KP_ECLOSED);
    MUST(!kp_is_pool(arg));
    MUST(kp_pool_close(arg, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(all_created == 1 && all_destroyed == 0 && all_abandoned == 1 && contexts_dropped == 1);
}

static void find_it_gone(void *arg)
{
    kp_lease lease;

    MUST(kp_get(arg, kp_str("k"), NULL, &lease) == KP_ECLOSED);
    MUST(all_destroyed == 1 && all_abandoned == 0 && contexts_dropped == 1);
}

static void a_pool_that_was_closing_must_be_closed_in_the_child(void **state)
{
    kp_options options = { .driver = thing_driver };
    kp_pool *pool;
    kp_lease lease;

    (void)state;
    contexts_dropped = 0;
    options.driver.drop_ctx = drop_context;
    pool = pool_of_things(options);
    lease = take(pool, "k");
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 1);
    child_run(find_it_closed, pool);
    assert_int_equal(contexts_dropped, 0);
    kp_release(&lease);
    assert_int_equal(contexts_dropped, 1);
    child_run(find_it_gone, pool);
    assert_int_equal(told.count, 0);
}

static void use_it_and_exit(void *arg)
{
    stock(arg, "k", 2);
    exit(0); /* with all that exit does; under ASan also a search for leaks */
}

static void a_child_that_ends_must_destroy_nothing_of_the_parents(void **state)
{
    kp_pool *pool = pool_of_things((kp_options){ .threads = KP_NONE });

    (void)state;
    stock(pool, "k", 3);
    child_run(use_it_and_exit, pool);
    kp_lease lease = take(pool, "k");
    assert_int_equal(((struct thing *)lease.resource)->made_in, getpid());
    assert_int_equal(all_destroyed + all_abandoned, 0);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(all_destroyed, 3);
}

/* ---- abandon --------------------------------------------------------------------------------- */

static void drop_without_a_word(void *arg)
{
    MUST(use_it_all(arg, "k") == 0);
    MUST(kp_pool_close(arg, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(all_destroyed == 1 && all_abandoned == 0);
}

static void without_abandon_nothing_must_be_called_for_the_parents(void **state)
{
    kp_options options = { .driver = thing_driver };
    kp_pool *pool;
    kp_lease lease;

    (void)state;
    options.driver.abandon = NULL;
    pool = pool_of_things(options);
    stock(pool, "k", 2);
    lease = take(pool, "other");
    child_run(drop_without_a_word, pool);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

static struct {
    int failures, vendor_code;
    char text[400], key[40];
    const void *resource;
} failed;

static int fail_to_abandon(kp_job *job, void *resource)
{
    (void)thing_abandon(job, resource);
    return resource == &things[1] ? kp_job_fail(job, 9, "close: bad descriptor") : 0;
}

static void hear_failures(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind != KP_EVENT_DESTROY_FAILED) return;
    failed.failures++;
    failed.vendor_code = event->why->vendor_code;
    snprintf(failed.text, sizeof failed.text, "%s", event->why->text);
    snprintf(failed.key, sizeof failed.key, "%.*s", (int)event->key.size,
             (const char *)event->key.data);
    failed.resource = event->resource;
}

static void hear_of_one(void *arg)
{
    kp_stats s;

    MUST(kp_stats_read(arg, KP_EVERY_KEY, &s) == 0);
    MUST(all_abandoned == 3 && s.destroy_failures == 1 && s.live == 0);
    MUST(failed.failures == 1 && failed.vendor_code == 9);
    MUST(!strcmp(failed.text, "close: bad descriptor"));
    MUST(!strcmp(failed.key, "k") && failed.resource == &things[1]);
    MUST(kp_pool_close(arg, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

/* L11 */
static void an_abandon_that_fails_must_be_told_and_must_not_stop_the_others(void **state)
{
    kp_options options = { .driver = thing_driver, .on_event = hear_failures };
    kp_pool *pool;

    (void)state;
    options.driver.abandon = fail_to_abandon;
    pool = pool_of_things(options);
    stock(pool, "k", 3);
    child_run(hear_of_one, pool);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

/* ---- random numbers -------------------------------------------------------------------------- */

static void draw(void *number)
{
    for (int i = 0; i < 8; i++) ((uint64_t *)number)[i] = kp__life.random(kp__life.ctx);
}

/* Otherwise all workers would retry at the same moment. */
static void a_child_must_not_draw_the_random_numbers_of_its_parent(void **state)
{
    kp_pool *pool = pool_of_things((kp_options){ .threads = KP_NONE }); /* forks are counted now */
    uint64_t mine[8], *of[2];

    (void)state;
    draw(mine); /* without a fork check, parent and children would draw the same from here on */
    for (int i = 0; i < 2; i++) {
        of[i] = mmap(NULL, sizeof mine, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(of[i], MAP_FAILED);
        child_run(draw, of[i]);
    }
    draw(mine);
    for (int i = 0; i < 8; i++) {
        assert_true(of[0][i] != mine[i] && of[1][i] != mine[i]);
        assert_true(of[0][i] != of[1][i] && of[0][i] != 0);
    }
    for (int i = 0; i < 2; i++) munmap(of[i], sizeof mine);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
}

/* ---- a job that began before ----------------------------------------------------------------- */

static kp_job *pending;

static int create_later(kp_job *job, void **out)
{
    (void)out;
    pending = job;
    return KP_PENDING;
}

static void answer_for_the_parent(void *arg)
{
    kp_stats s;

    MUST(kp_is_pool(arg));
    kp_on_misuse(hear, NULL);
    TOLD(kp_job_done(pending, 0, &things[7]), "before fork");
    MUST(kp_stats_read(arg, KP_EVERY_KEY, &s) == 0 && s.live == 0);
    MUST(all_destroyed + all_abandoned == 0); /* it is still its maker's */
}

static void a_job_of_before_must_be_answered_by_the_parent_only(void **state)
{
    kp_options options = { .driver = thing_driver };
    kp_pool *pool;
    kp_lease lease;

    (void)state;
    options.driver.create = create_later;
    pool = pool_of_things(options);
    assert_int_equal(kp_get(pool, kp_str("k"), KP_IN_MS(1), &lease), KP_ETIMEDOUT);
    child_run(answer_for_the_parent, pool);
    kp_job_done(pending, 0, &things[0]);
    assert_int_equal(kp_try_get(pool, kp_str("k"), &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(told.count, 0);
}

/* ---- forked within a call -------------------------------------------------------------------- */

static pid_t kid; /* -1: not forked yet */

static void fork_once(void *arg)
{
    (void)arg;
    if (kid < 0) kid = child_fork();
}

/* The child is in its first attempt of two. */
static int fork_in_use(kp_lease *lease, void *arg)
{
    fork_once(arg);
    return ((struct thing *)lease->resource)->made_in == getpid() ? 0 : -1;
}

static void use_and_fork(kp_pool *pool)
{
    const kp_plan plan = { .schedule = { .times = 1, .first_ms = 1 }, .retry_if = kp_retry_any };
    int status = kp_use(pool, kp_str("k"), &plan, fork_in_use, NULL);

    if (kid == 0) MUST(status == 0 && all_created == 2 && all_abandoned == 1);
    assert_int_equal(status, 0);
}

static void close_and_fork(kp_pool *pool)
{
    kp_scope scope = { { 0 } };
    kp_lease lease;

    assert_int_equal(kp_scope_get(&scope, pool, kp_str("k"), NULL, &lease), 0);
    assert_int_equal(kp_scope_defer(&scope, fork_once, NULL), 0);
    kp_scope_close(&scope);
}

/* docs/PROCESS.md: from these functions a child may return. */
static void a_child_that_was_forked_by_a_use_or_a_finalizer_may_come_out_of_it(void **state)
{
    kp_pool *pool = pool_of_things((kp_options){ .threads = KP_NONE });

    (void)state;
    stock(pool, "k", 1);
    for (int i = 0; i < 2; i++) {
        kid = -1;
        if (i == 0) use_and_fork(pool);
        else close_and_fork(pool);
        if (kid == 0) {
            MUST(use_it_all(pool, "k") == 0);
            MUST(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
            MUST(told.count == 0 && all_abandoned == 1 && things[0].destroyed == 0);
            _exit(0);
        }
        const char *wrong = child_end(kid);
        if (wrong) fail_msg("%s", wrong);
    }
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(told.count + all_abandoned, 0);
    assert_int_equal(all_created, 1);
}

#define T(test) cmocka_unit_test_setup(test, things_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_child_that_ends_must_destroy_nothing_of_the_parents),
        T(a_pool_that_was_closing_must_be_closed_in_the_child),
        T(without_abandon_nothing_must_be_called_for_the_parents),
        T(an_abandon_that_fails_must_be_told_and_must_not_stop_the_others),
        T(a_child_must_not_draw_the_random_numbers_of_its_parent),
        T(a_job_of_before_must_be_answered_by_the_parent_only),
        T(a_child_that_was_forked_by_a_use_or_a_finalizer_may_come_out_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
