/* SPDX-License-Identifier: MIT
 *
 * An outage, on a virtual clock: 1,000 requests a second on 50 keys, and for a minute the backend
 * is down. At each millisecond the creations that began are compared with a token bucket of the
 * test's own: never more than create_rate allows, nor fewer than could begin. No request waits past
 * its deadline, and when the backend is back, so is the service, within one back-off.
 *
 * KP_OUTAGE=FILE writes what happened in each tenth of a second; tools/outage_draw.py draws it.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool.h"

enum {
    KEYS = 50, MOST_LIVE = 8, MOST_CREATING = 2,    /* of a key */
    RATE = 100, BURST = 20, IN_FLIGHT = 15,         /* creations, over all keys */
    DOWN = 10000, UP = 70000, END = 90000,          /* ms */
    PATIENCE = 2000, HOLD = 5, CONNECT = 20, FIRST_PAUSE = 100, LONGEST_PAUSE = 5000,
    ASKED = 4096, TENTHS = END / 100
};

struct asked {
    kp_request request;
    int key;
    int64_t at;
    struct asked *free;
};

struct thing { int64_t made; };

/* Everything that takes so long is in a ring, for all of a kind take as long. */
static struct { kp_job *job; int key; int64_t due; } jobs[IN_FLIGHT + 1];
static struct { kp_lease lease; int64_t due; } held[KEYS * MOST_LIVE + 1];
static int first_job, last_job, first_held, last_held;

static struct {
    int waiting, creating, failures;
    int64_t ready;                      /* ns: not before may it try again */
} key[KEYS];

static struct { int asked, served, refused, begun, failed, in_flight; } tenth[TENTHS];

static struct asked asked[ASKED], *spare;
static kp_pool *pool;
static kp_loop *loop;
static uint64_t now_ns, dice, last_random;
static int64_t tokens, last_bad, worst_wait, most_in_flight, begun;    /* tokens: in tenths */
static int in_flight;

static int64_t now(void)
{
    return (int64_t)(now_ns / 1000000) - 1;
}

static bool is_down(void)
{
    return now() >= DOWN && now() < UP;
}

/* ---- the world ------------------------------------------------------------------------------- */

