/* SPDX-License-Identifier: MIT
 *
 * Creates that have a time of their own: with create_timeout_ms, where threads of the pool or its
 * loop run the driver, a create goes on when its request goes. Otherwise, where a connect takes
 * longer than requests wait, nobody would ever be served.
 */
#include "loop.h"

#include <pthread.h>

enum { CONNECT_MS = 300, MOST = 16 };

static struct {
    struct stage stage;
    kp_job *job[MOST]; /* under way, or NULL */
    int64_t ends_at[MOST], told_ms;
    bool comes[MOST];
    int begun, hurried, failed;
    char things[MOST];
} w;

/* It takes CONNECT_MS; or, if it is told that there is less time, fails when that is over. */
static int connects(kp_job *job, void **out)
{
    int i = w.begun++;

    (void)out;
    assert_true(i < MOST);
    w.told_ms = job->left_ms;
    w.comes[i] = job->left_ms >= CONNECT_MS;
    w.ends_at[i] = kp_sim_now_ms(w.stage.sim) + (w.comes[i] ? CONNECT_MS : job->left_ms);
    w.job[i] = job;
    return KP_PENDING;
}

static void answer(int i, int status)
{
    kp_job *job = w.job[i];

    w.job[i] = NULL;
    kp_job_done(job, status, status == 0 ? &w.things[i] : NULL);
}

static void ends_at_once(kp_job *job)
{
    w.hurried++;
    for (int i = 0; i < w.begun; i++)
        if (w.job[i] == job) {
            answer(i, -1);
            return;
        }
}

static int disconnects(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    return 0;
}

static void count_failures(const kp_event *event, void *ctx)
{
    (void)ctx;
    w.failed += event->kind == KP_EVENT_CREATE_FAILED;
}

/* `alone`: the loop is the pool's own. */
static struct stage *open_with(int64_t create_timeout_ms, bool alone)
{
    struct stage *s = &w.stage;
    const kp_options plan = { .limits = { .max_live = 2, .create_timeout_ms = create_timeout_ms,
                                    .retry_first_ms = KP_NONE },
                        .on_event = count_failures };

    memset(&w, 0, sizeof w);
    stage_open(s, NULL, &plan);
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    if (alone) s->plan.loop = s->loop;
    s->plan.driver = (kp_driver){ .create = connects, .destroy = disconnects,
                                  .cancel = ends_at_once, .flags = KP_NEVER_BLOCKS };
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
    return s;
}

/* Let time go by; what is due ends. */
static void pass(struct stage *s, int64_t ms)
{
    for (; ms > 0; ms -= 10) {
        stage_pass(s, 10);
        for (int i = 0; i < w.begun; i++)
            if (w.job[i] && w.ends_at[i] <= kp_sim_now_ms(s->sim)) answer(i, w.comes[i] ? 0 : -1);
        stage_pass(s, 0);
    }
}

