/* SPDX-License-Identifier: MIT
 *
 * A get and a release without the lock: which ones, and that they are what they would be with it.
 * hit_2.c and hit_6.c have what is done to a key with an open lane.
 */
#include "contract/hit.h"

#include "base/mix.h"

/* ---- keys ------------------------------------------------------------------------------------ */

static kp_key key_of_size(size_t size, char *bytes, char filler)
{
    memset(bytes, filler, size);
    if (size) bytes[size - 1] = 'z';
    return kp_bytes(bytes, size);
}

/* An idle one of this key is lent without the lock, and comes back so. */
static void use_short(kp_key key, kp_key plain)
{
    kp_lease lease;
    kp_stats before = hit_stats(plain), after;
    uint64_t gets = hit.gets;

    hit_warm(key);
    for (int i = 0; i < 5; i++) HIT_SHORT(lease = hit_take(key); hit_give(&lease));
    HIT_SHORT(lease = hit_take(key));
    const struct item *item = lease.resource;
    assert_int_equal(item->size, plain.size);
    if (plain.size) assert_memory_equal(item->key, plain.data, plain.size);
    HIT_SHORT(hit_give(&lease));
    after = hit_stats(plain);
    assert_int_equal(after.gets - before.gets, hit.gets - gets);
    assert_int_equal(after.hits - before.hits, hit.gets - gets);
    assert_int_equal(after.idle, 1);
    assert_int_equal(after.leases, 0);
}

static const size_t sizes[] = { 0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 25, 32, 33, 1000 };
enum { SIZES = sizeof sizes / sizeof *sizes };

static void a_key_of_any_size_must_be_lent_without_the_lock_by_its_bytes(void **state)
{
    char bytes[1000];

    (void)state;
    hit_open((kp_options){ 0 });
    for (int i = 0; i < SIZES; i++) {
        kp_key key = key_of_size(sizes[i], bytes, 'a');
        kp_lease lease = hit_take(key);
        hit_give(&lease);
        use_short(key, key);
    }
    assert_int_equal(hit.made, SIZES);
}

static void a_key_of_any_size_must_be_lent_without_the_lock_by_its_pin(void **state)
{
    char bytes[1000];

    (void)state;
    hit_open((kp_options){ 0 });
    for (int i = 0; i < SIZES; i++) {
        kp_key key = key_of_size(sizes[i], bytes, 'a'), pin;
        kp_lease lease = hit_take(key);
        hit_give(&lease);
        assert_int_equal(kp_pin(hit.pool, key, &pin), 0);
        use_short(pin, key);
        kp_unpin(hit.pool, &pin);
    }
    assert_int_equal(hit.made, SIZES);
}

/* One byte differs, wherever it is: another key, and another resource. */
static void keys_that_differ_in_one_byte_must_not_be_taken_for_each_other(void **state)
{
    (void)state;
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
            const struct item *x = a.resource, *y = b.resource;
            assert_memory_equal(x->key, one, sizes[i]);
            assert_memory_equal(y->key, other, sizes[i]);
            hit_give(&a);
            hit_give(&b);
            (void)kp_invalidate_key(hit.pool, near);
            if (hit.made > ITEMS - 8) return;
        }
    }
}

/* The same bytes, shorter: "", "a", "aa" ... and zero bytes, which are bytes like any other. */
static void keys_that_begin_alike_must_not_be_taken_for_each_other(void **state)
{
    static const char zeroes[40] = { 0 };
    kp_lease lease[80];
    char as[40];

    (void)state;
    memset(as, 'a', sizeof as);
    hit_open((kp_options){ 0 });
    for (size_t n = 0; n < 40; n++) hit_stock(kp_bytes(as, n), 1);
    for (size_t n = 1; n < 40; n++) hit_stock(kp_bytes(zeroes, n), 1);
    assert_int_equal(hit.made, 79);
    for (size_t n = 0; n < 79; n++) {
        size_t size = n < 40 ? n : n - 39;
        lease[n] = hit_take(kp_bytes(n < 40 ? as : zeroes, size));
        const struct item *item = lease[n].resource;
        assert_int_equal(item->size, size);
        assert_true(size == 0 || item->key[0] == (n < 40 ? 'a' : 0));
    }
    for (int n = 0; n < 79; n++) hit_give(&lease[n]);
    assert_int_equal(hit.made, 79);
}

