/* SPDX-License-Identifier: MIT
 *
 * Every function that looks at a key, with a key whose lane is open: it finds what there is now,
 * not what the books said when the lane opened; and the lane opens again afterwards.
 */
#include "hit_stage.h"

/* ---- counters and texts ---------------------------------------------------------------------- */

static void counters_must_say_what_was_lent_without_the_lock(void)
{
    kp_lease lease = hit_one_of(3);
    const kp_key keys[] = { K, KP_EVERY_KEY };
    for (int i = 0; i < 2; i++) {
        hit_warm(K);
        kp_stats s = hit_stats(keys[i]);
        assert_int_equal(s.lent, 1);
        assert_int_equal(s.idle, 2);
        assert_int_equal(s.gets, hit.gets);
        assert_int_equal(s.hits, hit.gets - 3);
    }
    hit_warm(K);
    HIT_SHORT(hit_give(&lease));
    assert_int_equal(hit_stats(K).idle, 3);
}

static int look(kp_key key, const kp_stats *s, void *arg)
{
    uint64_t *lent = arg;

    assert_int_equal(key.size, 1);
    assert_int_equal(s->live, 2);
    assert_int_equal(s->lent + s->idle, 2);
    *lent = *lent * 10 + s->lent;
    return 0;
}

static void each_key_must_be_shown_as_it_is_now(void)
{
    static const char *const names[] = { "a", "b", "c" };
    kp_lease lease[3];
    uint64_t lent = 0;

    hit_open((kp_options){ 0 });
    for (int i = 0; i < 3; i++) hit_stock(kp_str(names[i]), 2);
    HIT_SHORT(lease[0] = hit_take(kp_str("a")); lease[1] = hit_take(kp_str("c"));
              lease[2] = hit_take(kp_str("c")));
    assert_int_equal(kp_each_key(hit.pool, look, &lent), 0);
    assert_int_equal(lent, 102);
    for (int i = 0; i < 3; i++) hit_give(&lease[i]);
}

static void the_text_must_say_who_holds_what_was_lent_without_the_lock(void)
{
    char text[2000];
    kp_lease lease;

    hit_stand(1, (kp_options){ 0 });
    HIT_SHORT(lease = hit_take_asking(K, KP_ASK(.tag = "who")));
    assert_true(kp_explain(hit.pool, K, text, sizeof text) < sizeof text);
    assert_non_null(strstr(text, "lent for 0 ms to who"));
    assert_non_null(strstr(text, "idle 0, lent 1"));
    hit_give(&lease);
    hit_warm(K);
    assert_true(kp_explain(hit.pool, KP_EVERY_KEY, text, sizeof text) < sizeof text);
    assert_non_null(strstr(text, "idle 1, lent 0"));
    assert_null(strstr(text, "who"));
}

static void who_cannot_be_served_must_be_told_who_holds_it(void)
{
    kp_lease lease;
    kp_why why;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    HIT_SHORT(lease = hit_take_asking(K, KP_ASK(.tag = "who")));
    hit_refused(hit.pool, K, KP_ASK(.within_ms = KP_NONE, .why = &why), KP_EAGAIN);
    assert_string_equal(why.oldest_tag, "who");
    assert_in_range(why.oldest_lent_ms, 0, 60000);
    hit_give(&lease);
}

/* ---- invalidate ------------------------------------------------------------------------------ */

static void an_idle_one_must_be_invalidated_by_its_address(void)
{
    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    assert_int_equal(kp_invalidate(hit.pool, &hit.item[0]), 1);
    assert_int_equal(hit.item[0].destroyed, 1);
    assert_int_equal(kp_invalidate(hit.pool, &hit.item[0]), 0);
    kp_lease lease = hit_take(K);
    assert_ptr_equal(lease.resource, &hit.item[1]);
    hit_give(&lease);
}

static void a_lent_one_must_be_invalidated_by_its_address(void)
{
    kp_lease_about about;

    kp_lease lease = hit_one_of(2);
    struct item *item = lease.resource;
    assert_int_equal(kp_invalidate(hit.pool, item), 1);
    assert_int_equal(kp_invalidate(hit.pool, item), 0);
    assert_int_equal(item->destroyed, 0);
    hit_warm(K);
    assert_true(kp_lease_read(&lease, &about) && about.doomed);
    hit_warm(K); /* without the doomed one */
    hit_give(&lease);
    assert_int_equal(item->destroyed, 1);
}

static void all_of_a_key_must_be_invalidated_lent_or_idle(void)
{
    for (int i = 0; i < 2; i++) {
        kp_lease lease = hit_one_of(3);
        struct item *item = lease.resource;
        assert_int_equal(kp_invalidate_key(hit.pool, i ? KP_EVERY_KEY : K), 3);
        assert_int_equal(item->destroyed, 0);
        assert_int_equal(hit.gone, 2 + 3 * i);
        hit_give(&lease);
        assert_int_equal(item->destroyed, 1);
        kp_stats s = hit_stats(K);
        assert_int_equal(s.live, 0);
        assert_int_equal(s.gets, hit.gets);
        assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
        hit.pool = NULL;
        hit.gets = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(counters_must_say_what_was_lent_without_the_lock),
        HIT_TEST(each_key_must_be_shown_as_it_is_now),
        HIT_TEST(the_text_must_say_who_holds_what_was_lent_without_the_lock),
        HIT_TEST(who_cannot_be_served_must_be_told_who_holds_it),
        HIT_TEST(an_idle_one_must_be_invalidated_by_its_address),
        HIT_TEST(a_lent_one_must_be_invalidated_by_its_address),
        HIT_TEST(all_of_a_key_must_be_invalidated_lent_or_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
