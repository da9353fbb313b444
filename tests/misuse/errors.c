/* SPDX-License-Identifier: MIT
 *
 * Every error code, provoked once by the call a program would meet it in, with what why says about
 * it; and the table of codes. KP_EFORKED is met by a real child of fork.
 */
#include "stage.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the table ---- */

static void every_code_must_have_its_row(void **state)
{
    (void)state;
#define X(code_, number, sentence_, retry_)                     \
    {                                                           \
        const kp_error *e = kp_error_find(code_);               \
        assert_int_equal(code_, number);                        \
        assert_int_equal(e->code, code_);                       \
        assert_int_equal(e->retry, retry_);                     \
        assert_string_equal(e->name, #code_);                   \
        assert_string_equal(e->sentence, sentence_);            \
        assert_string_equal(kp_strerror(code_), sentence_);     \
    }
    KP_ERROR_MAP(X)
#undef X
}

static void a_number_that_is_not_ours_must_have_a_row_that_says_so(void **state)
{
    const int foreign[] = { 1, 42, -1, -7000, -7016, INT32_MIN, INT32_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        const kp_error *e = kp_error_find(foreign[i]);

        assert_non_null(e);
        assert_true(e->name && e->name[0] && e->sentence && e->sentence[0]);
        assert_int_equal(e->retry, KP_RETRY_NEVER);
#define X(code_, number, sentence_, retry_) assert_string_not_equal(e->name, #code_);
        KP_ERROR_MAP(X)
#undef X
    }
}

static void success_must_have_a_sentence_too(void **state)
{
    (void)state;
    assert_non_null(kp_error_find(0));
    assert_true(kp_strerror(0)[0] != 0);
}

static void the_library_must_say_which_it_is(void **state)
{
    (void)state;
    assert_int_equal(kp_version(), KP_VERSION);
    assert_non_null(strstr(kp_build_info(), sizeof(void *) == 4 ? "parking: mut" : "parking: "));
}

/* ---- the codes, each with the call that meets it ---- */

/* A get that must fail with `code`, hold nothing, and leave a why that stands alone. */
static kp_why must_fail(struct fixture *f, kp_ask ask, int code)
{
    kp_lease lease;
    kp_why   why;

    memset(&lease, 0x55, sizeof lease);
    memset(&why, 0x55, sizeof why);
    ask.why = &why;
    if (!ask.within_ms) ask.within_ms = 10;
    assert_int_equal(kp_get(f->pool, kp_str("k"), &ask, &lease), code);
    assert_memory_equal(&lease, &(kp_lease){ 0 }, sizeof lease);
    assert_int_equal(why.code, code);
    assert_true(why.text[0] != 0);
    assert_null(strchr(why.text, '\n'));
    if (!kp_retry_helps(code, NULL)) assert_int_equal(why.retry_after_ms, KP_OFF);
    return why;
}

/* The cast of the fixture, replaced by one that follows a script. */
static void recast(struct fixture *f, const kp_line *create)
{
    kp_cast_close(f->cast);
    assert_int_equal(kp_cast_open(&(const kp_script){ .create = create, .sim = f->sim }, &f->cast),
                     0);
}

static void etimedout_must_name_the_limit_and_the_holder(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_why          why;

    open_small(f);
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.tag = "holder"), &lease), 0);
    kp_sim_pass_ms(f->sim, 5);
    why = must_fail(f, (kp_ask){ .within_ms = 10 }, KP_ETIMEDOUT);
    assert_string_equal(why.limit, "max_live");
    assert_string_equal(why.oldest_tag, "holder");
    assert_int_equal(why.oldest_lent_ms, 15);
    assert_int_equal(why.waited_ms, 10);
    assert_int_equal(why.ahead, 0);
    assert_int_equal(why.live, 1);
    assert_int_equal(why.lent, 1);
    assert_int_equal(why.idle + why.creating + why.closing, 0);
    assert_int_equal(stats(f).timeouts, 1);
    kp_release(&lease);
}

static void eagain_must_be_the_answer_to_a_get_that_does_not_wait(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_why          why;

    open_small(f);
    assert_int_equal(kp_try_get(f->pool, kp_str("k"), &lease), KP_EAGAIN);
    assert_null(lease.resource);
    must_fail(f, (kp_ask){ .flags = KP_DONT_WAIT }, KP_EAGAIN);
    assert_int_equal(kp_cast_read(f->cast).creates, 0);
    take(f, "k", &lease);
    why = must_fail(f, (kp_ask){ .flags = KP_DONT_WAIT }, KP_EAGAIN);
    assert_non_null(strstr(why.text, "(limit: max_live)"));
    kp_release(&lease);
}

