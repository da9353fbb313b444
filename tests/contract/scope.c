/* SPDX-License-Identifier: MIT
 *
 * Scopes: they give everything back, last first, whatever happened to it before and whatever their
 * finalizers do.
 */
#include "contract.h"

enum { MANY = 100 };

/* What the finalizers of a test did, in order. */
static struct diary {
    contract *c;
    kp_scope *scope;
    int       entries[2 * MANY];
    int       count;
} diary;

static int numbers[2 * MANY];

static void note(void *number)
{
    diary.entries[diary.count++] = *(int *)number;
}

static void begin(contract *c, int64_t max_live)
{
    contract_begin(c, NULL);
    c->options.limits.max_live = max_live;
    c->options.limits.max_creating = KP_UNLIMITED;
    c->options.limits.retry_first_ms = KP_NONE;
    c->options.limits.idle_order = KP_FIFO;
    contract_open(c);
    memset(&diary, 0, sizeof diary);
    diary.c = c;
    for (int i = 0; i < 2 * MANY; i++) numbers[i] = i;
}

static void assert_empty(const kp_scope *scope)
{
    static const kp_scope empty;
    assert_memory_equal(scope, &empty, sizeof empty);
}

static kp_lease get(contract *c, kp_scope *scope)
{
    kp_lease lease;
    assert_int_equal(kp_scope_get(scope, c->pool, kp_str("eu"), NULL, &lease), 0);
    contract_check(c);
    return lease;
}

static void a_scope_must_give_back_any_number_of_leases_last_first(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease lease;
    uint64_t first[MANY];
    (void)state;
    begin(&c, MANY);
    for (int i = 0; i < MANY; i++) {
        lease = get(&c, &scope);
        first[i] = contract_prop(&lease)->number;
    }
    assert_int_equal(contract_stats(&c, kp_str("eu")).lent, MANY);
    kp_scope_close(&scope);
    contract_check(&c);
    assert_empty(&scope);
    assert_int_equal(contract_stats(&c, kp_str("eu")).idle, MANY);
    for (int i = 0; i < MANY; i++) {    /* idle ones are lent in the order they came back in */
        lease = get(&c, &scope);
        assert_int_equal(contract_prop(&lease)->number, first[MANY - 1 - i]);
    }
    kp_scope_close(&scope);
    contract_end(&c);
}

static void note_leases(void *number)
{
    (void)number;
    numbers[MANY] = (int)contract_stats(diary.c, KP_EVERY_KEY).leases;
    note(&numbers[MANY]);
}

static void leases_and_finalizers_must_end_in_one_order(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    (void)state;
    begin(&c, 10);
    for (int i = 0; i < 10; i++) {
        (void)get(&c, &scope);
        assert_int_equal(kp_scope_defer(&scope, note_leases, NULL), 0);
    }
    kp_scope_close(&scope);
    assert_int_equal(diary.count, 10);
    for (int i = 0; i < 10; i++) assert_int_equal(diary.entries[i], 10 - i);
    contract_end(&c);
}

static void a_lease_that_was_ended_before_must_be_left_alone(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease released;
    kp_lease discarded;
    kp_lease other;
    (void)state;
    begin(&c, 2);
    released = get(&c, &scope);
    discarded = get(&c, &scope);
    contract_give(&c, &released);
    kp_discard(&discarded);
    (void)contract_take(&c, kp_str("eu"), &other);      /* the same resource, lent again */
    assert_int_equal(contract_prop(&other)->number, 1);
    kp_scope_close(&scope);
    contract_check(&c);
    assert_int_equal(contract_stats(&c, kp_str("eu")).lent, 1);
    contract_give(&c, &other);
    contract_end(&c);                                   /* which finds no misuse */
}

static void a_scope_must_be_open_and_empty_after_its_end(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    (void)state;
    begin(&c, 1);
    for (int i = 0; i < 3; i++) {
        (void)get(&c, &scope);
        kp_scope_close(&scope);
        assert_empty(&scope);
        kp_scope_close(&scope);
        assert_empty(&scope);
        assert_int_equal(contract_stats(&c, kp_str("eu")).idle, 1);
    }
    contract_end(&c);
}