/* The pool was closed, with nothing lent. */
static void leave(struct stage *s)
{
    stage_pass(s, 0);
    assert_int_equal(kp_loop_close(s->loop), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

static void requests_that_cannot_wait_for_a_create_must_not_keep_all_from_being_served(void **state)
{
    struct stage *s = open_with(1000, true);
    struct ask a;
    int served = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        stage_start(s, &a, "k", 200);
        pass(s, 200);
        served += a.status == 0;
        if (a.status == 0) kp_release(&a.lease);
        else assert_int_equal(a.status, KP_ETIMEDOUT);
    }
    assert_int_equal(served, 9);
    assert_int_equal(w.hurried, 0);
    stage_close(s);
}

static void nor_must_requests_that_are_cancelled(void **state)
{
    struct stage *s = open_with(1000, true);
    struct ask a;

    (void)state;
    stage_start(s, &a, "k", 5000);
    pass(s, 200);
    kp_cancel(&a.request);
    pass(s, 100);
    assert_int_equal(stage_stats(s).idle, 1);
    assert_int_equal(w.hurried, 0);
    stage_close(s);
}

static void nor_must_requests_that_do_not_wait_at_all(void **state)
{
    struct stage *s = open_with(1000, true);
    struct ask a;

    (void)state;
    assert_int_equal(stage_start_with(s, &a, "k", (kp_ask){ .within_ms = KP_NONE }), 0);
    pass(s, 300);
    assert_int_equal(a.status, KP_EAGAIN);
    assert_int_equal(stage_start_with(s, &a, "k", (kp_ask){ .within_ms = KP_NONE }), 0);
    pass(s, 10);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_close(s);
}

static void gets(void *arg)
{
    struct ask *a = arg;

    a->status = kp_get(a->stage->pool, kp_str("k"), KP_ASK(.within_ms = 200), &a->lease);
    if (a->status == 0) kp_release(&a->lease);
}

/* A thread that waits for what the loop makes does not hold it up either. */
static void a_thread_that_waits_for_the_loop_must_be_answered_at_its_deadline(void **state)
{
    struct stage *s = open_with(1000, true);
    struct ask a = { .stage = s, .status = 1 };

    (void)state;
    stage_pass(s, 0);
    assert_true(kp_sim_spawn(s->sim, gets, &a) > 0);
    pass(s, 190);
    assert_int_equal(a.status, 1);
    pass(s, 10);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(stage_stats(s).creating, 1);
    pass(s, 100);
    assert_int_equal(stage_stats(s).idle, 1);
    stage_close(s);
}

static void what_a_create_is_told_must_be_its_own_time_or_what_its_request_has_left(void **state)
{
    static const struct {
        int64_t timeout_ms, within_ms, told_ms;
        bool alone;
    } of[] = {
        { KP_OFF, 200, 200, true },
        { 1000, 200, 1000, true },
        { 100, 200, 100, true },
        { 1000, 200, 200, false }, /* it may run on a thread of the request's */
        { 100, 200, 100, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct stage *s = open_with(of[i].timeout_ms, of[i].alone);
        struct ask a;

        stage_start(s, &a, "k", of[i].within_ms);
        pass(s, 50);
        assert_int_equal(w.told_ms, of[i].told_ms);
        pass(s, 2000);
        assert_int_equal(stage_stats(s).creating, 0);
        stage_close(s);
    }
}

/* Longer than CONNECT_MS, but its server hangs. */
static void it_must_be_hurried_when_its_own_time_is_over_and_count(void **state)
{
    struct stage *s = open_with(1000, true);
    struct ask a;

    (void)state;
    stage_start(s, &a, "k", 200);
    stage_pass(s, 999);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(w.hurried, 0);
    stage_pass(s, 1);
    assert_int_equal(w.hurried, 1);
    assert_int_equal(w.failed, 1);
    assert_int_equal(stage_stats(s).create_failures, 1);
    assert_int_equal(stage_stats(s).creating, 0);
    stage_close(s);
}

static void it_must_be_called_off_when_its_pool_closes(void **state)
{
    struct stage *s = open_with(1000, true);
    struct ask a;

    (void)state;
    stage_start(s, &a, "k", 200);
    stage_pass(s, 250);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(w.hurried, 1);
    assert_int_equal(w.failed, 0);
    leave(s);
}

/* Else no probe would ever be long enough to close it. */
static void a_probe_whose_request_has_gone_must_close_its_circuit(void **state)
{
    const kp_limits breaks = { .breaker_failures = 1, .breaker_open_ms = 100 };
    struct stage *s = open_with(1000, true);
    struct ask a;

    (void)state;
    assert_int_equal(kp_limits_set(s->pool, KP_EVERY_KEY, &breaks, NULL), 0);
    stage_start(s, &a, "k", 200);
    stage_pass(s, 10);
    answer(0, -1);
    stage_pass(s, 0);
    assert_int_equal(a.status, KP_ECREATE);
    assert_int_equal(stage_stats(s).circuits_open, 1);
    pass(s, 100);
    stage_start(s, &a, "k", 200);
    pass(s, 250);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(stage_stats(s).circuits_open, 1);
    pass(s, 50);
    assert_int_equal(stage_stats(s).circuits_open, 0);
    assert_int_equal(stage_stats(s).idle, 1);
    stage_close(s);
}

/* ---- on threads of the pool, with the real clock --------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool may_go;
    int begun;
    int64_t told_ms;
    char thing;
} crew = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

static int connects_when_it_may(kp_job *job, void **out)
{
    pthread_mutex_lock(&crew.lock);
    crew.begun++;
    crew.told_ms = job->left_ms;
    while (!crew.may_go) pthread_cond_wait(&crew.moved, &crew.lock);
    pthread_mutex_unlock(&crew.lock);
    *out = &crew.thing;
    return 0;
}

static int drops(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    return 0;
}

static void on_threads_of_the_pool_it_must_go_on_for_the_next_as_well(void **state)
{
    const kp_options plan = { .driver = { .create = connects_when_it_may, .destroy = drops },
                              .limits = { .max_live = 1, .create_timeout_ms = KP_SECONDS(60) },
                              .threads = 1 };
    kp_pool *pool;
    kp_lease lease;

    (void)state;
    assert_int_equal(kp_pool_open(&plan, &pool), 0);
    assert_int_equal(kp_get(pool, kp_str("k"), KP_ASK(.within_ms = 1), &lease), KP_ETIMEDOUT);
    pthread_mutex_lock(&crew.lock);
    crew.may_go = true;
    pthread_cond_broadcast(&crew.moved);
    pthread_mutex_unlock(&crew.lock);
    assert_int_equal(kp_get(pool, kp_str("k"), KP_IN_S(60), &lease), 0);
    assert_int_equal(crew.begun, 1);
    assert_int_equal(crew.told_ms, KP_SECONDS(60));
    kp_release(&lease);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(60)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            requests_that_cannot_wait_for_a_create_must_not_keep_all_from_being_served),
        cmocka_unit_test(nor_must_requests_that_are_cancelled),
        cmocka_unit_test(nor_must_requests_that_do_not_wait_at_all),
        cmocka_unit_test(a_thread_that_waits_for_the_loop_must_be_answered_at_its_deadline),
        cmocka_unit_test(what_a_create_is_told_must_be_its_own_time_or_what_its_request_has_left),
        cmocka_unit_test(it_must_be_hurried_when_its_own_time_is_over_and_count),
        cmocka_unit_test(it_must_be_called_off_when_its_pool_closes),
        cmocka_unit_test(a_probe_whose_request_has_gone_must_close_its_circuit),
        cmocka_unit_test(on_threads_of_the_pool_it_must_go_on_for_the_next_as_well),
    };

    return cmocka_run_group_tests_name("creates with a time of their own", tests, NULL, NULL);
}
