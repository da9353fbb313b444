/* SPDX-License-Identifier: MIT
 *
 * Keys of any size and kind, by their bytes and by pins: each is lent its own resources.
 */
#include "hit_stage.h"

static kp_key key_of_size(size_t size, char *bytes, char filler)
{
    memset(bytes, filler, size);
    if (size) bytes[size - 1] = 'z';
    return kp_bytes(bytes, size);
}

/* An idle one of this key is lent and given back without the lock. */
static void use_short(kp_key key, kp_key plain)
{
    kp_lease lease;
    kp_stats before = hit_stats(plain), after;
    uint64_t gets = hit.gets;

    hit_warm(key);
    for (int i = 0; i < 5; i++) HIT_SHORT(hit_use(key));
    HIT_SHORT(lease = hit_take(key));
    hit_assert_of(&lease, plain);
    HIT_SHORT(hit_give(&lease));
    after = hit_stats(plain);
    assert_int_equal(after.gets - before.gets, hit.gets - gets);
    assert_int_equal(after.hits - before.hits, hit.gets - gets);
    assert_int_equal(after.idle, 1);
    assert_int_equal(after.leases, 0);
}

static const size_t sizes[] = { 0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 25, 32, 33, 1000 };

enum { SIZES = sizeof sizes / sizeof *sizes };

static void a_key_of_any_size_must_be_lent_without_the_lock_by_its_bytes(void)
{
    char bytes[1000];

    hit_open((kp_options){ 0 });
    for (int i = 0; i < SIZES; i++) {
        kp_key key = key_of_size(sizes[i], bytes, 'a');
        hit_use(key);
        use_short(key, key);
    }
    assert_int_equal(hit.made, SIZES);
}

static void a_key_of_any_size_must_be_lent_without_the_lock_by_its_pin(void)
{
    char bytes[1000];

    hit_open((kp_options){ 0 });
    for (int i = 0; i < SIZES; i++) {
        kp_key key = key_of_size(sizes[i], bytes, 'a'), pin;
        hit_use(key);
        assert_int_equal(kp_pin(hit.pool, key, &pin), 0);
        use_short(pin, key);
        kp_unpin(hit.pool, &pin);
    }
    assert_int_equal(hit.made, SIZES);
}

static void a_key_without_bytes_must_be_lent_without_the_lock(void)
{
    for (int i = 0; i < 4; i++) {
        kp_key key = kp_bytes(i % 2 ? "" : NULL, 0);
        hit_open((kp_options){ 0 });
        hit_stock(key, 1 + i / 2);
        for (int k = 0; k < 4; k++) {
            kp_lease lease;
            HIT_SHORT(lease = hit_take(key));
            HIT_SHORT(hit_give(&lease));
        }
        hit_again();
    }
}

/* One byte differs, wherever it is: another key, and another resource. */
static void keys_that_differ_in_one_byte_must_not_be_taken_for_each_other(void)
{
    hit_open((kp_options){ 0 });
    for (int i = 1; i < SIZES; i++) {
        char one[1000], other[1000];
        kp_key key = key_of_size(sizes[i], one, 'a');
        for (size_t at = 0; at < sizes[i]; at += at + 1 < sizes[i] && sizes[i] > 40 ? 199 : 1) {
            kp_key near = key_of_size(sizes[i], other, 'a');
            other[at] = (char)(other[at] + 1);
            hit_stock(key, 1);
            hit_stock(near, 1);
            kp_lease a = hit_take(key), b = hit_take(near);
            hit_assert_of(&a, key);
            hit_assert_of(&b, near);
            hit_give(&a);
            hit_give(&b);
            (void)kp_invalidate_key(hit.pool, near);
            if (hit.made > ITEMS - 8) return;
        }
    }
}

/* The same bytes, shorter: "", "a", "aa" ... and zero bytes, which are bytes like any other. */
static void keys_that_begin_alike_must_not_be_taken_for_each_other(void)
{
    static const char zeroes[40] = { 0 };
    kp_lease lease[80];
    char as[40];

    memset(as, 'a', sizeof as);
    hit_open((kp_options){ 0 });
    for (size_t n = 0; n < 40; n++) hit_stock(kp_bytes(as, n), 1);
    for (size_t n = 1; n < 40; n++) hit_stock(kp_bytes(zeroes, n), 1);
    assert_int_equal(hit.made, 79);
    for (size_t n = 0; n < 79; n++) {
        kp_key key = n < 40 ? kp_bytes(as, n) : kp_bytes(zeroes, n - 39);
        lease[n] = hit_take(key);
        hit_assert_of(&lease[n], key);
    }
    for (int n = 0; n < 79; n++) hit_give(&lease[n]);
    assert_int_equal(hit.made, 79);
}

