/* SPDX-License-Identifier: MIT
 *
 * Request 38, db_connection#182, #177, #324: requests are shed although connections look free, and
 * nobody understands the two numbers. Here nothing is shed unless `shed_target_ms` asks for it, one
 * number; each refusal says how long it had waited and leaves its place to another; and a queue
 * that was slow, and is gone, is no reason to refuse who comes later.
 */
#include "contract/house.h"

enum { CROWD = 40, USE_MS = 100, TARGET_MS = 50 };

/* A crowd before one resource: the last of it waits for 39 uses. */
static void crowd_comes(struct house *h, struct visitor *v)
{
    for (int i = 0; i < CROWD; i++) {
        v[i] = (struct visitor){ .stay_ms = USE_MS };
        visitor_send(h, &v[i], "db", KP_SECONDS(30));
    }
}

static kp_options of_one(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_live = 1;
    return o;
}

static void nobody_must_be_shed_unless_that_was_asked_for(void **state)
{
    static struct visitor v[CROWD];
    struct house h;
    kp_options o = of_one(&h);

    (void)state;
    house_open(&h, &o);
    crowd_comes(&h, v);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < CROWD; i++) HOUSE_IS(&h, v[i].rc, 0);
    HOUSE_IS(&h, v[CROWD - 1].answered_ms, (CROWD - 1) * USE_MS);
    house_close(&h);
}

static void who_is_shed_must_be_told_how_long_he_had_waited(void **state)
{
    static struct visitor v[CROWD];
    struct visitor last = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = of_one(&h);
    int shed = 0;

    (void)state;
    o.limits.shed_target_ms = TARGET_MS;
    house_open(&h, &o);
    crowd_comes(&h, v);
    house_pass(&h, 2 * USE_MS - TARGET_MS);
    visitor_send(&h, &last, "db", KP_SECONDS(30));
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, last.rc, 0); /* who did not wait for long takes the place of those who did */
    for (int i = 0; i < CROWD; i++) {
        if (v[i].rc == 0) continue;
        shed++;
        HOUSE_IS(&h, v[i].rc, KP_EFULL);
        assert_string_equal(v[i].why.limit, "shed_target_ms");
        assert_string_equal(v[i].why.text, "shed: it had waited for too long in a queue that was "
                                           "too slow (limit: shed_target_ms)");
        HOUSE_HAS(&h, v[i].why.waited_ms > 2 * TARGET_MS);
        HOUSE_IS(&h, v[i].why.waited_ms, v[i].answered_ms - v[i].asked_ms);
    }
    HOUSE_HAS(&h, shed > CROWD / 2);
    HOUSE_IS(&h, house_stats(&h, "db").refusals, shed);
    house_close(&h);
}

static void nobody_must_be_shed_for_a_queue_that_is_gone(void **state)
{
    static struct visitor v[CROWD];
    struct visitor later = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = of_one(&h);

    (void)state;
    o.limits.shed_target_ms = TARGET_MS;
    house_open(&h, &o);
    crowd_comes(&h, v);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < 100; i++) { /* all calm: it is there whenever somebody comes */
        kp_lease lease = house_get_within(&h, "db", 1);
        house_release(&h, &lease);
        house_pass(&h, KP_MINUTES(1));
    }
    kp_lease lease = house_get(&h, "db");
    visitor_send(&h, &later, "db", KP_SECONDS(30));
    house_pass(&h, 3 * TARGET_MS);
    house_release(&h, &lease); /* one slow use, nobody else far and wide */
    visitor_end(&later);
    HOUSE_IS(&h, later.rc, 0);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_must_be_shed_unless_that_was_asked_for),
        cmocka_unit_test(who_is_shed_must_be_told_how_long_he_had_waited),
        cmocka_unit_test(nobody_must_be_shed_for_a_queue_that_is_gone),
    };
    return cmocka_run_group_tests_name("request 38", tests, NULL, NULL);
}
