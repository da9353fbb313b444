/* SPDX-License-Identifier: MIT
 *
 * Keys that are described by their fields have hits without the lock, too: what counts is the
 * contents of the fields, not where they lie or what lies between them.
 */
#include "hit_stage.h"

#include "core/guide.h"
#include "flow/key.h"

struct place {
    char zone;                          /* padding after it */
    int32_t port;
    const char *host;
    char name[8];
};

static const kp_field fields[] = { KP_INT(struct place, zone), KP_INT(struct place, port),
                                   KP_STR(struct place, host), KP_TEXT(struct place, name),
                                   KP_END };
static const kp_key_type by_place = { .size = sizeof(struct place), .fields = fields };

/* The same place each time, and nothing else the same. */
static struct place *place_at(char zone, int32_t port, const char *host, const char *name)
{
    static struct place places[8];
    static char hosts[8][400];
    static unsigned turn;
    unsigned i = turn++ % 8;

    memset(&places[i], (int)turn, sizeof places[i]);
    memset(hosts[i], (int)turn, sizeof hosts[i]);
    places[i].zone = zone;
    places[i].port = port;
    places[i].host = host ? strcpy(hosts[i], host) : NULL;
    memcpy(places[i].name, name, strlen(name) < 8 ? strlen(name) + 1 : 8);
    return &places[i];
}

static uint32_t way_to(kp_key key)
{
    const kp_pool *door = hit.pool;
    uint64_t hash = kp__key_quick(fields, atomic_load(&door->quick_seed), key.data);

    return kp__guide_find(atomic_load(&door->guide), hash);
}

static void lead(kp_key key, uint32_t to)
{
    kp_pool *door = hit.pool;
    uint64_t hash = kp__key_quick(fields, atomic_load(&door->quick_seed), key.data);

    kp__guide_enter(atomic_load(&door->guide), hash, to);
}

static void a_key_told_by_its_fields_must_take_the_short_cut(void)
{
    char most[300];
    const char *hosts[] = { "", NULL, "a", "a.example.org", most };

    memset(most, 'm', sizeof most - 1);
    most[sizeof most - 1] = '\0';
    hit_open((kp_options){ .key_type = by_place });
    for (int i = 0; i < 5; i++) hit_stock(KP_KEY(place_at('z', 80, hosts[i], "eightchr")), 1 + i);
    assert_int_equal(hit_stats(KP_EVERY_KEY).live, 2 + 3 + 4 + 5); /* NULL equals "" */
    for (int i = 1; i < 5; i++) hit_warm(KP_KEY(place_at('z', 80, hosts[i], "eightchr")));
    for (int round = 0; round < 40; round++) {
        kp_lease lease;
        struct place *place = place_at('z', 80, hosts[round % 5], "eightchr");
        HIT_SHORT(lease = hit_take(KP_KEY(place)));
        assert_string_equal(((struct place *)(void *)((struct item *)lease.resource)->key)->name,
                            "eightchr");
        HIT_SHORT(hit_give(&lease));
    }
}

/* As if their hashes were one. */
static void a_key_that_leads_to_another_must_be_lent_its_own(void)
{
    for (int i = 0; i < 4; i++) {
        kp_key own = KP_KEY(place_at('z', 80, "host", "name"));
        kp_key other = KP_KEY(place_at(i == 0 ? 'y' : 'z', i == 1 ? 81 : 80,
                                       i == 2 ? "hose" : "host", i == 3 ? "nam" : "name"));
        kp_lease lease;
        hit_open((kp_options){ .key_type = by_place });
        hit_stock(own, 1);
        hit_stock(other, 1);
        HIT_SHORT(lease = hit_take(own));
        void *its = lease.resource;
        hit_give(&lease);
        uint32_t way = way_to(own);
        lead(own, way_to(other));
        HIT_LONG(lease = hit_take(own));
        assert_ptr_equal(lease.resource, its);
        hit_give(&lease);
        hit_warm(own);
        assert_int_equal(way_to(own), way);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
        hit_again();
    }
}

