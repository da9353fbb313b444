/* SPDX-License-Identifier: MIT
 *
 * Tests of rare ends in src/flow: memory that runs out at every step of growing, leases that are
 * read while they end, plans and their times, processes that fork or abort within a call.
 */
#include "flow_stage.h"

#include "flow/door.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- resources ------------------------------------------------------------------------------- */

static void where_nothing_is_called_and_nobody_listens_a_resource_must_go_all_the_same(void **state)
{
    struct stage s;
    kp_stats stats;

    (void)state;
    stage_set(&s);
    s.options.driver = (kp_driver){ .ctx = &s };
    s.options.on_event = NULL;
    stage_open(&s);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &s), 0);
    kp_lease lease = stage_get(&s, "a");
    kp_discard(&lease);
    assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
    assert_int_equal(stats.live, 0);
    assert_int_equal(stats.destroys, 1);
    stage_fall(&s);
}

static void what_was_told_must_be_freed_where_nothing_else_is_to_be_done(void **state)
{
    struct kp__failure *told;
    struct kp__todo todo;
    struct stage s;
    int code;

    (void)state;
    stage_raise(&s);
    struct kp__pool *pool = kp__enter(s.pool, &todo, &code);
    assert_false(kp__do(pool, &todo));
    assert_non_null(told = kp__alloc(pool->world, sizeof *told, 16));
    kp__list_init(&told->link);
    kp__list_push_back(&todo.spent, &told->link);
    assert_true(kp__do(pool, &todo));
    assert_true(kp__list_empty(&todo.spent));
    kp__leave(pool, &todo);
    stage_fall(&s);
}

/* ---- growing --------------------------------------------------------------------------------- */

static int64_t group_of_next;

static void each_its_group(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    limits->group[0] = ++group_of_next;
}

/* With ever more keys, resources and groups, each step first with little memory: it is refused or
 * works, and works when there is memory. */
static void every_step_of_growing_must_be_whole_where_memory_runs_out(void **state)
{
    enum { KEYS = 300 };
    static kp_lease leases[KEYS];
    char key[16];

    (void)state;
    for (int64_t little = 0; little < 4; little++) {
        struct stage s;
        kp_stats stats;
        group_of_next = 0;
        stage_set(&s);
        s.options.limits_for = each_its_group;
        s.options.budget.group_max_live[0] = 5;
        stage_open(&s);
        for (int i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "key %d", i);
            s.allocations = little;
            int code = kp_get(s.pool, kp_str(key), NULL, &leases[i]);
            s.allocations = -1;
            assert_true(code == 0 || code == KP_ENOMEM);
            if (code != 0) leases[i] = stage_get(&s, key);
            s.made = 0; /* addresses may repeat: nothing here invalidates */
        }
        assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
        assert_int_equal(stats.lent, KEYS);
        for (int i = 0; i < KEYS; i++) kp_release(&leases[i]);
        stage_fall(&s);
    }
}

static void a_pool_must_close_whatever_its_tables_are_busy_with(void **state)
{
    (void)state;
    for (int keys = 1; keys < 150; keys += 3) {
        struct stage s;
        char key[16];
        group_of_next = 0;
        stage_set(&s);
        s.options.limits_for = each_its_group;
        s.options.budget.group_max_live[0] = 5;
        stage_open(&s);
        for (int i = 0; i < keys; i++) {
            snprintf(key, sizeof key, "key %d", i);
            kp_lease lease = stage_get(&s, key);
            kp_release(&lease);
            s.made = 0;
        }
        stage_fall(&s);
    }
}

/* Sixty-four creations are under way, which is all the memory there is for jobs. */
static void a_reset_must_run_where_there_is_no_memory_for_its_job(void **state)
{
    struct stage s;
    kp_lease lease, none;
    kp_job *jobs[64];
    char key[16];

    (void)state;
    stage_set(&s);
    s.options.driver.reset = stage_reset;
    stage_open(&s);
    lease = stage_get(&s, "a");
    s.create = KP_PENDING;
    for (int i = 0; i < 64; i++) {
        snprintf(key, sizeof key, "key %d", i);
        s.pending = 0;
        assert_int_equal(kp_get(s.pool, kp_str(key), KP_IN_MS(1), &none), KP_ETIMEDOUT);
        jobs[i] = s.job;
    }
    s.allocations = 0;
    kp_release(&lease);
    s.allocations = -1;
    kp_stats stats;
    assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
    assert_int_equal(stats.idle, 1);
    for (int i = 0; i < 64; i++) kp_job_done(jobs[i], -1, NULL);
    stage_fall(&s);
}

static void say_one(struct stage *s)
{
    kp_job_done(s->job, 1, NULL);
}

/* A driver function that has a library's "1: it went well" as its late answer. It is no KP_PENDING:
 * a get and a release whose thread stands by have their answer. */
