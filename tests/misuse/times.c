/* SPDX-License-Identifier: MIT
 *
 * L10: times that are none. Negative ones, and "for ever" where nobody waits for ever, are told
 * with the name of the call, and it does nothing; kp_pool_close closes all the same. What is left
 * until a moment that is past is negative, too: there the time is over.
 */
#include "stage.h"

static const int64_t no_times[] = { -7, INT64_MIN + 9 };

static void a_wait_that_does_not_end_must_be_told_and_not_begin(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    int             told = 0;

    open_small(f);
    take(f, "k", &lease);
    for (size_t i = 0; i <= 2; i++) {
        int64_t ms = i < 2 ? no_times[i] : KP_OFF;
        assert_int_equal(kp_drain(f->pool, KP_EVERY_KEY, ms), KP_EMISUSE);
        assert_told(f, ++told, "kp_drain: within_ms");
        assert_int_equal(kp_drop(f->pool, kp_str("k"), ms), KP_EMISUSE);
        assert_told(f, ++told, "kp_drop: within_ms");
    }
    assert_int_equal(kp_sim_now_ms(f->sim), 0);
    assert_int_equal(stats(f).invalidated, 0);
    kp_release(&lease);
    assert_int_equal(stats(f).idle, 1);         /* it was not dropped */
    assert_int_equal(kp_drain(f->pool, KP_EVERY_KEY, KP_NONE), 0);
}

static void a_negative_time_to_rotate_or_to_warm_must_be_told(void **state)
{
    struct fixture *f = *state;
    kp_key          key = kp_str("k");
    kp_lease        lease;
    kp_why          why;

    open_small(f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kp_rotate(f->pool, KP_EVERY_KEY, no_times[i]), KP_EMISUSE);
        assert_told(f, 2 * i + 1, "kp_rotate: over_ms");
        assert_int_equal(kp_warm(f->pool, &key, 1, KP_ASK(.within_ms = no_times[i], .why = &why)),
                         KP_EMISUSE);
        assert_told(f, 2 * i + 2, "kp_ask.within_ms");
        assert_int_equal(why.code, KP_EMISUSE);
    }
    assert_int_equal(stats(f).creates, 0);
    take(f, "k", &lease);
    assert_int_equal(kp_rotate(f->pool, key, KP_OFF), 1);
    kp_release(&lease);
    assert_int_equal(f->heard.misuses, 4);
}

static void what_is_left_of_a_time_that_is_past_must_be_nothing(void **state)
{
    struct fixture *f = *state;
    kp_lease        held, lease;

    open_small(f);
    take(f, "k", &held);
    for (int i = 0; i < 2; i++) {
        kp_deadline over = kp_deadline_in(f->pool, no_times[i]);
        assert_int_equal(over.ns, kp_now_ns(f->pool));
        assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.until = over), &lease), KP_ETIMEDOUT);
    }
    assert_int_equal(kp_sim_now_ms(f->sim), 0);
    kp_release(&held);
    assert_int_equal(f->heard.misuses, 0);
}

static void a_close_that_is_said_wrongly_must_be_told_and_close(void **state)
{
    static const struct { int mode; int64_t ms; const char *words; } wrong[] = {
        { KP_CLOSE_WAIT, -7, "kp_pool_close: within_ms" },
        { KP_CLOSE_DRAIN, KP_OFF, "kp_pool_close: within_ms" },
        { 77, 100, "kp_pool_close: there is no such mode" },
        { 0, 100, "kp_pool_close: there is no such mode" },
    };
    struct fixture *f = *state;
    kp_lease        lease;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t before = kp_sim_now_ms(f->sim);
        memset(&f->heard, 0, sizeof f->heard);
        open_small(f);
        take(f, "k", &lease);
        assert_int_equal(kp_pool_close(f->pool, (kp_close_mode)wrong[i].mode, wrong[i].ms), 1);
        assert_int_equal(kp_sim_now_ms(f->sim) - before, wrong[i].ms > 0 ? wrong[i].ms : 30000);
        assert_int_equal(f->heard.misuses, 1);
        assert_non_null(strstr(f->heard.text, wrong[i].words));
        kp_release(&lease);
        assert_false(kp_is_pool(f->pool));
        f->pool = NULL;
    }
}

static void the_sentence_must_not_say_a_release_was_doubled_that_was_not(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, copy;

    open_small(f);
    take(f, "k", &lease);
    copy = lease;
    kp_release(&lease);
    kp_lease_report(&lease, -1);
    assert_told(f, 1, "through this variable: released twice, or used after its release");
    kp_lease_reuse(&copy, false);
    assert_told(f, 2, "through a copy of it: released twice, or used after its release");
}

#ifdef KP_AUTO_RELEASE
enum how { LEFT, RELEASED, DISCARDED, HANDED_ON };

static void borrow(struct fixture *f, enum how how, kp_lease *on)
{
    KP_AUTO_RELEASE kp_lease lease = { 0 };

    if (kp_get(f->pool, kp_str("k"), NULL, &lease) != 0)
        fail();
    if (how == RELEASED)
        kp_release(&lease);
    else if (how == DISCARDED)
        kp_discard(&lease);
    if (how != HANDED_ON)
        return;
    *on = lease;
    lease = (kp_lease){ 0 };
}

static void a_lease_that_ends_by_itself_may_be_ended_before(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_stats        stats;

    open_small(f);
    for (enum how how = LEFT; how <= DISCARDED; how++)
        borrow(f, how, NULL);
    borrow(f, HANDED_ON, &lease);
    assert_non_null(lease.resource);
    assert_int_equal(kp_stats_read(f->pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.gets, 4);
    assert_int_equal(stats.invalidated, 1);
    assert_int_equal(stats.leases, 1);
    kp_release(&lease);
    assert_int_equal(f->heard.misuses, 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef KP_AUTO_RELEASE
        T(a_lease_that_ends_by_itself_may_be_ended_before),
#endif
        T(a_wait_that_does_not_end_must_be_told_and_not_begin),
        T(a_negative_time_to_rotate_or_to_warm_must_be_told),
        T(what_is_left_of_a_time_that_is_past_must_be_nothing),
        T(a_close_that_is_said_wrongly_must_be_told_and_close),
        T(the_sentence_must_not_say_a_release_was_doubled_that_was_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