/* Far more keys than the first guide has buckets, and than one bucket has room for. */
static void keys_that_share_a_bucket_must_each_be_lent_what_is_theirs(void **state)
{
    enum { KEYS = 700 };
    uint64_t moves;
    int quick = 0;

    (void)state;
    hit_open((kp_options){ 0 });
    for (uint32_t i = 0; i < KEYS; i++) {
        kp_lease lease = hit_take(kp_bytes(&i, sizeof i));
        hit_give(&lease);
    }
    for (uint32_t i = 0; i < KEYS; i++) hit_warm(kp_bytes(&i, sizeof i));
    for (uint32_t i = 0; i < KEYS; i++) {
        moves = hit_moves();
        kp_lease lease = hit_take(kp_bytes(&i, sizeof i));
        assert_memory_equal(((struct item *)lease.resource)->key, &i, sizeof i);
        hit_give(&lease);
        quick += hit_moves() == moves;
    }
    assert_int_equal(hit.made, KEYS);
    assert_true(quick > KEYS * 9 / 10); /* few are pushed out of a bucket */
    kp_stats s = hit_stats(KP_EVERY_KEY);
    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.hits, hit.gets - KEYS);
}

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
static void a_key_with_the_quick_hash_of_another_must_be_lent_its_own(void **state)
{
    uint64_t one, other;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("any"), 1); /* now there is a guide */
    find_twins(hit.pool->quick_seed, atomic_load(&hit.pool->guide)->bits, &one, &other);
    kp_key a = kp_bytes(&one, sizeof one), b = kp_bytes(&other, sizeof other);
    hit_stock(a, 1);
    uint64_t of_a = hit.gets, of_b = 0, before = hit_stats(a).gets;
    hit_warm(a);
    for (int i = 0; i < 5; i++) {
        kp_lease mine = hit_take(b), its = hit_take(a);
        assert_memory_equal(((struct item *)mine.resource)->key, &other, sizeof other);
        assert_memory_equal(((struct item *)its.resource)->key, &one, sizeof one);
        hit_give(&mine);
        hit_give(&its);
        of_b++;
    }
    /* what was lent by mistake was no get of anybody's */
    assert_int_equal(hit_stats(b).gets, of_b);
    assert_int_equal(hit_stats(b).hits, of_b - 1);
    assert_int_equal(hit_stats(a).gets - before, hit.gets - of_a - of_b);
    assert_int_equal(hit_stats(a).hits, hit_stats(a).gets - 1);
}

/* ---- what a get may say ---------------------------------------------------------------------- */

static void take_asking(const kp_ask *ask, kp_lease *lease)
{
    assert_int_equal(kp_get(hit.pool, kp_str("k"), ask, lease), 0);
    assert_non_null(lease->resource);
}

static void an_ask_that_a_hit_can_meet_must_need_no_lock(void **state)
{
    kp_why why;
    const kp_ask asks[] = { { 0 }, { .within_ms = 5 }, { .within_ms = KP_NONE },
                            { .within_ms = KP_OFF }, { .tag = "t" }, { .why = &why },
                            { .flags = KP_DONT_WAIT }, { .flags = KP_DONT_CREATE },
                            { .within_ms = KP_NONE, .flags = KP_DONT_WAIT },
                            { .within_ms = 1, .tag = "all", .why = &why,
                              .flags = KP_DONT_WAIT | KP_DONT_CREATE } };
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("k"), 1);
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        memset(&why, 0x5a, sizeof why);
        HIT_SHORT(take_asking(&asks[i], &lease));
        if (asks[i].why) assert_int_equal(why.code, 0);
        if (asks[i].why) assert_string_equal(why.text, "");
        HIT_SHORT(kp_release(&lease));
    }
    HIT_SHORT(take_asking(NULL, &lease); kp_release(&lease));
    HIT_SHORT(assert_int_equal(kp_try_get(hit.pool, kp_str("k"), &lease), 0);
              kp_release(&lease));
}

static void an_ask_with_a_deadline_in_it_must_be_met_all_the_same(void **state)
{
    kp_ask ask = { 0 };
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("k"), 1);
    ask.until = kp_deadline_in(hit.pool, KP_SECONDS(30));
    take_asking(&ask, &lease);
    kp_release(&lease);
    assert_int_equal(hit.made, 1);
}

static void an_ask_for_a_fresh_one_must_not_be_given_an_idle_one(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("k"), 1);
    take_asking(&(kp_ask){ .flags = KP_FRESH }, &lease);
    assert_int_equal(((struct item *)lease.resource)->number, 1);
    kp_release(&lease);
}

static void an_ask_out_of_order_must_be_refused_on_an_open_lane_too(void **state)
{
    kp_why why;
    const kp_ask asks[] = { { .within_ms = -5, .why = &why },
                            { .within_ms = KP_UNLIMITED, .why = &why },
                            { .flags = 8, .why = &why }, { .flags = 1u << 31, .why = &why },
                            { .until = { 1 }, .why = &why }, { .reserved0 = 1, .why = &why },
                            { .reserved = { 1 }, .why = &why },
                            { .reserved = { 0, 1 }, .why = &why },
                            { .reserved = { 0, 0, 1 }, .why = &why } };
    enum { ASKS = sizeof asks / sizeof *asks };

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(kp_str("k"), 1);
    for (int i = 0; i < ASKS; i++) {
        kp_lease lease = { .resource = &lease };
        assert_int_equal(kp_get(hit.pool, kp_str("k"), &asks[i], &lease), KP_EMISUSE);
        assert_null(lease.resource);
        assert_int_equal(why.code, KP_EMISUSE);
    }
    assert_int_equal(hit.misuses, ASKS);
    assert_int_equal(hit_stats(kp_str("k")).idle, 1);
}

