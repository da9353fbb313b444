/* SPDX-License-Identifier: MIT
 *
 * What is reported of a lease that is out for too long: its age, the thread that got it, the place
 * and, if options.stack is set, the call stack. Everything else about leaks: regress/r25.
 */
#include <unistd.h>
#if defined(__GLIBC__)
#include <execinfo.h>
#endif

#include "house.h"

static kp_event told;
static const void *frames[16];

static void listen(struct house *h, const kp_event *event)
{
    (void)h;
    if (event->kind != KP_EVENT_LEAK) return;
    told = *event;
    memcpy(frames, event->stack, event->stack_count * sizeof *frames);
}

static kp_options plan(struct house *h, size_t (*stack)(const void **, size_t, void *))
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.leak_after_ms = 1000;
    o.stack = stack;
    h->also = listen;
    return o;
}

static void out_for_too_long(struct house *h)
{
    house_pass(h, 1000);
    HOUSE_IS(h, h->seen[KP_EVENT_LEAK], 1);
}

static void a_leak_must_be_told_with_its_age_and_its_thread(void **state)
{
    char text[400], wanted[100];
    struct house h;
    kp_options o = plan(&h, NULL);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    out_for_too_long(&h);
    assert_int_equal(told.lent_ms, 1000);
    assert_int_not_equal(told.thread, 0);
#ifdef __linux__
    assert_int_equal(told.thread, getpid()); /* the first thread's number is its process's */
#endif
    assert_int_equal(told.stack_count, 0);
    (void)kp_explain(h.pool, kp_str("db"), text, sizeof text);
    snprintf(wanted, sizeof wanted, "lent for 1000 ms to house, thread %u, got at %p\n",
             (unsigned)told.thread, told.site);
    assert_non_null(strstr(text, wanted));
    house_release(&h, &lease);
    house_close(&h);
}

static void a_time_out_must_name_the_thread_of_the_oldest(void **state)
{
    struct house h;
    char wanted[40];
    kp_options o = plan(&h, NULL);

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    HOUSE_IS(&h, house_fails(&h, "db", 2000), KP_ETIMEDOUT);
    snprintf(wanted, sizeof wanted, "2000 ms by house (thread %u)", (unsigned)told.thread);
    assert_non_null(strstr(h.why.text, wanted));
    house_release(&h, &lease);
    house_close(&h);
}

/* ---- the way there --------------------------------------------------------------------------- */

static size_t asked, says;

static size_t somewhere(const void **out, size_t most, void *ctx)
{
    asked++;
    assert_int_equal(most, 16);
    for (size_t i = 0; i < most; i++) out[i] = (const char *)ctx + 16 * asked + i;
    return says;
}

static void its_way_must_be_the_one_of_this_lease(void **state)
{
    static const size_t counts[][2] = { { 3, 3 }, { 16, 16 }, { 17, 16 }, { 0, 0 } };
    char text[1000], wanted[100];

    (void)state;
    asked = 0;
    for (int i = 0; i < 4; i++) {
        struct house h;
        kp_options o = plan(&h, somewhere);
        o.limits.max_live = 1;
        house_open(&h, &o);
        says = counts[i][0];
        for (int k = 0; k < 2; k++) house_stock(&h, "db", 1);
        kp_lease lease = house_get(&h, "db");
        HOUSE_IS(&h, house_fails(&h, "db", KP_NONE), KP_EAGAIN); /* is not asked */
        out_for_too_long(&h);
        assert_int_equal(asked, 3 * (i + 1));
        assert_int_equal(told.stack_count, counts[i][1]);
        for (size_t k = 0; k < told.stack_count; k++)
            assert_ptr_equal(frames[k], (const char *)o.ctx + 16 * asked + k);
        (void)kp_explain(h.pool, kp_str("db"), text, sizeof text);
        snprintf(wanted, sizeof wanted, ", by %p %p", frames[0], frames[1]);
        assert_int_equal(strstr(text, wanted) != NULL, told.stack_count > 1);
        house_release(&h, &lease);
        house_close(&h);
    }
}

static void those_who_share_one_must_each_have_a_way(void **state)
{
    struct house h;
    kp_lease lease[3];
    kp_options o = plan(&h, somewhere);

    (void)state;
    asked = 0;
    says = 2;
    o.limits.sharing = 3;
    o.limits.max_live = 1;
    house_open(&h, &o);
    for (int i = 0; i < 3; i++) {
        HOUSE_IS(&h, kp_get(h.pool, kp_str("db"), NULL, &lease[i]), 0);
        house_pass(&h, 100);
    }
    for (unsigned i = 0; i < 3; i++) {
        house_pass(&h, i ? 100 : 700);
        HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], i + 1);
        assert_int_equal(told.stack_count, 2);
        assert_ptr_equal(frames[0], (const char *)o.ctx + 16 * (i + 1));
    }
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    house_close(&h);
}

static void without_memory_it_must_do_without_a_way(void **state)
{
    struct house h;
    kp_options o = plan(&h, somewhere);

    (void)state;
    says = 2;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_warm(h.pool, &(kp_key){ "db", 2 }, 1, KP_IN_MS(100)), 1);
    kp_sim_fail_alloc(h.sim, 1, true);
    kp_lease lease = house_get(&h, "db");
    kp_sim_fail_alloc(h.sim, 0, false);
    out_for_too_long(&h);
    assert_int_equal(told.stack_count, 0);
    house_release(&h, &lease);
    house_close(&h);
}

static kp_lease steals;

static void take_it(struct house *h, const kp_event *event)
{
    if (event->kind == KP_EVENT_CREATED) steals.resource = (void *)(uintptr_t)event->resource;
    (void)h;
}

