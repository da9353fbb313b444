/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter that never blocks, on an event loop of one thread (loop_cases.h).
 */
#ifndef TESTS_ADAPTERS_REDIS_LOOP_H
#define TESTS_ADAPTERS_REDIS_LOOP_H

#include <keyedpool_redis.h>

#include <errno.h>
#include <fcntl.h>

#include "adapters/loop_cases.h"
#include "adapters/redis_server.h"

static kp_redis_counts counted;

static void open_pool(kp_redis_options redis_options)
{
    kp_options more = plan_on_loop();

    memset(&counted, 0, sizeof counted);
    if (!redis_options.password)
        redis_options.password = REDIS_SECRET;
    redis_options.watcher = glue_watcher(&stage.loop);
    redis_options.counts = &counted;
    if (kp_redis_open(&redis_options, &more, &stage.pool) != 0)
        fail_msg("open: %s", stage.why.text);
}

static void close_pool(void)
{
    kp_redis_counts counts;

    end_loop();
    counts = kp_redis_counts_read(&counted);
    assert_int_equal(counts.opened, counts.closed);
}

static redisContext *get(int number, const char *key)
{
    return kp_redis(lease_of(number, key));
}

/* A command of words without blocking; its reply must begin so (redis_reply_is). */
static void must_say(redisContext *c, const char *expected, const char *words)
{
    void *reply = NULL;
    const char *wrong;
    int sent = 0;

    assert_int_equal(redisAppendCommand(c, words), REDIS_OK);
    while (!sent && redisBufferWrite(c, &sent) == REDIS_OK)
        continue;
    while (redisGetReplyFromReader(c, &reply) == REDIS_OK && !reply) {
        if (!turn_until(c->fd, KP_WATCH_READ) || redisBufferRead(c) != REDIS_OK)
            break;
    }
    wrong = redis_reply_is(c, reply, expected);
    if (wrong)
        fail_msg("%s: \"%s\" and not \"%s\"", words, wrong, expected);
}

/* ---- for loop_cases.h ------------------------------------------------------------------------ */

static void open_within(int64_t connect_timeout_ms)
{
    open_pool((kp_redis_options){ .connect_timeout_ms = connect_timeout_ms });
}

static const char *here(void)
{
    return redis.place;
}

static void deaf_key(char *key, size_t size, int port)
{
    (void)snprintf(key, size, "127.0.0.1:%d", port);
}

static bool is_late(const kp_why *why)
{
    return why->vendor_code == ETIMEDOUT && strstr(why->text, "no answer within the time");
}

static void must_work(const kp_lease *lease)
{
    must_say(kp_redis(lease), "PONG", "PING");
}

/* ---- lending --------------------------------------------------------------------------------- */

static void must_be_ready(const kp_lease *lease)
{
    redisContext *c = kp_redis(lease);

    assert_int_equal(c->flags & REDIS_BLOCK, 0);
    assert_true(fcntl(c->fd, F_GETFL) & O_NONBLOCK);
    must_say(c, "looped", "CLIENT GETNAME");
}

static void many_gets_must_share_two_connections_on_one_thread(void **state)
{
    const char *keys[] = { redis.place, redis.path };

    (void)state;
    for (int k = 0; k < 2; k++) {
        open_pool((kp_redis_options){ .db = 3, .client_name = "looped" });
        all_in_turn(keys[k], must_be_ready);
        assert_int_equal(counted.opened, 2);
        assert_int_equal(redis_clients("name=looped"), 2);
        close_pool();
    }
}

static void a_name_must_be_looked_up_without_blocking(void **state)
{
    struct ask *lost, *well;
    char key[32];

    (void)state;
    (void)snprintf(key, sizeof key, "localhost:%d", redis.port);
    open_pool((kp_redis_options){ 0 });
    lost = begin(0, "nowhere.invalid:6379", 20000);
    well = begin(1, key, 20000);
    assert_int_equal(await(well), 0);
    must_say(kp_redis(&well->lease), "PONG", "PING");
    give_back(1);
    assert_int_equal(await(lost), KP_ECREATE);
    assert_non_null(strstr(lost->why.text, "nowhere.invalid"));
    close_pool();
}

