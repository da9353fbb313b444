/* SPDX-License-Identifier: MIT
 *
 * A full table of keys (budget.max_keys): the event that a key was forgotten for another one comes
 * when the new key is there and can be used; a key with memory of its own is dropped, once. Which
 * key goes: regress/r10.
 */
#include "house.h"

static unsigned copies, drops, again;

static uint64_t hash(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return (uint64_t)*(const int *)key ^ seed;
}

static bool equal(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return *(const int *)a == *(const int *)b;
}

static int copy(const void *from, void *to, void *ctx)
{
    (void)ctx;
    copies++;
    *(int *)to = *(const int *)from;
    return 0;
}

static void drop(void *key, void *ctx)
{
    (void)key;
    (void)ctx;
    drops++;
}

static void a_copy_of_a_key_must_be_dropped_when_it_goes_for_another(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    kp_lease lease;

    (void)state;
    copies = drops = 0;
    o.key_type = (kp_key_type){ .size = sizeof(int), .hash = hash, .equal = equal, .copy = copy,
                                .drop = drop };
    o.budget.max_keys = 2;
    o.limits.on_return = KP_DESTROY;
    house_open(&h, &o);
    for (int i = 0; i < 10; i++) {
        HOUSE_IS(&h, kp_get(h.pool, KP_KEY(&i), NULL, &lease), 0);
        kp_release(&lease);
        HOUSE_IS(&h, copies, i + 1);
        HOUSE_IS(&h, drops, i < 2 ? 0 : i - 1);
    }
    house_close(&h);
    assert_int_equal(drops, copies);
}

/* The key that is being made is there already: a get that comes meanwhile is served by it. */
static void get_the_new_one(struct house *h, const kp_event *event)
{
    kp_lease lease;

    if (event->kind != KP_EVENT_KEY_FORGOTTEN || again++ > 0) return;
    assert_string_equal(event->key.data, "old");
    HOUSE_IS(h, house_stats(h, NULL).keys, 1);
    HOUSE_IS(h, kp_get(h->pool, kp_str("new"), NULL, &lease), 0);
    kp_release(&lease);
    HOUSE_IS(h, kp_get(h->pool, kp_str("old"), NULL, &lease), KP_EFULL); /* it is in use */
}

static void who_hears_of_it_must_find_the_new_key_there(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    again = 0;
    o.budget.max_keys = 1;
    o.limits.on_return = KP_DESTROY;
    h.also = get_the_new_one;
    house_open(&h, &o);
    house_stock(&h, "old", 1);
    house_stock(&h, "new", 1);
    HOUSE_IS(&h, again, 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_KEY_MADE], 2);
    HOUSE_IS(&h, house_stats(&h, "new").gets, 2);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_of_a_key_must_be_dropped_when_it_goes_for_another),
        cmocka_unit_test(who_hears_of_it_must_find_the_new_key_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
