/* SPDX-License-Identifier: MIT
 *
 * The end of a pool whose driver can revoke: what is still lent at the deadline of kp_pool_close is
 * made useless to its borrowers, which get no other notice; the pool is gone when the last of them
 * has given back. Without driver.revoke: regress/r31.
 */
#include "house.h"

static const kp_line at_once[] = { { .times = KP_OFF }, { 0 } };
static const kp_line slowly[] = { { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
static const kp_line never[] = { { .status = -5, .times = KP_OFF }, { 0 } };

static void open_it(struct house *h, const kp_line *revoke, int64_t sharing)
{
    const kp_script script = { .revoke = revoke };
    kp_options o = house_plan(h, 1, NULL, &script);

    o.limits.sharing = sharing;
    o.limits.max_live = sharing > 1 ? 1 : 10;
    house_open(h, &o);
}

static void take(struct house *h, kp_lease *lease, int n)
{
    for (int i = 0; i < n; i++)
        HOUSE_IS(h, kp_get(h->pool, kp_str("db"), KP_IN_MS(100), &lease[i]), 0);
}

/* Closed, but a lease has not ended. */
static bool is_there(const struct house *h)
{
    return kp_now_ns(h->pool) != 0;
}

static void give(struct house *h, kp_lease *lease, int n)
{
    for (int i = 0; i < n; i++) {
        HOUSE_HAS(h, is_there(h));
        HOUSE_IS(h, ((const kp_prop *)lease[i].resource)->alive, 1);
        kp_release(&lease[i]);
    }
    HOUSE_HAS(h, !is_there(h));
}

static void at_its_deadline_each_must_be_revoked_and_told_to_be_out(void **state)
{
    static const kp_close_mode modes[] = { KP_CLOSE_WAIT, KP_CLOSE_DRAIN };
    kp_lease_about about;
    kp_lease lease[3];

    (void)state;
    for (int m = 0; m < 2; m++) {
        struct house h;
        open_it(&h, at_once, 1);
        take(&h, lease, 3);
        kp_release(&lease[2]);
        HOUSE_IS(&h, kp_pool_close(h.pool, modes[m], KP_SECONDS(10)), 2);
        h.ended = true;
        HOUSE_IS(&h, kp_sim_now_ms(h.sim), KP_SECONDS(10));
        HOUSE_IS(&h, house_cast(&h).revokes, 2);
        HOUSE_IS(&h, h.seen[KP_EVENT_REVOKED], 2);
        HOUSE_HAS(&h, kp_lease_read(&lease[0], &about) && about.revoked);
        HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 2); /* not back */
        HOUSE_IS(&h, house_cast(&h).revokes, 2);
        give(&h, lease, 2);
        house_close(&h);
    }
}

/* NOW leaves what is out to its borrowers; without time to wait it is at once. */
static void without_a_deadline_nothing_must_be_revoked(void **state)
{
    struct house h;
    kp_lease lease;

    (void)state;
    open_it(&h, at_once, 1);
    take(&h, &lease, 1);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, KP_NONE), 1);
    h.ended = true;
    HOUSE_IS(&h, house_cast(&h).revokes, 0);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_NONE), 1);
    HOUSE_IS(&h, house_cast(&h).revokes, 1);
    give(&h, &lease, 1);
    house_close(&h);
}

static void run_release(void *arg)
{
    struct house *h = ((struct visitor *)arg)->house;

    kp_sim_pass_ms(h->sim, 3000);
    kp_release(&((struct visitor *)arg)->lease);
}

static void who_comes_back_in_time_must_be_spared(void **state)
{
    struct visitor v;
    struct house h;

    (void)state;
    open_it(&h, at_once, 1);
    v.house = &h;
    take(&h, &v.lease, 1);
    HOUSE_HAS(&h, kp_sim_spawn(h.sim, run_release, &v) > 0);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 0);
    h.ended = true;
    HOUSE_IS(&h, house_cast(&h).revokes, 0);
    house_close(&h);
}

/* Also while the answer is on its way: then it is destroyed after that. */
static void an_answer_that_comes_late_must_find_the_pool(void **state)
{
    (void)state;
    for (int meanwhile = 0; meanwhile < 2; meanwhile++) {
        struct house h;
        kp_lease lease;
        open_it(&h, slowly, 1);
        take(&h, &lease, 1);
        HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_NONE), 1);
        h.ended = true;
        if (meanwhile) kp_release(&lease);
        HOUSE_HAS(&h, is_there(&h));
        HOUSE_IS(&h, house_cast(&h).destroys, 0);
        kp_sim_pass_ms(h.sim, 1000);
        if (!meanwhile) give(&h, &lease, 1);
        house_close(&h);
    }
}

