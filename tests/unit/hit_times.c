/* SPDX-License-Identifier: MIT
 *
 * Time and open lanes, on the real clock and with the process's keeper: leaks are found, and lanes
 * are shut in time. Nothing sleeps: a test goes on until what it waits for has happened.
 * hit_clock.c has the same to the millisecond.
 */
#include "hit_stage.h"

#include <sched.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- leaks ----------------------------------------------------------------------------------- */

static struct {
    atomic_int count;
    const char *tag;
    const void *site, *resource;
} leak;

static void hear_leak(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind != KP_EVENT_LEAK || !event->tag || strcmp(event->tag, "leaky") != 0)
        return; /* others may have been held up by the machine */
    leak.tag = event->tag;
    leak.site = event->site;
    leak.resource = event->resource;
    atomic_fetch_add(&leak.count, 1);
}

__attribute__((noinline)) static int take_here(const char *tag, kp_lease *lease)
{
    int rc = kp_get(hit.pool, K, KP_ASK(.tag = tag), lease);

    __asm__ volatile("" ::: "memory"); /* so that this is no jump */
    return rc;
}

static void wait_for_leak(void)
{
    while (atomic_load(&leak.count) == 0) sched_yield();
}

static void open_leaky(int n)
{
    atomic_store(&leak.count, 0);
    hit_stand(n, (kp_options){ .on_event = hear_leak, .leak_after_ms = 30, .limits.max_live = n });
}

static void a_lease_that_no_lock_saw_must_be_reported_with_its_tag_and_place(void)
{
    kp_lease lease;

    open_leaky(2);
    for (;;) { /* the lane is open for 30 ms at a time */
        uint64_t moves = hit_moves();
        assert_int_equal(take_here("leaky", &lease), 0);
        if (hit_moves() == moves) break;
        kp_release(&lease);
    }
    wait_for_leak();
    assert_string_equal(leak.tag, "leaky");
    assert_ptr_equal(leak.resource, lease.resource);
    uintptr_t from = (uintptr_t)take_here, site = (uintptr_t)leak.site;
    assert_true(site > from && site < from + 1000);
    kp_release(&lease);
    assert_true(hit_stats(K).leaks >= 1);
}

/* Hits of another thread go on around it, through many terms. */
static void a_lease_must_be_reported_once_however_often_its_lane_opens(void)
{
    kp_lease lease, other;

    open_leaky(2);
    assert_int_equal(take_here("leaky", &lease), 0);
    uint64_t until = now_ns() + 300000000u;
    while (atomic_load(&leak.count) == 0 || now_ns() < until) {
        assert_int_equal(kp_get(hit.pool, K, KP_ASK(.tag = "busy"), &other), 0);
        kp_release(&other);
    }
    kp_release(&lease);
    assert_int_equal(atomic_load(&leak.count), 1);
}

/* ---- times to live --------------------------------------------------------------------------- */

enum { AGE_MS = 250 };

/* Uses a key without pause, until a third resource was made for it or one was lent too old.
 * Returns how old, in ns, the oldest was when it was lent. */
static uint64_t use_for_three_ages(kp_options options)
{
    uint64_t oldest = 0, quick = 0, met[4] = { 0 }; /* when each was first lent */
    int before_all = hit.made;

    options.limits.max_age_ms = AGE_MS;
    options.limits.age_spread_pct = KP_NONE;
    hit_open(options);
    while (hit.made < before_all + 3 && oldest <= (uint64_t)AGE_MS * 1000000) {
        uint64_t before = now_ns(), moves = hit_moves();
        kp_lease lease = hit_take(K);
        uint64_t *first = &met[hit_item(&lease)->number - before_all];
        if (*first && before - *first > oldest) oldest = before - *first;
        if (!*first) *first = now_ns();
        hit_give(&lease);
        quick += hit_moves() == moves;
    }
    assert_true(quick > 100); /* and the short cut was taken in between */
    return oldest;
}