static void what_was_left_must_be_undone_before_the_next(void **state)
{
    redisContext *first, *second;

    (void)state;
    open_pool((kp_redis_options){ 0 });
    first = get(0, redis.place);
    must_say(first, "OK", "SELECT 7");
    must_say(first, "OK", "MULTI");
    for (int i = 0; i < 100; i++)
        assert_int_equal(redisAppendCommand(first, "ECHO late"), REDIS_OK);
    must_say(first, "QUEUED", "PING");
    (void)fcntl(first->fd, F_SETFL, fcntl(first->fd, F_GETFL) & ~O_NONBLOCK);
    give_back(0);
    while (counted.replies == 0)
        turn();                         /* else a new one might come first */
    second = get(0, redis.place);
    assert_ptr_equal(first, second);
    assert_true(fcntl(second->fd, F_GETFL) & O_NONBLOCK);
    must_say(second, "ERR EXEC without MULTI", "EXEC");
    assert_int_equal(redis_clients("db=7"), 0);
    assert_int_equal(counted.replies, 100);
    give_back(0);
    close_pool();
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void who_is_not_let_in_must_be_told_as_everywhere(void **state)
{
    char key[32];
    struct ask *a;

    (void)state;
    open_pool((kp_redis_options){ .password = "wrong" });
    a = begin(0, redis.place, 20000);
    assert_int_equal(await(a), KP_EREFUSED);
    assert_int_equal(a->why.vendor_code, EACCES);
    assert_non_null(strstr(a->why.text, "WRONGPASS"));
    (void)snprintf(key, sizeof key, "127.0.0.1:%d", server_free_port());
    a = begin(0, key, 20000);
    assert_int_equal(await(a), KP_ECREATE);
    assert_int_equal(a->why.vendor_code, ECONNREFUSED);
    a = begin(0, "/nonexistent/redis", 20000);
    assert_int_equal(await(a), KP_ECREATE);
    assert_int_equal(a->why.vendor_code, ENOENT);
    a = begin(0, "rediss://localhost", 20000);
    assert_int_equal(await(a), KP_EREFUSED);
    close_pool();
}

static void a_connection_that_was_ended_must_be_replaced(void **state)
{
    redisContext *c;

    (void)state;
    open_pool((kp_redis_options){ 0 });
    (void)get(0, redis.place);
    give_back(0);
    redis_do("", "CLIENT KILL TYPE normal SKIPME yes");
    c = get(0, redis.place);
    must_say(c, "PONG", "PING");
    while (stage.invalid == 0)          /* it may have been on its way back */
        turn();
    give_back(0);
    close_pool();
}

static void what_cannot_be_watched_must_be_told_as_such(void **state)
{
    (void)state;
    open_pool((kp_redis_options){ 0 });
    do (void)get(0, redis.place);
    while (!give_back_unwatched(0));
    must_say(get(0, redis.place), "PONG", "PING");
    give_back(0);
    close_pool();
}

static int never(kp_job *job, redisContext *c, void *ctx)
{
    (void)job;
    (void)c;
    (void)ctx;
    return 0;
}

static int start_nothing(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                         int64_t within_ms)
{
    (void)watcher, (void)watch, (void)fd, (void)events, (void)within_ms;
    return KP_ENOMEM;
}

static void stop_nothing(kp_watcher *watcher, kp_watch *watch)
{
    (void)watcher, (void)watch;
}

static void options_that_a_loop_cannot_keep_must_be_refused_by_name(void **state)
{
    kp_watcher watcher = { .start = start_nothing, .stop = stop_nothing };
    const struct { kp_redis_options how; bool loop; const char *field; } bad[] = {
        { { 0 }, true, "redis.watcher" },
        { { .watcher = &watcher }, false, "redis.watcher" },
        { { .watcher = &watcher, .on_open = never }, true, "redis.on_open" },
        { { .watcher = &watcher, .command_timeout_ms = 5 }, true, "redis.command_timeout_ms" },
    };
    kp_loop *loop;

    (void)state;
    assert_int_equal(kp_loop_open(&loop), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kp_options more = { .why = &stage.why, .loop = bad[i].loop ? loop : NULL };

        assert_int_equal(kp_redis_open(&bad[i].how, &more, &stage.pool), KP_ECONFIG);
        assert_string_equal(stage.why.field, bad[i].field);
    }
    assert_int_equal(kp_loop_close(loop), 0);
}

static int start(void **state)
{
    (void)state;
    return redis_set_up(false);
}

static int stop(void **state)
{
    (void)state;
    redis_tear_down();
    return 0;
}

static int run_on(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_gets_must_share_two_connections_on_one_thread),
        cmocka_unit_test(a_name_must_be_looked_up_without_blocking),
        cmocka_unit_test(what_was_left_must_be_undone_before_the_next),
        cmocka_unit_test(who_is_not_let_in_must_be_told_as_everywhere),
        cmocka_unit_test(a_connection_that_was_ended_must_be_replaced),
        cmocka_unit_test(what_cannot_be_watched_must_be_told_as_such),
        cmocka_unit_test(options_that_a_loop_cannot_keep_must_be_refused_by_name),
        LOOP_CASES,
    };

    return cmocka_run_group_tests_name(name, tests, start, stop);
}

#endif
