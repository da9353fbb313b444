/* SPDX-License-Identifier: MIT
 *
 * The typed face (KP_DEFINE) at run time: it does what the plain face does, and its keys are what
 * its fields say. What must not compile is in typed_cases.c.
 */
#include "stage.h"

struct shard { char host[20]; char role; int number; };
struct connection { int opened_for, bad, reset, asked; };

static const kp_field shard_fields[] = {
    KP_TEXT(struct shard, host), KP_INT(struct shard, role), KP_INT(struct shard, number), KP_END,
};

KP_DEFINE(db, struct shard, struct connection);

static int                made, unmade;
static struct connection  things[8];

static int open_connection(kp_job *job, const struct shard *key, struct connection **out)
{
    assert_ptr_equal(((const db_options *)job->ctx)->ctx, &made);
    things[made] = (struct connection){ .opened_for = key->number };
    *out = &things[made++];
    return 0;
}

static int close_connection(kp_job *job, struct connection *c)
{
    (void)job;
    assert_in_range(c - things, 0, 7);
    unmade++;
    return 0;
}

static int look(kp_job *job, struct connection *c)
{
    return (void)job, c->bad ? -1 : 0;
}

static int reset(kp_job *job, struct connection *c)
{
    (void)job;
    c->reset++;
    return 0;
}

static bool is_clean(struct connection *c, void *ctx)
{
    assert_ptr_equal(ctx, &made);
    return c->asked++ % 2 == 0;
}

static const db_options options = {
    .create = open_connection,
    .destroy = close_connection,
    .validate = look,
    .reset = reset,
    .is_clean = is_clean,
    .fields = shard_fields,
    .ctx = &made,
    .more = { .limits = { .validate_after_ms = KP_NONE } },
};

static void a_typed_lease_must_carry_a_typed_resource_of_its_key(void **state)
{
    struct shard three = { "a", 'w', 3 }, four = { "a", 'w', 4 };
    db_lease     lease, other;
    db_pool      pool;

    (void)state;
    made = unmade = 0;
    assert_int_equal(db_open(&options, &pool), 0);
    assert_int_equal(db_get(pool, &three, KP_IN_S(1), &lease), 0);
    assert_int_equal(db_get(pool, &four, KP_IN_S(1), &other), 0);
    assert_int_equal(lease.resource->opened_for, 3);
    assert_int_equal(other.resource->opened_for, 4);
    db_release(&lease);
    assert_null(lease.resource);
    db_discard(&other);
    assert_null(other.resource);
    assert_int_equal(things[0].asked, 1);
    assert_int_equal(things[0].reset, 0); /* it was clean */
    assert_int_equal(db_try_get(pool, &three, &lease), 0);
    db_release(&lease);
    assert_int_equal(things[0].reset, 1);
    assert_int_equal(db_try_get(pool, &three, &lease), 0);
    assert_int_equal(db_try_get(pool, &four, &other), KP_EAGAIN);
    assert_null(other.resource);
    lease.resource->bad = 1;
    db_release(&lease);
    assert_int_equal(db_get(pool, &three, KP_IN_S(1), &lease), 0);
    assert_int_equal(lease.resource->bad, 0);
    db_release(&lease);
    assert_int_equal(db_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
    assert_int_equal(made, 3);
    assert_int_equal(unmade, 3);
}

static void bytes_after_the_end_of_a_text_field_must_not_matter(void **state)
{
    struct shard one, other;
    db_lease     lease;
    db_pool      pool;

    (void)state;
    made = unmade = 0;
    memset(&one, 0, sizeof one);
    memset(&other, 0x77, sizeof other);
    strcpy(one.host, "db1");
    strcpy(other.host, "db1");
    one.role = other.role = 'r';
    one.number = other.number = 9;
    assert_int_equal(db_open(&options, &pool), 0);
    assert_int_equal(db_get(pool, &one, KP_IN_S(1), &lease), 0);
    db_release(&lease);
    assert_int_equal(db_try_get(pool, &other, &lease), 0);
    db_release(&lease);
    assert_int_equal(db_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
}

static void a_plain_text_key_must_be_refused_by_a_typed_pool(void **state)
{
    struct fixture *f = *state;
    kp_why          why = { 0 };
    db_options      quiet = options;
    kp_lease        lease;
    db_pool         pool;

    quiet.more.on_event = on_event;
    quiet.more.ctx = &f->heard;
    assert_int_equal(db_open(&quiet, &pool), 0);
    assert_int_equal(kp_get(pool.pool, kp_str("db1"), KP_ASK(.why = &why), &lease), KP_EMISUSE);
    assert_true(why.text[0] != 0);
    assert_int_equal(f->heard.misuses, 1);
    assert_int_equal(db_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
}

static void a_struct_key_must_be_refused_by_a_pool_without_fields(void **state)
{
    struct fixture *f = *state;
    struct shard    key = { "a", 'w', 3 };
    kp_why          why = { 0 };
    kp_lease        lease;

    open_small(f);
    assert_int_equal(kp_get(f->pool, KP_KEY(&key), KP_ASK(.why = &why), &lease), KP_EMISUSE);
    assert_non_null(strstr(why.text, "key_type"));
}

static void a_driver_without_destroy_must_be_refused_through_the_face(void **state)
{
    db_options bad = { .create = open_connection, .fields = shard_fields };
    db_pool    pool;
    kp_why     why = { 0 };

    (void)state;
    bad.more.why = &why;
    assert_int_equal(db_open(&bad, &pool), KP_ECONFIG);
    assert_non_null(strstr(why.field, "destroy"));
}

static void null_must_be_what_it_is_to_the_plain_face(void **state)
{
    struct fixture *f = *state;
    db_pool         pool = { f->pool };

    db_release(NULL);
    db_discard(NULL);
    assert_int_equal(f->heard.orphans, 0);
    assert_int_equal(db_open(NULL, &pool), KP_EMISUSE);
    assert_int_equal(db_open(&options, NULL), KP_EMISUSE);
    assert_int_equal(f->heard.orphans, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_typed_lease_must_carry_a_typed_resource_of_its_key),
        cmocka_unit_test(bytes_after_the_end_of_a_text_field_must_not_matter),
        T(a_plain_text_key_must_be_refused_by_a_typed_pool),
        T(a_struct_key_must_be_refused_by_a_pool_without_fields),
        cmocka_unit_test(a_driver_without_destroy_must_be_refused_through_the_face),
        T(null_must_be_what_it_is_to_the_plain_face),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
