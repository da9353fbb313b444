/* SPDX-License-Identifier: MIT
 *
 * Keys that are described by their fields, for hits without the lock: the form that is kept, and
 * the quick hash.
 */
#include "base_kit.h"

#include "flow/key.h"

struct place {
    char zone;
    int32_t port;
    const char *host;
};

static const kp_field fields[] = { KP_INT(struct place, zone), KP_INT(struct place, port),
                                   KP_STR(struct place, host), KP_END };

static void a_form_must_be_a_copy_that_does_not_need_the_table(void **state)
{
    kp_field table[4];
    kp_key_type type = { .size = sizeof(struct place), .fields = table };
    struct place a = { 'z', 80, "host" }, b = { 'z', 81, "host" };

    (void)state;
    memcpy(table, fields, sizeof table);
    struct kp__form *form = kp__form_of(&type);
    assert_non_null(form);
    memset(table, 0x55, sizeof table);
    assert_int_equal(form->type.size, sizeof(struct place));
    assert_ptr_equal(form->type.fields, form->field);
    assert_int_equal(form->field[3].kind, KP_FIELD_END);
    assert_true(kp__key_equal(&form->type, &a, sizeof a, KP_KEY(&a)));
    assert_false(kp__key_equal(&form->type, &a, sizeof a, KP_KEY(&b)));
    free(form);
}

static void what_is_not_told_by_fields_must_have_no_form(void **state)
{
    (void)state;
    assert_null(kp__form_of(&(kp_key_type){ 0 }));
    assert_null(kp__form_of(&(kp_key_type){ .size = 8 }));
}

static void without_memory_there_must_be_no_form(void **state)
{
    enum { MANY = 1 << 20 };
    static kp_field many[MANY];

    (void)state;
    for (int i = 0; i < MANY - 1; i++) many[i] = fields[0];
    kit_memory_short();
    struct kp__form *form = kp__form_of(&(kp_key_type){ .size = 8, .fields = many });
    kit_memory_again();
    assert_null(form);
}

static void the_quick_hash_must_be_that_of_the_fields_and_the_seed(void **state)
{
    char host[600], same[600];
    struct place a, b;

    (void)state;
    kit_seed();
    for (size_t n = 0; n < sizeof host; n += 7) {
        uint64_t seed = kit_random();
        memset(host, 'h', n);
        host[n] = '\0';
        memcpy(same, host, sizeof same);
        memset(&a, 0x55, sizeof a);
        memset(&b, 0xaa, sizeof b);
        a.zone = b.zone = 'z', a.port = b.port = 80, a.host = host, b.host = same;
        uint64_t hash = kp__key_quick(fields, seed, &a);
        assert_true(kp__key_quick(fields, seed, &b) == hash);
        assert_false(kp__key_quick(fields, seed + 1, &b) == hash);
        b.port++;
        assert_false(kp__key_quick(fields, seed, &b) == hash);
        b.port--, b.zone++;
        assert_false(kp__key_quick(fields, seed, &b) == hash);
        b.zone--;
        if (n == 0) continue;
        same[n / 2]++;
        assert_false(kp__key_quick(fields, seed, &b) == hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_must_be_a_copy_that_does_not_need_the_table),
        cmocka_unit_test(what_is_not_told_by_fields_must_have_no_form),
        cmocka_unit_test(without_memory_there_must_be_no_form),
        cmocka_unit_test(the_quick_hash_must_be_that_of_the_fields_and_the_seed),
    };

    return cmocka_run_group_tests_name("flow/key_form", tests, NULL, NULL);
}
