/* SPDX-License-Identifier: MIT
 *
 * Limits that change, pins, keys that go, and ways to borrow other than kp_get, on a key whose lane
 * is open.
 */
#include "contract/hit.h"

#define K kp_str("k")

/* ---- limits ---------------------------------------------------------------------------------- */

static void set(kp_limits limits)
{
    kp_why why;
    int rc = kp_limits_set(hit.pool, K, &limits, &why);

    if (rc) print_error("%s\n", why.text);
    assert_int_equal(rc, 0);
}

static void what_is_too_many_after_a_limit_fell_must_go_as_it_comes_back(void **state)
{
    (void)state;
    kp_lease lease = hit_one_of(3, (kp_options){ .limits.max_live = 3 });
    kp_lease second;
    HIT_SHORT(second = hit_take(K));
    set((kp_limits){ .max_live = 1 });
    assert_int_equal(hit.gone, 1); /* the idle one */
    hit_give(&lease);
    assert_int_equal(hit.gone, 2);
    hit_give(&second);
    assert_int_equal(hit.gone, 2);
    assert_int_equal(hit_stats(K).idle, 1);
    hit_warm(K);
}

static void a_limit_on_what_is_lent_must_hold_from_now_on(void **state)
{
    kp_lease other;

    (void)state;
    kp_lease lease = hit_one_of(3, (kp_options){ .limits.max_live = 3 });
    set((kp_limits){ .max_lent = 1 });
    assert_int_equal(kp_try_get(hit.pool, K, &other), KP_EAGAIN);
    for (int i = 0; i < 50; i++) { /* so that a lane would have opened */
        hit_give(&lease);
        lease = hit_take(K);
    }
    assert_int_equal(kp_try_get(hit.pool, K, &other), KP_EAGAIN);
    hit_give(&lease);
    set((kp_limits){ .max_lent = KP_UNLIMITED });
    hit_warm(K);
    assert_int_equal(hit_stats(K).idle, 3);
}

static void a_limit_on_what_is_idle_must_hold_from_now_on(void **state)
{
    (void)state;
    kp_lease lease = hit_one_of(3, (kp_options){ .limits.max_live = 3 });
    set((kp_limits){ .max_idle = 1 });
    assert_int_equal(hit.gone, 1);
    hit_give(&lease);
    assert_int_equal(hit.gone, 2);
    assert_int_equal(hit_stats(K).idle, 1);
    hit_warm(K);
}

static void of_two_that_come_back_one_must_go_if_one_may_be_idle(void **state)
{
    kp_lease second;

    (void)state;
    hit_open((kp_options){ .limits = { .max_live = 2 } });
    hit_stock(K, 2);
    for (int i = 0; i < 100; i++) { /* a lane that is much used opens again at once */
        second = hit_take(K);
        hit_give(&second);
    }
    kp_lease lease = hit_take(K);
    second = hit_take(K);
    set((kp_limits){ .max_idle = 1 });
    hit_give(&lease);
    hit_give(&second);
    assert_int_equal(hit.gone, 1);
    assert_int_equal(hit_stats(K).idle, 1);
}

static void what_shall_not_be_used_again_must_be_destroyed_as_it_comes_back(void **state)
{
    (void)state;
    kp_lease lease = hit_one_of(1, (kp_options){ 0 });
    struct item *item = lease.resource;
    set((kp_limits){ .on_return = KP_DESTROY });
    hit_give(&lease);
    assert_int_equal(item->destroyed, 1);
    set((kp_limits){ .on_return = KP_REUSE });
    hit_warm(K);
}

static bool visit;

