/* SPDX-License-Identifier: MIT
 *
 * L10: misuse that can be told from use does nothing but count, and says in a sentence what you
 * most likely did. Rows 1 to 6 of the ten misuses listed for the public face: leases that ended,
 * that belong to others, that are garbage or never end; and keys of the wrong type. Row 7 (numbers
 * in options) is in options.c, rows 9 and 10 (jobs, closed pools) in misuse_pool.c. Row 8, a get on
 * the thread of the pool's own event loop, comes with event loops. Unchecked by contract, so not
 * here: a resource pointer copied out of a lease and used after it, and struct bytes with padding
 * made by hand.
 */
#include "stage.h"

/* ---- 1, 2, 3: leases ---- */

static void a_second_release_through_one_variable_must_do_nothing_and_say_ended(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    take(f, "k", &lease);
    kp_release(&lease);
    assert_int_equal(f->heard.misuses, 0);
    kp_release(&lease);
    assert_told(f, 1, "ended already");
    assert_told(f, 1, " (key k)");
    assert_int_equal(stats(f).idle, 1);
    kp_discard(&lease);
    assert_told(f, 2, "ended already");
    assert_int_equal(stats(f).idle, 1);
}

static void a_release_after_a_discard_must_do_nothing_and_say_ended(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    take(f, "k", &lease);
    kp_discard(&lease);
    kp_release(&lease);
    assert_told(f, 1, "ended already");
    assert_int_equal(stats(f).live, 0);
}

static void a_second_release_through_a_copy_must_do_nothing_and_say_ended(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, copy;

    open_small(f);
    take(f, "k", &lease);
    copy = lease;
    kp_release(&lease);
    kp_release(&copy);
    assert_told(f, 1, "ended already");
    assert_told(f, 1, " (key k)");
    assert_int_equal(stats(f).idle, 1);
}

/* Who listens for several pools, or reads standard error, is not told the pool otherwise. */
static void a_pool_with_a_name_must_be_named(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_pool(f, (kp_options){ .name = "orders" });
    take(f, "k", &lease);
    kp_release(&lease);
    kp_release(&lease);
    assert_told(f, 1, "after its release (key k) (pool orders)");
    assert_int_equal(kp_pin(f->pool, KP_EVERY_KEY, &(kp_key){ NULL, 0 }), KP_EMISUSE);
    assert_told(f, 2, "pass one key (pool orders)");
}

/* The slot of a lease that has ended may be another key's by now, or nobody's: that one is not
 * named. */
static void a_key_must_be_told_only_while_the_resource_is_there(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, copy, other;

    open_small(f);
    take(f, "k", &lease);
    copy = lease;
    kp_discard(&lease);
    kp_release(&lease);
    assert_told(f, 1, "after its release");
    assert_null(strstr(f->heard.text, "key"));
    take(f, "other", &other);
    assert_int_equal((uint32_t)other.opaque[0], (uint32_t)copy.opaque[0]);
    kp_release(&copy);
    assert_told(f, 2, "lent again since");
    assert_null(strstr(f->heard.text, "key"));
    kp_release(&lease);
    assert_told(f, 3, "after its release");
    assert_null(strstr(f->heard.text, "key"));
    kp_release(&other);
}

/* In a child of fork the pool has none of the parent's slots; here the number is made up. */
static void an_ended_lease_of_a_slot_that_is_not_there_must_be_told_without_a_key(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    take(f, "k", &lease);
    kp_release(&lease);
    lease.opaque[0] |= UINT32_MAX;
    kp_release(&lease);
    assert_told(f, 1, "after its release");
    assert_null(strstr(f->heard.text, "key"));
    assert_int_equal(stats(f).idle, 1);
}

