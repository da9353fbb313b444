/* SPDX-License-Identifier: MIT
 *
 * Tests of base/heap.h. After every step the whole tree is checked: its shape, its links and its
 * order.
 */
#include "base_kit.h"

#include "base/check.h"
#include "base/heap.h"

struct thing {
    unsigned rank;
    struct kp__heap_node node;
};

static unsigned rank_of(const struct kp__heap_node *n)
{
    return KP__OF(n, struct thing, node)->rank;
}

static bool before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return rank_of(a) < rank_of(b);
}

static unsigned comparisons;

static bool before_counted(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    comparisons++;
    return before(a, b);
}

/* The number of nodes below place number `place` and there, all of which must lie within 1 ..
 * count: this and their number make the tree complete. */
static size_t tree_must_be_right(const struct kp__heap *h, const struct kp__heap_node *n,
                                 const struct kp__heap_node *parent, size_t place)
{
    if (n == NULL)
        return 0;
    assert_in_range(place, 1, h->count);
    if (parent != NULL)
        assert_false(before(n, parent));
    const struct kp__heap_node *left = n->child, *right = left ? left->next : NULL;
    if (right == n)
        right = NULL;
    else if (right)
        assert_ptr_equal(right->next, n);
    return 1 + tree_must_be_right(h, left, n, 2 * place)
           + tree_must_be_right(h, right, n, 2 * place + 1);
}

static void must_be_right(const struct kp__heap *h)
{
    assert_int_equal(tree_must_be_right(h, h->root, NULL, 1), h->count);
}

static void an_empty_heap_must_have_no_top(void **state)
{
    struct kp__heap h;

    (void)state;
    kp__heap_init(&h, before);
    assert_null(kp__heap_top(&h));
    assert_int_equal(h.count, 0);
}

static void a_node_must_be_held_from_insert_to_remove(void **state)
{
    struct kp__heap h;
    struct thing t = { .rank = 1 };

    (void)state;
    kp__heap_init(&h, before);
    kp__heap_node_init(&t.node);
    assert_false(kp__heap_holds(&t.node));
    kp__heap_insert(&h, &t.node);
    assert_true(kp__heap_holds(&t.node));
    assert_ptr_equal(kp__heap_top(&h), &t.node);
    kp__heap_remove(&h, &t.node);
    assert_false(kp__heap_holds(&t.node));
    assert_null(kp__heap_top(&h));
}

enum { SMALL = 33 };

static void any_node_of_any_small_heap_must_be_removable(void **state)
{
    (void)state;
    kit_seed();
    for (size_t size = 1; size <= SMALL; size++) {
        for (size_t victim = 0; victim < size; victim++) {
            struct thing things[SMALL];
            struct kp__heap h;
            unsigned last = 0;

            kp__heap_init(&h, before);
            for (size_t i = 0; i < size; i++) {
                things[i].rank = kit_below(SMALL);
                kp__heap_node_init(&things[i].node);
                kp__heap_insert(&h, &things[i].node);
            }
            kp__heap_remove(&h, &things[victim].node);
            must_be_right(&h);
            assert_int_equal(h.count, size - 1);
            while (kp__heap_top(&h) != NULL) {
                assert_true(rank_of(kp__heap_top(&h)) >= last);
                last = rank_of(kp__heap_top(&h));
                kp__heap_remove(&h, kp__heap_top(&h));
                must_be_right(&h);
            }
        }
    }
}

enum { THINGS = 100, STEPS = 20000 };

static void the_top_must_always_be_one_of_the_least(void **state)
{
    struct thing things[THINGS];
    struct kp__heap h;
    size_t held = 0;

    (void)state;
    kit_seed();
    kp__heap_init(&h, before);
    for (size_t i = 0; i < THINGS; i++)
        kp__heap_node_init(&things[i].node);
    for (int step = 0; step < STEPS; step++) {
        struct thing *t = &things[kit_below(THINGS)];
        unsigned least = UINT32_MAX;

        if (!kp__heap_holds(&t->node)) {
            t->rank = kit_below(50);    /* many equal ones */
            kp__heap_insert(&h, &t->node);
            held++;
        } else if (kit_below(2) == 0) {
            t->rank = kit_below(50);
            kp__heap_fix(&h, &t->node);
        } else {
            kp__heap_remove(&h, &t->node);
            held--;
        }
        must_be_right(&h);
        assert_int_equal(h.count, held);
        for (size_t i = 0; i < THINGS; i++) {
            if (kp__heap_holds(&things[i].node) && things[i].rank < least)
                least = things[i].rank;
        }
        if (held != 0)
            assert_int_equal(rank_of(kp__heap_top(&h)), least);
    }
}

enum { MANY = 4096, DEPTH = 12 };       /* 2^12 nodes: no way from root to leaf is longer than 12 */

static void no_operation_may_compare_more_than_twice_per_level(void **state)
{
    static struct thing things[MANY];
    struct kp__heap h;

    (void)state;
    kp__heap_init(&h, before_counted);
    for (unsigned i = 0; i < MANY; i++) {
        comparisons = 0;
        things[i].rank = MANY - i;      /* each rises to the top */
        kp__heap_node_init(&things[i].node);
        kp__heap_insert(&h, &things[i].node);
        assert_true(comparisons <= 2 * DEPTH + 2);
    }
    while (kp__heap_top(&h) != NULL) {
        comparisons = 0;
        kp__heap_remove(&h, kp__heap_top(&h));
        assert_true(comparisons <= 2 * DEPTH + 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_must_have_no_top),
        cmocka_unit_test(a_node_must_be_held_from_insert_to_remove),
        cmocka_unit_test(any_node_of_any_small_heap_must_be_removable),
        cmocka_unit_test(the_top_must_always_be_one_of_the_least),
        cmocka_unit_test(no_operation_may_compare_more_than_twice_per_level),
    };

    return cmocka_run_group_tests_name("base/heap", tests, NULL, NULL);
}
