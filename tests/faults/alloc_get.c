/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out in scenes of getting (scenes.h plays them): each path of a get that does not
 * wait, in a scene of its own. The get is refused with KP_ENOMEM and holds nothing, or succeeds.
 */
#include "faults/scenes.h"

/* ---- getting --------------------------------------------------------------------------------- */

static void get_a(void)
{
    (void)MAY(get(0, "a"));
}

/* By contract it needs no memory: something is idle. */
static void hit_a(void)
{
    MUST(get(0, "a") == 0);
    give(0);
}

static void one_idle(void)
{
    stock("a", 1);
}

static void one_lent(void)
{
    MUST(get(1, "a") == 0);
}

static void get_fresh(void)
{
    (void)MAY(kp_get(s.pool, kp_str("a"), KP_ASK(.flags = KP_FRESH), &s.lease[0]));
}

static void one_of_all(kp_options *o)
{
    o->limits.max_live = 1;
    o->budget.max_live = 1;
}

static void one_of_another(void)
{
    stock("b", 1);
}

static void limits_by_key(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->max_live = (int64_t)key.size + 1;
    limits->group[0] = 7;
}

static void with_limits_for(kp_options *o)
{
    o->limits_for = limits_by_key;
}

static void with_groups(kp_options *o)
{
    o->limits_for = limits_by_key;
    o->budget.group_max_live[0] = 2;
    o->limits.group[1] = 3;
    o->budget.group_max_live[1] = 2;
}

struct shard { const char *host; int number; };

static const kp_field shard_fields[] = {
    KP_STR(struct shard, host), KP_INT(struct shard, number), KP_END,
};

static void structs(kp_options *o)
{
    o->key_type.size = sizeof(struct shard);
    o->key_type.fields = shard_fields;
}

static void get_struct(void)
{
    const struct shard key = { "db1.example", 7 };

    (void)MAY(kp_get(s.pool, KP_KEY(&key), KP_IN_MS(100), &s.lease[0]));
    kp_release(&s.lease[0]);
    (void)MAY(kp_pool_close(s.pool, KP_CLOSE_WAIT, 100)); /* scenes.h's "after" is no such key */
}

static uint64_t hash_int(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return seed + (uint64_t) * (const int *)key;
}

static bool equal_int(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return *(const int *)a == *(const int *)b;
}

static int copies;

static int copy_int(const void *from, void *to, void *ctx)
{
    (void)ctx;
    copies++;
    memcpy(to, from, sizeof(int));
    return 0;
}

static void drop_int(void *copied, void *ctx)
{
    (void)copied, (void)ctx;
    copies--;
}

static void own_keys(kp_options *o)
{
    o->key_type = (kp_key_type){ .size = sizeof(int), .hash = hash_int, .equal = equal_int,
                                 .copy = copy_int, .drop = drop_int };
}

static void get_int(void)
{
    const int key = 7;

    copies = 0;
    (void)MAY(kp_get(s.pool, KP_KEY(&key), KP_IN_MS(100), &s.lease[0]));
    kp_release(&s.lease[0]);
    (void)MAY(kp_pool_close(s.pool, KP_CLOSE_WAIT, 100));
    MUST(copies == 0);
}

static void pin_a(void)
{
    MUST(kp_pin(s.pool, kp_str("a"), &s.pinned) == 0);
}

static void get_pinned(void)
{
    (void)MAY(kp_get(s.pool, s.pinned, KP_IN_MS(100), &s.lease[0]));
    kp_release(&s.lease[0]);
    kp_unpin(s.pool, &s.pinned);
}

static void try_unknown(void)
{
    int rc = kp_try_get(s.pool, kp_str("a"), &s.lease[0]);

    if (rc != KP_EAGAIN) MUST(!MAY(rc));
}

static void only_take(void)
{
    int rc = kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 5, .flags = KP_DONT_CREATE),
                    &s.lease[0]);

    if (rc != KP_ETIMEDOUT) MUST(!MAY(rc));
}

