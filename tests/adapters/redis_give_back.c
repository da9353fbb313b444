/* SPDX-License-Identifier: MIT
 *
 * What the Redis adapter does with a connection that comes back: whatever a borrower left on, the
 * next one never sees it. Once with a server that knows RESET, and once with one that does not.
 */
#include "adapters/redis_stage.h"

#include <fcntl.h>
#include <sys/socket.h>

/* ---- what may be left on --------------------------------------------------------------------- */

/* The same connection, or another one: the next borrower must find it as it was. */
static void next_must_find_it_clean(bool same)
{
    kp_lease lease = get(redis.path);

    assert_int_equal(reused(&lease), same);
    must_say(&lease, "PONG", "PING");
    must_say(&lease, "ERR EXEC without MULTI", "EXEC");
    must_say(&lease, "(nil)", "GET only-in-7");
    must_say(&lease, "default", "ACL WHOAMI");
    must_say(&lease, "home", "CLIENT GETNAME");
    assert_int_equal(redis_clients("name=home"), 1);
    kp_release(&lease);
}

static void leave(const char *expected, const char *words)
{
    kp_lease lease = get(redis.path);

    must_say(&lease, expected, words);
    kp_release(&lease);
}

static void open_home(void)
{
    open_pool((kp_redis_options){ .client_name = "home" });
}

static void a_transaction_must_not_be_seen_by_the_next(void **state)
{
    kp_lease lease;

    (void)state;
    open_home();
    lease = get(redis.path);
    must_say(&lease, "OK", "MULTI");
    must_say(&lease, "QUEUED", "SET x 1");
    kp_release(&lease);
    next_must_find_it_clean(true);
    redis_do("(nil)", "GET x");
    close_pool();
}

static void a_watch_must_not_fail_the_nexts_transaction(void **state)
{
    kp_lease lease;

    (void)state;
    open_home();
    leave("OK", "WATCH watched");
    redis_do("OK", "SET watched 1");
    lease = get(redis.path);
    must_say(&lease, "OK", "MULTI");
    must_say(&lease, "QUEUED", "ECHO through");
    must_say(&lease, "through", "EXEC");
    kp_release(&lease);
    next_must_find_it_clean(true);
    close_pool();
}

static void a_subscription_must_not_be_seen_by_the_next(void **state)
{
    (void)state;
    open_home();
    leave("subscribe", "SUBSCRIBE news");
    redis_do("0", "PUBLISH news late");
    next_must_find_it_clean(true);
    leave("psubscribe", "PSUBSCRIBE n*");
    next_must_find_it_clean(true);
    close_pool();
}

static void messages_that_came_must_be_thrown_away(void **state)
{
    kp_lease lease;

    (void)state;
    open_home();
    lease = get(redis.path);
    must_say(&lease, "subscribe", "SUBSCRIBE news");
    for (int i = 0; i < 50; i++)
        redis_do("1", "PUBLISH news late");
    kp_release(&lease);
    assert_true(kp_redis_counts_read(&stage.counts).replies >= 50);
    assert_int_equal(stage.left.replies, kp_redis_counts_read(&stage.counts).replies);
    assert_string_equal(stage.left_tag, "test");
    assert_false(stage.left.closed);
    next_must_find_it_clean(true);
    close_pool();
}

static void a_monitor_must_not_be_seen_by_the_next(void **state)
{
    (void)state;
    open_home();
    leave("OK", "MONITOR");             /* an old server cannot end it */
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, redis.old);
    redis_do("PONG", "PING");
    next_must_find_it_clean(!redis.old);
    close_pool();
}

static void another_database_name_or_user_must_not_be_seen_by_the_next(void **state)
{
    kp_lease lease;

    (void)state;
    open_home();
    lease = get(redis.path);
    must_say(&lease, "OK", "SELECT 7");
    must_say(&lease, "OK", "SET only-in-7 yes");
    must_say(&lease, "OK", "CLIENT SETNAME other");
    must_say(&lease, "OK", "AUTH guest welcome");
    kp_release(&lease);
    next_must_find_it_clean(true);
    close_pool();
}

/* Nobody gives the next one a name of his own. */
static void a_name_and_tracking_must_not_be_seen_by_the_next(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ 0 });
    leave("OK", "CLIENT SETNAME other");
    leave("OK", "CLIENT TRACKING ON");
    lease = get(redis.path);
    assert_true(reused(&lease));
    must_say(&lease, "(nil)", "CLIENT GETNAME");
    must_say(&lease, "-1", "CLIENT GETREDIR");
    kp_release(&lease);
    close_pool();
}