/* Far more keys than the first guide has buckets, and than one bucket has room for. */
static void keys_that_share_a_bucket_must_each_be_lent_what_is_theirs(void)
{
    enum { KEYS = 700 };
    int quick = 0;

    hit_open((kp_options){ 0 });
    for (uint32_t i = 0; i < KEYS; i++) hit_use(kp_bytes(&i, sizeof i));
    for (uint32_t i = 0; i < KEYS; i++) hit_warm(kp_bytes(&i, sizeof i));
    for (uint32_t i = 0; i < KEYS; i++) {
        uint64_t moves = hit_moves();
        kp_lease lease = hit_take(kp_bytes(&i, sizeof i));
        hit_assert_of(&lease, kp_bytes(&i, sizeof i));
        hit_give(&lease);
        quick += hit_moves() == moves;
    }
    assert_int_equal(hit.made, KEYS);
    assert_true(quick > KEYS * 9 / 10); /* few are pushed out of a bucket */
    kp_stats s = hit_stats(KP_EVERY_KEY);
    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.hits, hit.gets - KEYS);
}

/* ---- left to the long way -------------------------------------------------------------------- */

static int create_of_any_size(kp_job *job, void **out)
{
    (void)job;
    *out = &hit.item[atomic_fetch_add(&hit.made, 1)];
    return 0;
}

static void a_key_of_more_bytes_than_are_guided_must_be_lent_all_the_same(void)
{
    static char text[KP__GUIDED_MOST + 1];
    kp_key key = kp_bytes(text, sizeof text);
    kp_lease lease;

    hit_open((kp_options){ .driver.create = create_of_any_size });
    for (int i = 0; i < 3; i++) hit_use(key); /* with the lock, and its lane stays open */
    assert_int_equal(hit.made, 1);
    HIT_LONG(lease = hit_take(kp_bytes(text, KP__GUIDED_MOST)));
    hit_give(&lease);
    hit_warm(kp_bytes(text, KP__GUIDED_MOST));
}

static void a_key_without_bytes_that_has_a_size_must_be_misuse(void)
{
    hit_stand(1, (kp_options){ 0 });
    hit_refused(hit.pool, kp_bytes(NULL, 3), NULL, KP_EMISUSE);
    hit_assert_told(1, "size");
}

struct where {
    int64_t region;
    char name[8];
};

/* By pin, a pool with a key type is as quick as any other. */
static void a_pool_with_a_key_type_must_be_quick_by_pin_and_right_by_key(void)
{
    static const kp_field fields[] = { KP_INT(struct where, region), KP_TEXT(struct where, name),
                                       KP_END };
    struct where here = { 1, "a" }, there = { 2, "a" };

    hit_open((kp_options){ .key_type = { .size = sizeof here, .fields = fields } });
    hit_use(KP_KEY(&here));
    kp_key pin = hit_pin(KP_KEY(&here));
    kp_lease lease = hit_take(KP_KEY(&there));
    assert_memory_equal(hit_item(&lease)->key, &there.region, 8);
    hit_give(&lease);
    lease = hit_take(KP_KEY(&here));
    assert_memory_equal(hit_item(&lease)->key, &here.region, 8);
    hit_give(&lease);
    hit_refused(hit.pool, kp_str("a"), NULL, KP_EMISUSE);
    kp_unpin(hit.pool, &pin);
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_key_of_any_size_must_be_lent_without_the_lock_by_its_bytes),
        HIT_TEST(a_key_of_any_size_must_be_lent_without_the_lock_by_its_pin),
        HIT_TEST(a_key_without_bytes_must_be_lent_without_the_lock),
        HIT_TEST(keys_that_differ_in_one_byte_must_not_be_taken_for_each_other),
        HIT_TEST(keys_that_begin_alike_must_not_be_taken_for_each_other),
        HIT_TEST(keys_that_share_a_bucket_must_each_be_lent_what_is_theirs),
        HIT_TEST(a_key_of_more_bytes_than_are_guided_must_be_lent_all_the_same),
        HIT_TEST(a_key_without_bytes_that_has_a_size_must_be_misuse),
        HIT_TEST(a_pool_with_a_key_type_must_be_quick_by_pin_and_right_by_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
