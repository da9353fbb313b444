/* SPDX-License-Identifier: MIT
 *
 * Request 40, medplum PR #8169, tangram PR #213, generic-pool PR #272 and others: keep some for
 * health checks and administration, whatever the others do. Here that needs no class of requests:
 * administration has a key of its own (the driver connects it to the same server), and the others
 * are in a group that may not have all; or it has a floor. And folio raml-module-builder PR #1142,
 * vitess#14033: one connection for many tenants, by SET ROLE. The pool never looks into a resource;
 * so the server is the key, the role is set after the get, and driver.reset takes it off again.
 */
#include "contract/house.h"

enum { ALL = 8, TENANTS = 4, FOR_TENANTS = 1, HOLD_MS = 60000 };

static bool is_admin(kp_key key)
{
    return *(const char *)key.data == '!';
}

/* Tenants come from all sides, more than there is room for, and hold what they get. */
static void tenants_take_all(struct house *h, struct visitor *v, int64_t hold_ms)
{
    static const char *const tenant[TENANTS] = { "a", "b", "c", "d" };

    for (int i = 0; i < 3 * ALL; i++) {
        v[i] = (struct visitor){ .stay_ms = hold_ms };
        visitor_send(h, &v[i], tenant[i % TENANTS], KP_MINUTES(60));
    }
    house_settle(h);
}

/* ---- so many are never theirs ---------------------------------------------------------------- */

static void tenants_are_a_group(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (!is_admin(key)) limits->group[0] = FOR_TENANTS;
}

static void with_tenants_in_a_group_the_rest_must_be_free_at_any_time(void **state)
{
    struct visitor v[3 * ALL];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = ALL;
    o.budget.group_max_live[0] = ALL - 1;
    o.limits.max_live = o.limits.max_creating = KP_UNLIMITED;
    o.limits_for = tenants_are_a_group;
    house_open(&h, &o);
    tenants_take_all(&h, v, HOLD_MS);
    HOUSE_IS(&h, house_cast(&h).live, ALL - 1);
    for (int i = 0; i < 20; i++) { /* each second, and never a wait */
        kp_lease lease = { 0 };
        HOUSE_IS(&h, house_try(&h, "!", &lease), i == 0 ? KP_EAGAIN : 0);
        if (i == 0) lease = house_get_within(&h, "!", 1);
        house_release(&h, &lease);
        house_pass(&h, 1000);
    }
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, house_cast(&h).most_live, ALL);
    house_close(&h);
}

/* ---- its own is always ready ----------------------------------------------------------------- */

static void admin_keeps_one(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (is_admin(key)) limits->min_live = limits->floor = 1;
}

static void what_administration_keeps_must_not_make_room_for_tenants(void **state)
{
    struct visitor v[3 * ALL];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    kp_lease lease;

    (void)state;
    o.budget.max_live = ALL;
    o.limits.max_live = o.limits.max_creating = KP_UNLIMITED;
    o.limits_for = admin_keeps_one;
    house_open(&h, &o);
    lease = house_get(&h, "!"); /* at start-up */
    house_release(&h, &lease);
    tenants_take_all(&h, v, HOLD_MS);
    HOUSE_IS(&h, house_stats(&h, "!").idle, 1);
    HOUSE_IS(&h, house_try(&h, "!", &lease), 0);
    HOUSE_HAS(&h, house_reused(&lease));
    house_release(&h, &lease);
    kp_sim_join(h.sim, 0);
    house_close(&h);
}

static void admin_has_a_floor(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (is_admin(key)) limits->floor = 1;
}

static void with_a_floor_alone_it_must_have_the_next_that_comes_back(void **state)
{
    struct visitor v[3 * ALL], admin = { .stay_ms = 10 };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = ALL;
    o.limits.max_live = o.limits.max_creating = KP_UNLIMITED;
    o.limits_for = admin_has_a_floor;
    house_open(&h, &o);
    tenants_take_all(&h, v, 1000);
    HOUSE_IS(&h, house_cast(&h).live, ALL);
    visitor_send(&h, &admin, "!", KP_MINUTES(60)); /* behind sixteen others */
    kp_sim_join(h.sim, admin.task);
    HOUSE_IS(&h, admin.rc, 0);
    HOUSE_IS(&h, admin.answered_ms, 1000);
    kp_sim_join(h.sim, 0);
    house_close(&h);
}

/* ---- one connection, many tenants ------------------------------------------------------------ */

static char role_of[64]; /* of each connection, by its number */

static int take_role_off(kp_job *job, void *resource)
{
    (void)job;
    role_of[((const kp_prop *)resource)->number % sizeof role_of] = 0;
    return 0;
}

static void for_the_server_as_key_tenants_must_share_connections(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.driver.reset = take_role_off;
    house_open(&h, &o);
    for (int i = 0; i < 20; i++) {
        kp_lease lease = house_get(&h, "server");
        char *role = &role_of[house_number(&lease) % sizeof role_of];
        HOUSE_IS(&h, *role, 0);
        *role = (char)('a' + i % TENANTS); /* SET ROLE */
        house_release(&h, &lease);
    }
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_tenants_in_a_group_the_rest_must_be_free_at_any_time),
        cmocka_unit_test(what_administration_keeps_must_not_make_room_for_tenants),
        cmocka_unit_test(with_a_floor_alone_it_must_have_the_next_that_comes_back),
        cmocka_unit_test(for_the_server_as_key_tenants_must_share_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