/* Somebody borrows and gives back while the call that changes limits has let the lock go. */
static void *alloc_and_visit(size_t size, size_t align, void *ctx)
{
    kp_lease lease;

    (void)ctx;
    if (visit) {
        visit = false;
        lease = hit_take(K);
        hit_give(&lease);
        assert_false(hit_is_open());
    }
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void free_it(void *p, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    free(p);
}

static void no_lane_must_open_while_a_call_is_looking_at_its_key(void **state)
{
    static const kp_world world = { .alloc = alloc_and_visit, .free = free_it };
    kp_lease lease, other;

    (void)state;
    visit = false;
    hit_open((kp_options){ .limits.max_live = 2, .world = &world });
    hit_stock(K, 2);
    for (int i = 0; i < 100; i++) { /* a lane that is much used opens again at once */
        lease = hit_take(K);
        hit_give(&lease);
    }
    visit = true;
    set((kp_limits){ .max_lent = 1 });
    assert_false(visit);
    lease = hit_take(K);
    assert_int_equal(kp_try_get(hit.pool, K, &other), KP_EAGAIN);
    hit_give(&lease);
}

/* Those that are there keep their one seat; what is made now has two, and is never on a lane. */
static void sharing_that_begins_must_share_what_is_made_from_now_on(void **state)
{
    kp_lease lease[3];

    (void)state;
    lease[0] = hit_one_of(1, (kp_options){ .limits.max_live = 2 });
    set((kp_limits){ .sharing = 2 });
    for (int i = 1; i < 3; i++)
        assert_int_equal(kp_get(hit.pool, K, KP_IN_S(30), &lease[i]), 0);
    assert_ptr_equal(lease[1].resource, lease[2].resource);
    assert_ptr_not_equal(lease[0].resource, lease[1].resource);
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    set((kp_limits){ .sharing = 1 });
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 2; j++)
            assert_int_equal(kp_get(hit.pool, K, KP_IN_S(30), &lease[j]), 0);
        for (int j = 0; j < 2; j++) kp_release(&lease[j]);
    }
    assert_int_equal(hit.misuses, 0);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.gets, hit.gets + 2 + 40);
}

/* ---- more of them ---------------------------------------------------------------------------- */

static void what_is_added_must_be_lent_beside_what_was_there(void **state)
{
    kp_lease second;

    (void)state;
    kp_lease lease = hit_one_of(1, (kp_options){ .limits.max_live = 2 });
    struct item *item = &hit.item[hit.made];
    item->number = hit.made++;
    assert_int_equal(kp_add(hit.pool, K, item), 0);
    second = hit_take(K);
    assert_ptr_equal(second.resource, item);
    hit_give(&second);
    hit_give(&lease);
    hit_warm(K);
    HIT_SHORT(lease = hit_take(K); second = hit_take(K));
    hit_give(&lease);
    hit_give(&second);
    assert_int_equal(hit_stats(K).gets, hit.gets);
}

static void a_resource_that_is_there_must_not_be_added_again(void **state)
{
    (void)state;
    kp_lease lease = hit_one_of(1, (kp_options){ .limits.max_live = 2 });
    assert_int_equal(kp_add(hit.pool, K, lease.resource), KP_EMISUSE);
    hit_give(&lease);
    hit_warm(K);
    assert_int_equal(kp_add(hit.pool, K, &hit.item[0]), KP_EMISUSE);
    assert_int_equal(hit_stats(K).live, 1);
}

static void a_key_that_is_warmed_must_get_what_it_lacks(void **state)
{
    kp_key key = K;

    (void)state;
    kp_lease lease = hit_one_of(1, (kp_options){ .limits.max_live = 3 });
    set((kp_limits){ .min_live = 3 });
    assert_int_equal(kp_warm(hit.pool, &key, 1, KP_IN_S(30)), 1);
    assert_int_equal(hit_stats(K).live, 3);
    hit_give(&lease);
    hit_warm(K);
    assert_int_equal(kp_warm(hit.pool, &key, 1, KP_IN_S(30)), 1);
    assert_int_equal(hit_stats(K).live, 3);
}

/* ---- pins ------------------------------------------------------------------------------------ */

static void a_pin_must_be_stale_from_when_it_is_let_go(void **state)
{
    kp_key pin, stale;
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(K, 1);
    assert_int_equal(kp_pin(hit.pool, K, &pin), 0);
    stale = pin;
    hit_warm(pin);
    kp_unpin(hit.pool, &pin);
    assert_int_equal(pin.size, 0);
    hit_warm(K); /* the lane is open, and nobody's pin */
    assert_int_equal(kp_get(hit.pool, stale, NULL, &lease), KP_EMISUSE);
    assert_null(lease.resource);
    kp_unpin(hit.pool, &stale);
    assert_int_equal(hit.misuses, 2);
    assert_int_equal(hit_stats(K).gets, hit.gets);
}

