/* SPDX-License-Identifier: MIT
 *
 * Tests of jobs: those that are hurried (driver.cancel) and answered during that, and memory for
 * one more where all are under way. One thread plays all of them.
 */
#include "flow_allocs.h"

#include <keyedpool/loop.h>

#include "flow/door.h"

/* ---- hurried, and answered within that ------------------------------------------------------- */

static void (*within)(struct stage *); /* driver.cancel, after the answer; or NULL */

static void answer_when_hurried(kp_job *job)
{
    struct stage *s = job->ctx;

    s->cancelled++;
    s->create = 0;
    kp_job_done(job, 0, &s->resources[s->made++]);
    if (within) within(s);
}

static void a_thread_that_gives_up_must_leave_what_came_of_it_to_the_next(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.driver.cancel = answer_when_hurried;
    stage_open(&s);
    within = NULL;
    for (int i = 1; i < 100; i++) { /* more than there are jobs in a chunk: each comes back */
        s.create = KP_PENDING;
        s.pending = 0;
        assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(5), &lease), KP_ETIMEDOUT);
        assert_int_equal(s.cancelled, i);
        assert_int_equal(kp_try_get(s.pool, kp_str("a"), &lease), 0);
        kp_discard(&lease);
        assert_int_equal(s.destroyed, i);
    }
    stage_fall(&s);
}

static int code_within;
static kp_request request;

static void never_done(kp_request *r, int code, kp_lease lease)
{
    (void)code;
    (void)lease;
    fail_msg("%p is told, and was cancelled", (void *)r);
}

enum { OTHERS = 63, MANY = 200 }; /* a chunk of jobs, but for one; three chunks */

static char things[OTHERS];
static kp_job *leaving[MANY];
static int left;

static int destroy_slowly(kp_job *job, void *resource)
{
    if (job->key.size != 1 || *(const char *)job->key.data != 'b')
        return stage_destroy(job, resource);
    leaving[left++] = job;
    return KP_PENDING;
}

/* A creation is hurried, and answered inside of driver.cancel, for which its job is kept. All other
 * jobs are under way, and there is memory for one more only with `memory`. Meanwhile `what` is done
 * with the new resource. */
static void while_hurried(struct stage *s, void (*what)(struct stage *), bool memory)
{
    kp_loop *loop;

    s->options.driver.flags = KP_NEVER_BLOCKS;
    s->options.driver.cancel = answer_when_hurried;
    s->options.driver.destroy = destroy_slowly;
    s->options.limits.max_live = KP_UNLIMITED;
    stage_open(s);
    left = 0;
    for (int i = 0; i < OTHERS; i++)
        assert_int_equal(kp_add(s->pool, kp_str("b"), &things[i]), 0);
    assert_int_equal(kp_loop_open(&loop), 0);
    request = (kp_request){ .loop = loop, .done = never_done };
    s->create = KP_PENDING;
    assert_int_equal(kp_get_start(s->pool, kp_str("a"), NULL, &request), 0);
    while (kp_loop_dispatch(loop) == 0) continue;
    assert_int_equal(s->pending, 1);
    assert_int_equal(kp_invalidate_key(s->pool, kp_str("b")), OTHERS);
    assert_int_equal(left, OTHERS);
    within = what;
    s->allocations = memory ? -1 : 0;
    kp_cancel(&request);
    s->allocations = -1;
    within = NULL;
    assert_int_equal(s->cancelled, 1);
}

static void end_hurried(struct stage *s)
{
    while (left > 0) kp_job_done(leaving[--left], 0, NULL);
    stage_fall(s);
    assert_int_equal(s->destroyed, 1);
    assert_int_equal(kp_loop_close(request.loop), 0);
}

static void many_resources_must_all_end_at_once_without_memory(void **state)
{
    static int things_of_b[MANY];
    struct stage s;
    kp_loop *loop;

    (void)state;
    stage_set(&s);
    s.options.driver.flags = KP_NEVER_BLOCKS;
    s.options.driver.destroy = destroy_slowly;
    s.options.limits.max_live = KP_UNLIMITED;
    stage_open(&s);
    left = 0;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(kp_add(s.pool, kp_str("b"), &things_of_b[i]), 0);
    assert_int_equal(kp_loop_open(&loop), 0);
    assert_true(kp_loop_dispatch(loop) >= -1); /* its thread waits for nothing */
    s.allocations = 0;
    assert_int_equal(kp_invalidate_key(s.pool, kp_str("b")), MANY);
    assert_int_equal(left, MANY);
    while (left > 0) kp_job_done(leaving[--left], 0, NULL);
    s.allocations = -1;
    assert_int_equal(kp_loop_close(loop), 0);
    stage_fall(&s);
}