static void shared(kp_options *o)
{
    o->limits.sharing = 3;
    o->limits.max_live = 1;
}

static void get_three(void)
{
    for (int i = 0; i < 3; i++) (void)MAY(get(i, "a"));
}

static void share_it(void)
{
    MUST(get(2, "a") == 0); /* there is a seat */
}

static void full_of_keys(void)
{
    char key[] = "k0";

    for (; key[1] < '0' + 60; key[1]++) stock(key, 1);
}

static void many_more_keys(void)
{
    char key[] = "m0";

    for (; key[1] < '0' + 70; key[1]++)
        if (MAY(get(0, key))) give(0);
}

static void many_live(kp_options *o)
{
    o->limits.max_live = 200;
    o->limits.max_idle = 200;
}

static void many_of_one(void)
{
    kp_lease lease[150];

    for (int i = 0; i < 150; i++)
        (void)MAY(kp_get(s.pool, kp_str("a"), KP_IN_MS(10), &lease[i]));
    for (int i = 0; i < 150; i++) kp_release(&lease[i]);
}

/* ---- creates that fail, or come late --------------------------------------------------------- */

static void fail_one(void)
{
    s.fail_creates = 1;
}

/* There may be no memory to keep the reason; the get that ran the create has it all the same. */
static void get_fails(void)
{
    kp_why why;
    int rc = kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 100, .why = &why), &s.lease[0]);

    s.fail_creates = 0;
    MUST(why.code == rc);
    if (rc == KP_ECREATE) MUST(why.vendor_code == 5 && strstr(why.text, "refused"));
    else (void)MAY(rc);
}

static void cached(kp_options *o)
{
    o->limits.cache_failure_ms = 1000;
}

static void told_again(void)
{
    kp_why why;

    get_fails();
    int rc = kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 100, .why = &why), &s.lease[1]);
    if (rc == KP_ECREATE) MUST(strstr(why.text, "refused"));
    else (void)MAY(rc); /* the failure was not kept for lack of memory: another try */
}

static void once(kp_options *o)
{
    o->limits.cache_failure_ms = KP_ONCE;
    o->limits.min_live = 1;
}

static void fail_in_the_background(void)
{
    const kp_key key = kp_str("a");

    MUST(kp_warm(s.pool, &key, 1, NULL) >= 0);
    pass(10);
    s.fail_creates = 0;
    int rc = get(0, "a");
    if (rc != KP_ECREATE) (void)MAY(rc);
}

static void fail_on(void)
{
    s.fail_creates = 1000;
}

/* Where there is no memory to keep a failure, the background pauses all the same. */
static void fail_on_in_the_background(void)
{
    const kp_key key = kp_str("a");

    MUST(kp_warm(s.pool, &key, 1, NULL) >= 0);
    pass(1000);
    MUST(s.fail_creates > 800);
    s.fail_creates = 0;
}

static void tries_on(kp_options *o)
{
    o->limits.on_create_failure = KP_FAIL_RETRY;
}

static void get_in_the_end(void)
{
    int rc = get(0, "a");

    if (rc == KP_ETIMEDOUT) rc = 0;
    (void)MAY(rc);
}

static void breaks(kp_options *o)
{
    o->limits.breaker_failures = 1;
    o->limits.breaker_open_ms = 100;
}

static void meet_the_breaker(void)
{
    get_fails();
    int rc = get(0, "a");
    if (rc != KP_EBREAKER) (void)MAY(rc);
    pass(200);
    if (!s.lease[0].resource) (void)MAY(get(0, "a"));
}

static void pauses(kp_options *o)
{
    o->limits.retry_first_ms = 50;
}

static void create_later(void)
{
    s.later = CREATE;
}

static void answer_soon(void *arg)
{
    pass(20);
    answer((int)(intptr_t)arg);
}

