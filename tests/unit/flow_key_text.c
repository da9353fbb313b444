/* SPDX-License-Identifier: MIT
 *
 * Keys as text: bytes, fields, structs with functions of their own, and keys of another kind than
 * the pool's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow/key.h"
#include "keyedpool.h"

static const kp_key_type bytes_type;

struct place {
    const char *host;
    char        role[4];
    int8_t      a;
    int16_t     b;
    int32_t     c;
    int64_t     d;
    uint8_t     id[3];
};

static const kp_field place_fields[] = {
    KP_STR(struct place, host), KP_TEXT(struct place, role), KP_INT(struct place, a),
    KP_INT(struct place, b), KP_INT(struct place, c), KP_INT(struct place, d),
    KP_INT(struct place, id), KP_END
};
static const kp_key_type place_type = { .size = sizeof(struct place), .fields = place_fields };

/* At every size of the buffer: as snprintf, and nothing is written behind it. */
static void assert_text(const kp_key_type *type, kp_key key, const char *wanted)
{
    char buf[200];
    for (size_t size = 0; size <= strlen(wanted) + 1; size++) {
        memset(buf, '#', sizeof buf);
        assert_int_equal(kp__key_print(type, key, buf, size), strlen(wanted));
        if (size > 0) {
            assert_int_equal(strlen(buf), size - 1);
            assert_memory_equal(buf, wanted, size - 1);
        }
        assert_int_equal(buf[size], '#');
    }
}

static void bytes_must_print_readably_at_any_size(void **state)
{
    (void)state;
    assert_text(&bytes_type, kp_str("eu west~"), "eu west~");
    assert_text(&bytes_type, kp_bytes("a\0b\n\x7f\xff", 6), "a\\x00b\\x0a\\x7f\\xff");
    assert_text(&bytes_type, kp_str("c:\\x"), "c:\\\\x");
    assert_text(&bytes_type, (kp_key){ 0 }, "");
}

static void fields_must_print_with_their_names(void **state)
{
    (void)state;
    struct place p = { "db\n", "abcd", -1, -300, 70000, INT64_MIN, { 0, 0xab, 0xff } };
    assert_text(&place_type, KP_KEY(&p),
                "host=db\\x0a,role=abcd,a=-1,b=-300,c=70000,d=-9223372036854775808,id=00abff");
    p = (struct place){ NULL, "", 1, 2, 3, 4, { 5, 6, 7 } };
    assert_text(&place_type, KP_KEY(&p), "host=,role=,a=1,b=2,c=3,d=4,id=050607");
}

static void an_unsigned_field_must_print_without_a_sign(void **state)
{
    struct peer { uint8_t a; uint16_t port; uint32_t b; uint64_t c; unsigned long d; } p =
        { 200, 36231, UINT32_MAX, UINT64_MAX, 7 };
    const kp_field fields[] = { KP_INT(struct peer, a), KP_INT(struct peer, port),
                                KP_INT(struct peer, b), KP_INT(struct peer, c),
                                KP_INT(struct peer, d), KP_END };
    kp_key_type type = { .size = sizeof p, .fields = fields };
    (void)state;
    assert_text(&type, KP_KEY(&p), "a=200,port=36231,b=4294967295,c=18446744073709551615,d=7");
}

static void a_stored_key_must_print_like_the_one_it_was_made_from(void **state)
{
    (void)state;
    struct place p = { "db", "rw", 1, 2, 3, 4, { 5, 6, 7 } };
    assert_text(&place_type, kp__key_stored(&place_type, &p, sizeof p),
                "host=db,role=rw,a=1,b=2,c=3,d=4,id=050607");
}

static size_t box_text(const void *key, char *buf, size_t size, void *ctx)
{
    return (size_t)snprintf(buf, size, "%s %d", (const char *)ctx, *(const int *)key);
}

static void a_key_told_by_functions_must_print_by_its_function_or_as_hex(void **state)
{
    (void)state;
    static char word[] = "box";
    kp_key_type type = { .size = sizeof(int), .ctx = word };
    unsigned char many[20];
    int box = 5;
    char wanted[2 * sizeof many];
    for (size_t i = 0; i < sizeof many; i++) many[i] = (unsigned char)(16 * i + 1);
    for (size_t i = 0; i < 16; i++) (void)snprintf(wanted + 2 * i, 3, "%02x", many[i]);
    type.size = sizeof many;
    assert_text(&type, KP_KEY(&many), wanted);      /* the first 16 bytes */
    type.size = 3;
    assert_text(&type, kp__key_stored(&type, many, 3), "011121"); /* all there are */
    type.size = sizeof box;
    type.text = box_text;
    assert_text(&type, KP_KEY(&box), "box 5");
}

static void keys_of_other_pools_must_print_without_being_read(void **state)
{
    (void)state;
    struct place p = { .host = NULL };
    assert_text(&bytes_type, KP_KEY(&p), "(not a key of this pool)");
    assert_text(&place_type, kp_str("abc"), "(not a key of this pool)");
    assert_text(&bytes_type, kp_bytes(NULL, 3), "(not a key of this pool)");
    assert_text(&place_type, KP_EVERY_KEY, "(every key)");
    assert_text(&bytes_type, KP_EVERY_KEY, "(every key)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_must_print_readably_at_any_size),
        cmocka_unit_test(fields_must_print_with_their_names),
        cmocka_unit_test(an_unsigned_field_must_print_without_a_sign),
        cmocka_unit_test(a_stored_key_must_print_like_the_one_it_was_made_from),
        cmocka_unit_test(a_key_told_by_functions_must_print_by_its_function_or_as_hex),
        cmocka_unit_test(keys_of_other_pools_must_print_without_being_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
