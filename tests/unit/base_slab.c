/* SPDX-License-Identifier: MIT
 *
 * Tests of base/slab.h: where items lie, what they keep, and random takes and puts, compared with
 * an array.
 */
#include "base_kit.h"

#include "base/slab.h"

#include <stdbool.h>

struct thing {
    struct kp__slab_item header;
    uint64_t note;
};

static size_t bytes_out;                /* chunks given to a slab and not yet back */

static void take_back(void *chunk, size_t bytes, void *ctx)
{
    (void)ctx;
    bytes_out -= bytes;
    free(chunk);
}

static struct thing *take(struct kp__slab *s)
{
    size_t bytes = kp__slab_wants(s);

    if (bytes != 0) {
        void *chunk = aligned_alloc(64, bytes);

        assert_non_null(chunk);
        bytes_out += bytes;
        assert_null(kp__slab_extend(s, memset(chunk, 0xa5, bytes), bytes)); /* as it comes */
    }
    return kp__slab_take(s);
}

static void close_slab(struct kp__slab *s)
{
    kp__slab_fini(s, take_back, NULL);
    assert_int_equal(bytes_out, 0);
    assert_null(kp__slab_at(s, 0));
}

static void an_empty_slab_must_have_no_item(void **state)
{
    struct kp__slab s;

    (void)state;
    kp__slab_init(&s, sizeof(struct thing));
    assert_null(kp__slab_at(&s, 0));
    assert_null(kp__slab_at(&s, KP__SLAB_NONE));
    assert_null(kp__slab_take(&s));
    assert_int_equal(kp__slab_wants(&s), 64 * sizeof(struct thing));
}

static void an_index_must_find_its_item_and_no_other(void **state)
{
    enum { ITEMS = 64 + 128 + 256 + 1 };        /* into the fourth chunk */
    static struct thing *seen[ITEMS];
    struct kp__slab s;

    (void)state;
    kp__slab_init(&s, sizeof(struct thing));
    for (uint32_t i = 0; i < ITEMS; i++) {
        assert_null(kp__slab_at(&s, i));
        seen[i] = take(&s);
        assert_int_equal(seen[i]->header.index, i);
        assert_int_equal(seen[i]->note, 0);
        seen[i]->note = i;
    }
    for (uint32_t i = 0; i < ITEMS; i++) {
        assert_ptr_equal(kp__slab_at(&s, i), seen[i]);
        assert_int_equal(seen[i]->note, i);     /* nobody else wrote there */
    }
    assert_null(kp__slab_at(&s, ITEMS));
    close_slab(&s);
}

static void every_item_must_have_parts_of_its_own_which_nobody_touches(void **state)
{
    enum { ITEMS = 64 + 128 + 1, SIZE_0 = 24, SIZE_1 = 40 };
    struct kp__slab s;

    (void)state;
    kp__slab_init(&s, sizeof(struct thing));
    s.part_size[0] = SIZE_0;
    s.part_size[1] = SIZE_1;
    assert_int_equal(kp__slab_wants(&s), 64 * (sizeof(struct thing) + SIZE_0 + SIZE_1));
    for (uint32_t i = 0; i < ITEMS; i++) {
        struct thing *t = take(&s);
        unsigned char *part[] = { kp__slab_part(&s, i, 0), kp__slab_part(&s, i, 1) };
        t->note = i;
        for (int k = 0; k < SIZE_0; k++) assert_int_equal(part[0][k], 0xa5); /* as it came */
        for (int k = 0; k < SIZE_1; k++) assert_int_equal(part[1][k], 0xa5);
        memset(part[0], (int)(i % 251), SIZE_0);
        memset(part[1], (int)(i % 241), SIZE_1);
    }
    for (uint32_t i = 0; i < ITEMS; i++) {
        const unsigned char *part[] = { kp__slab_part(&s, i, 0), kp__slab_part(&s, i, 1) };
        assert_int_equal(((struct thing *)kp__slab_at(&s, i))->note, i);
        for (int k = 0; k < SIZE_0; k++) assert_int_equal(part[0][k], i % 251);
        for (int k = 0; k < SIZE_1; k++) assert_int_equal(part[1][k], i % 241);
    }
    close_slab(&s);
    assert_int_equal(s.part_size[1], SIZE_1); /* it may be used again */
}

static void an_item_taken_again_must_be_as_it_was_put(void **state)
{
    struct kp__slab s;
    struct thing *a, *b;

    (void)state;
    kp__slab_init(&s, sizeof(struct thing));
    a = take(&s);
    b = take(&s);
    a->note = 17;
    b->note = 18;
    kp__slab_put(&s, a);
    assert_ptr_equal(kp__slab_at(&s, 0), a);    /* free, and still there */
    assert_ptr_equal(take(&s), a);
    assert_int_equal(a->note, 17);
    assert_int_equal(a->header.index, 0);
    close_slab(&s);
}