static void add_more(void *number)
{
    int n = *(int *)number;
    note(number);
    if (n >= 40) return;
    assert_int_equal(kp_scope_defer(diary.scope, add_more, &numbers[n + 1]), 0);
    assert_int_equal(kp_scope_defer(diary.scope, note, &numbers[MANY + n]), 0);
    (void)get(diary.c, diary.scope);
}

static void what_a_finalizer_adds_must_end_too(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    (void)state;
    begin(&c, 1);
    diary.scope = &scope;
    for (int i = 0; i < 5; i++) assert_int_equal(kp_scope_defer(&scope, note, &numbers[90 + i]), 0);
    assert_int_equal(kp_scope_defer(&scope, add_more, &numbers[0]), 0);
    kp_scope_close(&scope);
    assert_empty(&scope);
    assert_int_equal(diary.count, 1 + 2 * 40 + 5);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(diary.entries[2 * i], i);
        assert_int_equal(diary.entries[2 * i + 1], MANY + i);
    }
    for (int i = 0; i < 5; i++) assert_int_equal(diary.entries[81 + i], 94 - i);
    assert_int_equal(contract_stats(&c, kp_str("eu")).lent, 0);
    contract_end(&c);
}

static void close_it(void *number)
{
    note(number);
    kp_scope_close(diary.scope);
    note(number);
}

static void a_finalizer_may_close_its_own_scope(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    (void)state;
    begin(&c, 1);
    diary.scope = &scope;
    assert_int_equal(kp_scope_defer(&scope, note, &numbers[1]), 0);
    (void)get(&c, &scope);
    assert_int_equal(kp_scope_defer(&scope, close_it, &numbers[2]), 0);
    kp_scope_close(&scope);
    assert_empty(&scope);
    assert_int_equal(diary.count, 3);
    assert_int_equal(diary.entries[0], 2);
    assert_int_equal(diary.entries[1], 1);
    assert_int_equal(diary.entries[2], 2);
    assert_int_equal(contract_stats(&c, kp_str("eu")).idle, 1);
    contract_end(&c);
}

static void an_inner_scope_must_end_where_the_outer_one_says(void **state)
{
    contract c;
    kp_scope outer = { 0 };
    kp_scope inner = { 0 };
    (void)state;
    begin(&c, 2);
    assert_int_equal(kp_scope_defer(&outer, note_leases, NULL), 0);
    (void)get(&c, &outer);
    assert_int_equal(kp_scope_defer(&outer, kp_scope_end, &inner), 0);
    assert_int_equal(kp_scope_defer(&outer, note_leases, NULL), 0);
    (void)get(&c, &inner);
    assert_int_equal(kp_scope_defer(&inner, note_leases, NULL), 0);
    kp_scope_close(&outer);
    assert_empty(&inner);
    assert_int_equal(diary.count, 3);
    assert_int_equal(diary.entries[0], 2);
    assert_int_equal(diary.entries[1], 2);
    assert_int_equal(diary.entries[2], 0);
    contract_end(&c);
}

static void a_scope_must_survive_being_moved(void **state)
{
    contract c;
    kp_scope here = { 0 };
    kp_scope there;
    (void)state;
    begin(&c, 20);
    for (int i = 0; i < 20; i++) (void)get(&c, &here);
    memcpy(&there, &here, sizeof there);
    memset(&here, 0x5a, sizeof here);
    kp_scope_close(&there);
    contract_check(&c);
    assert_int_equal(contract_stats(&c, kp_str("eu")).idle, 20);
    contract_end(&c);
}

static void leases_of_a_copied_scope_must_end_once(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_scope copy;
    kp_lease other;
    (void)state;
    begin(&c, 1);
    (void)get(&c, &scope);
    copy = scope;
    kp_scope_close(&scope);
    (void)contract_take(&c, kp_str("eu"), &other);
    kp_scope_close(&copy);
    contract_check(&c);
    assert_int_equal(contract_stats(&c, kp_str("eu")).lent, 1);
    contract_give(&c, &other);
    contract_end(&c);
}

