/* SPDX-License-Identifier: MIT
 *
 * Tests of base/map.h: random operations against an array of flags, and the promises about growing.
 */
#include "base_kit.h"

#include "base/check.h"
#include "base/map.h"

struct thing {
    unsigned number;
    bool in;
    uint64_t hash;
    struct kp__map_node node;
};

static uint64_t hash_of(const struct kp__map_node *n)
{
    return KP__OF(n, struct thing, node)->hash;
}

static bool same_number(const struct kp__map_node *n, const void *ctx)
{
    return KP__OF(n, struct thing, node)->number == *(const unsigned *)ctx;
}

static size_t bytes_out;                /* arrays given to a map and not yet back */

static void take_back(void *array, size_t bytes, void *ctx)
{
    (void)ctx;
    bytes_out -= bytes;
    free(array);
}

/* What an owner does before it inserts. */
static void let_grow(struct kp__map *map)
{
    size_t bytes;
    void *spent = kp__map_spent(map, &bytes);

    if (spent != NULL)
        take_back(spent, bytes, NULL);
    bytes = kp__map_wants(map);
    if (bytes != 0) {
        void *array = calloc(1, bytes);

        assert_non_null(array);
        bytes_out += bytes;
        assert_null(kp__map_grow(map, array, bytes));
    }
}

static void a_map_without_an_array_must_be_empty(void **state)
{
    struct kp__map map = { .hash = hash_of };
    struct thing t = { .number = 1 };
    size_t bytes;

    (void)state;
    assert_false(kp__map_room(&map));
    assert_null(kp__map_find(&map, 1, same_number, &t.number));
    assert_false(kp__map_remove(&map, &t.node));
    assert_null(kp__map_spent(&map, &bytes));
    assert_true(kp__map_wants(&map) > 0);
}

static void an_array_that_comes_too_late_must_come_back(void **state)
{
    struct kp__map map = { .hash = hash_of };
    size_t bytes = kp__map_wants(&map);
    void *first = calloc(1, bytes), *second = calloc(1, bytes);

    (void)state;
    bytes_out = bytes;
    assert_null(kp__map_grow(&map, first, bytes));
    assert_ptr_equal(kp__map_grow(&map, second, bytes), second);
    assert_ptr_equal(kp__map_grow(&map, second, 0), second);
    free(second);
    kp__map_fini(&map, take_back, NULL);
    assert_int_equal(bytes_out, 0);
    assert_false(kp__map_room(&map));
}

static void only_a_node_in_the_map_may_be_removed(void **state)
{
    struct kp__map map = { .hash = hash_of };
    struct thing a = { .number = 1 }, b = { .number = 2 };

    (void)state;
    bytes_out = 0;
    let_grow(&map);
    kp__map_insert(&map, &a.node);      /* both hashes are 0 */
    assert_false(kp__map_remove(&map, &b.node));
    kp__map_insert(&map, &b.node);
    assert_true(kp__map_remove(&map, &a.node));
    assert_false(kp__map_remove(&map, &a.node));
    assert_ptr_equal(kp__map_find(&map, 0, same_number, &b.number), &b.node);
    assert_int_equal(map.count, 1);
    kp__map_fini(&map, take_back, NULL);
}

/* ---- growing --------------------------------------------------------------------------------- */

enum { MANY = 50000 };

static struct thing many[MANY];

static void growth_must_be_complete_before_the_next_is_due(void **state)
{
    struct kp__map map = { .hash = hash_of };

    (void)state;
    kit_seed();
    bytes_out = 0;
    for (unsigned i = 0; i < MANY; i++) {
        size_t moved;

        let_grow(&map);
        assert_true(map.count < map.buckets);
        moved = map.moved;
        many[i].number = i;
        many[i].hash = kit_random();
        kp__map_insert(&map, &many[i].node);
        assert_true(map.moved - moved <= 4);    /* "a few" */
    }
    for (unsigned i = 0; i < MANY; i++)
        assert_ptr_equal(kp__map_find(&map, many[i].hash, same_number, &i), &many[i].node);
    kp__map_fini(&map, take_back, NULL);
    assert_int_equal(bytes_out, 0);
}

