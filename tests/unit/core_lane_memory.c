/* SPDX-License-Identifier: MIT
 *
 * Tests of core/lane.c: what happens when memory is short, and in a child of fork.
 */
#include "core_lanes.h"

#include "core/guide.h"

/* ---- memory ---------------------------------------------------------------------------------- */

static void without_memory_for_a_lane_it_must_stay_shut(struct stage *s)
{
    struct kp__subpool *sub = lane_key(s, 2, 0);
    struct lines_bound bound = lines_bind(&kp__lanes, 0);
    assert_false(lane_open(s, sub));
    assert_int_equal(kp__lane_number(sub), 0);
    lines_unbound(bound);
    assert_true(lane_open(s, sub));
    lane_assert(sub, 2, 1);
}

/* What lines of lists were for before is forgotten. */
static void clear_free_tops(void)
{
    for (uint32_t at = kp__tops.free; at; at = *lines_next(&kp__tops, at))
        memset(kp__line(&kp__tops, at), 0, KP__LIST * sizeof(uint32_t));
}

static void without_memory_for_lists_it_must_stay_shut_or_be_shorter(struct stage *s)
{
    static const struct { int slots, tops, lists, found; } cases[] = {
        { 1, 0, 0, 1 },  { 2, 0, 0, 0 },    { 2, 0, 1, 2 },     { 15, 0, 0, 0 },
        { 15, 0, 1, 15 }, { 16, 0, 9, 0 },  { 16, 1, 0, 0 },    { 16, 1, 1, 0 },
        { 16, 1, 2, 16 }, { 40, 1, 1, 0 },  { 40, 1, 2, 30 },   { 225, 1, 14, 210 },
        { 225, 1, 15, 225 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kp__subpool *sub = lane_key(s, cases[i].slots, 0);
        uint32_t lists = lines_used(&kp__lists), tops = lines_used(&kp__tops);
        struct lines_bound bounds[] = { lines_bind(&kp__tops, cases[i].tops),
                                        lines_bind(&kp__lists, cases[i].lists) };
        clear_free_tops();
        assert_int_equal(lane_open(s, sub), cases[i].found > 0);
        assert_int_equal(sub->lane_books->cells, cases[i].found);
        lines_unbound(bounds[0]);
        lines_unbound(bounds[1]);
        if (cases[i].found > 0) {
            lane_assert(sub, (uint32_t)cases[i].found, cases[i].slots == 1    ? 0
                                                       : cases[i].slots <= 15 ? 1
                                                                              : 2);
            lane_shut(s, sub);
        } else { /* what was taken was given back */
            assert_int_equal(lines_used(&kp__lists), lists);
            assert_int_equal(lines_used(&kp__tops), tops);
            assert_int_equal(sub->lane_books->room, 0);
        }
        assert_true(lane_open_again(s, sub));
        assert_int_equal(sub->lane_books->cells, cases[i].slots);
        lane_bury(s, sub);
    }
}

static void a_lane_that_cannot_grow_must_stay_shut_until_it_can(struct stage *s)
{
    struct kp__subpool *sub = lane_key(s, 15, 0);
    assert_true(lane_open(s, sub));
    lane_shut(s, sub);
    stage_idle(s, sub);
    struct lines_bound bound = lines_bind(&kp__tops, 0);
    assert_false(lane_open_again(s, sub));
    lines_unbound(bound);
    assert_true(lane_open_again(s, sub));
    lane_assert(sub, 16, 2);
}

static void without_memory_for_cells_a_lane_must_have_those_that_there_are(struct stage *s)
{
    for (int cells = 0; cells <= 5; cells++) {
        struct kp__subpool *sub = lane_key(s, 5, 0);
        struct lines_bound bound = lines_bind(&kp__cells, cells);
        assert_int_equal(lane_open(s, sub), cells > 0);
        lines_unbound(bound);
        if (cells > 0) lane_assert(sub, (uint32_t)cells, 1);
        if (cells > 0) lane_shut(s, sub);
        assert_true(lane_open_again(s, sub));
        lane_assert(sub, 5, 1);
        lane_bury(s, sub);
    }
}

/* ---- a child of fork ------------------------------------------------------------------------- */

static void a_child_must_not_know_the_lines_of_its_parent(void **state)
{
    struct kp__lines *kinds[] = { &kp__cells, &kp__lanes, &kp__lists, &kp__tops };

    (void)state;
    for (int i = 0; i < 4; i++) {
        uint32_t number = kp__lines_take(kinds[i]);
        assert_non_null(kp__line_at(kinds[i], number));
        assert_int_equal(kp__lock_held(&kinds[i]->lock), false);
        atomic_store(&kinds[i]->lock.word, 1);
    }
    static struct kp__guide *guide; /* the child forgets it */
    kp__guide_drop(guide = kp__guide_make(1));
    kp__lanes_in_child();
    for (int i = 0; i < 4; i++) {
        uint32_t made = lines_made(kinds[i]);
        for (uint32_t n = 0; n <= made; n++) assert_null(kp__line_at(kinds[i], n));
        assert_int_equal(kp__lines_take(kinds[i]), made + 1);
        assert_non_null(kp__line_at(kinds[i], made + 1));
    }
    struct kp__guide *own = kp__guide_make(1);
    assert_ptr_not_equal(own, guide);
    kp__guide_drop(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(without_memory_for_a_lane_it_must_stay_shut),
        LANE_TEST(without_memory_for_lists_it_must_stay_shut_or_be_shorter),
        LANE_TEST(a_lane_that_cannot_grow_must_stay_shut_until_it_can),
        LANE_TEST(without_memory_for_cells_a_lane_must_have_those_that_there_are),
        cmocka_unit_test(a_child_must_not_know_the_lines_of_its_parent),
    };

    return cmocka_run_group_tests_name("core/lane memory", tests, NULL, NULL);
}
