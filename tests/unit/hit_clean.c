/* SPDX-License-Identifier: MIT
 *
 * A driver with reset and is_clean: the lease of a clean resource ends without the lock, and while
 * is_clean runs nobody else can end the lease or take the resource.
 */
#include "flow/hit.h"
#include "hit_stage.h"

#include <pthread.h>

static struct {
    bool dirty;               /* what is_clean says from now on */
    void (*within)(void);     /* called by it */
    kp_lease copy;            /* of the lease that is ending */
    int asked, resets;
} clean;

static bool is_clean(void *resource, void *ctx)
{
    assert_int_equal(((struct item *)resource)->users, 0);
    assert_int_equal(((struct item *)resource)->destroyed, 0);
    assert_ptr_equal(ctx, &clean);
    clean.asked++;
    if (clean.within) clean.within();
    return !clean.dirty;
}

static int reset(kp_job *job, void *resource)
{
    assert_ptr_equal(job->resource, resource);
    clean.resets++;
    return 0;
}

static kp_options asking(void)
{
    memset(&clean, 0, sizeof clean);
    return (kp_options){ .driver = { .create = item_create, .reset = reset, .is_clean = is_clean,
                                     .ctx = &clean } };
}

/* One resource, lent by a hit; `within` is called when it comes back. */
static kp_lease one_lent(void (*within)(void))
{
    kp_lease lease;
    kp_options options = asking();

    options.limits.max_live = 1;
    hit_stand(1, options);
    hit_lend(1, &lease);
    clean.copy = lease;
    clean.asked = clean.resets = 0;
    clean.within = within;
    return lease;
}

static void what_is_clean_must_come_back_without_the_lock(void)
{
    hit_stand(2, asking());
    clean.asked = clean.resets = 0;
    for (int i = 1; i <= 50; i++) {
        HIT_SHORT(hit_use(K));
        assert_int_equal(clean.asked, i);
    }
    assert_int_equal(clean.resets, 0);
    assert_int_equal(hit_stats(K).hits, hit.gets - 2);
}

static void what_is_not_must_be_reset(void)
{
    hit_stand(1, asking());
    clean.asked = clean.resets = 0;
    for (int i = 1; i <= 20; i++) {
        clean.dirty = true;
        hit_use(K);
        assert_int_equal(clean.resets, i);
        clean.dirty = false;
        hit_warm(K); /* the lane opens again */
    }
    assert_int_equal(clean.resets, 20);
    assert_int_equal(hit.made, 1);
    assert_int_equal(hit_stats(K).lent, 0);
}

static int fail_late(kp_job *job, void *resource)
{
    clean.dirty = false;
    hit_warm(K); /* others of its key open the lane meanwhile */
    return reset(job, resource) - 1;
}

static void a_reset_that_fails_must_be_told_where_the_lane_is_open(void)
{
    kp_options options = asking();
    options.driver.reset = fail_late;
    hit_stand(2, options);
    hit_lend(1, &clean.copy);
    clean.dirty = true;
    hit_give(&clean.copy);
    assert_int_equal(hit.events[KP_EVENT_INVALID], 1);
}

static void shut_it(void)
{
    assert_int_equal(hit_stats(K).lent, 1);
}

static void a_lane_that_is_shut_meanwhile_must_be_none_the_wiser(void)
{
    for (int dirty = 0; dirty < 2; dirty++) {
        kp_lease lease = one_lent(shut_it);
        clean.dirty = dirty;
        HIT_LONG(hit_give(&lease));
        assert_int_equal(clean.asked, 1); /* and not again with the lock */
        assert_int_equal(clean.resets, dirty);
        assert_int_equal(hit_stats(K).idle, 1);
        clean.within = NULL;
        clean.dirty = false;
        hit_warm(K);
        hit_again();
    }
}

static void end_the_copy(void)
{
    kp_lease copy = clean.copy, again = clean.copy, found;
    kp_lease_about about;

    assert_false(kp_lease_read(&clean.copy, &about));
    kp_release(&copy);
    hit_assert_told(1, "ended already, through a copy of it");
    kp_discard(&again);
    hit_assert_told(2, "ended already, through a copy of it");
    assert_int_equal(kp_lease_of(hit.pool, clean.copy.resource, &found), KP_ENOTFOUND);
    assert_int_equal(hit_stats(K).lent, 1);
    assert_int_equal(hit.gone, 0);
}