/* Its answer is read here, for hiredis before 1.0 knows no maps. */
static void another_protocol_must_not_be_spoken_to_the_next(void **state)
{
    static const char hello[] = "HELLO 3\r\n", end[] = "modules\r\n*0\r\n";
    char text[1024] = "";
    size_t size = 0;
    kp_lease lease;
    ssize_t n;

    (void)state;
    open_home();
    lease = get(redis.path);
    assert_int_equal(send(kp_redis(&lease)->fd, hello, sizeof hello - 1, 0), sizeof hello - 1);
    for (; !strstr(text, end); size += (size_t)n) {
        n = recv(kp_redis(&lease)->fd, text + size, sizeof text - 1 - size, 0);
        assert_true(n > 0);
    }
    kp_release(&lease);
    next_must_find_it_clean(true);
    close_pool();
}

static void a_server_that_was_told_not_to_reply_must_not_spoil_the_next(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .client_name = "home", .check_timeout_ms = 200 });
    lease = get(redis.path);
    (void)redisAppendCommand(kp_redis(&lease), "CLIENT REPLY OFF");
    (void)redisAppendCommand(kp_redis(&lease), "SET quiet 1");
    for (int done = 0; !done;)
        assert_int_equal(redisBufferWrite(kp_redis(&lease), &done), REDIS_OK);
    kp_release(&lease);
    next_must_find_it_clean(!redis.old);
    close_pool();
}

/* Else the next one would read old values from a replica instead of hearing where its master is. */
static void a_cluster_must_not_go_on_answering_for_its_masters(void **state)
{
    (void)state;
    open_pool((kp_redis_options){ .client_name = "home" });
    leave("OK", "READONLY");
    assert_int_equal(redis_clients("name=home"), 1);
    assert_int_equal(redis_clients("flags=Ur"), 0);
    close_pool();
}

/* ---- pipelines ------------------------------------------------------------------------------- */

static void replies_left_unread_must_be_thrown_away_and_counted(void **state)
{
    kp_lease lease;

    (void)state;
    open_home();
    lease = get(redis.path);
    for (int i = 0; i < 1000; i++)
        (void)redisAppendCommand(kp_redis(&lease), "ECHO late-%d", i);
    assert_null(must_hear(&lease, "late-0"));
    kp_release(&lease);
    assert_int_equal(stage.left.replies, 999);
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 0);
    next_must_find_it_clean(true);
    close_pool();
}

/* Half of a large reply is in hiredis, half on its way. */
static void a_reply_that_was_half_read_must_be_thrown_away(void **state)
{
    kp_lease lease;

    (void)state;
    redis_do("1000000", "SETRANGE big 999999 x");
    open_home();
    lease = get(redis.path);
    (void)redisAppendCommand(kp_redis(&lease), "GET big");
    for (int done = 0; !done;)
        assert_int_equal(redisBufferWrite(kp_redis(&lease), &done), REDIS_OK);
    assert_int_equal(redisBufferRead(kp_redis(&lease)), REDIS_OK);
    kp_release(&lease);
    assert_int_equal(stage.left.replies, 1);
    next_must_find_it_clean(true);
    close_pool();
}

static void commands_that_were_not_sent_must_never_be(void **state)
{
    kp_lease lease;

    (void)state;
    open_home();
    lease = get(redis.path);
    (void)redisAppendCommand(kp_redis(&lease), "SET unsent 1");
    kp_release(&lease);
    assert_true(stage.left.unsent && stage.left.closed);
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 1);
    next_must_find_it_clean(false);
    redis_do("(nil)", "GET unsent");
    close_pool();
}

static void send_all(const kp_lease *lease)
{
    for (int done = 0; !done;)
        assert_int_equal(redisBufferWrite(kp_redis(lease), &done), REDIS_OK);
}

/* What is left of a value may begin with a zero; what is said next would become the rest of it. */
static void half_a_value_of_zeros_must_not_be_completed_with_our_words(void **state)
{
    static const char head[] = "*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$20\r\n", zeros[22];
    kp_lease lease;

    (void)state;
    open_home();
    lease = get(redis.path);
    (void)redisAppendFormattedCommand(kp_redis(&lease), head, sizeof head - 1);
    send_all(&lease);
    (void)redisAppendFormattedCommand(kp_redis(&lease), zeros, sizeof zeros);
    kp_release(&lease);
    assert_true(stage.left.unsent && stage.left.closed);
    redis_do("(nil)", "GET half");
    next_must_find_it_clean(false);
    close_pool();
}