/* A thread that only knows the resource ends the lease before its borrower has it. */
static size_t end_it(const void **out, size_t most, void *ctx)
{
    struct house *h = ctx;

    (void)out, (void)most;
    if (kp_lease_of(h->pool, steals.resource, &steals) == 0) kp_release(&steals);
    return 1;
}

static void a_lease_that_ended_meanwhile_must_get_none(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = plan(&h, end_it);

    (void)state;
    house_open(&h, &o);
    h.also = take_it;
    HOUSE_IS(&h, kp_get(h.pool, kp_str("db"), NULL, &lease), 0);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    kp_release(&lease);
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 1);
    house_close(&h);
}

static kp_lease next;
static int gets;

/* And another thread gets it, whose stack is read meanwhile. */
static size_t pass_it_on(const void **out, size_t most, void *ctx)
{
    struct house *h = ctx;
    size_t n = somewhere(out, most, ctx);

    if (gets++ > 0) return n;
    assert_int_equal(kp_lease_of(h->pool, steals.resource, &steals), 0);
    kp_release(&steals);
    assert_int_equal(kp_get(h->pool, kp_str("db"), NULL, &next), 0);
    return n;
}

static void who_has_it_meanwhile_must_keep_a_way_of_its_own(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = plan(&h, pass_it_on);

    (void)state;
    asked = 0;
    gets = 0;
    says = 2;
    o.limits.max_live = 1;
    house_open(&h, &o);
    h.also = take_it;
    HOUSE_IS(&h, kp_get(h.pool, kp_str("db"), NULL, &lease), 0);
    assert_ptr_equal(lease.resource, next.resource);
    h.also = listen;
    out_for_too_long(&h);
    assert_int_equal(asked, 2);
    assert_int_equal(told.stack_count, 2);
    assert_ptr_equal(frames[0], (const char *)o.ctx + 16 * 2);
    kp_release(&next);
    kp_release(&lease);
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 1);
    house_close(&h);
}

static void look_for_its_lease(struct house *h, const kp_event *event)
{
    if (event->kind != KP_EVENT_CREATED) return;
    HOUSE_IS(h, kp_lease_of(h->pool, event->resource, &steals), KP_ENOTFOUND);
}

/* A listener that hears of what was made for a borrower cannot end the lease, which nobody has
 * yet. */
static void one_that_has_just_begun_must_get_one_whoever_listens(void **state)
{
    struct house h;
    kp_options o = plan(&h, somewhere);

    (void)state;
    asked = 0;
    says = 2;
    house_open(&h, &o);
    h.also = look_for_its_lease;
    kp_lease lease = house_get(&h, "db");
    assert_int_equal(asked, 1);
    h.also = listen;
    out_for_too_long(&h);
    assert_int_equal(told.stack_count, 2);
    house_release(&h, &lease);
    house_close(&h);
}

/* Its borrower has given it back, and only the reset is slow; or has not got it yet, since it is
 * being checked. Once it has, its lease is as old as its wait for the check made it. */
static void who_does_not_have_it_must_not_be_told_of(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 500, .times = KP_OFF }, { 0 } };
    static const kp_line slower[] = { { .blocks_ms = 1100, .times = KP_OFF }, { 0 } };
    const kp_script script = { .reset = slow, .validate = slower };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    o.leak_after_ms = 1000;
    o.limits.validate_after_ms = KP_NONE;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_pass(&h, 900);
    house_release(&h, &lease);
    HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], 0);
    house_pass(&h, 100);
    lease = house_get(&h, "db");
    HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], 0);
    house_pass(&h, 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], 1);
    house_release(&h, &lease);
    house_close(&h);
}

static void with_hits_that_take_no_lock_it_must_be_refused(void **state)
{
    struct house h;
    kp_options o = plan(&h, somewhere);

    (void)state;
    o.hits = KP_HITS_QUICK;
    house_refuses(&h, &o, "stack");
    house_leave(&h);
}

#if defined(__GLIBC__)
static size_t by_backtrace(const void **out, size_t most, void *ctx)
{
    (void)ctx;
    return (size_t)backtrace((void **)(uintptr_t)out, (int)most);
}

/* As a program would have it: among the frames is the caller of kp_get, which `site` names, too. */
static void backtrace_must_do(void **state)
{
    struct house h;
    bool found = false;
    kp_options o = plan(&h, by_backtrace);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    out_for_too_long(&h);
    for (size_t i = 0; i < told.stack_count; i++) found |= frames[i] == told.site;
    assert_true(found);
    house_release(&h, &lease);
    house_close(&h);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leak_must_be_told_with_its_age_and_its_thread),
        cmocka_unit_test(a_time_out_must_name_the_thread_of_the_oldest),
        cmocka_unit_test(its_way_must_be_the_one_of_this_lease),
        cmocka_unit_test(those_who_share_one_must_each_have_a_way),
        cmocka_unit_test(without_memory_it_must_do_without_a_way),
        cmocka_unit_test(a_lease_that_ended_meanwhile_must_get_none),
        cmocka_unit_test(who_has_it_meanwhile_must_keep_a_way_of_its_own),
        cmocka_unit_test(one_that_has_just_begun_must_get_one_whoever_listens),
        cmocka_unit_test(who_does_not_have_it_must_not_be_told_of),
        cmocka_unit_test(with_hits_that_take_no_lock_it_must_be_refused),
#if defined(__GLIBC__)
        cmocka_unit_test(backtrace_must_do),
#endif
    };
    return cmocka_run_group_tests_name("leaks", tests, NULL, NULL);
}
