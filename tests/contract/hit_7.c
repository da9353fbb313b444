/* SPDX-License-Identifier: MIT
 *
 * Guesses that are wrong, by hand: numbers of lines are changed as nobody's luck would have it, and
 * nothing of it may be seen from outside. And what is no guess at all: keys, pins and leases that
 * the short cut leaves to the long way.
 */
#include "base/mix.h"
#include "hit.h"

/* ---- leading astray -------------------------------------------------------------------------- */

static struct kp__core *core_of(kp_pool *pool)
{
    return &atomic_load(&pool->pool)->core;
}

static uint64_t hash_in(kp_pool *pool, kp_key key)
{
    return kp__quick_hash(atomic_load(&pool->quick_seed), key.data, key.size);
}

static uint32_t way_to(kp_pool *pool, kp_key key)
{
    uint32_t to = kp__guide_find(atomic_load(&pool->guide), hash_in(pool, key));

    assert_int_not_equal(to, 0);
    return to;
}

static struct kp__lane *lane_of(kp_pool *pool, kp_key key)
{
    uint32_t to = way_to(pool, key);

    return kp__lane_at(to & KP__TO_LANE ? to & ~KP__TO_LANE : kp__cell_at(to)->lane);
}

/* From now on `from` leads where another key leads, maybe of another pool. */
static void lead(kp_pool *pool, kp_key from, uint32_t to)
{
    kp__guide_enter(core_of(pool)->guide, hash_in(pool, from), to);
}

/* As long as the first of its row or longer, and with other bytes in one place only. */
static void a_key_that_leads_to_another_must_be_lent_its_own(void **state)
{
    static const char *const keys[][6] = {
        { "ann", "bob", "robert", "ann who is brief", "an", "ann who is longer than that" },
        { "ann who is brief", "bnn who is brief", "ann who is brieg", "ann who it brief", "ann",
          "ann who is longer than that" },
        { "ann who is longer than that", "bnn who is longer than that", "bob",
          "ann who is longer than thau", "ann who is longer than that is", "ann who is brief" },
    };

    (void)state;
    for (int i = 0; i < 3 * 5 * 2; i++) {
        kp_key own = kp_str(keys[i / 10][0]), other = kp_str(keys[i / 10][1 + i / 2 % 5]);
        kp_lease lease;
        hit_open((kp_options){ 0 });
        hit_stock(own, 1);
        hit_stock(other, 1);
        kp_stats before = hit_stats(other);
        hit_warm(other);
        uint64_t warm = hit.gets;
        lead(hit.pool, own, way_to(hit.pool, other));
        HIT_LONG(lease = hit_take_asking(own, i % 2 ? KP_IN_S(30) : NULL));
        assert_memory_equal(((struct item *)lease.resource)->key, own.data, own.size);
        hit_give(&lease);
        uint64_t mine = hit.gets - warm;
        kp_stats after = hit_stats(other);
        assert_int_equal(mine, 1);
        assert_int_equal(after.gets - after.hits, before.gets - before.hits);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
        hit_end(state);
        hit_begin(state);
    }
}

static void a_key_that_leads_to_another_pool_must_be_lent_its_own(void **state)
{
    static const char *const keys[] = { "k", "a key that is longer than brief" };

    (void)state;
    for (int i = 0; i < 4; i++) {
        kp_key key = kp_str(keys[i / 2]);
        kp_lease lease;
        hit_open((kp_options){ 0 });
        kp_pool *other = hit.pool;
        hit_stock(key, 1);
        uint64_t gets = hit.gets;
        hit_open((kp_options){ 0 });
        hit_stock(key, 1);
        lead(hit.pool, key, way_to(other, key));
        lease = hit_take_asking(key, i % 2 ? KP_IN_S(30) : NULL);
        assert_memory_equal(((struct item *)lease.resource)->key, key.data, key.size);
        hit_give(&lease);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets - gets);
        kp_stats s;
        assert_int_equal(kp_stats_read(other, KP_EVERY_KEY, &s), 0);
        assert_int_equal(s.gets, gets);
        assert_int_equal(s.lent, 0);
        assert_int_equal(kp_pool_close(other, KP_CLOSE_NOW, 0), 0);
        hit_end(state);
        hit_begin(state);
    }
}

