/* SPDX-License-Identifier: MIT
 *
 * A driver whose functions are all answered later, by one thread. That thread must never be held up
 * in kp_job_done: it would wait for an answer of its own.
 */
#include "contract.h"

enum { MOST = 16 };

static contract c;
static char things[MOST];
static kp_job *jobs[MOST];
static int asked, answered, created;

static int later(kp_job *job)
{
    assert_true(asked < MOST);
    jobs[asked++] = job;
    return KP_PENDING;
}

static int create_later(kp_job *job, void **resource)
{
    (void)resource;
    return later(job);
}

static int use_later(kp_job *job, void *resource)
{
    (void)resource;
    return later(job);
}

/* Answer what was asked so far, and what is asked because of that. Here the test is that thread. */
static void answer_all(int validates)
{
    while (answered < asked) {
        kp_job *job = jobs[answered++];

        if (job->kind == KP_JOB_CREATE) kp_job_done(job, 0, &things[created++]);
        else kp_job_done(job, job->kind == KP_JOB_VALIDATE ? validates : 0, NULL);
    }
}

static void begin(void)
{
    asked = answered = created = 0;
    contract_begin(&c, NULL);
}

static void open_all_later(void)
{
    contract_open_driver(&c, &(kp_driver){ .create = create_later, .destroy = use_later,
                                           .validate = use_later, .reset = use_later });
}

static void close_it(void *arg)
{
    (void)arg;
    (void)kp_pool_close(c.pool, KP_CLOSE_NOW, 0);
}

/* Another task closes the pool, and so stands by where what is idle is destroyed. */
static void finish(void)
{
    int task = kp_sim_spawn(c.sim, close_it, NULL);

    assert_true(task > 0);
    while (kp_sim_settle(c.sim), !kp_sim_ended(c.sim, task)) answer_all(0);
    contract_end(&c);
}

static void what_is_made_too_late_must_be_destroyed_without_its_thread(void **state)
{
    kp_lease lease;

    (void)state;
    begin();
    open_all_later();
    assert_int_equal(kp_get(c.pool, kp_str("a"), KP_IN_MS(10), &lease), KP_ETIMEDOUT);
    assert_int_equal(kp_pool_close(c.pool, KP_CLOSE_NOW, 0), 1);
    answer_all(0);
    assert_int_equal(asked, 2);         /* the create, and the end of what it made */
    contract_end(&c);
}

static void what_is_found_bad_too_late_must_be_destroyed_without_its_thread(void **state)
{
    kp_lease lease;

    (void)state;
    begin();
    c.options.limits.validate_after_ms = KP_NONE;
    open_all_later();
    assert_int_equal(kp_add(c.pool, kp_str("a"), &things[MOST - 1]), 0);
    assert_int_equal(kp_get(c.pool, kp_str("a"), KP_IN_MS(10), &lease), KP_ETIMEDOUT);
    answer_all(-1);
    assert_int_equal(contract_stats(&c, kp_str("a")).live, 0);
    contract_end(&c);
}

static bool gave_back;

static void give_back_in_the_listener(const kp_event *event, void *ctx)
{
    kp_lease lease;

    contract__event(event, ctx);
    if (event->kind != KP_EVENT_CREATED || strcmp(event->key.data, "a") != 0) return;
    if (kp_try_get(event->pool, kp_str("b"), &lease) != 0) return;
    kp_release(&lease);
    gave_back = true;
}

static void what_a_listener_gives_back_must_be_reset_without_its_thread(void **state)
{
    kp_lease lease;

    (void)state;
    begin();
    gave_back = false;
    c.options.on_event = give_back_in_the_listener;
    open_all_later();
    assert_int_equal(kp_add(c.pool, kp_str("b"), &things[MOST - 1]), 0);
    assert_int_equal(kp_get(c.pool, kp_str("a"), KP_IN_MS(10), &lease), KP_ETIMEDOUT);
    answer_all(0);
    assert_true(gave_back);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).idle, 2);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_made_too_late_must_be_destroyed_without_its_thread),
        cmocka_unit_test(what_is_found_bad_too_late_must_be_destroyed_without_its_thread),
        cmocka_unit_test(what_a_listener_gives_back_must_be_reset_without_its_thread),
    };
    return cmocka_run_group_tests_name("one thread answers all", tests, NULL, NULL);
}