static void a_stale_copy_must_not_end_the_lease_of_the_next_borrower(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, copy, next;

    open_small(f);
    take(f, "k", &lease);
    copy = lease;
    kp_release(&lease);
    take(f, "k", &next);
    assert_ptr_equal(next.resource, copy.resource);
    kp_release(&copy);
    assert_told(f, 1, "lent again since (key k)");
    assert_int_equal(stats(f).lent, 1);
    assert_true(kp_lease_read(&next, &(kp_lease_about){ 0 }));
    kp_release(&next);
    assert_int_equal(f->heard.misuses, 1);
}

static void a_stale_copy_must_be_told_after_its_resource_is_gone(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, copy;

    open_small(f);
    take(f, "k", &lease);
    copy = lease;
    kp_discard(&lease);
    kp_pool_close(f->pool, KP_CLOSE_WAIT, KP_SECONDS(1));
    kp_release(&copy);
    assert_int_equal(f->heard.orphans + f->heard.misuses, 1);
    f->pool = NULL;
}

static void one_borrower_must_not_end_the_lease_of_another_who_shares(void **state)
{
    struct fixture *f = *state;
    kp_lease        one, copy, other;

    open_pool(f, (kp_options){ .limits = { .max_live = 1, .sharing = 2 } });
    take(f, "k", &one);
    take(f, "k", &other);
    assert_ptr_equal(one.resource, other.resource);
    copy = one;
    kp_release(&one);
    kp_release(&copy);
    assert_told(f, 1, "ended already");
    assert_int_equal(stats(f).leases, 1);
    kp_release(&other);
    assert_int_equal(f->heard.misuses, 1);
}

static void the_resource_must_be_null_in_the_variable_that_ended_the_lease(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    take(f, "k", &lease);
    kp_release(&lease);
    assert_null(lease.resource);
    take(f, "k", &lease);
    kp_discard(&lease);
    assert_null(lease.resource);
}

static void an_ended_lease_must_be_told_by_reuse_and_report(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_lease_about  about;

    open_small(f);
    take(f, "k", &lease);
    kp_release(&lease);
    kp_lease_reuse(&lease, false);
    assert_told(f, 1, "ended already");
    kp_lease_report(&lease, -1);
    assert_told(f, 2, "ended already");
    memset(&about, 1, sizeof about);
    assert_false(kp_lease_read(&lease, &about));
    assert_memory_equal(&about, &(kp_lease_about){ 0 }, sizeof about);
    assert_int_equal(f->heard.misuses, 2);
}

static void an_empty_lease_must_be_ended_without_a_word(void **state)
{
    struct fixture *f = *state;
    kp_lease        none = { 0 };

    open_small(f);
    kp_release(&none);
    kp_discard(&none);
    assert_int_equal(f->heard.misuses + f->heard.orphans, 0);
}

/* Made by hand from what the borrower had handed on: the lease itself would be out for ever. */
static void a_lease_of_a_resource_alone_must_be_told_where_its_numbers_are(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, bare;

    open_small(f);
    take(f, "k", &lease);
    for (int i = 0; i < 2; i++) {
        bare = (kp_lease){ .resource = lease.resource };
        (i ? kp_discard : kp_release)(&bare);
        assert_null(bare.resource);
        assert_int_equal(f->heard.orphans, i + 1);
        assert_non_null(strstr(f->heard.orphan_text, "ask kp_lease_of"));
    }
    assert_int_equal(stats(f).lent, 1);
    assert_int_equal(kp_lease_of(f->pool, lease.resource, &bare), 0);
    kp_release(&bare);
    assert_int_equal(stats(f).lent, 0);
}

static void a_garbage_lease_must_reach_kp_on_misuse(void **state)
{
    struct fixture *f = *state;
    uint64_t        fill[] = { 1, 2, 0xdeadbeef, UINT64_MAX, UINT64_MAX / 2 };
    int             thing;

    open_small(f);
    for (size_t i = 0; i < sizeof fill / sizeof *fill; i++) {
        kp_lease garbage = { &thing, { fill[i], fill[i], fill[i] } };
        int      before = f->heard.orphans + f->heard.misuses;

        kp_release(&garbage);
        assert_int_equal(f->heard.orphans + f->heard.misuses, before + 1);
    }
    assert_true(f->heard.orphans > 0);
    if (!strstr(f->heard.orphan_text, "lease"))
        fail_msg("\"%s\" does not speak of a lease", f->heard.orphan_text);
}

