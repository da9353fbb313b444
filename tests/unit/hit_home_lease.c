/* SPDX-License-Identifier: MIT
 *
 * Leases that were lent at home: wherever they end, and whatever happened to the lane and the home,
 * they end once, and nothing else is mistaken for them. Also: a child of fork has its own homes.
 */
#include "hit_homes.h"

#if KP__SEQUENCES
#include <sys/wait.h>
#include <unistd.h>

/* ---- a lease of a home ----------------------------------------------------------------------- */

/* Its first end is accepted; that of its copy is reported. */
static void must_end_once(kp_lease *lease)
{
    kp_lease copy = *lease;
    int misuses = hit.misuses;

    hit_give(lease);
    kp_release(&copy);
    hit_assert_told(misuses + 1, "ended already");
    assert_null(copy.resource);
}

static void a_lease_of_a_lane_that_was_shut_must_end_once(void)
{
    for (int where = 0; where < 2; where++) {
        kp_lease lease = lent_at_home(1);
        assert_int_equal(hit_stats(K).lent, 1);
        assert_false(hit_is_open());
        assert_int_equal(view_of(lease.resource).homes, 0);
        assert_true(pin_to(where));
        must_end_once(&lease);
        assert_all_back(1);
        hit_again();
    }
}

static void a_lease_of_a_lane_that_opened_again_must_end_once(void)
{
    for (int where = 0; where < 2; where++) {
        kp_lease lease = lent_at_home(2);
        void *resource = lease.resource;
        assert_int_equal(hit_stats(K).lent, 1);
        open_again();
        assert_no_home(resource, false);
        assert_int_equal(view_of(resource).word, lease.opaque[1]);
        assert_true(pin_to(where));
        kp_lease copy = lease;
        HIT_SHORT(hit_give(&lease));
        assert_no_home(resource, false);
        assert_int_equal(view_of(resource).word & KP__WORD_STATE, KP__WORD_IDLE);
        kp_release(&copy);
        hit_assert_told(1, "ended already");
        assert_all_back(2);
        hit_again();
    }
}

static void a_lease_whose_home_was_taken_must_end_once(void)
{
    kp_lease lease = lent_at_home(2), other;
    void *resource = lease.resource;

    bring_home(0); /* the other one, here too */
    assert_int_equal(view_of(resource).homes, 2);
    assert_true(pin_to(1));
    HIT_SHORT(other = hit_take(K));
    assert_no_home(resource, true);
    assert_int_equal(view_of(resource).word, lease.opaque[1]);
    HIT_SHORT(hit_give(&other));
    assert_true(pin_to(0));
    kp_lease copy = lease;
    HIT_SHORT(hit_give(&lease));
    assert_no_home(resource, true);
    kp_release(&copy);
    hit_assert_told(1, "ended already");
    assert_all_back(2);
}

static void of_its_copies_the_first_must_end_it_wherever_that_is(void)
{
    for (int where = 0; where < 2; where++) {
        kp_lease lease = lent_at_home(1), copy = lease;
        assert_true(pin_to(where));
        hit_give(&lease);
        assert_true(pin_to(!where));
        kp_release(&copy);
        hit_assert_told(1, "ended already");
        assert_true(pin_to(0));
        assert_all_back(1);
        hit_again();
    }
}

static void a_stale_one_must_not_end_the_next(void)
{
    kp_lease lease = lent_at_home(1), stale = lease, next;

    HIT_SHORT(hit_give(&lease));
    for (int where = 0; where < 2; where++) {
        open_again();
        (void)bring_home(0);
        HIT_SHORT(next = hit_take(K));
        assert_true(next.opaque[1] & KP__HOMED);
        kp_lease copy = stale;
        assert_true(pin_to(where));
        kp_release(&copy);
        hit_assert_told(where + 1, "stale");
        assert_int_equal(hit_stats(K).lent, 1);
        assert_true(pin_to(0));
        hit_give(&next);
    }
    assert_all_back(1);
}

