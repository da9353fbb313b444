/* SPDX-License-Identifier: MIT
 *
 * Guesses that lead nowhere: an entry of a guide that looks like the right one, and is not, may
 * name a line that does not exist.
 */
#include "hit_stage.h"

#include "base/mix.h"
#include "core/guide.h"

static uint64_t hash_in(kp_pool *pool, kp_key key)
{
    return kp__quick_hash(atomic_load(&pool->quick_seed), key.data, key.size);
}

static void a_guess_that_leads_to_no_line_must_take_the_long_way(void)
{
    static const char *const keys[] = { "k", "a key that is longer than brief" };

    for (int i = 0; i < 4; i++) {
        kp_key key = kp_str(keys[i / 2]);
        kp_ask ask = { .tag = "asked" };
        hit_open((kp_options){ 0 });
        hit_stock(key, 1);
        uint32_t wild[] = { atomic_load(&kp__cells.made), KP__TO_LANE - 1, KP__TO_LANE,
                            KP__TO_LANE | atomic_load(&kp__lanes.made), UINT32_MAX };
        struct kp__guide *guide = atomic_load(&hit.pool->guide);
        uint64_t hash = hash_in(hit.pool, key);
        uint32_t way = kp__guide_find(guide, hash);
        for (size_t w = 0; w < sizeof wild / sizeof wild[0]; w++) {
            kp_lease lease;
            kp__guide_enter(guide, hash, wild[w]);
            assert_int_equal(kp_get(hit.pool, key, i % 2 ? &ask : NULL, &lease), 0);
            hit.gets++;
            assert_memory_equal(((struct item *)lease.resource)->key, key.data, key.size);
            kp_release(&lease);
            assert_int_equal(kp__guide_find(guide, hash), way);
        }
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
        hit_again();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_guess_that_leads_to_no_line_must_take_the_long_way),
    };

    return cmocka_run_group_tests_name("unit/hit_wild", tests, NULL, NULL);
}