static void a_late_answer_that_is_positive_must_end_the_job(void **state)
{
    struct stage s;
    kp_stats stats;

    (void)state;
    stage_set(&s);
    s.options.driver.validate = stage_validate;
    s.options.driver.reset = stage_reset;
    s.options.limits.validate_after_ms = KP_NONE;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    s.reset = KP_PENDING;
    s.meanwhile = say_one;
    kp_release(&lease);
    assert_int_equal(s.destroyed, 0);
    s.validate = KP_PENDING;
    s.meanwhile = say_one;
    lease = stage_get(&s, "a");
    s.meanwhile = say_one;
    kp_release(&lease);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.creates, 1);
    assert_int_equal(stats.idle, 1);
    stage_fall(&s);
}

/* ---- leases while they end ------------------------------------------------------------------- */

static kp_lease copy_of_it;
static bool held_within;

static int look_within_reset(kp_job *job, void *resource)
{
    kp_lease_about about;

    (void)job;
    (void)resource;
    held_within = kp_lease_read(&copy_of_it, &about);
    return 0;
}

static void a_copy_of_a_lease_must_have_ended_while_its_resource_is_reset(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.driver.reset = look_within_reset;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    copy_of_it = lease;
    held_within = true;
    kp_release(&lease);
    assert_false(held_within);
    stage_fall(&s);
}

static void set_bare(struct stage *s)
{
    stage_set(s);
    s->options.leak_after_ms = KP_OFF;
    s->options.limits.idle_ttl_ms = s->options.limits.max_age_ms = KP_OFF;
}

static void a_lease_without_a_time_must_be_given_back_with_one_where_it_is_needed(void **state)
{
    struct stage s;
    kp_limits limits = { .idle_ttl_ms = 10 };
    kp_why why;

    (void)state;
    set_bare(&s);
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    lease = stage_get(&s, "a");
    assert_int_equal(kp_limits_set(s.pool, kp_str("a"), &limits, &why), 0);
    kp_release(&lease);
    s.now += 11000000;
    (void)kp_keep(s.pool);
    assert_int_equal(s.destroyed, 1);
    stage_fall(&s);
}

/* Of a key with nothing left, that time is how long it is kept. */
static void a_lease_without_a_time_must_be_discarded_with_one(void **state)
{
    struct stage s;
    kp_stats stats;

    (void)state;
    set_bare(&s);
    s.options.forget_key_after_ms = 10;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    lease = stage_get(&s, "a");
    s.now += 100000000;
    kp_discard(&lease);
    assert_int_equal(s.destroyed, 1);
    for (int keys = 1; keys >= 0; keys--) {
        (void)kp_keep(s.pool);
        assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
        assert_int_equal(stats.keys, keys);
        s.now += 11000000;
    }
    stage_fall(&s);
}

static void a_timeout_must_not_invent_how_long_a_lease_without_a_time_has_lasted(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    set_bare(&s);
    s.options.limits.max_live = 1;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    lease = stage_get(&s, "a");
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 5, .why = &s.why), &none),
                     KP_ETIMEDOUT);
    assert_int_equal(s.why.oldest_lent_ms, 0);
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- plans ----------------------------------------------------------------------------------- */

static int runs, answer;

static int body(kp_lease *lease, void *arg)
{
    (void)lease;
    (void)arg;
    runs++;
    return answer;
}

static void a_plan_must_end_at_the_earlier_of_its_two_times(void **state)
{
    static const struct {
        int64_t within_ms;
        uint64_t until_ms, waits_ms;
    } cases[] = { { 20, 30, 20 }, { 30, 20, 20 }, { 0, 25, 25 }, { KP_OFF, 15, 15 } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        stage_set(&s);
        s.options.limits.max_live = 1;
        stage_open(&s);
        kp_lease held = stage_get(&s, "a");
        uint64_t before = s.now;
        kp_plan plan = { .ask = { .within_ms = cases[i].within_ms,
                                  .until = { s.now + cases[i].until_ms * 1000000 } } };
        assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, body, NULL), KP_ETIMEDOUT);
        assert_int_equal(s.now - before, cases[i].waits_ms * 1000000);
        kp_release(&held);
        stage_fall(&s);
    }
}

static void a_plan_must_fall_back_from_a_key_that_is_full_without_waiting_for_it(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 1;
    stage_open(&s);
    kp_lease held = stage_get(&s, "a");
    kp_key other = kp_str("b");
    kp_plan plan = { .ask = { .within_ms = 100 }, .fallback = &other, .fallbacks = 1,
                     .each_ms = KP_NONE };
    kp_lease lease = stage_get(&s, "b");
    kp_release(&lease); /* one is idle there */
    uint64_t before = s.now;
    runs = answer = 0;
    assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, body, NULL), 0);
    assert_int_equal(runs, 1);
    assert_int_equal(s.now, before);
    kp_release(&held);
    stage_fall(&s);

    stage_set(&s);
    s.options.budget.max_keys = 1;
    stage_open(&s);
    held = stage_get(&s, "b");
    kp_release(&held);
    assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, body, NULL), 0); /* KP_EFULL */
    assert_int_equal(runs, 2);
    stage_fall(&s);
}

static bool always(int status, void *arg)
{
    (void)arg;
    return status < 0;
}