static void a_get_that_fails_must_leave_the_scope_as_it_was(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_scope before;
    kp_why why = { 0 };
    kp_ask ask = { .within_ms = 100, .why = &why };
    (void)state;
    begin(&c, 6);
    for (int i = 0; i < 6; i++) (void)get(&c, &scope);      /* the seventh would need memory */
    before = scope;
    kp_lease lease = { &lease, { 1, 2, 3 } };
    assert_int_equal(kp_scope_get(&scope, c.pool, kp_str("eu"), &ask, &lease), KP_ETIMEDOUT);
    assert_null(lease.resource);
    assert_int_equal(why.code, KP_ETIMEDOUT);
    assert_memory_equal(&scope, &before, sizeof scope);
    kp_scope_close(&scope);
    contract_end(&c);
}

static kp_why told;                     /* what kp_on_misuse was told last */

static void listen(const kp_why *why, void *arg)
{
    (void)arg;
    told = *why;
}

static void deferring_nothing_must_be_refused_as_misuse(void **state)
{
    kp_scope scope = { 0 };
    (void)state;
    memset(&told, 0, sizeof told);
    kp_on_misuse(listen, NULL);
    assert_int_equal(kp_scope_defer(&scope, NULL, NULL), KP_EMISUSE);
    kp_on_misuse(NULL, NULL);
    assert_empty(&scope);
    assert_int_equal(told.code, KP_EMISUSE);
    assert_non_null(strstr(told.text, "fn is NULL"));
}

struct deferring {
    kp_scope scope;
    int      count;                     /* of finalizers that create adds to the scope */
};

static int create_that_defers(kp_job *job, void **resource)
{
    struct deferring *d = job->ctx;
    static int thing;
    for (int i = 0; i < d->count; i++)
        assert_int_equal(kp_scope_defer(&d->scope, note, &numbers[i]), 0);
    *resource = &thing;
    return 0;
}

static int destroy_nothing(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

/* So many, that at some count the room that the get has reserved is used up. */
static void a_driver_may_add_to_the_scope_that_gets(void **state)
{
    struct deferring d = { .count = 0 };
    kp_driver driver = { .create = create_that_defers, .destroy = destroy_nothing, .ctx = &d };
    (void)state;
    for (d.count = 0; d.count < MANY; d.count++) {
        contract c;
        kp_lease lease;
        contract_begin(&c, NULL);
        contract_open_driver(&c, &driver);
        memset(&diary, 0, sizeof diary);
        assert_int_equal(kp_scope_get(&d.scope, c.pool, kp_str("eu"), NULL, &lease), 0);
        kp_scope_close(&d.scope);
        assert_int_equal(diary.count, d.count);
        assert_int_equal(contract_stats(&c, kp_str("eu")).idle, 1);
        contract_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scope_must_give_back_any_number_of_leases_last_first),
        cmocka_unit_test(leases_and_finalizers_must_end_in_one_order),
        cmocka_unit_test(a_lease_that_was_ended_before_must_be_left_alone),
        cmocka_unit_test(a_scope_must_be_open_and_empty_after_its_end),
        cmocka_unit_test(what_a_finalizer_adds_must_end_too),
        cmocka_unit_test(a_finalizer_may_close_its_own_scope),
        cmocka_unit_test(an_inner_scope_must_end_where_the_outer_one_says),
        cmocka_unit_test(a_scope_must_survive_being_moved),
        cmocka_unit_test(leases_of_a_copied_scope_must_end_once),
        cmocka_unit_test(a_get_that_fails_must_leave_the_scope_as_it_was),
        cmocka_unit_test(deferring_nothing_must_be_refused_as_misuse),
        cmocka_unit_test(a_driver_may_add_to_the_scope_that_gets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