static void efull_must_be_the_answer_when_nobody_may_wait(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_why          why;

    open_pool(f, (kp_options){ .limits = { .max_live = 1, .max_waiting = KP_NONE } });
    take(f, "k", &lease);
    why = must_fail(f, (kp_ask){ 0 }, KP_EFULL);
    assert_string_equal(why.limit, "max_waiting");
    assert_non_null(strstr(why.text, "(limit: max_waiting)"));
    assert_int_equal(why.waited_ms, 0);
    kp_release(&lease);
}

static void efull_must_be_the_answer_when_no_more_keys_may_be_known(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_why          why;

    open_pool(f, (kp_options){ .budget = { .max_keys = 1 } });
    take(f, "the only key", &lease);
    why = must_fail(f, (kp_ask){ 0 }, KP_EFULL);
    assert_string_equal(why.limit, "budget.max_keys");
    kp_release(&lease);
}

static void ecreate_must_carry_the_drivers_number_and_text(void **state)
{
    static const kp_line fails[] = {
        { .status = -5, .vendor_code = 111, .text = "connection refused", .times = KP_OFF }, { 0 },
    };
    struct fixture *f = *state;
    kp_why          why;

    recast(f, fails);
    open_pool(f, (kp_options){ .limits = { .retry_first_ms = KP_NONE } });
    why = must_fail(f, (kp_ask){ 0 }, KP_ECREATE);
    assert_int_equal(why.vendor_code, 111);
    assert_non_null(strstr(why.text, "connection refused"));
    assert_int_equal(stats(f).create_failures, 1);
    assert_int_equal(stats(f).live, 0);
}

static int answer_an_errno(kp_job *job, void **out)
{
    return *out = job, 111;             /* as sqlite3_open does: there is something all the same */
}

static void ecreate_must_say_that_a_positive_number_is_no_failure(void **state)
{
    struct fixture *f = *state;
    kp_options      options = { .driver = kp_cast_driver(f->cast) };

    options.driver.create = answer_an_errno;
    open_pool(f, options);
    kp_why why = must_fail(f, (kp_ask){ 0 }, KP_ECREATE);
    assert_non_null(strstr(why.text, "or a positive number; failures are negative"));
    assert_int_equal(why.vendor_code, 111);
}

static int fail_bare(kp_job *job, void **out)
{
    return (void)job, (void)out, -17;
}

static int refuse(kp_job *job, void **out)
{
    (void)out;
    kp_job_fail(job, 28, "password authentication failed");
    return KP_EREFUSED;
}

