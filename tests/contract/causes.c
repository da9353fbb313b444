/* SPDX-License-Identifier: MIT
 *
 * The event says why a resource was destroyed: a scene for each cause (kp_cause), and for which one
 * it is where there are two. house.h checks after each step of each test that the counters agree.
 */
#include "house.h"

static bool seen[CAUSES]; /* by all scenes together */

/* As many as that have ended so far, and all by this cause. */
static void ended(struct house *h, unsigned many, kp_cause cause)
{
    HOUSE_IS(h, h->causes.last, cause);
    HOUSE_IS(h, h->causes.count[cause], many);
    HOUSE_IS(h, house_stats(h, NULL).destroys, many);
    seen[cause] = true;
}

static kp_options plain(struct house *h, const kp_script *script)
{
    kp_options o = house_plan(h, 1, NULL, script);

    o.limits.max_age_ms = o.limits.idle_ttl_ms = KP_OFF;
    return o;
}

/* ---- by a borrower, or by name --------------------------------------------------------------- */

static void a_discard_must_be_told_from_a_mark(void **state)
{
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "a");
    house_discard(&h, &lease);
    ended(&h, 1, KP_CAUSE_DISCARDED);
    house_close(&h);
    o = plain(&h, NULL);
    house_open(&h, &o);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
    house_discard(&h, &lease);
    HOUSE_IS(&h, h.causes.last, KP_CAUSE_DISCARDED); /* the borrower discarded it itself */
    lease = house_get(&h, "a");
    HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, h.causes.last, KP_CAUSE_INVALIDATED);
    house_stock(&h, "a", 1);
    HOUSE_IS(&h, kp_drop(h.pool, kp_str("a"), KP_NONE), 0);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_INVALIDATED], 2);
    seen[KP_CAUSE_INVALIDATED] = true;
    house_close(&h);
}

static void one_that_is_not_to_be_kept_must_end_by_that(void **state)
{
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "a");
    kp_lease_reuse(&lease, false);
    house_release(&h, &lease);
    ended(&h, 1, KP_CAUSE_NOT_REUSED);
    house_close(&h);
}

/* ---- found bad ------------------------------------------------------------------------------- */

static void found_bad(const kp_script *script, int32_t validate_on, kp_cause cause)
{
    struct house h;
    kp_options o = plain(&h, script);

    o.limits.validate_on = validate_on;
    o.limits.validate_after_ms = KP_NONE;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "a");
    house_release(&h, &lease);
    house_pass(&h, 10);
    if (validate_on == KP_CHECK_GET) {
        lease = house_get(&h, "a"); /* another one */
        house_release(&h, &lease);
    }
    ended(&h, 1, cause);
    house_close(&h);
}

static void a_check_that_fails_must_say_what_it_found(void **state)
{
    static const kp_line good[] = { { .times = KP_OFF }, { 0 } };
    static const kp_line bad[] = { { .status = -5, .times = 1 }, { .times = KP_OFF }, { 0 } };
    static const kp_line gone[] = { { .status = KP_EGONE, .times = 1 }, { .times = KP_OFF },
                                    { 0 } };
    static const kp_line bad_later[] = { { .takes_ms = 1, .status = -5, .times = 1 },
                                         { .times = KP_OFF }, { 0 } };
    static const kp_line gone_later[] = { { .takes_ms = 1, .status = KP_EGONE, .times = 1 },
                                          { .times = KP_OFF }, { 0 } };
    const kp_line *lines[] = { bad, bad_later, gone, gone_later };

    (void)state;
    for (int i = 0; i < 4; i++) {
        kp_cause found = i < 2 ? KP_CAUSE_INVALID : KP_CAUSE_GONE;
        found_bad(&(kp_script){ .validate = lines[i] }, KP_CHECK_GET, found);
        found_bad(&(kp_script){ .validate = lines[i] }, KP_CHECK_RETURN, found);
        found_bad(&(kp_script){ .reset = good, .validate = lines[i] }, KP_CHECK_RETURN, found);
        found_bad(&(kp_script){ .reset = lines[i] }, KP_CHECK_GET, i < 2 ? KP_CAUSE_RESET : found);
    }
}

static void a_report_that_a_peer_is_gone_must_be_the_cause(void **state)
{
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    kp_lease lease = house_get(&h, "a");
    kp_lease_report(&lease, KP_EGONE);
    house_release(&h, &lease);
    house_settle(&h);
    ended(&h, 2, KP_CAUSE_GONE); /* with nothing to test by, the other is replaced */
    house_close(&h);
}

/* ---- by time, and by use --------------------------------------------------------------------- */

static void what_time_ends_must_say_which(void **state)
{
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    o.limits.idle_ttl_ms = 100;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 100);
    ended(&h, 1, KP_CAUSE_IDLE);
    house_close(&h);
    o = plain(&h, NULL);
    o.limits.excess_ttl_ms = 100;
    o.limits.min_live = 1;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    house_pass(&h, 100);
    ended(&h, 1, KP_CAUSE_EXCESS);
    house_close(&h);
    for (int lent = 0; lent < 2; lent++) {
        o = plain(&h, NULL);
        o.limits.max_age_ms = 100;
        o.limits.age_spread_pct = KP_NONE;
        house_open(&h, &o);
        kp_lease lease = house_get(&h, "a");
        if (!lent) house_release(&h, &lease);
        house_pass(&h, 100);
        if (lent) house_release(&h, &lease);
        ended(&h, 1, KP_CAUSE_AGE);
        house_close(&h);
    }
}