static void get_and_release(struct stage *s)
{
    kp_lease lease;

    code_within = kp_get(s->pool, kp_str("a"), KP_IN_MS(5), &lease);
    kp_release(&lease);
}

static void a_check_without_memory_for_its_job_must_be_refused_and_keep_the_resource(void **state)
{
    (void)state;
    for (int memory = 0; memory < 2; memory++) {
        struct stage s;
        kp_stats stats;
        stage_set(&s);
        s.options.driver.validate = stage_validate;
        s.options.limits.validate_after_ms = KP_NONE;
        while_hurried(&s, get_and_release, memory);
        assert_int_equal(code_within, memory ? 0 : KP_ENOMEM);
        assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
        assert_int_equal(stats.idle, 1);
        assert_int_equal(stats.lent, 0);
        kp_lease lease = stage_get(&s, "a");
        kp_release(&lease);
        end_hurried(&s);
    }
}

static void a_resource_that_cannot_be_reset_for_want_of_memory_must_go(void **state)
{
    (void)state;
    for (int memory = 0; memory < 2; memory++) {
        struct stage s;
        kp_stats stats;
        stage_set(&s);
        s.options.driver.reset = stage_reset;
        while_hurried(&s, get_and_release, memory);
        assert_int_equal(code_within, 0);
        assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
        assert_int_equal(stats.idle, memory);
        assert_int_equal(stats.lent, 0);
        assert_int_equal(s.destroyed, !memory);
        end_hurried(&s);
    }
}

static void cancel_when_invalid(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_INVALID) kp_cancel(&request);
}

static void a_job_that_is_being_answered_must_not_be_hurried(void **state)
{
    struct stage s;
    kp_loop *loop;
    kp_stats stats;

    (void)state;
    stage_set(&s);
    s.options.on_event = cancel_when_invalid;
    s.options.driver.flags = KP_NEVER_BLOCKS;
    s.options.driver.validate = stage_validate;
    s.options.driver.cancel = stage_cancel;
    s.options.limits.validate_after_ms = KP_NONE;
    stage_open(&s);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[0]), 0);
    assert_int_equal(kp_loop_open(&loop), 0);
    request = (kp_request){ .loop = loop, .done = never_done };
    s.validate = KP_PENDING;
    assert_int_equal(kp_get_start(s.pool, kp_str("a"), NULL, &request), 0);
    while (kp_loop_dispatch(loop) == 0) continue;
    assert_int_equal(s.pending, 1);
    kp_job_done(s.job, -1, NULL);
    assert_int_equal(s.cancelled, 0);
    assert_int_equal(s.destroyed, 1);
    assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
    assert_int_equal(stats.lent, 0);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(kp_loop_close(loop), 0);
    stage_fall(&s);
}

/* ---- others are faster ----------------------------------------------------------------------- */

/* How many slots were ever in use. */
static uint32_t slots_made(struct stage *s)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(s->pool, &todo, &code);
    uint32_t made = pool->core.slots.made;

    kp__leave(pool, &todo);
    return made;
}

/* As if every job were under way. */
static void take_all_jobs(struct stage *s)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(s->pool, &todo, &code);

    while (kp__slab_take(&pool->jobs) != NULL) continue;
    kp__leave(pool, &todo);
    s->allocations = 1; /* for the seats, and then no more */
}

static void a_creation_whose_job_others_took_must_be_refused_and_leave_nothing(void **state)
{
    struct stage s;
    kp_lease first, second;
    kp_stats stats;

    (void)state;
    stage_set(&s);
    s.world.alloc = busy_alloc;
    s.options.limits.sharing = 2; /* seats are allocated */
    stage_open(&s);
    first = stage_get(&s, "a");
    plan(&s, 0, take_all_jobs, false); /* for its seats */
    kp_ask fresh = { .flags = KP_FRESH, .why = &s.why };
    assert_int_equal(kp_get(s.pool, kp_str("a"), &fresh, &second), KP_ENOMEM);
    assert_null(in_alloc);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.live, 1);
    assert_int_equal(stats.creating, 0);
    s.allocations = -1;
    assert_int_equal(kp_get(s.pool, kp_str("a"), &fresh, &second), 0);
    assert_int_equal(slots_made(&s), 2); /* the same one as before */
    kp_release(&second);
    kp_release(&first);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_gives_up_must_leave_what_came_of_it_to_the_next),
        cmocka_unit_test(many_resources_must_all_end_at_once_without_memory),
        cmocka_unit_test(a_check_without_memory_for_its_job_must_be_refused_and_keep_the_resource),
        cmocka_unit_test(a_resource_that_cannot_be_reset_for_want_of_memory_must_go),
        cmocka_unit_test(a_job_that_is_being_answered_must_not_be_hurried),
        cmocka_unit_test(a_creation_whose_job_others_took_must_be_refused_and_leave_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
