/* SPDX-License-Identifier: MIT
 *
 * A million requests that wait at the same time, from one event loop, on a pool of ten: they are
 * served in the order in which they came, without a single allocation by the library, because a
 * request is its caller's memory. Then the same while every second one, chosen at random, is
 * cancelled, half of these before and half while the others are served. And a tenth as many
 * requests that all time out.
 *
 * Environment: KP_REQUESTS (1000000; 3000 where the library checks its whole queue at every step),
 * KP_SEED (from the clock; printed).
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keyedpool.h"

#include <cmocka.h>

enum { POOL = 10, MANY = 1000000, FEW = 3000 };

enum fate { SERVED, CANCELLED_BEFORE, CANCELLED_MEANWHILE };

struct asked {
    kp_request request;
    uint8_t fate, over;
};

static struct crowd {
    kp_loop *loop;
    kp_pool *pool;
    struct asked *asked;
    uint32_t count;
    kp_lease held[POOL];
    uint32_t holds;
    uint32_t next;                /* the first one that has not been answered */
    uint32_t *victims;            /* to be cancelled while others are served, in this order */
    uint32_t victim_count, victim;
    uint64_t served, cancelled, wrong;
    uint64_t creates, destroys;
    uint64_t allocs, frees, bytes; /* of the pool's world */
    uint64_t random;
} crowd;

/* ---- chance, time, memory -------------------------------------------------------------------- */