static void what_is_no_key_of_the_pool_must_be_told(void)
{
    struct place *place = place_at('z', 80, "host", "name");
    struct { struct place place; int more; } longer = { .place = *place };
    kp_lease lease;

    hit_open((kp_options){ .key_type = by_place });
    hit_stock(KP_KEY(place), 1);
    assert_int_equal(kp_get(hit.pool, kp_bytes(place, sizeof *place), NULL, &lease), KP_EMISUSE);
    hit_assert_told(1, "this one is bytes");
    assert_int_equal(kp_get(hit.pool, kp_str("brief"), NULL, &lease), KP_EMISUSE);
    hit_assert_told(2, "this one is bytes");
    assert_int_equal(kp_get(hit.pool, KP_KEY(&longer), NULL, &lease), KP_EMISUSE);
    hit_assert_told(3, "another size");
    assert_int_equal(kp_get(hit.pool, KP_KEY((struct place *)NULL), NULL, &lease), KP_EMISUSE);
    hit_assert_told(4, "NULL pointer");
    HIT_SHORT(lease = hit_take(KP_KEY(place)));
    hit_give(&lease);
}

/* It must not be compared as bytes: what lies between its fields differs. */
static void a_small_struct_must_be_told_by_its_fields_only(void)
{
    struct small { char a; int32_t b; } keys[2];
    static const kp_field both[] = { KP_INT(struct small, a), KP_INT(struct small, b), KP_END };
    kp_lease lease;

    memset(keys, 0x55, sizeof keys[0]);
    memset(keys + 1, 0xaa, sizeof keys[1]);
    for (int i = 0; i < 2; i++) keys[i].a = 'a', keys[i].b = 7;
    hit_open((kp_options){ .key_type = { .size = sizeof keys[0], .fields = both } });
    hit_stock(KP_KEY(&keys[0]), 1);
    for (int i = 0; i < 8; i++) {
        HIT_SHORT(lease = hit_take(KP_KEY(&keys[i % 2])));
        HIT_SHORT(hit_give(&lease));
    }
    keys[1].b++;
    hit_stock(KP_KEY(&keys[1]), 1);
    assert_int_equal(hit_stats(KP_EVERY_KEY).keys, 2);
}

static uint64_t hash_of(const void *key, uint64_t seed, void *ctx)
{
    (void)key, (void)ctx;
    return seed;
}

static bool equal(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return *(const int *)a == *(const int *)b;
}

static int copy(const void *from, void *to, void *ctx)
{
    (void)ctx;
    memcpy(to, from, sizeof(int));
    return 0;
}

static void keys_told_by_functions_must_take_the_long_way_unless_pinned(void)
{
    int key = 5;
    kp_key pin;
    kp_lease lease;

    hit_open((kp_options){ .key_type = { .size = sizeof key, .hash = hash_of, .equal = equal,
                                         .copy = copy } });
    for (int i = 0; i < 20; i++) {
        lease = hit_take(KP_KEY(&key));
        hit_give(&lease);
        assert_null(atomic_load(&hit.pool->guide));
    }
    assert_int_equal(kp_pin(hit.pool, KP_KEY(&key), &pin), 0);
    hit_warm(pin);
    kp_unpin(hit.pool, &pin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_key_told_by_its_fields_must_take_the_short_cut),
        HIT_TEST(a_key_that_leads_to_another_must_be_lent_its_own),
        HIT_TEST(what_is_no_key_of_the_pool_must_be_told),
        HIT_TEST(a_small_struct_must_be_told_by_its_fields_only),
        HIT_TEST(keys_told_by_functions_must_take_the_long_way_unless_pinned),
    };

    return cmocka_run_group_tests_name("unit/hit_fields", tests, NULL, NULL);
}