static void a_command_that_waits_at_the_server_must_cost_no_more_than_the_check(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .client_name = "home", .check_timeout_ms = 100 });
    lease = get(redis.path);
    (void)redisAppendCommand(kp_redis(&lease), "BLPOP nothing 0");
    for (int done = 0; !done;)
        assert_int_equal(redisBufferWrite(kp_redis(&lease), &done), REDIS_OK);
    kp_release(&lease);
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 1);
    next_must_find_it_clean(false);
    close_pool();
}

/* ---- broken ones ----------------------------------------------------------------------------- */

/* SIGPIPE would end this program. */
static void one_whose_server_hung_up_must_be_replaced_without_a_signal(void **state)
{
    kp_lease lease;
    int fd;

    (void)state;
    open_home();
    lease = get(redis.path);
    fd = kp_redis(&lease)->fd;
    redis_do("", "CLIENT KILL TYPE normal SKIPME yes");
    kp_release(&lease);
    next_must_find_it_clean(false);
    lease = get(redis.path);
    fd = kp_redis(&lease)->fd;
    kp_release(&lease);                 /* and while it is idle */
    redis_do("", "CLIENT KILL TYPE normal SKIPME yes");
    wait_for_input(fd);
    next_must_find_it_clean(false);
    close_pool();
}

/* That the server is gone concerns the others, too; that it was too slow does not. */
static void one_that_failed_must_be_replaced_and_the_server_be_gone_only_if_it_is(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .client_name = "home", .command_timeout_ms = 50 });
    lease = get(redis.path);
    assert_null(redisCommand(kp_redis(&lease), "BLPOP nothing 0"));
    kp_release(&lease);
    assert_int_equal(stage.invalid_code, KP_ECREATE);
    lease = get(redis.path);
    redis_do("", "CLIENT KILL TYPE normal SKIPME yes");
    assert_int_equal(redisBufferRead(kp_redis(&lease)), REDIS_ERR);
    kp_release(&lease);
    assert_int_equal(stage.invalid_code, KP_EGONE);
    next_must_find_it_clean(false);
    close_pool();
}

/* It answers PING with an error. A release that waited for the word would wait for a minute. */
static void a_server_that_does_nothing_now_must_cost_no_wait(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .client_name = "home", .check_timeout_ms = 60000 });
    lease = get(redis.path);
    redis_do("OK", "CONFIG SET replica-serve-stale-data no");
    redis_do("OK", "REPLICAOF 127.0.0.1 1");
    must_say(&lease, "MASTERDOWN", "GET x");
    kp_release(&lease);
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 1);
    assert_int_equal(stage.reports, 0);         /* its borrower has read all */
    assert_int_equal(try_get(redis.path, 10000, &lease), KP_ECREATE);
    expect_text("MASTERDOWN");
    redis_do("OK", "REPLICAOF NO ONE");
    redis_do("OK", "CONFIG SET replica-serve-stale-data yes");
    next_must_find_it_clean(false);
    close_pool();
}

static void undo_timeout(int32_t tidy)
{
    struct timeval tv = { .tv_sec = 77 };
    socklen_t size = sizeof tv;
    kp_lease lease;

    open_pool((kp_redis_options){ .command_timeout_ms = 3500, .tidy = tidy });
    lease = get(redis.path);
    assert_int_equal(redisSetTimeout(kp_redis(&lease), tv), REDIS_OK);
    kp_release(&lease);
    lease = get(redis.path);
    assert_true(reused(&lease));
    assert_int_equal(getsockopt(kp_redis(&lease)->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &size), 0);
    assert_int_equal(tv.tv_sec, 3);
    assert_in_range(tv.tv_usec, 400000, 600000);
    kp_release(&lease);
    close_pool();
}

static void a_borrowers_timeout_must_be_undone(void **state)
{
    (void)state;
    undo_timeout(KP_REDIS_RESET);
    undo_timeout(KP_REDIS_LOOK);
}