static int destroy_nothing(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static void ecreate_without_a_word_must_carry_the_result_itself(void **state)
{
    struct fixture *f = *state;

    open_pool(f, (kp_options){ .driver = { .create = fail_bare, .destroy = destroy_nothing } });
    assert_non_null(strstr(must_fail(f, (kp_ask){ 0 }, KP_ECREATE).text, "failed with -17"));
}

static int make_one(kp_job *job, void **resource)
{
    static int one;

    return (void)job, *resource = &one, 0;
}

static int answer_gone(kp_job *job, void *resource)
{
    return (void)job, (void)resource, KP_EGONE;
}

static int answer_bare(kp_job *job, void *resource)
{
    return (void)job, (void)resource, -17;
}

static void what_else_fails_without_a_word_must_not_speak_of_a_create(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_pool(f, (kp_options){ .driver = { .create = make_one, .destroy = answer_bare,
                                           .reset = answer_gone } });
    take(f, "k", &lease);
    kp_release(&lease);
    assert_string_equal(f->heard.bad_text, kp_strerror(KP_EGONE));
    assert_non_null(strstr(f->heard.destroy_text, "driver.destroy failed with -17 and gave no"));
}

static void erefused_must_say_that_trying_again_cannot_help(void **state)
{
    struct fixture *f = *state;
    kp_why          why;

    open_pool(f, (kp_options){ .driver = { .create = refuse, .destroy = destroy_nothing } });
    why = must_fail(f, (kp_ask){ 0 }, KP_EREFUSED);
    assert_int_equal(why.vendor_code, 28);
    assert_non_null(strstr(why.text, "password authentication failed"));
    assert_false(kp_retry_helps(KP_EREFUSED, NULL));
}

static void ebreaker_must_say_when_to_come_back(void **state)
{
    static const kp_line fails[] = { { .status = -1, .text = "no route", .times = KP_OFF }, { 0 } };
    struct fixture      *f = *state;
    kp_why               why;

    recast(f, fails);
    open_pool(f, (kp_options){ .limits = { .retry_first_ms = KP_NONE, .breaker_failures = 1,
                                           .breaker_open_ms = KP_SECONDS(5) } });
    must_fail(f, (kp_ask){ 0 }, KP_ECREATE);
    kp_sim_pass_ms(f->sim, 1000);
    why = must_fail(f, (kp_ask){ 0 }, KP_EBREAKER);
    assert_int_equal(why.retry_after_ms, 4000);
    assert_non_null(strstr(why.text, "repeated failures; last create failed: no route"));
    assert_int_equal(kp_cast_read(f->cast).create_failures, 1);
}

static void eclosed_must_be_the_answer_of_a_closed_pool(void **state)
{
    struct fixture *f = *state;

    open_small(f);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    must_fail(f, (kp_ask){ 0 }, KP_ECLOSED);
    f->pool = NULL;
}

static void enomem_must_leave_nothing_behind(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    kp_sim_fail_alloc(f->sim, 1, true);
    must_fail(f, (kp_ask){ 0 }, KP_ENOMEM);
    kp_sim_fail_alloc(f->sim, 0, false);
    assert_int_equal(stats(f).live, 0);
    take(f, "k", &lease);
    kp_release(&lease);
}

static void enomem_must_be_the_answer_of_an_open_without_memory(void **state)
{
    struct fixture *f = *state;
    kp_options      options = { .driver = kp_cast_driver(f->cast) };
    kp_pool        *pool = (kp_pool *)f;

    options.world = kp_sim_world(f->sim);
    kp_sim_fail_alloc(f->sim, 1, true);
    assert_int_equal(kp_pool_open(&options, &pool), KP_ENOMEM);
    assert_null(pool);
    kp_sim_fail_alloc(f->sim, 0, false);
}

static void econfig_must_name_the_field(void **state)
{
    struct fixture *f = *state;
    kp_why          why;
    kp_options      options = { .limits = { .min_live = 3, .max_live = 2 }, .why = &why };
    kp_pool        *pool = (kp_pool *)f;

    assert_int_equal(kp_pool_open(&options, &pool), KP_ECONFIG);
    assert_null(pool);
    assert_int_equal(why.code, KP_ECONFIG);
    assert_non_null(strstr(why.field, "min_live"));
}

static void emisuse_must_say_what_you_most_likely_did(void **state)
{
    struct fixture *f = *state;
    struct { char a; int b; } padded = { 'a', 1 };
    kp_lease        lease;
    kp_why          why = { 0 };

    open_small(f);
    assert_int_equal(kp_get(f->pool, KP_KEY(&padded), KP_ASK(.why = &why), &lease), KP_EMISUSE);
    assert_int_equal(why.code, KP_EMISUSE);
    assert_non_null(strstr(why.text, "key_type"));
    assert_int_equal(f->heard.misuses, 1);
}

static void enotfound_must_be_the_answer_to_questions_about_nothing(void **state)
{
    struct fixture *f = *state;
    kp_options      options = { 0 };
    kp_stats        s;
    kp_lease        lease;
    int             thing;

    open_small(f);
    assert_int_equal(kp_stats_read(f->pool, kp_str("never seen"), &s), KP_ENOTFOUND);
    assert_int_equal(stats(f).keys, 0);
    assert_int_equal(kp_lease_of(f->pool, &thing, &lease), KP_ENOTFOUND);
    assert_int_equal(kp_limits_set(f->pool, kp_str("never seen"), &(kp_limits){ .max_live = 1 },
                                   NULL), KP_ENOTFOUND);
    assert_int_equal(kp_options_set(&options, "limits.no_such_option", "1"), KP_ENOTFOUND);
}

static void edeadlk_must_tell_the_way_that_leads_back(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease, none;
    kp_why          why = { 0 };

    open_pool(f, (kp_options){ .limits = { .max_live = 1 }, .on_deadlock = KP_DEADLOCK_REFUSE });
    take(f, "k", &lease);
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.why = &why), &none), KP_EDEADLK);
    assert_int_equal(why.code, KP_EDEADLK);
    assert_string_equal(why.text, "deadlock: you wait for k, lent to you");
    assert_string_equal(why.limit, "max_live");
    kp_release(&lease);
}

static int meet_nobody(kp_lease *lease, void *arg)
{
    (void)lease, (void)arg;
    return KP_EGONE;
}