/* The thread that shuts the lane may have to wait for a processor, but not each time. */
static void assert_young(uint64_t (*oldest_of_a_try)(void))
{
    uint64_t oldest = oldest_of_a_try();

    for (int i = 0; i < 10 && oldest > (uint64_t)AGE_MS * 1000000; i++) {
        hit_again();
        oldest = oldest_of_a_try();
    }
    assert_in_range(oldest, 0, (uint64_t)AGE_MS * 1000000);
}

static uint64_t in_the_usual_way(void)
{
    return use_for_three_ages((kp_options){ 0 });
}

static void in_use_without_pause_a_resource_must_not_be_lent_past_its_age(void)
{
    assert_young(in_the_usual_way);
}

/* Then only the end of the lane's term causes a look at it. */
static uint64_t looked_at_by_get(void)
{
    return use_for_three_ages((kp_options){ .limits.age_check = KP_CHECK_GET });
}

static void an_age_that_only_gets_look_at_must_end_the_short_cut(void)
{
    assert_young(looked_at_by_get);
}

static uint64_t kept_seldom(void)
{
    return use_for_three_ages((kp_options){ .keep_every_ms = 20000 });
}

static void a_keeper_that_comes_seldom_must_not_make_the_short_cut_longer(void)
{
    assert_young(kept_seldom);
}

static atomic_bool held_up;

static int destroy_until_told(kp_job *job, void *resource)
{
    while (atomic_load(&held_up)) sched_yield();
    return item_destroy(job, resource);
}

/* The keeper of the process destroys a resource of another pool, and that takes its time. */
static uint64_t while_the_keeper_is_held_up(void)
{
    kp_pool *other;
    kp_stats s;

    atomic_store(&held_up, true);
    other = hit_open((kp_options){ .driver.destroy = destroy_until_told,
                                   .limits = { .idle_ttl_ms = 1 } });
    hit_use(K);
    do assert_int_equal(kp_stats_read(other, KP_EVERY_KEY, &s), 0);
    while (s.closing == 0);
    uint64_t oldest = use_for_three_ages((kp_options){ 0 });
    atomic_store(&held_up, false);
    assert_int_equal(kp_pool_close(other, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    return oldest;
}

static void a_keeper_that_is_held_up_must_not_make_the_short_cut_longer(void)
{
    assert_young(while_the_keeper_is_held_up);
}

static int validate(kp_job *job, void *resource)
{
    (void)job;
    ((struct item *)resource)->validated++;
    return 0;
}

/* What is in use is not in doubt; but one that was not used for long is validated again. */
static void what_was_idle_for_long_must_be_validated_before_it_is_lent(void)
{
    hit_stand(1, (kp_options){ .driver.validate = validate,
                               .limits = { .validate_after_ms = 200 } });
    hit_warm(K);
    int before = hit.item[0].validated;
    uint64_t until = now_ns() + 200000000u;
    while (now_ns() < until) sched_yield();
    kp_lease lease = hit_take(K);
    assert_int_equal(hit.item[0].validated, before + 1);
    hit_give(&lease);
    assert_int_equal(hit.made, 1);
}

static void nobody_uses_it_and_it_must_expire_in_the_background(void)
{
    hit_stand(2, (kp_options){ .limits = { .idle_ttl_ms = 300, .idle_check = KP_CHECK_KEEPER } });
    uint64_t last = now_ns();
    while (atomic_load(&hit.gone) < 2) sched_yield();
    assert_true(now_ns() - last > 280000000u); /* a 64th early at most */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_lease_that_no_lock_saw_must_be_reported_with_its_tag_and_place),
        HIT_TEST(a_lease_must_be_reported_once_however_often_its_lane_opens),
        HIT_TEST(in_use_without_pause_a_resource_must_not_be_lent_past_its_age),
        HIT_TEST(an_age_that_only_gets_look_at_must_end_the_short_cut),
        HIT_TEST(a_keeper_that_comes_seldom_must_not_make_the_short_cut_longer),
        HIT_TEST(a_keeper_that_is_held_up_must_not_make_the_short_cut_longer),
        HIT_TEST(what_was_idle_for_long_must_be_validated_before_it_is_lent),
        HIT_TEST(nobody_uses_it_and_it_must_expire_in_the_background),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
