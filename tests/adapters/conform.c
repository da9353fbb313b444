/* SPDX-License-Identifier: MIT
 *
 * The cases that every adapter must pass (conform.h), with blocking gets on a pool of its own for
 * each. conform_gone.c has those about servers that go.
 */
#include "adapters/conform_stage.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- lending --------------------------------------------------------------------------------- */

static void a_resource_must_work_and_be_reused(void **state)
{
    kp_lease lease;
    void *first;

    (void)state;
    open_pool(4);
    lease = get(0);
    first = lease.resource;
    must_work(&lease);
    kp_release(&lease);
    all_must_be_back();
    lease = get(0);
    assert_ptr_equal(lease.resource, first);
    assert_true(reused(&lease));
    must_work(&lease);
    kp_release(&lease);
    assert_int_equal(atomic_load(&stage.made), 1);
    close_pool();
    assert_int_equal(stage.clean, stage.asked); /* nothing was left */
    assert_int_equal(stage.asked, stage.is_clean && !stage.on_loop ? 2 : 0);
}

static void keys_must_not_share_a_resource(void **state)
{
    kp_lease one, two;

    (void)state;
    open_pool(4);
    one = get(0);
    two = get(1);
    assert_ptr_not_equal(one.resource, two.resource);
    must_work(&one);
    must_work(&two);
    kp_release(&one);
    kp_release(&two);
    close_pool();
}

static void a_discarded_one_must_be_replaced(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool(1);
    for (int i = 0; i < 3; i++) {
        lease = get(0);
        assert_false(reused(&lease));
        must_work(&lease);
        kp_discard(&lease);
    }
    close_pool();
}

static void a_ruined_one_must_never_come_to_the_next(void **state)
{
    kp_lease lease;

    (void)state;
    if (!subject->ruin)
        return;
    open_pool(1);
    for (int i = 0; i < 3; i++) {
        lease = get(0);
        assert_false(reused(&lease));
        must_work(&lease);
        subject->ruin(lease.resource);
        kp_release(&lease);             /* found bad here, or by whoever comes next */
    }
    lease = get(0);
    must_work(&lease);
    kp_release(&lease);
    assert_int_equal(atomic_load(&stage.invalid), 3);
    close_pool();
}

/* It is undone, or found, when it is given back: whoever comes soon does not validate. */
static void what_is_left_open_must_never_be_seen_by_the_next(void **state)
{
    const struct conform_left *left;

    (void)state;
    for (left = subject->left; left && left->what; left++) {
        kp_options options = plan(1);
        kp_lease lease;

        options.limits.validate_after_ms = KP_OFF;
        open_pool_as(&options);
        lease = get(0);
        left->leave(lease.resource);
        kp_release(&lease);
        if (stage.clean)
            fail_msg("%s: with %s it is clean", subject->name, left->what);
        lease = get(0);
        if (left->seen(lease.resource))
            fail_msg("%s: the next one sees %s", subject->name, left->what);
        must_work(&lease);
        kp_release(&lease);
        close_pool();
    }
}

/* ---- what cannot be served ------------------------------------------------------------------- */

/* The pool's own sentence, when the deadline came first, cannot have the adapter's words. */
static void must_be_told_clearly(const struct conform_wrong *wrong, int rc)
{
    bool late = wrong->code == 0 && rc == KP_ETIMEDOUT;
    const char *text = stage.why.text;

    if (!text[0] || strchr(text, '\n') || strchr(text, '\t'))
        fail_msg("%s is told as: %s", wrong->what, text);
    for (int i = 0; i < 4 && wrong->words[i] && !late; i++) {
        if (!strstr(text, wrong->words[i]))
            fail_msg("%s: \"%s\" is not in: %s", wrong->what, wrong->words[i], text);
    }
    if (subject->secret && strstr(text, subject->secret))
        fail_msg("%s: the secret is in: %s", wrong->what, text);
    if (wrong->vendor_code)
        assert_int_equal(stage.why.vendor_code, wrong->vendor_code);
}

/* The deadline is two seconds, with as much again for a slow machine. */
static void what_cannot_be_made_must_give_its_cause_within_the_deadline(void **state)
{
    const struct conform_wrong *wrong;

    (void)state;
    for (wrong = subject->wrong; wrong && wrong->what; wrong++) {
        uint64_t began, now;
        kp_lease lease;
        int rc;

        open_pool(2);
        if (wrong->begin)
            wrong->begin();
        began = kp_now_ns(stage.pool);
        rc = try_get(wrong->key, 2000, &lease);
        now = kp_now_ns(stage.pool);
        if (wrong->end)
            wrong->end();
        if (rc != wrong->code && (wrong->code != 0 || (rc != KP_ECREATE && rc != KP_ETIMEDOUT)))
            fail_msg("%s: %s, not %s: %s", wrong->what, kp_error_find(rc)->name,
                     kp_error_find(wrong->code)->name, stage.why.text);
        assert_true(now - began < UINT64_C(4000000000));
        must_be_told_clearly(wrong, rc);
        close_pool();
    }
}

/* ---- the server dies ------------------------------------------------------------------------- */