static void the_last_of_two_pins_must_go_on_when_the_first_is_let_go(void **state)
{
    kp_key one, other;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(K, 1);
    assert_int_equal(kp_pin(hit.pool, K, &one), 0);
    assert_int_equal(kp_pin(hit.pool, K, &other), 0);
    hit_warm(one);
    kp_unpin(hit.pool, &one);
    hit_warm(other);
    kp_unpin(hit.pool, &other);
    assert_int_equal(hit.misuses, 0);
}

/* Each number of a pin, with one bit of it wrong: told, and never another key's resource. */
static void a_pin_with_a_wrong_bit_must_be_refused(void **state)
{
    kp_key pin[3];
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    for (int i = 0; i < 3; i++) {
        char name[2] = { (char)('a' + i), 0 };
        hit_stock(kp_str(name), 1);
        assert_int_equal(kp_pin(hit.pool, kp_str(name), &pin[i]), 0);
    }
    for (int i = 0; i < 3; i++) hit_warm(pin[i]);
    /* Not the upper 3 bits of the size: without them it is bytes, a struct, or every key. */
    int of_number = 8 * (int)sizeof(uintptr_t), of_both = of_number + 8 * (int)sizeof(size_t) - 3;
    for (int bit = 0; bit < of_both; bit++) {
        uintptr_t number = (uintptr_t)pin[1].data;
        size_t size = pin[1].size;
        if (bit < of_number) number ^= (uintptr_t)1 << bit;
        else size ^= (size_t)1 << (bit - of_number);
        kp_key wrong = kp_bytes((const void *)number, size);
        assert_int_equal(kp_get(hit.pool, wrong, KP_ASK(.within_ms = KP_NONE), &lease),
                         KP_EMISUSE);
        assert_null(lease.resource);
    }
    assert_int_equal(hit.misuses, of_both);
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
    assert_int_equal(hit_stats(KP_EVERY_KEY).idle, 3);
}

static void a_pin_of_another_pool_must_be_refused(void **state)
{
    kp_key pin;
    kp_lease lease;

    (void)state;
    kp_pool *first = hit_open((kp_options){ 0 });
    hit_stock(K, 1);
    assert_int_equal(kp_pin(first, K, &pin), 0);
    hit_warm(pin);
    hit_open((kp_options){ 0 });
    hit_stock(K, 1);
    assert_int_equal(kp_get(hit.pool, pin, NULL, &lease), KP_EMISUSE);
    assert_int_equal(hit_stats(K).gets, hit_stats(K).creates + hit_stats(K).hits);
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, 0), 0);
    hit.pool = first;
}

/* ---- keys that go ---------------------------------------------------------------------------- */

/* Its lane, its cells and its lists are the next key's; nothing of it comes back. */
static void a_key_that_is_forgotten_must_leave_nothing_behind(void **state)
{
    kp_key pin, stale;
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ .forget_key_after_ms = KP_NONE });
    for (uint32_t i = 0; i < 100; i++) {
        kp_key key = kp_bytes(&i, sizeof i);
        int n = 1 + (int)(i % 5) * 8;
        kp_limits limits = { .max_live = n };
        lease = hit_take(key);
        assert_int_equal(kp_limits_set(hit.pool, key, &limits, NULL), 0);
        hit_give(&lease);
        hit_stock(key, n);
        assert_int_equal(kp_pin(hit.pool, key, &pin), 0);
        hit_warm(pin);
        assert_int_equal(kp_invalidate_key(hit.pool, key), n);
        stale = pin;
        kp_unpin(hit.pool, &pin);
        while (hit_stats(KP_EVERY_KEY).keys > 0) (void)kp_keep(hit.pool);
        assert_int_equal(kp_get(hit.pool, stale, NULL, &lease), KP_EMISUSE);
        if (hit.made > ITEMS - 64) break;
    }
    kp_stats s = hit_stats(KP_EVERY_KEY);
    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.keys_forgotten, s.keys_made);
    assert_int_equal(s.live, 0);
}

/* ---- by other ways --------------------------------------------------------------------------- */

static void a_scope_must_hold_what_no_lock_saw(void **state)
{
    kp_scope scope = { { 0 } };
    kp_lease a, b;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 3 });
    hit_stock(K, 3);
    HIT_SHORT(assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &a), 0);
              assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &b), 0));
    assert_ptr_not_equal(a.resource, b.resource);
    kp_release(&a); /* the scope does not mind */
    kp_scope_close(&scope);
    assert_int_equal(hit.misuses, 0);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.idle, 3);
    assert_int_equal(s.gets, hit.gets + 2);
}