static void a_plan_for_ever_must_pause_and_go_on(void **state)
{
    struct stage s;
    kp_plan plan = { .ask = { .within_ms = KP_OFF }, .retry_if = always,
                     .schedule = { .times = 3, .first_ms = INT64_MAX / 2000000,
                                   .max_ms = INT64_MAX / 2000000 } };

    (void)state;
    stage_raise(&s);
    runs = 0;
    answer = -5;
    uint64_t before = s.now;
    plan.schedule.first_ms = 10;
    plan.schedule.max_ms = 10;
    assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, body, NULL), -5);
    assert_int_equal(runs, 4);
    assert_int_equal(s.now - before, 30000000);
    stage_fall(&s);
}

static void a_plan_for_ever_must_not_pause_until_the_end_of_time(void **state)
{
    struct stage s;
    kp_plan plan = { .ask = { .within_ms = KP_OFF }, .retry_if = always,
                     .schedule = { .times = 3, .first_ms = INT64_MAX, .max_ms = INT64_MAX } };

    (void)state;
    stage_raise(&s);
    runs = 0;
    answer = -5;
    uint64_t before = s.now;
    assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, body, NULL), -5);
    assert_int_equal(runs, 1);
    assert_int_equal(s.now, before);
    stage_fall(&s);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void no_kind_must_be_said_alone(void **state)
{
    kp_options o = { .name = NULL };

    (void)state;
    assert_int_equal(kp_options_set(&o, "limits.respects_min", "none"), 0);
    assert_int_equal(o.limits.respects_min, KP_KIND_NONE);
    assert_int_equal(kp_options_set(&o, "limits.respects_min", "none,idle"), KP_ECONFIG);
    assert_int_equal(kp_options_set(&o, "limits.respects_min", "idle,age"), 0);
    assert_int_equal(o.limits.respects_min, KP_KIND_IDLE | KP_KIND_AGE);
}

/* ---- processes ------------------------------------------------------------------------------- */

static int end_of(pid_t child)
{
    int status = -1;

    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void misuse_must_abort_where_the_pool_says_so(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct stage s;
        kp_lease lease;
        (void)!freopen("/dev/null", "w", stderr);
        signal(SIGABRT, SIG_DFL);
        stage_set(&s);
        s.options.on_misuse_abort = 1;
        if (kp_pool_open(&s.options, &s.pool) == 0)
            (void)!kp_get(s.pool, KP_EVERY_KEY, NULL, &lease);
        _exit(7);
    }
    int status = end_of(child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static pid_t forked;

static void fork_within(const kp_why *why, void *arg)
{
    (void)why;
    (void)arg;
    if (forked == 0 && (forked = fork()) == 0) {
        kp_lease lease;
        /* nobody listens any more, nor waits for the lock of a thread that did */
        (void)!freopen("/dev/null", "w", stderr);
        kp_on_misuse(NULL, NULL);
        _exit(kp_get(NULL, kp_str("a"), NULL, &lease) == KP_EMISUSE ? 5 : 6);
    }
}

static void a_listener_that_forks_must_leave_its_child_able_to_go_on(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_raise(&s); /* forks are watched from the first pool on */
    kp_on_misuse(fork_within, NULL);
    forked = 0;
    assert_int_equal(kp_get(NULL, kp_str("a"), NULL, &lease), KP_EMISUSE);
    kp_on_misuse(NULL, NULL);
    int status = end_of(forked);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 5);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            where_nothing_is_called_and_nobody_listens_a_resource_must_go_all_the_same),
        cmocka_unit_test(what_was_told_must_be_freed_where_nothing_else_is_to_be_done),
        cmocka_unit_test(every_step_of_growing_must_be_whole_where_memory_runs_out),
        cmocka_unit_test(a_pool_must_close_whatever_its_tables_are_busy_with),
        cmocka_unit_test(a_reset_must_run_where_there_is_no_memory_for_its_job),
        cmocka_unit_test(a_late_answer_that_is_positive_must_end_the_job),
        cmocka_unit_test(a_copy_of_a_lease_must_have_ended_while_its_resource_is_reset),
        cmocka_unit_test(a_lease_without_a_time_must_be_given_back_with_one_where_it_is_needed),
        cmocka_unit_test(a_lease_without_a_time_must_be_discarded_with_one),
        cmocka_unit_test(a_timeout_must_not_invent_how_long_a_lease_without_a_time_has_lasted),
        cmocka_unit_test(a_plan_must_end_at_the_earlier_of_its_two_times),
        cmocka_unit_test(a_plan_must_fall_back_from_a_key_that_is_full_without_waiting_for_it),
        cmocka_unit_test(a_plan_for_ever_must_pause_and_go_on),
        cmocka_unit_test(a_plan_for_ever_must_not_pause_until_the_end_of_time),
        cmocka_unit_test(no_kind_must_be_said_alone),
        cmocka_unit_test(misuse_must_abort_where_the_pool_says_so),
        cmocka_unit_test(a_listener_that_forks_must_leave_its_child_able_to_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