static void a_server_that_was_killed_must_be_served_from_again(void **state)
{
    kp_lease lent, idle;

    (void)state;
    if (!subject->kill)
        return;
    open_pool(2);
    lent = get(0);
    idle = get(0);
    kp_release(&idle);
    subject->kill();
    assert_non_null(subject->use(lent.resource));
    kp_release(&lent);
    assert_int_not_equal(try_get(subject->keys[0], 1000, &idle), 0);
    assert_int_not_equal(stage.why.text[0], '\0');
    assert_int_equal(subject->restart(), 0);
    lent = get(0);
    idle = get(0);
    must_work(&lent);
    must_work(&idle);
    kp_release(&lent);
    kp_release(&idle);
    close_pool();
}

/* ---- processes and ends ---------------------------------------------------------------------- */

/* 0, or what the child of fork met. It leaves without destructors: they are the parent's. A loop is
 * its own process's, and so is what runs on it. */
static int in_a_child(const kp_lease *lent, bool on_loop)
{
    kp_lease lease;
    int rc = try_get(subject->keys[0], WITHIN_MS, &lease);

    if (on_loop)
        return rc == KP_EFORKED ? 0 : 5;
    if (subject->in_a_child)
        return rc == subject->in_a_child ? 0 : 6;
    if (rc != 0)
        return 1;
    if (lease.resource == lent->resource)
        return 2;
    if (subject->use(lease.resource))
        return 3;
    kp_release(&lease);
    return kp_pool_close(stage.pool, KP_CLOSE_NOW, 0) == 0 ? 0 : 4;
}

/* Without a keeper: ThreadSanitizer ends a child that starts a thread. */
static void a_child_of_fork_must_leave_the_parents_alone(void **state)
{
    kp_options options = plan(2);
    kp_lease lent, idle;
    int status = 0;
    pid_t child;

    (void)state;
    options.threads = options.loop ? 0 : KP_NONE;
    open_pool_as(&options);
    lent = get(0);
    idle = get(0);
    kp_release(&idle);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(in_a_child(&lent, options.loop != NULL));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    must_work(&lent);
    idle = get(0);
    assert_true(reused(&idle));
    must_work(&idle);
    kp_release(&lent);
    kp_release(&idle);
    close_pool();
}

static void a_pool_that_closes_must_destroy_what_comes_back(void **state)
{
    kp_options options = plan(2);
    kp_lease lent, idle;

    (void)state;
    open_pool_as(&options);
    idle = get(0);
    kp_release(&idle);
    all_must_be_back();
    lent = get(1);                      /* on a loop the idle one is destroyed there */
    assert_in_range(kp_pool_close(stage.pool, KP_CLOSE_NOW, 0), 1, options.loop ? 2 : 1);
    await(&stage.gone, 1);
    must_work(&lent);
    kp_release(&lent);
    await(&stage.gone, 2);
    assert_int_equal(atomic_load(&stage.made), 2);
    assert_int_equal(atomic_load(&stage.gone), 2);
}

/* ---- many threads ---------------------------------------------------------------------------- */

enum { THREADS = 8, ROUNDS = 50 };

struct crowd { size_t number; int failed; };

static void *come_and_go(void *arg)
{
    struct crowd *me = arg;

    for (size_t i = 0; i < ROUNDS; i++) {
        kp_key key = subject->keys[(i + me->number) % subject->keys_count];
        kp_lease lease;

        if (kp_get(stage.pool, key, KP_IN_MS(WITHIN_MS), &lease) != 0) {
            me->failed++;
            continue;
        }
        me->failed += subject->use(lease.resource) != NULL;
        if (i % 16 == 15)
            kp_discard(&lease);
        else
            kp_release(&lease);
    }
    return NULL;
}

static void many_threads_must_share_few_resources_of_each_key(void **state)
{
    struct crowd crowd[THREADS] = { { 0 } };
    pthread_t thread[THREADS];
    kp_stats all = { 0 };

    (void)state;
    open_pool(2);
    for (size_t i = 0; i < THREADS; i++) {
        crowd[i].number = i;
        assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, &crowd[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(crowd[i].failed, 0);
    }
    all_must_be_back();
    assert_int_equal(kp_stats_read(stage.pool, KP_EVERY_KEY, &all), 0);
    assert_int_equal(all.gets, THREADS * ROUNDS);
    assert_int_equal(all.lent, 0);
    assert_true(all.live <= 2 * subject->keys_count);
    close_pool();
}

/* ---- all of it ------------------------------------------------------------------------------- */

int conform_run(const struct conform *which)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resource_must_work_and_be_reused),
        cmocka_unit_test(keys_must_not_share_a_resource),
        cmocka_unit_test(a_discarded_one_must_be_replaced),
        cmocka_unit_test(a_ruined_one_must_never_come_to_the_next),
        cmocka_unit_test(what_is_left_open_must_never_be_seen_by_the_next),
        cmocka_unit_test(what_cannot_be_made_must_give_its_cause_within_the_deadline),
        cmocka_unit_test(a_server_that_was_killed_must_be_served_from_again),
        cmocka_unit_test(a_child_of_fork_must_leave_the_parents_alone),
        cmocka_unit_test(a_pool_that_closes_must_destroy_what_comes_back),
        cmocka_unit_test(many_threads_must_share_few_resources_of_each_key),
    };
    int failed;

    subject = which;
    if (subject->start && subject->start() != 0)
        return 1;
    failed = cmocka_run_group_tests_name(which->name, tests, NULL, NULL);
    if (subject->kill)
        failed += conform_gone(which);
    if (subject->stop)
        subject->stop();
    return failed;
}