static uint64_t clock_of(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static uint64_t roll(void)
{
    dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return dice >> 33;
}

static uint64_t random_of(void *ctx)
{
    (void)ctx;
    return last_random = roll();
}

/* ---- the backend ----------------------------------------------------------------------------- */

static int next(int i, int most)
{
    return i == most ? 0 : i + 1;
}

static int create(kp_job *job, void **resource)
{
    int k = atoi(job->key.data);

    (void)resource;
    if (tokens < 10) fail_msg("at %d ms more is begun than create_rate allows", (int)now());
    tokens -= 10;
    begun++;
    in_flight++;
    if (in_flight > most_in_flight) most_in_flight = in_flight;
    key[k].creating++;
    if (key[k].failures && (key[k].creating > 1 || (int64_t)now_ns < key[k].ready))
        fail_msg("at %d ms key %d is not tried by one probe after its pause", (int)now(), k);
    jobs[last_job].job = job;
    jobs[last_job].key = k;
    jobs[last_job].due = now() + CONNECT;
    last_job = next(last_job, IN_FLIGHT);
    tenth[now() / 100].begun++;
    return KP_PENDING;
}

/* What the pool is to do after so many failures: full jitter of a doubling pause. */
static int64_t pause_of(int failures)
{
    int64_t pause = FIRST_PAUSE;

    for (int i = 1; i < failures && pause < LONGEST_PAUSE; i++) pause *= 2;
    if (pause > LONGEST_PAUSE) pause = LONGEST_PAUSE;
    return (int64_t)(last_random % ((uint64_t)pause * 1000000)) + 1;
}

static void answer(kp_job *job, int k)
{
    in_flight--;
    key[k].creating--;
    if (is_down()) {
        tenth[now() / 100].failed++;
        kp_job_done(job, kp_job_fail(job, 111, "connect: refused"), NULL);
        key[k].failures++;
        key[k].ready = (int64_t)now_ns + pause_of(key[k].failures);
    } else {
        struct thing *thing = malloc(sizeof *thing);
        key[k].failures = 0;
        thing->made = now();
        kp_job_done(job, 0, thing);
    }
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

/* ---- the service ----------------------------------------------------------------------------- */

static void done(kp_request *request, int status, kp_lease lease)
{
    struct asked *a = request->arg;
    int64_t waited = now() - a->at;

    key[a->key].waiting--;
    if (waited > worst_wait) worst_wait = waited;
    if (status == 0) {
        tenth[now() / 100].served++;
        held[last_held].lease = lease;
        held[last_held].due = now() + HOLD;
        last_held = next(last_held, KEYS * MOST_LIVE);
    } else {
        tenth[now() / 100].refused++;
        if (a->at > last_bad) last_bad = a->at;
        assert_true(status == KP_ETIMEDOUT || status == KP_ECREATE);
    }
    a->free = spare;
    spare = a;
}

static void ask(void)
{
    struct asked *a = spare;
    char name[4];

    assert_non_null(a);
    spare = a->free;
    *a = (struct asked){ .request = { .loop = loop, .done = done, .arg = a }, .at = now() };
    a->key = (int)(roll() % KEYS);
    (void)snprintf(name, sizeof name, "%d", a->key);
    key[a->key].waiting++;
    tenth[now() / 100].asked++;
    int code = kp_get_start(pool, kp_str(name), KP_IN_MS(PATIENCE), &a->request);
    if (code != 0) done(&a->request, code, (kp_lease){ 0 }); /* it fails fast */
}

/* What was made before the backend went down is broken since then. */
static void give(kp_lease *lease)
{
    const struct thing *thing = lease->resource;

    if (thing->made < DOWN && now() >= DOWN) kp_discard(lease);
    else kp_release(lease);
}

static void dispatch(void)
{
    struct pollfd ready = { .fd = kp_loop_fd(loop), .events = POLLIN };

    while (kp_loop_dispatch(loop) == 0 || poll(&ready, 1, 0) > 0) continue;
}

/* ---- what could have been begun -------------------------------------------------------------- */

static bool may_begin(int k)
{
    kp_stats stats;
    char name[4];

    if (key[k].waiting <= key[k].creating) return false;
    if (key[k].failures) return key[k].creating == 0 && (int64_t)now_ns >= key[k].ready;
    (void)snprintf(name, sizeof name, "%d", k);
    if (key[k].creating == MOST_CREATING) return false;
    return kp_stats_read(pool, kp_str(name), &stats) == 0 && stats.live < MOST_LIVE;
}

static void nothing_more_could_be_begun(void)
{
    if (tokens < 10 || in_flight == IN_FLIGHT) return;
    for (int k = 0; k < KEYS; k++)
        if (may_begin(k)) fail_msg("at %d ms key %d could have been tried", (int)now(), k);
}

static void millisecond(bool asks)
{
    tokens = tokens + RATE / 100 < BURST * 10 ? tokens + RATE / 100 : BURST * 10;
    for (; first_held != last_held && held[first_held].due <= now();
         first_held = next(first_held, KEYS * MOST_LIVE))
        give(&held[first_held].lease);
    for (; first_job != last_job && jobs[first_job].due <= now();
         first_job = next(first_job, IN_FLIGHT))
        answer(jobs[first_job].job, jobs[first_job].key);
    dispatch();
    if (asks) ask();
    dispatch();
    nothing_more_could_be_begun();
    if (in_flight > tenth[now() / 100].in_flight) tenth[now() / 100].in_flight = in_flight;
    now_ns += 1000000;
}

/* ---- the play -------------------------------------------------------------------------------- */

static void write_down(const char *file)
{
    FILE *out = fopen(file, "w");

    assert_non_null(out);
    fprintf(out, "seconds,asked,served,refused,begun,failed,in_flight\n");
    for (int i = 0; i < TENTHS; i++)
        fprintf(out, "%d.%d,%d,%d,%d,%d,%d,%d\n", i / 10, i % 10, tenth[i].asked, tenth[i].served,
                tenth[i].refused, tenth[i].begun, tenth[i].failed, tenth[i].in_flight);
    assert_int_equal(fclose(out), 0);
}

static void play(bool fails_fast)
{
    const kp_world world = { .now_ns = clock_of, .random = random_of };
    kp_options o = {
        .driver = { .create = create, .destroy = destroy, .flags = KP_NEVER_BLOCKS },
        .limits = { .max_live = MOST_LIVE, .max_creating = MOST_CREATING,
                    .max_waiting = KP_UNLIMITED, .retry_first_ms = FIRST_PAUSE,
                    .retry_max_ms = LONGEST_PAUSE, .age_spread_pct = KP_NONE,
                    .fail_fast = fails_fast ? 1 : 0 },
        .budget = { .create_rate = RATE, .create_burst = BURST, .max_creating = IN_FLIGHT },
        .world = &world,
    };

    memset(key, 0, sizeof key);
    memset(tenth, 0, sizeof tenth);
    spare = NULL;
    for (int i = 0; i < ASKED; i++) {
        asked[i].free = spare;
        spare = &asked[i];
    }
    first_job = last_job = first_held = last_held = in_flight = 0;
    begun = most_in_flight = last_bad = worst_wait = 0;
    tokens = BURST * 10;
    dice = 1;
    now_ns = 1000000;
    assert_int_equal(kp_loop_open(&loop), 0);
    o.loop = loop;
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    while (now() < END - 1000) millisecond(true);
    while (now() < END) millisecond(false);
}

static void end(void)
{
    kp_stats stats;

    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.waiting + stats.leases + stats.creating, 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    dispatch();
    assert_int_equal(kp_loop_close(loop), 0);
}

static void tell(const char *what)
{
    int64_t in_outage = 0, refused = 0;

    for (int i = DOWN / 100; i < UP / 100; i++) in_outage += tenth[i].begun;
    for (int i = 0; i < TENTHS; i++) refused += tenth[i].refused;
    printf("%s: %d creations begun, %d of them in the outage (line: %d), at most %d at once; %d "
           "requests refused, the last that came at %d ms; nobody waited longer than %d ms\n",
           what, (int)begun, (int)in_outage, BURST + RATE * (UP - DOWN) / 1000,
           (int)most_in_flight, (int)refused, (int)last_bad, (int)worst_wait);
}

static void an_outage_must_be_met_by_the_line_and_end_within_one_back_off(void **state)
{
    const char *file = getenv("KP_OUTAGE");

    (void)state;
    play(false);
    tell("patient");
    if (file) write_down(file);
    assert_true(most_in_flight <= IN_FLIGHT);
    assert_true(worst_wait <= PATIENCE);
    assert_true(last_bad >= UP - PATIENCE && last_bad < UP + LONGEST_PAUSE);
    end();
}

static void who_is_to_fail_fast_must_not_wait_for_a_backend_that_is_down(void **state)
{
    (void)state;
    play(true);
    tell("fail_fast");
    assert_true(most_in_flight <= IN_FLIGHT);
    assert_true(worst_wait <= PATIENCE);
    assert_true(last_bad < UP + LONGEST_PAUSE);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_must_be_met_by_the_line_and_end_within_one_back_off),
        cmocka_unit_test(who_is_to_fail_fast_must_not_wait_for_a_backend_that_is_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