static void a_map_that_is_refused_growth_must_still_hold_everything(void **state)
{
    struct kp__map map = { .hash = hash_of };
    size_t wanted;

    (void)state;
    kit_seed();
    bytes_out = 0;
    let_grow(&map);
    for (unsigned i = 0; i < 1000; i++) {
        many[i].number = i;
        many[i].hash = kit_random();
        kp__map_insert(&map, &many[i].node);
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_ptr_equal(kp__map_find(&map, many[i].hash, same_number, &i), &many[i].node);
    wanted = kp__map_wants(&map);
    assert_int_equal(wanted, 2 * bytes_out);    /* and goes on asking */
    kp__map_fini(&map, take_back, NULL);
}

static void an_array_being_emptied_must_come_back_once_it_is(void **state)
{
    struct kp__map map = { .hash = hash_of };
    size_t first, bytes = 0;
    void *spent = NULL;
    unsigned i, none = MANY;

    (void)state;
    bytes_out = 0;
    let_grow(&map);
    first = bytes_out;
    for (i = 0; kp__map_wants(&map) == 0; i++) {
        many[i].number = i;
        many[i].hash = i;
        kp__map_insert(&map, &many[i].node);
    }
    let_grow(&map);
    assert_null(kp__map_spent(&map, &bytes));
    for (i = 0; spent == NULL; i++) {           /* finding alone completes the move */
        assert_true(i < first);
        assert_null(kp__map_find(&map, none, same_number, &none));
        spent = kp__map_spent(&map, &bytes);
    }
    assert_int_equal(bytes, first);
    take_back(spent, bytes, NULL);
    assert_null(kp__map_spent(&map, &bytes));
    kp__map_fini(&map, take_back, NULL);
    assert_int_equal(bytes_out, 0);
}

static void a_map_must_not_want_growth_until_the_last_one_is_over(void **state)
{
    struct kp__map map = { .hash = hash_of };
    size_t bytes;
    void *spent;

    (void)state;
    kit_seed();
    bytes_out = 0;
    let_grow(&map);
    for (unsigned i = 0; i < 1000; i++) {
        many[i].number = i;
        many[i].hash = kit_random();
        kp__map_insert(&map, &many[i].node);
        if (i == 100)
            let_grow(&map);
        else if (i > 100)
            assert_int_equal(kp__map_wants(&map), 0);
    }
    spent = kp__map_spent(&map, &bytes);
    assert_non_null(spent);             /* over as soon as its owner has taken this */
    take_back(spent, bytes, NULL);
    assert_true(kp__map_wants(&map) > 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_ptr_equal(kp__map_find(&map, many[i].hash, same_number, &i), &many[i].node);
    kp__map_fini(&map, take_back, NULL);
    assert_int_equal(bytes_out, 0);
}

/* ---- random operations ----------------------------------------------------------------------- */

enum { THINGS = 600, STEPS = 60000 };

/* hash_bits few: long chains of equal hashes. growth_in: let it grow at one of so many inserts. */
static void must_agree_with_flags(unsigned hash_bits, unsigned growth_in)
{
    struct kp__map map = { .hash = hash_of };
    size_t in = 0;

    bytes_out = 0;
    let_grow(&map);
    for (unsigned i = 0; i < THINGS; i++)
        many[i] = (struct thing){ .number = i, .hash = kit_random() >> (64 - hash_bits) };
    for (int step = 0; step < STEPS; step++) {
        /* Drift through the numbers, so that the map fills up and empties again. */
        struct thing *t = &many[((unsigned)step / 100 + kit_below(THINGS / 2)) % THINGS];
        struct kp__map_node *found = kp__map_find(&map, t->hash, same_number, &t->number);

        assert_ptr_equal(found, t->in ? &t->node : NULL);
        if (!t->in) {
            if (kit_below(growth_in) == 0)
                let_grow(&map);
            kp__map_insert(&map, &t->node);
            in++;
        } else {
            assert_true(kp__map_remove(&map, &t->node));
            in--;
        }
        t->in = !t->in;
        assert_int_equal(map.count, in);
    }
    for (unsigned i = 0; i < THINGS; i++)
        assert_int_equal(kp__map_remove(&map, &many[i].node), many[i].in);
    assert_int_equal(map.count, 0);
    kp__map_fini(&map, take_back, NULL);
    assert_int_equal(bytes_out, 0);
}

static void a_map_must_hold_what_was_inserted_and_not_removed(void **state)
{
    (void)state;
    kit_seed();
    must_agree_with_flags(64, 1);
    must_agree_with_flags(64, 30);
    must_agree_with_flags(5, 1);
    must_agree_with_flags(1, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_without_an_array_must_be_empty),
        cmocka_unit_test(an_array_that_comes_too_late_must_come_back),
        cmocka_unit_test(only_a_node_in_the_map_may_be_removed),
        cmocka_unit_test(growth_must_be_complete_before_the_next_is_due),
        cmocka_unit_test(a_map_that_is_refused_growth_must_still_hold_everything),
        cmocka_unit_test(an_array_being_emptied_must_come_back_once_it_is),
        cmocka_unit_test(a_map_must_not_want_growth_until_the_last_one_is_over),
        cmocka_unit_test(a_map_must_hold_what_was_inserted_and_not_removed),
    };

    return cmocka_run_group_tests_name("base/map", tests, NULL, NULL);
}