static int use_it(kp_lease *lease, void *arg)
{
    int *times = arg;

    assert_non_null(lease->resource);
    return ++*times == 3 ? -5 : 0;
}

static void a_use_must_give_back_what_no_lock_saw(void **state)
{
    kp_plan destroys = { .on_error = KP_DESTROY };
    int times = 0;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    hit_stock(K, 1);
    for (int i = 0; i < 2; i++) assert_int_equal(kp_use(hit.pool, K, NULL, use_it, &times), 0);
    assert_int_equal(kp_use(hit.pool, K, &destroys, use_it, &times), -5);
    assert_int_equal(hit.gone, 1);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.live, 0);
    assert_int_equal(s.gets, hit.gets + 3);
}

struct where {
    int64_t region;
    char name[8];
};

/* A pool with a key type has no guide; by pin it is as quick as any other. */
static void a_pool_with_a_key_type_must_be_quick_by_pin_and_right_by_key(void **state)
{
    static const kp_field fields[] = { KP_INT(struct where, region), KP_TEXT(struct where, name),
                                       KP_END };
    struct where here = { 1, "a" }, there = { 2, "a" };
    kp_key pin;
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ .key_type = { .size = sizeof here, .fields = fields } });
    lease = hit_take(KP_KEY(&here));
    hit_give(&lease);
    assert_int_equal(kp_pin(hit.pool, KP_KEY(&here), &pin), 0);
    hit_warm(pin);
    lease = hit_take(KP_KEY(&there));
    assert_memory_equal(((struct item *)lease.resource)->key, &there.region, 8);
    hit_give(&lease);
    lease = hit_take(KP_KEY(&here));
    assert_memory_equal(((struct item *)lease.resource)->key, &here.region, 8);
    hit_give(&lease);
    assert_int_equal(kp_get(hit.pool, kp_str("a"), NULL, &lease), KP_EMISUSE);
    kp_unpin(hit.pool, &pin);
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
}

static void a_pool_that_said_locked_must_take_the_lock_for_every_hit(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ .hits = KP_HITS_LOCKED });
    lease = hit_take(K);
    hit_give(&lease);
    for (int i = 0; i < 50; i++) {
        HIT_LONG(lease = hit_take(K));
        HIT_LONG(hit_give(&lease));
        assert_false(hit_is_open());
    }
    assert_int_equal(hit_stats(K).hits, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(what_is_too_many_after_a_limit_fell_must_go_as_it_comes_back),
        HIT_TEST(a_limit_on_what_is_lent_must_hold_from_now_on),
        HIT_TEST(a_limit_on_what_is_idle_must_hold_from_now_on),
        HIT_TEST(of_two_that_come_back_one_must_go_if_one_may_be_idle),
        HIT_TEST(what_shall_not_be_used_again_must_be_destroyed_as_it_comes_back),
        HIT_TEST(no_lane_must_open_while_a_call_is_looking_at_its_key),
        HIT_TEST(sharing_that_begins_must_share_what_is_made_from_now_on),
        HIT_TEST(what_is_added_must_be_lent_beside_what_was_there),
        HIT_TEST(a_resource_that_is_there_must_not_be_added_again),
        HIT_TEST(a_key_that_is_warmed_must_get_what_it_lacks),
        HIT_TEST(a_pin_must_be_stale_from_when_it_is_let_go),
        HIT_TEST(the_last_of_two_pins_must_go_on_when_the_first_is_let_go),
        HIT_TEST(a_pin_with_a_wrong_bit_must_be_refused),
        HIT_TEST(a_pin_of_another_pool_must_be_refused),
        HIT_TEST(a_key_that_is_forgotten_must_leave_nothing_behind),
        HIT_TEST(a_scope_must_hold_what_no_lock_saw),
        HIT_TEST(a_use_must_give_back_what_no_lock_saw),
        HIT_TEST(a_pool_with_a_key_type_must_be_quick_by_pin_and_right_by_key),
        HIT_TEST(a_pool_that_said_locked_must_take_the_lock_for_every_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
