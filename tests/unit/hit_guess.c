/* SPDX-License-Identifier: MIT
 *
 * Guesses that are wrong, by chance or by intent: the test changes numbers of lines as chance
 * hardly ever would, and that must not be visible from outside.
 */
#include "hit_stage.h"

#include "base/mix.h"
#include "core/guide.h"

/* ---- the same quick hash --------------------------------------------------------------------- */

/* Two keys of eight bytes with the same entry in the same bucket of a guide of so many bits: by the
 * birthday paradox there are some among half a million. */
static void find_twins(uint64_t seed, uint32_t bits, uint64_t *one, uint64_t *other)
{
    enum { ROOM = 1 << 22 };
    uint64_t *seen = calloc(ROOM, sizeof *seen), x = 0;
    uint64_t mask = UINT64_C(0xffffffff) << 32 | ((UINT64_C(8) << bits) - 1);

    assert_non_null(seen);
    for (*one = 0; *one == 0;) {
        *other = x += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t hash = kp__quick_hash(seed, other, sizeof *other) & mask;
        uint64_t *at = &seen[(hash >> 40 ^ hash << 20 ^ hash >> 32) % ROOM];
        while (*at && (kp__quick_hash(seed, at, sizeof *at) & mask) != hash)
            at = at + 1 < seen + ROOM ? at + 1 : seen;
        *one = *at; /* or 0: there is none so far */
        *at = *other;
    }
    free(seen);
}

/* The quick hash leads to another key's lane: nothing of that may be seen. */
static void a_key_with_the_quick_hash_of_another_must_be_lent_its_own(void)
{
    uint64_t one, other;

    hit_open((kp_options){ 0 });
    hit_stock(kp_str("any"), 1); /* now there is a guide */
    find_twins(hit.pool->quick_seed, atomic_load(&hit.pool->guide)->bits, &one, &other);
    kp_key a = kp_bytes(&one, sizeof one), b = kp_bytes(&other, sizeof other);
    hit_stock(a, 1);
    uint64_t of_a = hit.gets, of_b = 0, before = hit_stats(a).gets;
    hit_warm(a);
    for (int i = 0; i < 5; i++) {
        kp_lease mine = hit_take(b), its = hit_take(a);
        hit_assert_of(&mine, b);
        hit_assert_of(&its, a);
        hit_give(&mine);
        hit_give(&its);
        of_b++;
    }
    /* what was lent by mistake did not count as a get */
    assert_int_equal(hit_stats(b).gets, of_b);
    assert_int_equal(hit_stats(b).hits, of_b - 1);
    assert_int_equal(hit_stats(a).gets - before, hit.gets - of_a - of_b);
    assert_int_equal(hit_stats(a).hits, hit_stats(a).gets - 1);
}

/* ---- leading astray -------------------------------------------------------------------------- */

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
    kp__guide_enter(hit_core(pool)->guide, hash_in(pool, from), to);
}

/* As long as the first of its row or longer, and with other bytes in one place only. */
static void a_key_that_leads_to_another_must_be_lent_its_own(void)
{
    static const char *const keys[][6] = {
        { "ann", "bob", "robert", "ann who is brief", "an", "ann who is longer than that" },
        { "ann who is brief", "bnn who is brief", "ann who is brieg", "ann who it brief", "ann",
          "ann who is longer than that" },
        { "ann who is longer than that", "bnn who is longer than that", "bob",
          "ann who is longer than thau", "ann who is longer than that is", "ann who is brief" },
    };

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
        hit_assert_of(&lease, own);
        hit_give(&lease);
        assert_int_equal(hit.gets - warm, 1);
        kp_stats after = hit_stats(other);
        assert_int_equal(after.gets - after.hits, before.gets - before.hits);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
        hit_again();
    }
}

static void a_key_that_leads_to_another_pool_must_be_lent_its_own(void)
{
    static const char *const keys[] = { "k", "a key that is longer than brief" };

    for (int i = 0; i < 4; i++) {
        kp_key key = kp_str(keys[i / 2]);
        kp_lease lease;
        kp_pool *other = hit_open((kp_options){ 0 });
        hit_stock(key, 1);
        uint64_t gets = hit.gets;
        hit_open((kp_options){ 0 });
        hit_stock(key, 1);
        lead(hit.pool, key, way_to(other, key));
        lease = hit_take_asking(key, i % 2 ? KP_IN_S(30) : NULL);
        hit_assert_of(&lease, key);
        hit_give(&lease);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets - gets);
        kp_stats s;
        assert_int_equal(kp_stats_read(other, KP_EVERY_KEY, &s), 0);
        assert_int_equal(s.gets, gets);
        assert_int_equal(s.lent, 0);
        hit_close(other);
        hit_again();
    }
}

/* The cell of the one is the other's by then. */
static void who_asks_for_a_key_without_resources_must_leave_others_alone(void)
{
    kp_key ann = kp_str("ann"), bob = kp_str("bob");

    hit_open((kp_options){ 0 });
    hit_stock(ann, 1);
    uint32_t way = way_to(hit.pool, ann);
    kp_lease lease = hit_take(ann);
    hit_discard(&lease);
    hit_stock(bob, 1);
    assert_int_equal(way_to(hit.pool, bob), way);
    assert_int_equal(kp__guide_find(atomic_load(&hit.pool->guide), hash_in(hit.pool, ann)), 0);
    hit_use(ann);
    HIT_SHORT(lease = hit_take(bob));
    HIT_SHORT(hit_give(&lease));
    hit_warm(ann);
}

/* A guide is empty after it grew; a get with the lock finds the lane open all the same. */
static void a_key_that_its_guide_forgot_must_be_known_again_after_one_get(void)
{
    static const char *const keys[] = { "k", "a key that is longer than brief" };

    hit_open((kp_options){ 0 });
    for (int i = 0; i < 2; i++) {
        kp_key key = kp_str(keys[i]);
        hit_stock(key, 1);
        uint32_t way = way_to(hit.pool, key);
        kp__guide_leave(hit_core(hit.pool)->guide, hash_in(hit.pool, key));
        hit_use(key);
        assert_int_equal(way_to(hit.pool, key), way);
    }
}

/* As if its cell had gone to another lane just now. */
static void a_lane_with_a_cell_of_another_must_lend_nothing_of_it(void)
{
    kp_key pin, ann = kp_str("ann, which is longer than brief"), bob = kp_str("bob");

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
        hit_core(hit.pool)->lanes = false; /* the other lane stays shut, and is not found again */
        kp_lease lease;
        HIT_LONG(lease = hit_take(pinned ? pin : ann));
        hit_assert_of(&lease, ann);
        atomic_store(&lane->cell, own);
        hit_core(hit.pool)->lanes = true;
        hit_give(&lease);
        if (pinned) kp_unpin(hit.pool, &pin);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
        hit_again();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_key_with_the_quick_hash_of_another_must_be_lent_its_own),
        HIT_TEST(a_key_that_leads_to_another_must_be_lent_its_own),
        HIT_TEST(a_key_that_leads_to_another_pool_must_be_lent_its_own),
        HIT_TEST(who_asks_for_a_key_without_resources_must_leave_others_alone),
        HIT_TEST(a_key_that_its_guide_forgot_must_be_known_again_after_one_get),
        HIT_TEST(a_lane_with_a_cell_of_another_must_lend_nothing_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