/* Clean or not, it comes back once, and so many misuses were reported. */
static void must_come_back_once(void (*within)(void), int misuses)
{
    for (int dirty = 0; dirty < 2; dirty++) {
        kp_lease lease = one_lent(within);
        clean.dirty = dirty;
        hit_give(&lease);
        assert_int_equal(hit.misuses, misuses);
        assert_int_equal(clean.asked, 1);
        assert_int_equal(clean.resets, dirty);
        assert_int_equal(hit_stats(K).idle, 1);
        hit_again();
    }
}

static void while_it_is_asked_about_nobody_else_must_end_it(void)
{
    must_come_back_once(end_the_copy, 2);
}

/* One that was lent with the lock, and is asked about on a lane that opened later. */
static void nor_one_that_is_older_than_the_lane(void)
{
    for (int dirty = 0; dirty < 2; dirty++) {
        kp_options options = asking();
        options.limits.max_live = 2;
        hit_stand(2, options);
        kp_lease lease = hit_take(K);
        assert_int_equal(hit_stats(K).lent, 1); /* which shuts the lane */
        clean.copy = lease;
        hit_warm(K);
        clean.asked = 0;
        clean.within = end_the_copy;
        clean.dirty = dirty;
        hit_give(&lease);
        assert_int_equal(hit.misuses, 2);
        assert_int_equal(clean.asked, 1);
        assert_int_equal(hit_stats(K).idle, 2);
        hit_again();
    }
}

/* As another thread would, while the lane is still open. */
static void end_a_copy_first(void)
{
    kp_lease copy = clean.copy;

    clean.within = NULL;
    kp_release(&copy);
    hit_assert_told(1, "ended already");
    assert_int_equal(clean.asked, 1);
    hit_try_refused(KP_EAGAIN);
}

static void a_copy_must_not_be_asked_about_a_second_time(void)
{
    kp_lease lease = one_lent(end_a_copy_first);

    hit_give(&lease);
    assert_int_equal(clean.asked, 1);
    assert_int_equal(hit_stats(K).idle, 1);
}

static void take_it(void)
{
    hit_try_refused(KP_EAGAIN);
}

static void what_is_asked_about_must_not_be_lent(void)
{
    kp_lease lease = one_lent(take_it);

    hit_give(&lease);
    assert_int_equal(hit_stats(K).idle, 1);
}

static void invalidate_it(void)
{
    assert_int_equal(kp_invalidate(hit.pool, clean.copy.resource), 1);
}

static void what_is_invalidated_meanwhile_must_be_destroyed(void)
{
    for (int dirty = 0; dirty < 2; dirty++) {
        kp_lease lease = one_lent(invalidate_it);
        clean.dirty = dirty;
        hit_give(&lease);
        assert_int_equal(hit.gone, 1);
        assert_int_equal(clean.resets, 0);
        hit_again();
    }
}

static void close_it(void)
{
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, KP_NONE), 1);
}

static void a_pool_that_is_closed_meanwhile_must_destroy_it(void)
{
    kp_lease lease = one_lent(close_it);

    hit_give(&lease);
    assert_int_equal(hit.gone, 1);
    assert_int_equal(hit.misuses, 0);
    hit.pool = NULL;
}

/* The same without lanes: what goes is not reset. */
static void nor_must_it_be_reset_where_there_are_no_lanes(void)
{
    static void (*const ends[])(void) = { invalidate_it, close_it };

    for (int i = 0; i < 4; i++) {
        kp_options options = asking();
        options.hits = KP_HITS_LOCKED;
        hit_open(options);
        kp_lease lease = hit_take(K);
        clean.copy = lease;
        clean.within = ends[i / 2];
        clean.dirty = i % 2;
        hit_give(&lease);
        assert_int_equal(clean.asked, 1);
        assert_int_equal(clean.resets, 0);
        assert_int_equal(hit.gone, 1);
        if (ends[i / 2] == close_it) hit.pool = NULL;
        hit_again();
    }
}