/* A lease is three numbers of 64 bits: see hit_misuse.c. Here its cell is at home each time. */
static void a_lease_with_any_bit_wrong_must_be_told(void)
{
    (void)stand(1);
    for (int bit = 0; bit < 192; bit++) {
        kp_lease lease;
        open_again();
        (void)bring_home(0);
        HIT_SHORT(lease = hit_take(K));
        kp_lease wrong = lease;
        wrong.opaque[bit / 64] ^= UINT64_C(1) << bit % 64;
        kp_release(&wrong);
        assert_int_equal(hit.misuses, bit + 1);
        assert_int_equal(hit_stats(K).lent, 1);
        hit_give(&lease);
        assert_int_equal(hit.misuses, bit + 1);
    }
    assert_all_back(1);
}

/* Two bits wrong: the number of what is idle, which a variable has after its lease. */
static void a_lease_that_is_none_yet_must_be_told(void)
{
    kp_lease lease = lent_at_home(1), none = lease;

    HIT_SHORT(hit_give(&lease));
    none.opaque[1] = view_of(none.resource).word;
    assert_true(is_at_home(none.resource, 0));
    kp_release(&none);
    hit_assert_told(1, "ended already");
    assert_all_back(1);
}

static void nor_must_one_be_taken_for_it_when_its_lane_opened_again(void)
{
    kp_lease lease = lent_at_home(2);

    for (int bit = 0; bit < 192; bit++) {
        assert_int_equal(hit_stats(K).lent, 1);
        open_again();
        kp_lease wrong = lease;
        wrong.opaque[bit / 64] ^= UINT64_C(1) << bit % 64;
        kp_release(&wrong);
        assert_int_equal(hit.misuses, bit + 1);
    }
    must_end_once(&lease);
    assert_all_back(2);
}

/* ---- what else can be done with it ----------------------------------------------------------- */

static void counters_must_add_up_from_home_to_home(void)
{
    kp_lease_about about;

    (void)stand(1);
    for (int i = 1; i < 7; i++) {
        open_again();
        (void)bring_home(i % 2);
        for (int k = 0; k < 777; k++) hit_use(K);
        kp_lease lease = hit_take(K);
        assert_true(kp_lease_read(&lease, &about));
        assert_int_equal(about.times_lent, hit.gets);
        hit_give(&lease);
        assert_all_back(1);
    }
}

static void what_is_asked_about_its_lease_must_be_known(void)
{
    kp_lease_about about;
    kp_lease same;

    (void)stand(1);
    kp_lease lease = hit_take_asking(K, KP_ASK(.tag = "at home"));
    assert_true(lease.opaque[1] & KP__HOMED);
    assert_true(kp_lease_read(&lease, &about));
    assert_string_equal(about.tag, "at home");
    assert_true(about.reused);
    assert_int_equal(about.times_lent, hit.gets);
    assert_int_equal(kp_lease_of(hit.pool, lease.resource, &same), 0);
    assert_memory_equal(same.opaque, lease.opaque, sizeof same.opaque);
    hit_give(&same);
    kp_release(&lease);
    hit_assert_told(1, "ended already");
    assert_all_back(1);
}

static void what_is_discarded_must_be_destroyed(void)
{
    for (int where = 0; where < 2; where++) {
        kp_lease lease = lent_at_home(1), copy = lease;
        assert_true(pin_to(where));
        hit_discard(&lease);
        assert_int_equal(hit.gone, 1);
        kp_discard(&copy);
        assert_int_equal(hit.misuses, 1);
        assert_int_equal(hit_stats(K).live, 0);
        assert_true(pin_to(0));
        hit_use(K);
        assert_int_equal(hit.made, 2);
        hit_again();
    }
}

static void what_is_invalidated_must_be_destroyed(void)
{
    kp_lease lease = lent_at_home(1);

    assert_int_equal(kp_invalidate(hit.pool, lease.resource), 1);
    hit_give(&lease);
    assert_int_equal(hit.gone, 1);
    hit_again();
    (void)stand(1);
    assert_int_equal(kp_invalidate_key(hit.pool, K), 1); /* idle, at home */
    assert_int_equal(hit.gone, 1);
    assert_int_equal(hit_stats(K).live, 0);
}

