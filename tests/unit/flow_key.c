/* SPDX-License-Identifier: MIT
 *
 * Keys as a pool sees them: which are refused, hash and equality, the pool's own copy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow/key.h"
#include "keyedpool.h"

static const uint64_t seed[2] = { 0x0123456789abcdef, 0xfedcba9876543210 };
static const uint64_t other_seed[2] = { 1, 2 };
static const kp_key_type bytes_type;

struct place {
    char        kind;
    int32_t     port;
    const char *host;
    char        role[8];
    const void *hint;                   /* no field: not part of the identity */
    uint8_t     id[3];
};

static const kp_field place_fields[] = {
    KP_INT(struct place, kind), KP_INT(struct place, port), KP_STR(struct place, host),
    KP_TEXT(struct place, role), KP_INT(struct place, id), KP_END
};
static const kp_key_type place_type = { .size = sizeof(struct place), .fields = place_fields };

/* A place whose padding is `filler`. */
static struct place place(int filler, char kind, int32_t port, const char *host, const char *role)
{
    struct place p;
    memset(&p, filler, sizeof p);
    p.kind = kind;
    p.port = port;
    p.host = host;
    p.hint = NULL;
    memset(p.id, 0, sizeof p.id);
    (void)snprintf(p.role, sizeof p.role, "%s", role);
    return p;
}

static uint64_t place_hash(struct place p)
{
    return kp__key_hash(&place_type, seed, KP_KEY(&p));
}

static bool places_equal(struct place a, struct place b)
{
    return kp__key_equal(&place_type, &a, sizeof a, KP_KEY(&b));
}

/* ---- a key type told by functions: an int that is copied with a note of memory -------------- */

struct boxed {
    int   number;
    char *note;
};

static int refusal;                     /* what box_copy answers */

static uint64_t box_hash(const void *key, uint64_t from, void *ctx)
{
    (void)ctx;
    return from == seed[0] ? (uint64_t)((const struct boxed *)key)->number * 4096 : 0;
}

static bool box_equal(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return ((const struct boxed *)a)->number == ((const struct boxed *)b)->number;
}

static int box_copy(const void *from, void *to, void *ctx)
{
    const struct boxed *key = from;
    struct boxed *copy = to;
    ++*(int *)ctx;
    if (refusal) return refusal;
    copy->number = key->number;
    copy->note = strdup(key->note);
    return copy->note ? 0 : KP_ENOMEM;
}

static void box_drop(void *copied, void *ctx)
{
    --*(int *)ctx;
    free(((struct boxed *)copied)->note);
}

static size_t no_text(const void *key, char *buf, size_t size, void *ctx)
{
    (void)key;
    (void)ctx;
    if (size > 0) buf[0] = '\0';
    return 0;
}

static int boxes;

static kp_key_type box_type(void)
{
    kp_key_type type = { .size = sizeof(struct boxed), .hash = box_hash, .equal = box_equal,
                         .copy = box_copy, .drop = box_drop, .ctx = &boxes };
    return type;
}

/* ---- key types ------------------------------------------------------------------------------ */

static void assert_refused(kp_key_type type, const char *field)
{
    const char *sentence = NULL, *found = kp__key_type_refused(&type, &sentence);
    assert_non_null(found);
    assert_string_equal(found, field);
    assert_true(strlen(found) < sizeof((kp_why *)0)->field);
    assert_non_null(sentence);
}

static void good_key_types_must_be_accepted(void **state)
{
    (void)state;
    kp_key_type box = box_type();
    const char *sentence;
    assert_null(kp__key_type_refused(&bytes_type, &sentence));
    assert_null(kp__key_type_refused(&place_type, &sentence));
    assert_null(kp__key_type_refused(&box, &sentence));
    box.drop = NULL;
    box.text = no_text;
    assert_null(kp__key_type_refused(&box, &sentence));
}