static uint64_t roll(uint64_t n) /* splitmix64 */
{
    uint64_t z = crowd.random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static void *count_alloc(size_t size, size_t align, void *ctx)
{
    struct crowd *c = ctx;
    void *p;

    if (posix_memalign(&p, align < sizeof p ? sizeof p : align, size)) return NULL;
    c->allocs++;
    c->bytes += size;
    return p;
}

static void count_free(void *p, size_t size, void *ctx)
{
    struct crowd *c = ctx;

    if (!p) return;
    c->frees++;
    c->bytes -= size;
    free(p);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int create(kp_job *job, void **out)
{
    struct crowd *c = job->ctx;

    c->creates++;
    *out = malloc(1);
    return *out ? 0 : -1;
}

static int destroy(kp_job *job, void *resource)
{
    struct crowd *c = job->ctx;

    c->destroys++;
    free(resource);
    return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void cancel(struct crowd *c, uint32_t i)
{
    if (c->asked[i].over) c->wrong++;
    kp_cancel(&c->asked[i].request);
    c->asked[i].over = true;
    c->cancelled++;
}

/* Cancels the next victim; victims are chosen so that it was not served yet. */
static void cancel_one(struct crowd *c)
{
    if (c->victim < c->victim_count) cancel(c, c->victims[c->victim++]);
}

static void skip_those_over(struct crowd *c)
{
    while (c->next < c->count && c->asked[c->next].over) c->next++;
}

/* First come, first served: this must be the first request that is not over. */
static void answered(kp_request *request, int status, kp_lease lease)
{
    struct asked *a = request->arg;
    struct crowd *c = &crowd;

    skip_those_over(c);
    if (status != 0 || a->over || a != &c->asked[c->next]) c->wrong++;
    a->over = true;
    c->served++;
    cancel_one(c);
    kp_release(&lease);
}

static void took(kp_request *request, int status, kp_lease lease)
{
    struct crowd *c = request->arg;

    if (status != 0) c->wrong++;
    c->held[c->holds++] = lease;
}

static void dispatch(struct crowd *c)
{
    if (kp_loop_dispatch(c->loop) < -1) c->wrong++;
}

static void begin(struct crowd *c, uint32_t count)
{
    static struct crowd none;
    kp_request first[POOL];
    static kp_world world = { .alloc = count_alloc, .free = count_free, .ctx = &crowd };
    kp_options options = {
        .driver = { .create = create, .destroy = destroy, .ctx = c, .flags = KP_NEVER_BLOCKS },
        .limits = { .max_live = POOL, .max_waiting = KP_UNLIMITED, .max_creating = KP_UNLIMITED },
        .deadline_ms = KP_OFF,
        .world = &world,
    };

    *c = none;
    c->count = count;
    c->random = setting("KP_SEED", (uint64_t)time(NULL));
    print_message("KP_SEED=%" PRIu64 " KP_REQUESTS=%" PRIu32 "\n", c->random, count);
    c->asked = calloc(count, sizeof *c->asked);
    c->victims = calloc(count, sizeof *c->victims);
    assert_non_null(c->asked);
    assert_non_null(c->victims);
    assert_int_equal(kp_loop_open(&c->loop), 0);
    options.loop = c->loop;
    assert_int_equal(kp_pool_open(&options, &c->pool), 0);
    memset(first, 0, sizeof first);
    for (int i = 0; i < POOL; i++) {
        first[i] = (kp_request){ .loop = c->loop, .done = took, .arg = c };
        assert_int_equal(kp_get_start(c->pool, kp_str("a"), NULL, &first[i]), 0);
    }
    while (c->holds < POOL) dispatch(c);
}

static kp_stats look(const struct crowd *c)
{
    kp_stats s;

    assert_int_equal(kp_stats_read(c->pool, KP_EVERY_KEY, &s), 0);
    assert_int_equal(s.live, s.creating + s.idle + s.lent + s.closing);
    return s;
}

/* Which requests are to be cancelled, and when. Those that are cancelled while others are served
 * come in an order in which none can have been served before its turn. */
static void choose(struct crowd *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (roll(2)) continue;
        c->asked[i].fate = roll(2) ? CANCELLED_BEFORE : CANCELLED_MEANWHILE;
    }
    /* one is cancelled for each one that is served: begin with the back half of the queue */
    for (uint32_t i = c->count; i-- > c->count / 2;)
        if (c->asked[i].fate == CANCELLED_MEANWHILE) c->victims[c->victim_count++] = i;
    for (uint32_t i = 0; i < c->count / 2; i++)
        if (c->asked[i].fate == CANCELLED_MEANWHILE) c->asked[i].fate = CANCELLED_BEFORE;
    for (uint32_t i = c->victim_count; i > 1; i--) {
        uint32_t j = (uint32_t)roll(i), victim = c->victims[j];
        c->victims[j] = c->victims[i - 1];
        c->victims[i - 1] = victim;
    }
}

/* Cancels those that are to be cancelled before, in a random order. */
static void cancel_before(struct crowd *c)
{
    uint32_t *order = malloc(c->count * sizeof *order), n = 0;

    assert_non_null(order);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->asked[i].fate == CANCELLED_BEFORE) order[n++] = i;
    for (; n > 0; n--) {
        uint32_t j = (uint32_t)roll(n), i = order[j];
        order[j] = order[n - 1];
        cancel(c, i);
    }
    free(order);
}

static void end(struct crowd *c)
{
    assert_int_equal(kp_pool_close(c->pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(kp_loop_close(c->loop), 0);
    assert_int_equal(c->creates, POOL);
    assert_int_equal(c->destroys, POOL);
    assert_int_equal(c->bytes, 0);
    assert_int_equal(c->allocs, c->frees);
    assert_int_equal(c->wrong, 0);
    free(c->asked);
    free(c->victims);
}

static uint32_t how_many(void)
{
    bool checks = strstr(kp_build_info(), "checks of the laws: on") != NULL;

    return (uint32_t)setting("KP_REQUESTS", checks ? FEW : MANY);
}

static void run(struct crowd *c, bool cancels)
{
    uint32_t count = how_many();
    uint64_t start, waiting, over, allocs, bytes;

    begin(c, count);
    if (cancels) choose(c);
    allocs = c->allocs;
    bytes = c->bytes;
    start = now_ns();
    for (uint32_t i = 0; i < count; i++) {
        struct asked *a = &c->asked[i];
        a->request = (kp_request){ .loop = c->loop, .done = answered, .arg = a };
        if (kp_get_start(c->pool, kp_str("a"), NULL, &a->request) != 0) c->wrong++;
    }
    waiting = now_ns();
    assert_int_equal(look(c).waiting, count);
    assert_int_equal(c->allocs, allocs); /* a million waiting requests allocated nothing */
    if (cancels) cancel_before(c);
    assert_int_equal(look(c).waiting, count - c->cancelled);
    for (int i = 0; i < POOL; i++) kp_release(&c->held[i]);
    while (c->served + c->cancelled < count) dispatch(c);
    over = now_ns();
    assert_int_equal(c->allocs, allocs); /* nor did serving and cancelling them */
    assert_int_equal(c->bytes, bytes);
    assert_int_equal(c->wrong, 0);
    assert_int_equal(look(c).gets, c->served + POOL);
    assert_int_equal(look(c).refusals, c->cancelled);
    assert_int_equal(look(c).idle, POOL);
    assert_int_equal(look(c).waiting, 0);
    print_message("%" PRIu64 " served in order, %" PRIu64 " cancelled; each took %" PRIu64 " ns to "
                  "ask, %" PRIu64 " ns to end, %zu bytes of its caller's and 0 of the library's\n",
                  c->served, c->cancelled, (waiting - start) / count, (over - waiting) / count,
                  sizeof(kp_request));
    end(c);
}

/* `victims` holds the deadlines here, in ms since the start. */
static void timed_out(kp_request *request, int status, kp_lease lease)
{
    const struct asked *a = request->arg;
    struct crowd *c = &crowd;
    uint64_t at = c->random + c->victims[a - c->asked] * UINT64_C(1000000);

    if (status != KP_ETIMEDOUT || lease.resource || a->over || now_ns() < at) c->wrong++;
    c->asked[a - c->asked].over = true;
    c->served++;
}

/* Nothing is given back: each request ends at its own deadline, and no earlier. */
static void each_of_many_deadlines_ends_its_own_request_without_an_allocation(void **state)
{
    struct crowd *c = &crowd;
    uint32_t count = how_many() / 10;
    uint64_t allocs, start, over;

    (void)state;
    begin(c, count);
    allocs = c->allocs;
    for (uint32_t i = 0; i < count; i++) c->victims[i] = 1 + (uint32_t)roll(1000);
    c->random = start = now_ns(); /* `random` is not needed any more and holds the start */
    for (uint32_t i = 0; i < count; i++) {
        struct asked *a = &c->asked[i];
        kp_ask ask = { .until = { start + c->victims[i] * UINT64_C(1000000) } };
        a->request = (kp_request){ .loop = c->loop, .done = timed_out, .arg = a };
        if (kp_get_start(c->pool, kp_str("a"), &ask, &a->request) != 0) c->wrong++;
    }
    while (c->served < count) dispatch(c);
    over = now_ns();
    assert_int_equal(c->allocs, allocs);
    assert_int_equal(look(c).timeouts, count);
    assert_int_equal(look(c).waiting, 0);
    for (int i = 0; i < POOL; i++) kp_release(&c->held[i]);
    assert_int_equal(look(c).idle, POOL);
    print_message("all over after %" PRIu64 " ms, %" PRIu64 " ns each\n", (over - start) / 1000000,
                  (over - start) / count);
    end(c);
}

static void a_million_requests_wait_and_are_served_in_order_without_an_allocation(void **state)
{
    (void)state;
    run(&crowd, false);
}

static void of_a_million_requests_every_second_one_is_cancelled_and_nothing_is_lost(void **state)
{
    (void)state;
    run(&crowd, true);
    assert_true(crowd.cancelled > crowd.count / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_requests_wait_and_are_served_in_order_without_an_allocation),
        cmocka_unit_test(of_a_million_requests_every_second_one_is_cancelled_and_nothing_is_lost),
        cmocka_unit_test(each_of_many_deadlines_ends_its_own_request_without_an_allocation),
    };
    return cmocka_run_group_tests_name("a million requests", tests, NULL, NULL);
}