static void egone_must_be_worth_another_try(void **state)
{
    struct fixture *f = *state;
    kp_why          why = { 0 };

    open_small(f);
    assert_int_equal(kp_use(f->pool, kp_str("k"), &(kp_plan){ .ask = { .why = &why } }, meet_nobody,
                            NULL), KP_EGONE);
    assert_int_equal(why.code, KP_EGONE);
    assert_true(kp_retry_helps(KP_EGONE, NULL));
    assert_int_equal(stats(f).invalid, 1);
    assert_int_equal(stats(f).live, 0);
}

/* ---- fork ---- */

/* In the child: every call must be refused, and nothing of the parent's destroyed. 0, or the number
 * of the first check that failed. */
static int check_child(kp_pool *pool, kp_lease *held)
{
    kp_key   key = kp_str("k"), pinned;
    kp_lease lease;
    kp_stats s;
    int      thing, check = 0;

#define REFUSED(call) do { check++; if ((call) != KP_EFORKED) return check; } while (0)
    REFUSED(kp_get(pool, key, KP_IN_MS(10), &lease));
    REFUSED(kp_try_get(pool, key, &lease));
    REFUSED(kp_pin(pool, key, &pinned));
    REFUSED(kp_add(pool, key, &thing));
    REFUSED(kp_warm(pool, &key, 1, NULL));
    REFUSED(kp_lease_of(pool, held->resource, &lease));
    REFUSED(kp_limits_set(pool, key, &(kp_limits){ .max_live = 1 }, NULL));
    REFUSED(kp_budget_set(pool, &(kp_budget){ .max_live = 1 }, NULL));
    REFUSED(kp_evict(pool, key, KP_NONE));
    REFUSED(kp_drop(pool, key, KP_NONE));
    REFUSED(kp_stats_read(pool, KP_EVERY_KEY, &s));
    REFUSED(kp_pool_close(pool, KP_CLOSE_WAIT, KP_NONE));
#undef REFUSED
    return kp_is_pool(pool) ? 100 : 0;
}

static int destroyed_in[2];             /* in the parent, in a child */
static pid_t parent;

static int create_any(kp_job *job, void **out)
{
    static int thing;

    (void)job;
    *out = &thing;
    return 0;
}

static int destroy_and_count(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    destroyed_in[getpid() != parent]++;
    return 0;
}

static void eforked_must_be_the_answer_in_a_child_and_the_parent_must_not_notice(void **state)
{
    kp_options options = { .driver = { .create = create_any, .destroy = destroy_and_count },
                           .on_fork = KP_FORK_REFUSE };
    kp_pool   *pool;
    kp_lease   held, again;
    pid_t      child;
    int        status;

    (void)state;
    parent = getpid();
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    assert_int_equal(kp_get(pool, kp_str("k"), NULL, &held), 0);
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int failed = check_child(pool, &held);

        kp_release(&held);              /* not ours: nothing may happen to the parent's resource */
        _exit(failed ? failed : destroyed_in[1] ? 101 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    kp_release(&held);
    assert_int_equal(kp_try_get(pool, kp_str("k"), &again), 0);
    kp_release(&again);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
    assert_int_equal(destroyed_in[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_must_have_its_row),
        cmocka_unit_test(a_number_that_is_not_ours_must_have_a_row_that_says_so),
        cmocka_unit_test(success_must_have_a_sentence_too),
        cmocka_unit_test(the_library_must_say_which_it_is),
        T(etimedout_must_name_the_limit_and_the_holder),
        T(eagain_must_be_the_answer_to_a_get_that_does_not_wait),
        T(efull_must_be_the_answer_when_nobody_may_wait),
        T(efull_must_be_the_answer_when_no_more_keys_may_be_known),
        T(ecreate_must_carry_the_drivers_number_and_text),
        T(ecreate_without_a_word_must_carry_the_result_itself),
        T(ecreate_must_say_that_a_positive_number_is_no_failure),
        T(what_else_fails_without_a_word_must_not_speak_of_a_create),
        T(erefused_must_say_that_trying_again_cannot_help),
        T(ebreaker_must_say_when_to_come_back),
        T(eclosed_must_be_the_answer_of_a_closed_pool),
        T(enomem_must_leave_nothing_behind),
        T(enomem_must_be_the_answer_of_an_open_without_memory),
        T(econfig_must_name_the_field),
        T(emisuse_must_say_what_you_most_likely_did),
        T(enotfound_must_be_the_answer_to_questions_about_nothing),
        T(edeadlk_must_tell_the_way_that_leads_back),
        T(egone_must_be_worth_another_try),
        cmocka_unit_test(eforked_must_be_the_answer_in_a_child_and_the_parent_must_not_notice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