static void one_that_cannot_be_revoked_must_be_asked_for_once(void **state)
{
    struct house h;
    kp_lease lease[2];

    (void)state;
    open_it(&h, never, 1);
    take(&h, lease, 2);
    for (int i = 0; i < 2; i++)
        HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 2);
    h.ended = true;
    HOUSE_IS(&h, house_cast(&h).revokes, 2);
    HOUSE_IS(&h, h.seen[KP_EVENT_REVOKE_FAILED], 2);
    give(&h, lease, 2);
    house_close(&h);
}

static kp_lease out[3];

static void give_back_the_others(struct house *h, const kp_event *event)
{
    if (event->kind != KP_EVENT_REVOKED) return;
    h->also = NULL;
    for (int i = 0; i < 3; i++)
        if (out[i].resource != event->resource) kp_release(&out[i]);
}

static void who_comes_back_while_another_is_revoked_must_be_spared(void **state)
{
    struct house h;

    (void)state;
    open_it(&h, at_once, 1);
    take(&h, out, 3);
    h.also = give_back_the_others;
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 1);
    h.ended = true;
    HOUSE_IS(&h, house_cast(&h).revokes, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 2);
    give(&h, &out[0], 1);
    house_close(&h);
}

static int64_t lent_ms;

static void note_its_age(struct house *h, const kp_event *event)
{
    (void)h;
    if (event->kind == KP_EVENT_REVOKED) lent_ms = event->lent_ms;
}

/* Where nothing needs the time, a get does without it. */
static void one_got_without_a_clock_must_be_told_without_an_age(void **state)
{
    struct house h;
    kp_lease lease;
    const kp_script script = { .revoke = at_once };
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    o.leak_after_ms = o.limits.idle_ttl_ms = o.limits.max_age_ms = KP_OFF;
    o.hits = KP_HITS_LOCKED;
    lent_ms = -1;
    house_open(&h, &o);
    h.also = note_its_age;
    house_stock(&h, "db", 1);
    take(&h, &lease, 1);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 1);
    h.ended = true;
    HOUSE_IS(&h, h.seen[KP_EVENT_REVOKED], 1);
    HOUSE_IS(&h, lent_ms, 0);
    give(&h, &lease, 1);
    house_close(&h);
}

/* All that share one lose it together; it goes when the last of them gives back. */
static void those_who_share_one_must_lose_it_together(void **state)
{
    (void)state;
    for (int meanwhile = 0; meanwhile < 4; meanwhile++) {
        struct house h;
        kp_lease lease[3];
        kp_lease_about about;
        open_it(&h, slowly, 3);
        take(&h, lease, 3);
        HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_NONE), 1);
        h.ended = true;
        HOUSE_IS(&h, house_cast(&h).revokes, 1);
        for (int i = 0; i < meanwhile; i++) kp_release(&lease[i]);
        kp_sim_pass_ms(h.sim, 1000);
        HOUSE_IS(&h, h.seen[KP_EVENT_REVOKED], meanwhile < 3);
        for (int i = meanwhile; i < 3; i++)
            HOUSE_HAS(&h, kp_lease_read(&lease[i], &about) && about.revoked);
        give(&h, &lease[meanwhile], 3 - meanwhile);
        house_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_its_deadline_each_must_be_revoked_and_told_to_be_out),
        cmocka_unit_test(without_a_deadline_nothing_must_be_revoked),
        cmocka_unit_test(who_comes_back_in_time_must_be_spared),
        cmocka_unit_test(an_answer_that_comes_late_must_find_the_pool),
        cmocka_unit_test(one_that_cannot_be_revoked_must_be_asked_for_once),
        cmocka_unit_test(who_comes_back_while_another_is_revoked_must_be_spared),
        cmocka_unit_test(one_got_without_a_clock_must_be_told_without_an_age),
        cmocka_unit_test(those_who_share_one_must_lose_it_together),
    };
    return cmocka_run_group_tests_name("revoke at the close", tests, NULL, NULL);
}