static void the_last_use_must_be_the_cause(void **state)
{
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    o.limits.max_uses = 3;
    house_open(&h, &o);
    for (int i = 0; i < 3; i++) house_stock(&h, "a", 1);
    ended(&h, 1, KP_CAUSE_USES);
    house_close(&h);
}

static void a_key_that_is_forgotten_must_be_the_cause(void **state)
{
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    o.limits.min_live = 1;
    o.forget_key_after_ms = 100;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 200);
    ended(&h, 1, KP_CAUSE_FORGOTTEN);
    house_close(&h);
}

static void a_rotation_must_say_whether_a_replacement_was_there(void **state)
{
    struct house h;

    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        kp_options o = plain(&h, NULL);
        o.limits.max_age_ms = KP_HOURS(1);
        o.limits.renew_ahead_ms = ahead ? 50 : KP_OFF;
        house_open(&h, &o);
        house_stock(&h, "a", 1);
        HOUSE_IS(&h, kp_rotate(h.pool, kp_str("a"), 100), 1);
        house_pass(&h, 100);
        ended(&h, 1, ahead ? KP_CAUSE_RENEWED : KP_CAUSE_ROTATED);
        house_close(&h);
    }
}

/* ---- for want of room ------------------------------------------------------------------------ */

static void one_that_makes_room_must_say_for_whom(void **state)
{
    struct house h;
    kp_lease lease;

    (void)state;
    for (int fresh = 0; fresh < 2; fresh++) {
        kp_options o = plain(&h, NULL);
        o.budget.max_live = 1;
        house_open(&h, &o);
        house_stock(&h, "a", 1);
        HOUSE_IS(&h, kp_get(h.pool, fresh ? kp_str("a") : kp_str("b"),
                            KP_ASK(.flags = fresh ? KP_FRESH : 0), &lease), 0);
        kp_release(&lease);
        ended(&h, 1, fresh ? KP_CAUSE_FRESH : KP_CAUSE_EVICTED);
        house_close(&h);
    }
}

static void what_is_more_than_is_kept_must_be_surplus(void **state)
{
    const kp_budget less = { .max_live = 1 };
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    o.limits.max_idle = 3;
    house_open(&h, &o);
    house_stock(&h, "a", 4);
    ended(&h, 1, KP_CAUSE_SURPLUS);
    HOUSE_IS(&h, kp_evict(h.pool, kp_str("a"), 2), 1);
    ended(&h, 2, KP_CAUSE_SURPLUS);
    h.plan.budget.max_live = 1;
    HOUSE_IS(&h, kp_budget_set(h.pool, &less, NULL), 0);
    ended(&h, 3, KP_CAUSE_SURPLUS);
    house_close(&h);
}

/* ---- taken back, and closed ------------------------------------------------------------------ */

static void one_that_was_revoked_must_end_by_that(void **state)
{
    static const kp_line at_once[] = { { .times = KP_OFF }, { 0 } };
    static const kp_script revoking = { .revoke = at_once };
    struct house h;

    (void)state;
    for (int discards = 0; discards < 2; discards++) {
        kp_options o = plain(&h, &revoking);
        o.limits.revoke_after_ms = 100;
        house_open(&h, &o);
        kp_lease lease = house_get(&h, "a");
        house_pass(&h, 100);
        HOUSE_IS(&h, house_stats(&h, "a").revoked, 1);
        if (discards) house_discard(&h, &lease);
        else house_release(&h, &lease);
        ended(&h, 1, discards ? KP_CAUSE_DISCARDED : KP_CAUSE_REVOKED);
        house_close(&h);
    }
}

static void the_end_of_the_pool_must_be_told(void **state)
{
    struct house h;
    kp_options o = plain(&h, NULL);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    kp_lease lease = house_get(&h, "a");
    (void)kp_pool_close(h.pool, KP_CLOSE_NOW, 1);
    h.ended = true;
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_CLOSED], 1);
    house_exit(&lease);
    kp_release(&lease);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_CLOSED], 2);
    seen[KP_CAUSE_CLOSED] = true;
    house_leave(&h);
}

static void each_cause_must_have_a_scene(void **state)
{
    (void)state;
#define X(name, counter, sentence) \
    if (!seen[KP_CAUSE_##name]) fail_msg("nothing ended by %s", #name);
    KP_CAUSE_MAP(X)
#undef X
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_discard_must_be_told_from_a_mark),
        cmocka_unit_test(one_that_is_not_to_be_kept_must_end_by_that),
        cmocka_unit_test(a_check_that_fails_must_say_what_it_found),
        cmocka_unit_test(a_report_that_a_peer_is_gone_must_be_the_cause),
        cmocka_unit_test(what_time_ends_must_say_which),
        cmocka_unit_test(the_last_use_must_be_the_cause),
        cmocka_unit_test(a_key_that_is_forgotten_must_be_the_cause),
        cmocka_unit_test(a_rotation_must_say_whether_a_replacement_was_there),
        cmocka_unit_test(one_that_makes_room_must_say_for_whom),
        cmocka_unit_test(what_is_more_than_is_kept_must_be_surplus),
        cmocka_unit_test(one_that_was_revoked_must_end_by_that),
        cmocka_unit_test(the_end_of_the_pool_must_be_told),
        cmocka_unit_test(each_cause_must_have_a_scene),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
