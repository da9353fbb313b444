/* SPDX-License-Identifier: MIT
 *
 * Scopes and kp_use on an open lane: they give back without the lock what is still theirs, and
 * report nothing for leases that ended before.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/table.h"
#include "flow/hit.h"
#include "hit_stage.h"

static kp_scope scope;

/* One resource, lent to the scope by a hit. */
static kp_lease scoped(void)
{
    kp_lease lease;

    memset(&scope, 0, sizeof scope);
    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    HIT_SHORT(assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &lease), 0));
    return lease;
}

/* After its close it is {0}, and nothing was reported. */
static void close_it(void)
{
    static const kp_scope empty;

    kp_scope_close(&scope);
    assert_memory_equal(&scope, &empty, sizeof scope);
    assert_int_equal(hit.misuses, 0);
}

/* This lease still holds. */
static void assert_held(kp_lease *lease)
{
    kp_lease_about about;

    assert_true(kp_lease_read(lease, &about));
    assert_int_equal(hit_stats(K).lent, 1);
    hit_give(lease);
    assert_int_equal(hit_stats(K).idle, 1);
}

/* ---- scopes ---------------------------------------------------------------------------------- */

static void closing_a_scope_must_need_no_lock(void)
{
    kp_lease lease;

    memset(&scope, 0, sizeof scope);
    hit_stand(40, (kp_options){ .limits.max_live = 40 });
    for (int n = 1; n <= 40; n += 13) {
        HIT_SHORT(for (int i = 0; i < n; i++)
                      assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &lease), 0);
                  close_it());
        assert_int_equal(hit_stats(K).idle, 40);
        hit_warm(K);
    }
}

static void what_was_given_back_and_lent_again_must_stay_lent(void)
{
    kp_lease lease = scoped();
    kp_release(&lease);
    lease = hit_take(K);
    close_it();
    assert_held(&lease);
}

static void what_was_discarded_must_be_passed_over(void)
{
    kp_lease lease = scoped();
    kp_discard(&lease);
    close_it();
    assert_int_equal(hit.gone, 1);
    lease = hit_take(K); /* the slot's next one */
    close_it();
    assert_held(&lease);
}

static void what_is_not_to_be_kept_must_go_when_its_scope_closes(void)
{
    kp_lease lease = scoped();
    struct item *item = lease.resource;
    kp_lease_reuse(&lease, false);
    close_it();
    assert_int_equal(item->destroyed, 1);
    assert_int_equal(hit_stats(K).live, 0);
}

static void what_was_invalidated_must_go_when_its_scope_closes(void)
{
    kp_lease lease = scoped();
    struct item *item = lease.resource;
    assert_int_equal(kp_invalidate(hit.pool, item), 1);
    assert_int_equal(item->destroyed, 0);
    close_it();
    assert_int_equal(item->destroyed, 1);
}

static void scopes_must_share_without_ending_each_others_leases(void)
{
    kp_scope other = { { 0 } };
    kp_lease a, b;

    memset(&scope, 0, sizeof scope);
    hit_open((kp_options){ .limits = { .max_live = 1, .sharing = 2 } });
    assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &a), 0);
    assert_int_equal(kp_scope_get(&other, hit.pool, K, NULL, &b), 0);
    assert_ptr_equal(a.resource, b.resource);
    kp_release(&a);
    close_it();
    assert_int_equal(hit_stats(K).leases, 1);
    kp_scope_close(&other);
    assert_int_equal(hit_stats(K).leases, 0);
    assert_int_equal(hit.misuses, 0);
}

static void a_scope_must_outlive_its_pool(void)
{
    kp_lease lease = scoped();
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, 0), 1);
    close_it(); /* the last one comes back */
    assert_int_equal(hit.gone, 1);

    hit_again();
    lease = scoped();
    kp_release(&lease);
    hit_close(hit.pool);
    close_it(); /* it came back before */
}

static void *close_elsewhere(void *unused)
{
    close_it();
    return unused;
}