/* With the lock, too, is_clean does not run while that is held. */
static void what_was_lent_under_the_lock_must_be_asked_too(void)
{
    kp_lease lease;
    kp_options options = asking();

    options.hits = KP_HITS_LOCKED;
    hit_open(options);
    for (int i = 1; i <= 10; i++) {
        lease = hit_take(K);
        clean.within = shut_it;
        clean.dirty = i % 2;
        hit_give(&lease);
        assert_int_equal(clean.asked, i);
        assert_int_equal(clean.resets, (i + 1) / 2);
        assert_false(hit_is_open());
    }
}

/* It is looked at by its last borrower, and not at all where it goes. */
static void only_what_would_be_reset_must_be_asked_about(void)
{
    kp_lease lease[2];
    kp_options options = asking();

    options.limits = (kp_limits){ .max_live = 1, .sharing = 2 };
    hit_open(options);
    for (int i = 0; i < 2; i++) assert_int_equal(kp_get(hit.pool, K, NULL, &lease[i]), 0);
    kp_release(&lease[0]);
    assert_int_equal(clean.asked, 0);
    kp_release(&lease[1]);
    assert_int_equal(clean.asked, 1);
    assert_int_equal(kp_get(hit.pool, K, NULL, &lease[0]), 0);
    kp_discard(&lease[0]);
    assert_int_equal(clean.asked, 1);
    assert_int_equal(clean.resets, 0);
}

static int validate(kp_job *job, void *resource)
{
    (void)job;
    ((struct item *)resource)->validated++;
    return 0;
}

static void what_is_clean_must_be_validated_all_the_same(void)
{
    kp_options options = asking();

    options.driver.validate = validate;
    options.limits.validate_on = KP_CHECK_RETURN;
    hit_open(options);
    for (int i = 1; i <= 10; i++) {
        hit_use(K);
        assert_int_equal(clean.asked, i);
        assert_int_equal(clean.resets, 0);
        assert_int_equal(hit.item[0].validated, i);
    }
}

/* The mark that its number carries is part of it. */
static void a_lease_without_its_mark_must_be_told(void)
{
    kp_lease lease = one_lent(NULL), other = lease;

    assert_true(lease.opaque[1] & KP__ASKS);
    other.opaque[1] ^= KP__ASKS;
    kp_release(&other);
    hit_assert_told(1, "lease");
    assert_int_equal(clean.asked, 0);
    other = lease;
    other.opaque[1] |= KP__ENDING;
    kp_release(&other);
    hit_assert_told(2, "lease");
    assert_int_equal(clean.asked, 0);
    assert_int_equal(hit_stats(K).lent, 1);
    hit_give(&lease);
    assert_int_equal(clean.asked, 1);
}

/* ---- other threads, and loops ---------------------------------------------------------------- */

static pthread_t here;

static void assert_here(void)
{
    assert_true(pthread_equal(pthread_self(), here));
}

static void with_threads_of_its_own_the_pool_must_ask_on_the_borrowers(void)
{
    kp_options options = asking();

    options.threads = 1;
    options.limits.max_live = 1;
    here = pthread_self();
    hit_stand(1, options);
    clean.within = assert_here;
    clean.asked = clean.resets = 0;
    HIT_SHORT(hit_use(K));
    clean.dirty = true;
    hit_use(K);
    hit_use(K); /* it waited for the reset */
    assert_int_equal(clean.asked, 3);
    assert_int_equal(kp_drain(hit.pool, KP_EVERY_KEY, KP_SECONDS(30)), 0);
    assert_int_equal(clean.resets, 2);
}

static void *give_back(void *lease)
{
    hit_give(lease);
    return NULL;
}