static void contradictory_key_types_must_be_refused_with_the_field(void **state)
{
    (void)state;
    kp_key_type type = place_type;
    type.hash = box_hash;
    assert_refused(type, "key_type.fields");
    type = place_type;
    type.size = 0;
    assert_refused(type, "key_type.size");
    type = box_type();
    type.size = 0;
    assert_refused(type, "key_type.size");
    type = box_type();
    type.hash = NULL;
    assert_refused(type, "key_type.hash");
    type = box_type();
    type.equal = NULL;
    assert_refused(type, "key_type.equal");
    type = box_type();
    type.copy = NULL;
    assert_refused(type, "key_type.copy");
    assert_refused((kp_key_type){ .size = 8 }, "key_type.fields");
    type = place_type;
    type.copy = box_copy;
    assert_refused(type, "key_type.fields");
    type = place_type;
    type.drop = box_drop;
    assert_refused(type, "key_type.fields");
    type = place_type;
    type.reserved[0] = (void (*)(void))abort;
    assert_refused(type, "key_type.reserved");
    assert_refused((kp_key_type){ .text = no_text }, "key_type.text");
    assert_refused((kp_key_type){ .size = KP_STRUCT_KEY | 8 }, "key_type.size");
    type = place_type;
    type.reserved[1] = (void (*)(void))abort;
    assert_refused(type, "key_type.reserved");
}

static void impossible_fields_must_be_refused(void **state)
{
    (void)state;
    static const kp_field none[] = { KP_END };
    static const kp_field outside[] = { { "port", KP_FIELD_BYTES, 6, 4 }, KP_END };
    static const kp_field far[] = { { "port", KP_FIELD_BYTES, UINT32_MAX, 4 }, KP_END };
    static const kp_field short_str[] = { { "host", KP_FIELD_STR, 0, 3 }, KP_END };
    static const kp_field nameless[] = { { NULL, KP_FIELD_BYTES, 0, 4 }, KP_END };
    static const kp_field empty[] = { { "port", KP_FIELD_BYTES, 0, 0 }, KP_END };
    static const kp_field strange[] = { { "port", (kp_field_kind)9, 0, 4 }, KP_END };
    const kp_field *all[] = { none, outside, far, short_str, nameless, empty, strange };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_refused((kp_key_type){ .size = 8, .fields = all[i] }, "key_type.fields");
}

/* ---- which keys are taken ------------------------------------------------------------------- */

static void assert_misuse(const kp_key_type *type, kp_key key, const char *part)
{
    const char *sentence = kp__key_refused(type, key);
    assert_non_null(sentence);
    if (!strstr(sentence, part)) fail_msg("\"%s\" does not say \"%s\"", sentence, part);
}

static void assert_taken(const kp_key_type *type, kp_key key)
{
    assert_null(kp__key_refused(type, key));
}

static void a_pool_of_bytes_must_take_bytes_and_refuse_structs(void **state)
{
    (void)state;
    struct place p = place(0, 'a', 1, "h", "r");
    assert_taken(&bytes_type, kp_str("eu-west"));
    assert_taken(&bytes_type, kp_str(NULL));
    assert_taken(&bytes_type, (kp_key){ 0 });
    assert_taken(&bytes_type, kp_bytes("a\0b", 3));
    assert_misuse(&bytes_type, KP_KEY(&p), "a struct key needs key_type.fields");
    assert_misuse(&bytes_type, kp_bytes(NULL, 4), "NULL");
    assert_misuse(&bytes_type, kp_bytes("x", KP_STRUCT_KEY >> 1), "too large");
#if SIZE_MAX > UINT32_MAX
    assert_misuse(&bytes_type, kp_bytes("x", (size_t)UINT32_MAX + 1), "too large");
    assert_refused((kp_key_type){ .size = (size_t)UINT32_MAX + 1 }, "key_type.size");
#endif
    assert_misuse(&bytes_type, KP_EVERY_KEY, "KP_EVERY_KEY");
}

static void a_pool_of_structs_must_take_its_struct_only(void **state)
{
    (void)state;
    struct place p = place(0, 'a', 1, "h", "r");
    struct boxed box = { 1, NULL };
    kp_key_type boxes_type = box_type();
    assert_taken(&place_type, KP_KEY(&p));
    assert_taken(&boxes_type, KP_KEY(&box));
    assert_misuse(&place_type, kp_str("eu-west"), "bytes");
    assert_misuse(&place_type, kp_bytes(&p, sizeof p), "KP_KEY");
    assert_misuse(&place_type, (kp_key){ 0 }, "bytes");
    assert_misuse(&place_type, KP_KEY(&box), "another size");
    assert_misuse(&place_type, KP_KEY((struct place *)NULL), "NULL");
    assert_misuse(&place_type, KP_EVERY_KEY, "KP_EVERY_KEY");
}

/* ---- hash and equality ---------------------------------------------------------------------- */