static void a_key_without_bytes_must_be_lent_without_the_lock(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        kp_key key = kp_bytes(i % 2 ? "" : NULL, 0);
        hit_open((kp_options){ 0 });
        hit_stock(key, 1 + i / 2);
        for (int k = 0; k < 4; k++) {
            kp_lease lease;
            HIT_SHORT(lease = hit_take(key));
            HIT_SHORT(hit_give(&lease));
        }
        hit_end(state);
        hit_begin(state);
    }
}

/* The cell of the one is the other's by then. */
static void who_asks_for_a_key_without_resources_must_leave_others_alone(void **state)
{
    kp_key ann = kp_str("ann"), bob = kp_str("bob");

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(ann, 1);
    uint32_t way = way_to(hit.pool, ann);
    kp_lease lease = hit_take(ann);
    ((struct item *)lease.resource)->users--;
    kp_discard(&lease);
    hit_stock(bob, 1);
    assert_int_equal(way_to(hit.pool, bob), way);
    assert_int_equal(kp__guide_find(atomic_load(&hit.pool->guide), hash_in(hit.pool, ann)), 0);
    lease = hit_take(ann);
    hit_give(&lease);
    HIT_SHORT(lease = hit_take(bob));
    HIT_SHORT(hit_give(&lease));
    hit_warm(ann);
}

/* Guides begin empty when they grow; who comes with the lock finds the lane open all the same. */
static void a_key_that_its_guide_forgot_must_be_known_again_after_one_get(void **state)
{
    static const char *const keys[] = { "k", "a key that is longer than brief" };

    (void)state;
    hit_open((kp_options){ 0 });
    for (int i = 0; i < 2; i++) {
        kp_key key = kp_str(keys[i]);
        hit_stock(key, 1);
        uint32_t way = way_to(hit.pool, key);
        kp__guide_leave(core_of(hit.pool)->guide, hash_in(hit.pool, key));
        kp_lease lease = hit_take(key);
        hit_give(&lease);
        assert_int_equal(way_to(hit.pool, key), way);
    }
}

/* As if its cell had gone to another lane just now. */
static void a_lane_with_a_cell_of_another_must_lend_nothing_of_it(void **state)
{
    kp_key pin, ann = kp_str("ann, which is longer than brief"), bob = kp_str("bob");

    (void)state;
    for (int pinned = 0; pinned < 2; pinned++) {
        hit_open((kp_options){ 0 });
        hit_stock(ann, 1);
        hit_stock(bob, 1);
        if (pinned) {
            assert_int_equal(kp_pin(hit.pool, ann, &pin), 0);
            hit_warm(ann);
        }
        struct kp__lane *lane = lane_of(hit.pool, ann), *other = lane_of(hit.pool, bob);
        uint32_t own = atomic_load(&lane->cell);
        atomic_store(&lane->cell, atomic_load(&other->cell));
        core_of(hit.pool)->lanes = false; /* the other one's stays shut, and is not found again */
        kp_lease lease;
        HIT_LONG(lease = hit_take(pinned ? pin : ann));
        assert_memory_equal(((struct item *)lease.resource)->key, "ann", 3);
        atomic_store(&lane->cell, own);
        core_of(hit.pool)->lanes = true;
        hit_give(&lease);
        if (pinned) kp_unpin(hit.pool, &pin);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
        hit_end(state);
        hit_begin(state);
    }
}

/* ---- left to the long way -------------------------------------------------------------------- */

static int create_of_any_size(kp_job *job, void **out)
{
    (void)job;
    *out = &hit.item[atomic_fetch_add(&hit.made, 1)];
    return 0;
}

static void a_key_of_more_bytes_than_are_guided_must_be_lent_all_the_same(void **state)
{
    static char text[KP__GUIDED_MOST + 1];
    kp_key key = kp_bytes(text, sizeof text);
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ .driver.create = create_of_any_size });
    for (int i = 0; i < 3; i++) { /* with the lock, and its lane stays open */
        lease = hit_take(key);
        hit_give(&lease);
    }
    assert_int_equal(hit.made, 1);
    HIT_LONG(lease = hit_take(kp_bytes(text, KP__GUIDED_MOST)));
    hit_give(&lease);
    hit_warm(kp_bytes(text, KP__GUIDED_MOST));
}

static void a_key_without_bytes_that_has_a_size_must_be_misuse(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("k"), 1);
    assert_int_equal(kp_get(hit.pool, kp_bytes(NULL, 3), NULL, &lease), KP_EMISUSE);
    hit_assert_told(1, "size");
}