static void a_lease_must_be_checked_against_every_bit_of_its_numbers(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    take(f, "k", &lease);
    for (int bit = 0; bit < 192; bit++) {
        kp_lease flipped = lease;

        flipped.opaque[bit / 64] ^= UINT64_C(1) << (bit % 64);
        kp_release(&flipped);
        assert_int_equal(stats(f).lent, 1);
        assert_int_equal(f->heard.orphans + f->heard.misuses, bit + 1);
    }
    kp_release(&lease);
    assert_int_equal(stats(f).lent, 0);
}

/* ---- 4, 5: never giving back ---- */

static void a_lease_that_is_never_ended_must_be_reported_with_tag_and_place(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, none;
    kp_why          why;

    open_small(f);
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.tag = "the forgetful one"), &lease), 0);
    kp_sim_pass_ms(f->sim, KP_SECONDS(59));
    assert_int_equal(f->heard.leaks, 0);
    kp_sim_pass_ms(f->sim, KP_SECONDS(2));
    assert_int_equal(f->heard.leaks, 1);
    assert_string_equal(f->heard.leak_tag, "the forgetful one");
    assert_true(f->heard.leak_site);
    assert_int_equal(stats(f).leaks, 1);
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.within_ms = 10, .why = &why), &none),
                     KP_ETIMEDOUT);
    assert_string_equal(why.oldest_tag, "the forgetful one");
    assert_true(why.oldest_lent_ms >= KP_SECONDS(61));
    assert_string_equal(why.limit, "max_live");
    kp_release(&lease);
}

static void waiting_for_the_one_you_invalidated_must_end_in_a_hint_at_discard(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, again;
    kp_why          why;

    open_small(f);
    take(f, "k", &lease);
    assert_int_equal(kp_invalidate(f->pool, lease.resource), 1);
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.within_ms = 10, .why = &why), &again),
                     KP_ETIMEDOUT);
    assert_null(again.resource);
    if (!strstr(why.text, "kp_discard"))
        fail_msg("\"%s\" does not speak of kp_discard", why.text);
    kp_discard(&lease);
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_IN_MS(10), &again), 0);
    kp_release(&again);
}

/* ---- 6: keys ---- */

struct padded { char c; int i; };
static const kp_field padded_fields[] = {
    KP_INT(struct padded, c), KP_INT(struct padded, i), KP_END,
};

static void a_struct_key_must_be_refused_by_a_pool_of_bytes(void **state)
{
    struct fixture *f = *state;
    struct padded   key = { 'a', 1 };
    kp_lease        lease;
    kp_why          why = { 0 };

    open_small(f);
    assert_int_equal(kp_get(f->pool, KP_KEY(&key), KP_ASK(.why = &why), &lease), KP_EMISUSE);
    assert_null(lease.resource);
    if (!strstr(why.text, "key_type"))
        fail_msg("\"%s\" does not speak of key_type", why.text);
    assert_told(f, 1, "key_type");
    assert_int_equal(stats(f).keys, 0);
}

static void a_key_of_another_type_must_be_refused_by_a_pool_of_structs(void **state)
{
    struct fixture *f = *state;
    struct padded   key = { 'a', 1 };
    int             small = 1;
    kp_lease        lease;

    open_pool(f, (kp_options){ .key_type = { .size = sizeof key, .fields = padded_fields } });
    assert_int_equal(kp_get(f->pool, kp_str("text"), NULL, &lease), KP_EMISUSE);
    assert_int_equal(kp_get(f->pool, KP_KEY(&small), NULL, &lease), KP_EMISUSE);
    assert_int_equal(kp_get(f->pool, kp_bytes(&key, sizeof key), NULL, &lease), KP_EMISUSE);
    assert_int_equal(stats(f).keys, 0);
    assert_int_equal(f->heard.misuses, 3);
    assert_int_equal(kp_get(f->pool, KP_KEY(&key), NULL, &lease), 0);
    kp_release(&lease);
}