static void bytes_must_be_equal_only_if_all_of_them_are(void **state)
{
    (void)state;
    assert_true(kp__key_equal(&bytes_type, "abc", 3, kp_str("abc")));
    assert_true(kp__key_equal(&bytes_type, "", 0, (kp_key){ 0 }));
    assert_false(kp__key_equal(&bytes_type, "abc", 3, kp_str("ab")));
    assert_false(kp__key_equal(&bytes_type, "a\0b", 3, kp_bytes("a\0c", 3)));
    uint64_t h = kp__key_hash(&bytes_type, seed, kp_str("abc"));
    assert_true(h != kp__key_hash(&bytes_type, seed, kp_str("abd")));
    assert_true(h != kp__key_hash(&bytes_type, other_seed, kp_str("abc")));
    assert_true(kp__key_hash(&bytes_type, seed, (kp_key){ 0 }) ==
                kp__key_hash(&bytes_type, seed, kp_str("")));
}

static void padding_pointers_and_what_follows_a_nul_must_not_count(void **state)
{
    (void)state;
    char here[] = "db.example";
    char there[] = "db.example";
    struct place a = place(0x00, 'x', 5432, here, "writer");
    struct place b = place(0xff, 'x', 5432, there, "writer");
    b.hint = &b;
    a.role[7] = 'A';
    b.role[7] = 'B';
    assert_true(places_equal(a, b));
    assert_true(place_hash(a) == place_hash(b));
}

static void each_field_must_count(void **state)
{
    (void)state;
    struct place a = place(0, 'x', 5432, "db", "writer");
    struct place other[5] = { a, a, a, a, a };
    other[0].kind = 'y';
    other[1].port = 5433;
    other[2].host = "dc";
    other[3].role[0] = 'W';
    other[4].id[2] = 1;
    for (size_t i = 0; i < 5; i++) {
        assert_false(places_equal(a, other[i]));
        assert_true(place_hash(a) != place_hash(other[i]));
    }
}

static void a_null_string_must_equal_an_empty_one(void **state)
{
    (void)state;
    struct place null = place(0, 'x', 1, NULL, "r");
    struct place empty = place(0, 'x', 1, "", "r");
    struct place full = place(0, 'x', 1, "h", "r");
    assert_true(places_equal(null, empty));
    assert_true(places_equal(empty, null));
    assert_true(place_hash(null) == place_hash(empty));
    assert_false(places_equal(null, full));
}

struct pair {
    const char *first, *second;
};
static const kp_field pair_fields[] = { KP_STR(struct pair, first), KP_STR(struct pair, second),
                                        KP_END };
static const kp_key_type pair_type = { .size = sizeof(struct pair), .fields = pair_fields };

static void the_border_between_strings_must_count(void **state)
{
    (void)state;
    struct pair a = { "ab", "c" };
    struct pair b = { "a", "bc" };
    assert_false(kp__key_equal(&pair_type, &a, sizeof a, KP_KEY(&b)));
    assert_true(kp__key_hash(&pair_type, seed, KP_KEY(&a)) !=
                kp__key_hash(&pair_type, seed, KP_KEY(&b)));
}

static void long_strings_must_count_to_their_ends(void **state)
{
    (void)state;
    char one[1000];
    char two[1000];
    for (size_t length = 150; length < sizeof one; length += 17) {
        memset(one, 'a', length);
        memset(two, 'a', length);
        one[length] = two[length] = '\0';
        struct pair a = { one, "end" };
        struct pair b = { two, "end" };
        uint64_t hash = kp__key_hash(&pair_type, seed, KP_KEY(&a));
        assert_true(hash == kp__key_hash(&pair_type, seed, KP_KEY(&b)));
        for (size_t at = 0; at < length; at += 13) {
            two[at] = 'b';
            assert_true(hash != kp__key_hash(&pair_type, seed, KP_KEY(&b)));
            two[at] = 'a';
        }
        b.second = "enD";
        assert_true(hash != kp__key_hash(&pair_type, seed, KP_KEY(&b)));
    }
}

static uint64_t zero_hash(const void *key, uint64_t from, void *ctx)
{
    (void)key;
    (void)from;
    (void)ctx;
    return 0;
}

static void a_users_hash_must_be_asked_with_the_seed_and_spread(void **state)
{
    (void)state;
    kp_key_type type = box_type();
    uint64_t low = 0;
    for (int i = 0; i < 64; i++) {
        struct boxed box = { i, NULL };
        low |= UINT64_C(1) << (kp__key_hash(&type, seed, KP_KEY(&box)) & 63);
    }
    assert_true(low & (low - 1));       /* multiples of 4096, and yet not all in one bucket */
    struct boxed box = { 1, NULL };
    type.hash = zero_hash;
    assert_true(kp__key_hash(&type, seed, KP_KEY(&box)) != 0);
}