static void an_ask_must_be_looked_at_whichever_key_it_is_for(void **state)
{
    kp_key pin, keys[] = { kp_str("brief"), kp_str("a key that is longer than brief"), { 0 } };

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    assert_int_equal(kp_pin(hit.pool, kp_str("pinned"), &pin), 0);
    keys[2] = pin;
    for (int i = 0; i < 3; i++) {
        kp_why why = { .code = 77 };
        kp_ask asks[] = { { .why = &why }, { .until = kp_deadline_in(hit.pool, 60000) } };
        kp_ask at_once = { .flags = KP_DONT_WAIT };
        kp_lease lease, none;
        hit_stock(keys[i], 1);
        HIT_SHORT(lease = hit_take_asking(keys[i], &asks[0]));
        assert_int_equal(why.code, 0);
        assert_int_equal(kp_get(hit.pool, keys[i], &at_once, &none), KP_EAGAIN);
        hit_give(&lease);
        hit_warm(keys[i]);
        HIT_LONG(lease = hit_take_asking(keys[i], &asks[1]));
        hit_give(&lease);
        assert_int_equal(kp_get(NULL, keys[i], NULL, &none), KP_EMISUSE);
        assert_int_equal(kp_get(NULL, keys[i], &asks[0], &none), KP_EMISUSE);
        assert_int_equal(why.code, KP_EMISUSE);
    }
    hit_assert_told(6, "pool is NULL");
    kp_unpin(hit.pool, &pin);
}

static void a_pin_of_another_pool_must_be_told(void **state)
{
    kp_key pin;
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    kp_pool *other = hit.pool;
    assert_int_equal(kp_pin(other, kp_str("k"), &pin), 0);
    hit_open((kp_options){ 0 });
    assert_int_equal(kp_get(hit.pool, pin, NULL, &lease), KP_EMISUSE); /* it has no key yet */
    hit_stock(kp_str("k"), 1);
    assert_int_equal(kp_get(hit.pool, pin, NULL, &lease), KP_EMISUSE);
    hit_assert_told(2, "pinned key is not of this pool");
    kp_unpin(other, &pin);
    assert_int_equal(kp_pool_close(other, KP_CLOSE_NOW, 0), 0);
}

static void a_lease_of_a_place_that_was_never_used_must_be_told(void **state)
{
    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("k"), 1);
    kp_lease lease = hit_take(kp_str("k")), forged = lease;
    struct kp__slab *slots = &core_of(hit.pool)->slots;
    struct kp__slot *slot = kp__slab_take(slots);
    forged.opaque[0] = (lease.opaque[0] >> 32) << 32 | slot->item.index;
    kp__slab_put(slots, slot);
    kp_release(&forged);
    hit_assert_told(1, "not a lease");
    hit_give(&lease);
}

static void who_comes_to_shut_lanes_of_a_pool_that_is_gone_must_do_nothing(void **state)
{
    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("k"), 1);
    kp__terms_end(hit.pool); /* nothing is due */
    assert_true(hit_is_open());
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, 0), 0);
    kp__terms_end(hit.pool);
    hit.pool = NULL;
}

static void no_lease_at_all_must_be_ended_by_doing_nothing(void **state)
{
    (void)state;
    hit_open((kp_options){ 0 });
    kp_release(NULL);
    kp_discard(NULL);
    assert_int_equal(hit.misuses, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_key_that_leads_to_another_must_be_lent_its_own),
        HIT_TEST(a_key_that_leads_to_another_pool_must_be_lent_its_own),
        HIT_TEST(a_key_without_bytes_must_be_lent_without_the_lock),
        HIT_TEST(who_asks_for_a_key_without_resources_must_leave_others_alone),
        HIT_TEST(a_key_that_its_guide_forgot_must_be_known_again_after_one_get),
        HIT_TEST(a_lane_with_a_cell_of_another_must_lend_nothing_of_it),
        HIT_TEST(a_key_of_more_bytes_than_are_guided_must_be_lent_all_the_same),
        HIT_TEST(a_key_without_bytes_that_has_a_size_must_be_misuse),
        HIT_TEST(an_ask_must_be_looked_at_whichever_key_it_is_for),
        HIT_TEST(a_pin_of_another_pool_must_be_told),
        HIT_TEST(a_lease_of_a_place_that_was_never_used_must_be_told),
        HIT_TEST(who_comes_to_shut_lanes_of_a_pool_that_is_gone_must_do_nothing),
        HIT_TEST(no_lease_at_all_must_be_ended_by_doing_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