static void make_it_wait_again(int32_t tidy)
{
    kp_lease lease;

    open_pool((kp_redis_options){ .client_name = "home", .command_timeout_ms = KP_OFF,
                                  .tidy = tidy });
    lease = get(redis.path);
    assert_int_equal(fcntl(kp_redis(&lease)->fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    kp_release(&lease);
    lease = get(redis.path);
    assert_true(reused(&lease));
    must_say(&lease, "(nil)", "BLPOP nothing 0.05");
    kp_redis(&lease)->flags &= ~REDIS_BLOCK;
    kp_release(&lease);
    lease = get(redis.path);
    assert_true(reused(&lease));
    must_say(&lease, "PONG", "PING");
    kp_release(&lease);
    close_pool();
}

static void one_that_was_made_not_to_wait_must_wait_again(void **state)
{
    (void)state;
    make_it_wait_again(KP_REDIS_RESET);
    make_it_wait_again(KP_REDIS_LOOK);
}

/* ---- only looking ---------------------------------------------------------------------------- */

static void looking_must_end_a_connection_with_replies_unread_and_say_nothing(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .tidy = KP_REDIS_LOOK });
    lease = get(redis.path);
    must_say(&lease, "OK", "SELECT 7");
    kp_release(&lease);
    assert_int_equal(redis_clients("cmd=select"), 1);   /* nothing has been said since */
    lease = get(redis.path);
    must_say(&lease, "OK", "SET here 1");
    assert_int_equal(redis_clients("db=7"), 1);         /* which is the price */
    (void)redisAppendCommand(kp_redis(&lease), "ECHO late");
    (void)redisAppendCommand(kp_redis(&lease), "ECHO later");
    assert_null(must_hear(&lease, "late"));
    if (kp_redis(&lease)->reader->pos == kp_redis(&lease)->reader->len)
        wait_for_input(kp_redis(&lease)->fd);
    kp_release(&lease);
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 1);
    lease = get(redis.path);
    assert_false(reused(&lease));
    must_say(&lease, "PONG", "PING");
    kp_release(&lease);
    close_pool();
}

#define GIVE_BACK_TESTS                                                          \
    cmocka_unit_test(a_transaction_must_not_be_seen_by_the_next),                \
    cmocka_unit_test(a_watch_must_not_fail_the_nexts_transaction),               \
    cmocka_unit_test(a_subscription_must_not_be_seen_by_the_next),               \
    cmocka_unit_test(messages_that_came_must_be_thrown_away),                    \
    cmocka_unit_test(a_monitor_must_not_be_seen_by_the_next),                    \
    cmocka_unit_test(another_database_name_or_user_must_not_be_seen_by_the_next), \
    cmocka_unit_test(a_name_and_tracking_must_not_be_seen_by_the_next),          \
    cmocka_unit_test(another_protocol_must_not_be_spoken_to_the_next),           \
    cmocka_unit_test(a_server_that_was_told_not_to_reply_must_not_spoil_the_next), \
    cmocka_unit_test(replies_left_unread_must_be_thrown_away_and_counted),       \
    cmocka_unit_test(a_reply_that_was_half_read_must_be_thrown_away),            \
    cmocka_unit_test(commands_that_were_not_sent_must_never_be),                 \
    cmocka_unit_test(half_a_value_of_zeros_must_not_be_completed_with_our_words), \
    cmocka_unit_test(a_command_that_waits_at_the_server_must_cost_no_more_than_the_check), \
    cmocka_unit_test(one_whose_server_hung_up_must_be_replaced_without_a_signal), \
    cmocka_unit_test(one_that_failed_must_be_replaced_and_the_server_be_gone_only_if_it_is), \
    cmocka_unit_test(a_server_that_does_nothing_now_must_cost_no_wait),          \
    cmocka_unit_test(a_borrowers_timeout_must_be_undone),                        \
    cmocka_unit_test(one_that_was_made_not_to_wait_must_wait_again),             \
    cmocka_unit_test(looking_must_end_a_connection_with_replies_unread_and_say_nothing)

static int start_old_server(void **state)
{
    (void)state;
    return redis_set_up(true);
}

static int start_old_cluster(void **state)
{
    redis.cluster = true;
    return start_old_server(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { GIVE_BACK_TESTS };
    const struct CMUnitTest again[] = { GIVE_BACK_TESTS };
    const struct CMUnitTest cluster[] = {
        cmocka_unit_test(a_cluster_must_not_go_on_answering_for_its_masters),
    };
    int failed = cmocka_run_group_tests_name("redis_give_back", tests, start_server, stop_server);

    failed += cmocka_run_group_tests_name("redis_give_back, before 6.2", again,
                                          start_old_server, stop_server);
    return failed + cmocka_run_group_tests_name("redis_give_back, cluster before 6.2", cluster,
                                                start_old_cluster, stop_server);
}