/* What a loop's pool lends is for its thread only. */
static void on_a_loop_nobody_else_must_ask(void)
{
    kp_loop *loop;
    kp_lease lease;
    pthread_t thread;
    kp_options options = asking();

    assert_int_equal(kp_loop_open(&loop), 0);
    options.loop = loop;
    options.driver.flags = KP_NEVER_BLOCKS;
    here = pthread_self();
    hit_open(options);
    clean.within = assert_here;
    assert_int_equal(kp_add(hit.pool, K, &hit.item[hit.made++]), 0);
    (void)kp_loop_dispatch(loop);
    assert_int_equal(kp_try_get(hit.pool, K, &lease), 0);
    kp_release(&lease);
    assert_int_equal(clean.asked, 1);
    assert_int_equal(hit_stats(K).idle, 1); /* and nothing was sent */
    assert_int_equal(kp_try_get(hit.pool, K, &lease), 0);
    hit_item(&lease)->users++;
    assert_int_equal(pthread_create(&thread, NULL, give_back, &lease), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(clean.asked, 1);
    assert_int_equal(clean.resets, 0);
    (void)kp_loop_dispatch(loop);
    assert_int_equal(clean.resets, 1);
    hit_close(hit.pool);
    hit.pool = NULL;
    (void)kp_loop_dispatch(loop);
    assert_int_equal(kp_loop_close(loop), 0);
}

/* What was claimed by mistake was not used. */
static void a_mistake_must_not_be_asked_about(void)
{
    kp_lease lease = one_lent(NULL);

    hit_item(&lease)->users--;
    clean.dirty = true;
    kp__unlend(&lease);
    hit.gets--;
    assert_int_equal(clean.asked, 0);
    assert_int_equal(clean.resets, 0);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.idle, 1);
    assert_int_equal(s.gets, hit.gets);
}

static void unlend_it(void)
{
    kp_lease copy = clean.copy;

    kp__unlend(&copy);
    hit_assert_told(1, "ended already, through a copy of it");
}

/* Another thread was faster: it looked up a lease that is not its own (kp_lease_of) and ended
 * it. */
static void a_mistake_must_not_end_what_another_is_ending(void)
{
    must_come_back_once(unlend_it, 1);
}

static void *cancelled_in_it(void *arg)
{
    kp_release(arg);
    return arg;
}

static void cancel_me(void)
{
    assert_int_equal(pthread_cancel(pthread_self()), 0);
    pthread_testcancel();
}

/* A thread may be cancelled while it runs is_clean (L1). */
static void cancelling_who_asks_must_lose_nothing(void)
{
    kp_lease lease = one_lent(cancel_me);
    pthread_t thread;

    hit_item(&lease)->users--;
    assert_int_equal(pthread_create(&thread, NULL, cancelled_in_it, &lease), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(clean.asked, 1);
    assert_null(lease.resource);
    assert_int_equal(hit_stats(K).idle, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(what_is_clean_must_come_back_without_the_lock),
        HIT_TEST(what_is_not_must_be_reset),
        HIT_TEST(a_reset_that_fails_must_be_told_where_the_lane_is_open),
        HIT_TEST(a_lane_that_is_shut_meanwhile_must_be_none_the_wiser),
        HIT_TEST(while_it_is_asked_about_nobody_else_must_end_it),
        HIT_TEST(nor_one_that_is_older_than_the_lane),
        HIT_TEST(a_copy_must_not_be_asked_about_a_second_time),
        HIT_TEST(what_is_asked_about_must_not_be_lent),
        HIT_TEST(what_is_invalidated_meanwhile_must_be_destroyed),
        HIT_TEST(a_pool_that_is_closed_meanwhile_must_destroy_it),
        HIT_TEST(nor_must_it_be_reset_where_there_are_no_lanes),
        HIT_TEST(what_was_lent_under_the_lock_must_be_asked_too),
        HIT_TEST(only_what_would_be_reset_must_be_asked_about),
        HIT_TEST(what_is_clean_must_be_validated_all_the_same),
        HIT_TEST(a_lease_without_its_mark_must_be_told),
        HIT_TEST(with_threads_of_its_own_the_pool_must_ask_on_the_borrowers),
        HIT_TEST(on_a_loop_nobody_else_must_ask),
        HIT_TEST(a_mistake_must_not_be_asked_about),
        HIT_TEST(a_mistake_must_not_end_what_another_is_ending),
        HIT_TEST(cancelling_who_asks_must_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