static void padding_must_not_make_a_key_another(void **state)
{
    struct fixture *f = *state;
    struct padded   one, other;
    kp_lease        lease;

    memset(&one, 0, sizeof one);
    memset(&other, 0xff, sizeof other);
    one.c = other.c = 'a';
    one.i = other.i = 1;
    open_pool(f, (kp_options){ .key_type = { .size = sizeof one, .fields = padded_fields } });
    assert_int_equal(kp_get(f->pool, KP_KEY(&one), NULL, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_try_get(f->pool, KP_KEY(&other), &lease), 0);
    kp_release(&lease);
    assert_int_equal(stats(f).keys, 1);
}

static void a_pin_of_another_pool_must_be_refused(void **state)
{
    struct fixture *f = *state;
    kp_pool        *mine;
    kp_key          pinned;
    kp_lease        lease;

    open_small(f);
    mine = f->pool;
    assert_int_equal(kp_pin(mine, kp_str("k"), &pinned), 0);
    open_small(f);
    assert_int_equal(kp_get(f->pool, pinned, NULL, &lease), KP_EMISUSE);
    assert_int_equal(f->heard.misuses, 1);
    kp_unpin(f->pool, &pinned);
    assert_int_equal(f->heard.misuses, 2);
    assert_int_equal(kp_pool_close(mine, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
}

static void a_resource_of_another_pool_must_not_be_found(void **state)
{
    struct fixture *f = *state;
    kp_pool        *mine;
    kp_lease        lease, found;

    open_small(f);
    mine = f->pool;
    take(f, "k", &lease);
    open_small(f);
    assert_int_equal(kp_lease_of(f->pool, lease.resource, &found), KP_ENOTFOUND);
    assert_int_equal(kp_invalidate(f->pool, lease.resource), 0);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(mine, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_second_release_through_one_variable_must_do_nothing_and_say_ended),
        T(a_release_after_a_discard_must_do_nothing_and_say_ended),
        T(a_second_release_through_a_copy_must_do_nothing_and_say_ended),
        T(a_pool_with_a_name_must_be_named),
        T(a_key_must_be_told_only_while_the_resource_is_there),
        T(an_ended_lease_of_a_slot_that_is_not_there_must_be_told_without_a_key),
        T(a_stale_copy_must_not_end_the_lease_of_the_next_borrower),
        T(a_stale_copy_must_be_told_after_its_resource_is_gone),
        T(one_borrower_must_not_end_the_lease_of_another_who_shares),
        T(the_resource_must_be_null_in_the_variable_that_ended_the_lease),
        T(an_ended_lease_must_be_told_by_reuse_and_report),
        T(an_empty_lease_must_be_ended_without_a_word),
        T(a_lease_of_a_resource_alone_must_be_told_where_its_numbers_are),
        T(a_garbage_lease_must_reach_kp_on_misuse),
        T(a_lease_must_be_checked_against_every_bit_of_its_numbers),
        T(a_lease_that_is_never_ended_must_be_reported_with_tag_and_place),
        T(waiting_for_the_one_you_invalidated_must_end_in_a_hint_at_discard),
        T(a_struct_key_must_be_refused_by_a_pool_of_bytes),
        T(a_key_of_another_type_must_be_refused_by_a_pool_of_structs),
        T(padding_must_not_make_a_key_another),
        T(a_pin_of_another_pool_must_be_refused),
        T(a_resource_of_another_pool_must_not_be_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