static void another_thread_may_close_it(void)
{
    pthread_t thread;

    (void)scoped();
    assert_int_equal(pthread_create(&thread, NULL, close_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(hit_stats(K).idle, 1);
}

static void a_child_of_fork_must_pass_over_its_leases(void)
{
    int status;

    (void)scoped();
    uint64_t word = scope.opaque[4]; /* of the lease: the child's is another pool's */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kp_scope_close(&scope);
        _exit(hit.misuses ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(scope.opaque[4], word);
    HIT_SHORT(close_it());
    assert_int_equal(hit_stats(K).idle, 1);
}

static int revokes;

static int revoke_it(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    revokes++;
    return 0;
}

static void what_was_revoked_must_go_when_its_scope_closes(void)
{
    kp_lease lease;

    revokes = 0;
    memset(&scope, 0, sizeof scope);
    hit_stand(1, (kp_options){ .driver.revoke = revoke_it, .limits.max_live = 1 });
    HIT_SHORT(assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &lease), 0));
    hit_set((kp_limits){ .revoke_after_ms = 1 });
    while (hit_stats(K).revokes == 0) (void)kp_keep(hit.pool);
    close_it();
    assert_int_equal(revokes, 1);
    assert_int_equal(hit_stats(K).live, 0);
    assert_int_equal(hit.gone, 1);
}

/* ---- kp_use ---------------------------------------------------------------------------------- */

static int nothing(kp_lease *lease, void *arg)
{
    assert_non_null(lease->resource);
    return arg ? *(int *)arg : 0;
}

static int use(int (*fn)(kp_lease *, void *), void *arg)
{
    return kp_use(hit.pool, K, NULL, fn, arg);
}

static void a_use_must_need_no_lock(void)
{
    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    HIT_SHORT(for (int i = 0; i < 10; i++) assert_int_equal(use(nothing, NULL), 0));
    assert_int_equal(hit_stats(K).idle, 1);
}

static int end_it_and_get_another(kp_lease *lease, void *arg)
{
    kp_release(lease);
    *(kp_lease *)arg = hit_take(K);
    return 0;
}

static void what_its_function_has_ended_must_be_passed_over(void)
{
    kp_lease other;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    assert_int_equal(use(end_it_and_get_another, &other), 0);
    assert_int_equal(hit.misuses, 0);
    assert_held(&other);
}

static int copy_ends(kp_lease *lease, void *arg)
{
    kp_lease copy = *lease;

    return end_it_and_get_another(&copy, arg);
}

static void what_a_copy_has_ended_must_be_passed_over(void)
{
    kp_lease other;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    assert_int_equal(use(copy_ends, &other), 0);
    assert_int_equal(hit.misuses, 0);
    assert_held(&other);
}

static int count_uses(kp_lease *lease, void *arg)
{
    (void)lease;
    hit_set((kp_limits){ .breaker_failures = 3, .breaker_counts = KP_BREAK_USE });
    return arg ? *(int *)arg : 0;
}

/* Also by a use that began before its limits said so. */
static void a_success_must_end_a_row_of_failures(void)
{
    int fails = -1;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    assert_int_equal(use(count_uses, &fails), -1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(use(nothing, &fails), -1);
        hit_warm(K);
        assert_int_equal(use(nothing, NULL), 0);
        hit_warm(K);
        assert_int_equal(use(nothing, &fails), -1);
    }
    assert_int_equal(hit.events[KP_EVENT_BREAKER_OPENED], 0);
    assert_int_equal(use(nothing, &fails), -1);
    assert_int_equal(use(nothing, &fails), -1);
    assert_int_equal(use(nothing, NULL), KP_EBREAKER);
}

static int valid(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static uint32_t doubts(void)
{
    const struct kp__core *core = hit_core(hit.pool);

    kp__lock_take(&hit.pool->lock, &kp__life);
    uint32_t many = (uint32_t)kp__next_sub(core, NULL)->rare->doubts;
    kp__lock_give(&hit.pool->lock, &kp__life);
    return many;
}

static int say_another_is_gone(kp_lease *lease, void *another)
{
    (void)lease;
    kp_lease_report(another, KP_EGONE);
    assert_int_equal(doubts(), 1);
    return 0;
}

static void a_use_that_went_well_must_end_the_doubt_of_it(void)
{
    hit_stand(2, (kp_options){ .driver.validate = valid, .limits.max_live = 2 });
    kp_lease another = hit_take(K);
    assert_int_equal(use(say_another_is_gone, &another), 0);
    assert_int_equal(doubts(), 0);
    hit_give(&another);
    assert_int_equal(hit_stats(K).live, 1);
}

static bool counts; /* as soon as it is asked */

static bool count_while_asked(void *resource, void *ctx)
{
    (void)resource, (void)ctx;
    if (counts) hit_set((kp_limits){ .breaker_failures = 3, .breaker_counts = KP_BREAK_USE });
    return true;
}

/* Its lease has ended for everybody else by then. */
static void what_is_asked_about_while_limits_change_must_come_back(void)
{
    counts = false;
    hit_stand(1, (kp_options){ .driver = { .reset = hit_no_reset, .is_clean = count_while_asked },
                               .limits.max_live = 1 });
    counts = true;
    assert_int_equal(use(nothing, NULL), 0);
    assert_int_equal(hit_stats(K).idle, 1);
    hit_use(K);
}

/* Limits that were set after kp_use has looked. */
static void where_a_circuit_counts_uses_one_must_be_told_before_it_ends(void)
{
    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    kp_lease lease;
    assert_int_equal(kp_get(hit.pool, K, NULL, &lease), 0);
    hit_set((kp_limits){ .breaker_failures = 3, .breaker_counts = KP_BREAK_USE });
    assert_false(kp__end_lease(&lease, KP__END_OF_USE));
    assert_non_null(lease.resource); /* it goes on */
    kp_release(&lease);
    assert_int_equal(hit_stats(K).idle, 1);
}

static void plans_with_a_time_of_their_own_must_be_kept_to(void)
{
    kp_plan each = { .each_ms = 1000 }, until = { .schedule.times = 2 };
    kp_lease lease;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    until.ask.until = kp_deadline_in(hit.pool, 1000);
    assert_int_equal(kp_use(hit.pool, K, &each, nothing, NULL), 0);
    assert_int_equal(kp_use(hit.pool, K, &until, nothing, NULL), 0);
    assert_int_equal(kp_get(hit.pool, K, NULL, &lease), 0);
    until.ask.until = kp_deadline_in(hit.pool, 1);
    assert_int_equal(kp_use(hit.pool, K, &until, nothing, NULL), KP_ETIMEDOUT);
    kp_release(&lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(closing_a_scope_must_need_no_lock),
        HIT_TEST(what_was_given_back_and_lent_again_must_stay_lent),
        HIT_TEST(what_was_discarded_must_be_passed_over),
        HIT_TEST(what_is_not_to_be_kept_must_go_when_its_scope_closes),
        HIT_TEST(what_was_invalidated_must_go_when_its_scope_closes),
        HIT_TEST(scopes_must_share_without_ending_each_others_leases),
        HIT_TEST(a_scope_must_outlive_its_pool),
        HIT_TEST(another_thread_may_close_it),
        HIT_TEST(a_child_of_fork_must_pass_over_its_leases),
        HIT_TEST(what_was_revoked_must_go_when_its_scope_closes),
        HIT_TEST(a_use_must_need_no_lock),
        HIT_TEST(what_its_function_has_ended_must_be_passed_over),
        HIT_TEST(what_a_copy_has_ended_must_be_passed_over),
        HIT_TEST(a_success_must_end_a_row_of_failures),
        HIT_TEST(a_use_that_went_well_must_end_the_doubt_of_it),
        HIT_TEST(what_is_asked_about_while_limits_change_must_come_back),
        HIT_TEST(where_a_circuit_counts_uses_one_must_be_told_before_it_ends),
        HIT_TEST(plans_with_a_time_of_their_own_must_be_kept_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