/* ---- copies --------------------------------------------------------------------------------- */

static void a_copy_of_bytes_must_end_in_a_nul(void **state)
{
    (void)state;
    char room[8];
    memset(room, 'z', sizeof room);
    assert_int_equal(kp__key_room(&bytes_type, kp_str("abc")), 4);
    assert_int_equal(kp__key_copy(&bytes_type, kp_str("abc"), room), 0);
    assert_memory_equal(room, "abc\0z", 5);
    assert_int_equal(kp__key_room(&bytes_type, (kp_key){ 0 }), 1);
    assert_int_equal(kp__key_copy(&bytes_type, (kp_key){ 0 }, room), 0);
    assert_int_equal(room[0], '\0');
    kp_key seen = kp__key_stored(&bytes_type, room, 3);
    assert_ptr_equal(seen.data, room);
    assert_int_equal(seen.size, 3);
    kp__key_drop(&bytes_type, room);
}

static void a_copy_of_a_struct_must_have_its_own_strings(void **state)
{
    (void)state;
    char first[] = "first";
    struct pair key = { first, NULL };
    size_t size = kp__key_room(&pair_type, KP_KEY(&key));
    assert_int_equal(size, sizeof key + sizeof first);
    struct pair *copy = malloc(size);   /* exactly: a sanitizer sees a byte too many */
    assert_non_null(copy);
    assert_int_equal(kp__key_copy(&pair_type, KP_KEY(&key), copy), 0);
    first[0] = 'F';
    assert_string_equal(copy->first, "first");
    assert_ptr_equal(copy->first, copy + 1);
    assert_null(copy->second);
    kp_key seen = kp__key_stored(&pair_type, copy, size);
    assert_ptr_equal(seen.data, copy);
    assert_int_equal(seen.size, sizeof key | KP_STRUCT_KEY);
    kp__key_drop(&pair_type, copy);
    free(copy);
}

static void a_copy_must_keep_what_is_no_field(void **state)
{
    (void)state;
    struct place p = place(0, 'x', 1, "h", "r");
    p.hint = &p;
    struct place *copy = malloc(kp__key_room(&place_type, KP_KEY(&p)));
    assert_non_null(copy);
    assert_int_equal(kp__key_copy(&place_type, KP_KEY(&p), copy), 0);
    assert_ptr_equal(copy->hint, &p);
    assert_true(kp__key_equal(&place_type, copy, sizeof p, KP_KEY(&p)));
    free(copy);
}

static void a_users_copy_must_be_dropped_and_may_refuse(void **state)
{
    (void)state;
    kp_key_type type = box_type();
    char note[] = "note";
    struct boxed key = { 7, note };
    struct boxed copy;
    boxes = 0;
    assert_int_equal(kp__key_room(&type, KP_KEY(&key)), sizeof key);
    assert_int_equal(kp__key_copy(&type, KP_KEY(&key), &copy), 0);
    assert_true(kp__key_equal(&type, &copy, sizeof copy, KP_KEY(&key)));
    assert_int_equal(boxes, 1);
    kp__key_drop(&type, &copy);
    assert_int_equal(boxes, 0);
    refusal = -12;
    assert_int_equal(kp__key_copy(&type, KP_KEY(&key), &copy), -12);
    refusal = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_key_types_must_be_accepted),
        cmocka_unit_test(contradictory_key_types_must_be_refused_with_the_field),
        cmocka_unit_test(impossible_fields_must_be_refused),
        cmocka_unit_test(a_pool_of_bytes_must_take_bytes_and_refuse_structs),
        cmocka_unit_test(a_pool_of_structs_must_take_its_struct_only),
        cmocka_unit_test(bytes_must_be_equal_only_if_all_of_them_are),
        cmocka_unit_test(padding_pointers_and_what_follows_a_nul_must_not_count),
        cmocka_unit_test(each_field_must_count),
        cmocka_unit_test(a_null_string_must_equal_an_empty_one),
        cmocka_unit_test(the_border_between_strings_must_count),
        cmocka_unit_test(long_strings_must_count_to_their_ends),
        cmocka_unit_test(a_users_hash_must_be_asked_with_the_seed_and_spread),
        cmocka_unit_test(a_copy_of_bytes_must_end_in_a_nul),
        cmocka_unit_test(a_copy_of_a_struct_must_have_its_own_strings),
        cmocka_unit_test(a_copy_must_keep_what_is_no_field),
        cmocka_unit_test(a_users_copy_must_be_dropped_and_may_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