static void answer_by_itself(void)
{
    s.later = CREATE;
    MUST(kp_sim_spawn(s.sim, answer_soon, NULL) > 0);
}

static void refuse_by_itself(void)
{
    s.later = CREATE;
    MUST(kp_sim_spawn(s.sim, answer_soon, (void *)(intptr_t)-9) > 0);
}

static void get_answered(void)
{
    int rc = get(0, "a");

    s.later = AT_ONCE;
    if (rc != KP_ECREATE) (void)MAY(rc);
}

static void get_too_late(void)
{
    int rc = kp_get(s.pool, kp_str("a"), KP_IN_MS(5), &s.lease[0]);

    s.later = AT_ONCE;
    if (rc != KP_ETIMEDOUT) MUST(!MAY(rc));
    answer(0); /* goes idle */
}

/* ---- checks ---------------------------------------------------------------------------------- */

static void checked(kp_options *o)
{
    o->driver.validate = validate;
}

static void fail_check(void)
{
    one_idle();
    s.fail_validates = 1;
}

static void get_another(void)
{
    (void)MAY(get(0, "a"));
    s.fail_validates = 0;
}

static void check_later(void)
{
    one_idle();
    s.later = VALIDATE;
    MUST(kp_sim_spawn(s.sim, answer_soon, NULL) > 0);
}

static const scene scenes[] = {
    { "get, a new key", NULL, NULL, get_a, false },
    { "get, an idle one", NULL, one_idle, hit_a, false },
    { "get, one more of a key", NULL, one_lent, get_a, false },
    { "get fresh", NULL, one_lent, get_fresh, false },
    { "get fresh, in place of an idle one", one_of_all, one_idle, get_fresh, false },
    { "get, evicting another key's", one_of_all, one_of_another, get_a, false },
    { "get, limits_for", with_limits_for, NULL, get_a, false },
    { "get, groups", with_groups, NULL, get_a, false },
    { "get, a struct key", structs, NULL, get_struct, false },
    { "get, a key with functions", own_keys, NULL, get_int, false },
    { "get, a pinned key", NULL, pin_a, get_pinned, false },
    { "try_get, a new key", NULL, NULL, try_unknown, false },
    { "get without create, a new key", NULL, NULL, only_take, false },
    { "get, shared by three", shared, NULL, get_three, false },
    { "get, a seat that is free", shared, one_lent, share_it, false },
    { "get, many new keys", NULL, full_of_keys, many_more_keys, false },
    { "get, many of one key", many_live, NULL, many_of_one, false },
    { "create fails", NULL, fail_one, get_fails, false },
    { "create fails, kept for a time", cached, fail_one, told_again, false },
    { "create fails in the background, kept once", once, fail_one, fail_in_the_background, false },
    { "create goes on failing in the background", once, fail_on, fail_on_in_the_background,
      false },
    { "create fails, tried again", tries_on, fail_one, get_in_the_end, false },
    { "create fails, the circuit opens", breaks, fail_one, meet_the_breaker, false },
    { "create fails, then a pause", pauses, fail_one, get_fails, false },
    { "create answered later", NULL, answer_by_itself, get_answered, false },
    { "create refused later", NULL, refuse_by_itself, get_answered, false },
    { "create answered too late", NULL, create_later, get_too_late, false },
    { "validate", checked, one_idle, hit_a, false },
    { "validate fails", checked, fail_check, get_another, false },
    { "validate answered later", checked, check_later, get_another, false },
};

enum { SCENES = sizeof scenes / sizeof scenes[0] };

static void an_allocation_that_fails_alone_must_cost_one_get_at_most(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, false) > 100);
}

static void without_memory_a_get_must_be_refused_and_hold_nothing(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, true) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_that_fails_alone_must_cost_one_get_at_most),
        cmocka_unit_test(without_memory_a_get_must_be_refused_and_hold_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