static void a_slab_must_want_a_chunk_only_when_nothing_is_free(void **state)
{
    struct kp__slab s;
    struct thing *last = NULL;

    (void)state;
    kp__slab_init(&s, sizeof(struct thing));
    for (int i = 0; i < 64; i++) {
        last = take(&s);
        assert_int_equal(kp__slab_wants(&s) != 0, i == 63);
    }
    assert_int_equal(kp__slab_wants(&s), 128 * sizeof(struct thing));
    assert_null(kp__slab_take(&s));
    kp__slab_put(&s, last);
    assert_int_equal(kp__slab_wants(&s), 0);
    close_slab(&s);
}

static void a_slab_must_have_room_for_as_many_as_its_owner_says(void **state)
{
    struct kp__slab s;

    (void)state;
    kp__slab_init(&s, sizeof(struct thing));
    assert_int_equal(s.room, 0);
    take(&s);
    assert_int_equal(s.room, 64);
    s.least = 64;
    assert_int_equal(kp__slab_wants(&s), 0);
    s.least = 65;
    assert_int_equal(kp__slab_wants(&s), 128 * sizeof(struct thing));
    take(&s);
    assert_int_equal(s.room, 192);
    assert_int_equal(kp__slab_wants(&s), 0);
    close_slab(&s);
}

static void a_chunk_that_comes_too_late_must_come_back(void **state)
{
    struct kp__slab s;
    char late[64];
    size_t bytes;

    (void)state;
    kp__slab_init(&s, sizeof(struct thing));
    bytes = kp__slab_wants(&s);
    take(&s);
    assert_ptr_equal(kp__slab_extend(&s, late, bytes), late);
    for (int i = 1; i < 64; i++)
        take(&s);
    /* A chunk is wanted again, but a larger one. */
    assert_ptr_equal(kp__slab_extend(&s, late, bytes), late);
    assert_null(kp__slab_take(&s));
    close_slab(&s);
}

static void a_slab_that_cannot_grow_must_want_nothing(void **state)
{
    struct kp__slab s;

    (void)state;
    kp__slab_init(&s, SIZE_MAX / 32);           /* 64 of them are more than there is */
    assert_int_equal(kp__slab_wants(&s), 0);
    assert_null(kp__slab_take(&s));

    kp__slab_init(&s, sizeof(struct thing));
    s.chunks = KP__SLAB_CHUNKS;                 /* as if every item there can be were taken */
    s.made = s.room = UINT32_MAX - 63;
    assert_int_equal(kp__slab_wants(&s), 0);
    assert_null(kp__slab_take(&s));
}

/* ---- random takes and puts ------------------------------------------------------------------- */

enum { THINGS = 1000, STEPS = 100000 };

static void no_item_may_be_lent_twice_or_move(void **state)
{
    static struct thing *lent[THINGS], *place[THINGS];
    struct kp__slab s;
    unsigned lent_count = 0, most = 0;

    (void)state;
    kit_seed();
    kp__slab_init(&s, sizeof(struct thing));
    for (uint64_t step = 1; step <= STEPS; step++) {
        bool filling = step / 4000 % 2 == 0;    /* drift up, then down */
        bool taking = kit_below(3) == 0 ? !filling : filling;

        if (lent_count == 0 || (taking && lent_count < THINGS)) {
            struct thing *t = take(&s);
            uint32_t index = t->header.index;

            for (unsigned i = 0; step % 64 == 0 && i < lent_count; i++)
                assert_ptr_not_equal(lent[i], t);
            assert_int_equal(t->note & 1, 0);   /* odd while lent */
            t->note = 2 * step + 1;
            lent[lent_count++] = t;
            most = lent_count > most ? lent_count : most;
            assert_true(index < most);          /* the free one is used before a new one */
            assert_true(place[index] == NULL || place[index] == t);
            place[index] = t;
        } else {
            unsigned victim = kit_below(lent_count);
            struct thing *t = lent[victim];

            assert_ptr_equal(kp__slab_at(&s, t->header.index), t);
            assert_int_equal(t->note & 1, 1);
            t->note--;
            lent[victim] = lent[--lent_count];
            kp__slab_put(&s, t);
        }
    }
    close_slab(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_slab_must_have_no_item),
        cmocka_unit_test(an_index_must_find_its_item_and_no_other),
        cmocka_unit_test(every_item_must_have_parts_of_its_own_which_nobody_touches),
        cmocka_unit_test(an_item_taken_again_must_be_as_it_was_put),
        cmocka_unit_test(a_slab_must_want_a_chunk_only_when_nothing_is_free),
        cmocka_unit_test(a_slab_must_have_room_for_as_many_as_its_owner_says),
        cmocka_unit_test(a_chunk_that_comes_too_late_must_come_back),
        cmocka_unit_test(a_slab_that_cannot_grow_must_want_nothing),
        cmocka_unit_test(no_item_may_be_lent_twice_or_move),
    };

    return cmocka_run_group_tests_name("base/slab", tests, NULL, NULL);
}