static void what_comes_back_to_a_closed_pool_must_be_destroyed(void)
{
    kp_lease lease = lent_at_home(1);

    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, KP_NONE), 1);
    hit_give(&lease);
    assert_int_equal(hit.gone, 1);
    assert_int_equal(hit.misuses, 0);
    hit.pool = NULL;
}

static void what_was_claimed_by_mistake_must_not_count(void)
{
    for (int where = 0; where < 2; where++) {
        kp_lease lease = lent_at_home(1);
        hit_item(&lease)->users--;
        assert_true(pin_to(where));
        kp__unlend(&lease);
        hit.gets--;
        assert_int_equal(hit.misuses, 0);
        assert_all_back(1);
        hit_again();
    }
}

/* ---- a child --------------------------------------------------------------------------------- */

/* A child's pool starts empty, with homes of its own. The child asserts nothing: the parent checks
 * its result. */
static int child(kp_lease *of_before)
{
    kp_lease lease;
    bool homed = false;

    if (kp_get(hit.pool, K, KP_IN_S(30), &lease) != 0) return 1;
    if (lease.resource == of_before->resource) return 2;
    kp_release(&lease);
    kp_release(of_before);
    if (hit.misuses != 1) return 3;
    for (int i = 0; i < 100 * KP__SEEKS && !homed; i++) {
        if (kp_get(hit.pool, K, NULL, &lease) != 0) return 4;
        void *resource = lease.resource;
        kp_release(&lease);
        homed = is_at_home(resource, 0);
    }
    if (!homed) return 5;
    for (int i = 0; i < 1000; i++) {
        if (kp_get(hit.pool, K, NULL, &lease) != 0) return 6;
        if (!(lease.opaque[1] & KP__HOMED)) return 7;
        kp_release(&lease);
    }
    if (hit.misuses != 1) return 8;
    return kp_pool_close(hit.pool, KP_CLOSE_NOW, KP_SECONDS(30)) == 0 ? 0 : 9;
}

static void a_child_must_have_homes_of_its_own(void)
{
    kp_lease lease = lent_at_home(1);
    int status = 0;

#if defined KP__SEES_NO_SEQUENCES
    print_message("skipped: under ThreadSanitizer a child with threads is none\n");
    hit_give(&lease);
    skip();
#endif
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) _exit(child(&lease));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(is_at_home(lease.resource, 0));
    void *resource = lease.resource;
    HIT_SHORT(hit_give(&lease));
    for (int i = 0; i < 100; i++) hit_use(K);
    assert_true(is_at_home(resource, 0));
    assert_all_back(1);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if KP__SEQUENCES
        HOME_TEST(a_lease_of_a_lane_that_was_shut_must_end_once),
        HOME_TEST(a_lease_of_a_lane_that_opened_again_must_end_once),
        HOME_TEST(a_lease_whose_home_was_taken_must_end_once),
        HOME_TEST(of_its_copies_the_first_must_end_it_wherever_that_is),
        HOME_TEST(a_stale_one_must_not_end_the_next),
        HOME_TEST(a_lease_with_any_bit_wrong_must_be_told),
        HOME_TEST(a_lease_that_is_none_yet_must_be_told),
        HOME_TEST(nor_must_one_be_taken_for_it_when_its_lane_opened_again),
        HOME_TEST(counters_must_add_up_from_home_to_home),
        HOME_TEST(what_is_asked_about_its_lease_must_be_known),
        HOME_TEST(what_is_discarded_must_be_destroyed),
        HOME_TEST(what_is_invalidated_must_be_destroyed),
        HOME_TEST(what_comes_back_to_a_closed_pool_must_be_destroyed),
        HOME_TEST(what_was_claimed_by_mistake_must_not_count),
        HOME_TEST(a_child_must_have_homes_of_its_own),
#else
        HOME_TEST(none),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