static void who_must_not_wait_must_be_told_that_the_only_one_is_lent(void **state)
{
    kp_lease lease, other;
    kp_why why;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    hit_stock(kp_str("k"), 1);
    HIT_SHORT(lease = hit_take(kp_str("k")));
    assert_int_equal(kp_try_get(hit.pool, kp_str("k"), &other), KP_EAGAIN);
    assert_null(other.resource);
    assert_int_equal(kp_get(hit.pool, kp_str("k"),
                            KP_ASK(.within_ms = 1, .why = &why), &other), KP_ETIMEDOUT);
    assert_string_equal(why.limit, "max_live");
    assert_int_equal(why.lent, 1);
    assert_int_equal(why.idle, 0);
    hit_give(&lease);
    kp_stats s = hit_stats(kp_str("k"));
    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.refusals, 1);
    assert_int_equal(s.timeouts, 1);
}

/* ---- several resources ----------------------------------------------------------------------- */

/* All of a key's are lent once each, in whatever way its lane names its cells. */
static void lend_all(int n)
{
    kp_lease *lease = calloc((size_t)n, sizeof *lease);

    assert_non_null(lease);
    hit_open((kp_options){ .limits.max_live = n });
    hit_stock(kp_str("k"), n);
    for (int round = 0; round < 3; round++) {
        hit_warm(kp_str("k"));
        HIT_SHORT(for (int i = 0; i < n; i++) lease[i] = hit_take(kp_str("k")));
        HIT_SHORT(for (int i = n - 1; i >= 0; i--) hit_give(&lease[i]));
        kp_stats s = hit_stats(kp_str("k"));
        assert_int_equal(s.idle, n);
        assert_int_equal(s.gets, hit.gets);
    }
    assert_int_equal(hit.made, n);
    free(lease);
}

static void all_of_two_must_be_lent_without_the_lock(void **state)
{
    (void)state;
    lend_all(2);
}

static void all_of_fifteen_must_be_lent_without_the_lock(void **state)
{
    (void)state;
    lend_all(15);
}

static void all_of_sixteen_must_be_lent_without_the_lock(void **state)
{
    (void)state;
    lend_all(16);
}

static void all_of_seventeen_must_be_lent_without_the_lock(void **state)
{
    (void)state;
    lend_all(17);
}

static void all_of_two_hundred_must_be_lent_without_the_lock(void **state)
{
    (void)state;
    lend_all(200);
}

/* More than a lane has room for: they are lent with the lock. */
static void all_of_three_hundred_must_be_lent(void **state)
{
    enum { N = 300 };
    static kp_lease lease[N];

    (void)state;
    hit_open((kp_options){ .limits.max_live = N });
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) lease[i] = hit_take(kp_str("k"));
        assert_int_equal(hit_stats(kp_str("k")).lent, N);
        for (int i = 0; i < N; i++) hit_give(&lease[i]);
        assert_int_equal(hit_stats(kp_str("k")).idle, N);
    }
    assert_int_equal(hit.made, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_key_of_any_size_must_be_lent_without_the_lock_by_its_bytes),
        HIT_TEST(a_key_of_any_size_must_be_lent_without_the_lock_by_its_pin),
        HIT_TEST(keys_that_differ_in_one_byte_must_not_be_taken_for_each_other),
        HIT_TEST(keys_that_begin_alike_must_not_be_taken_for_each_other),
        HIT_TEST(keys_that_share_a_bucket_must_each_be_lent_what_is_theirs),
        HIT_TEST(a_key_with_the_quick_hash_of_another_must_be_lent_its_own),
        HIT_TEST(an_ask_that_a_hit_can_meet_must_need_no_lock),
        HIT_TEST(an_ask_with_a_deadline_in_it_must_be_met_all_the_same),
        HIT_TEST(an_ask_for_a_fresh_one_must_not_be_given_an_idle_one),
        HIT_TEST(an_ask_out_of_order_must_be_refused_on_an_open_lane_too),
        HIT_TEST(who_must_not_wait_must_be_told_that_the_only_one_is_lent),
        HIT_TEST(all_of_two_must_be_lent_without_the_lock),
        HIT_TEST(all_of_fifteen_must_be_lent_without_the_lock),
        HIT_TEST(all_of_sixteen_must_be_lent_without_the_lock),
        HIT_TEST(all_of_seventeen_must_be_lent_without_the_lock),
        HIT_TEST(all_of_two_hundred_must_be_lent_without_the_lock),
        HIT_TEST(all_of_three_hundred_must_be_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
