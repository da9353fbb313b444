/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter with a server that cannot save: it takes no writes, nor PING, but can be read
 * from. Once with a server that knows RESET, and once with one that does not.
 */
#include "adapters/redis_stage.h"

#include <sys/stat.h>

static void save_when(const char *what)
{
    redisContext *c = redis_admin();

    assert_null(redis_reply_is(c, redisCommand(c, "CONFIG SET save %s", what), "OK"));
    redisFree(c);
}

/* Its borrower was told that the server cannot save, and the adapter is told the opposite: PING is
 * answered, and so is all that is said instead of it. */
static void save_again_before_it_comes_back(void)
{
    kp_lease lease;

    open_pool((kp_redis_options){ .client_name = "home" });
    lease = get(redis.path);
    (void)redisAppendCommand(kp_redis(&lease), "SET lost 1");
    for (int done = 0; !done;)
        assert_int_equal(redisBufferWrite(kp_redis(&lease), &done), REDIS_OK);
    wait_for_input(kp_redis(&lease)->fd);
    save_when("");
    kp_release(&lease);
    lease = get(redis.path);
    assert_true(reused(&lease));
    must_say(&lease, "1", "GET saved");
    must_say(&lease, "home", "CLIENT GETNAME");
    kp_release(&lease);
    close_pool();
}

/* A folder is where the file should be: then it takes no writes, nor PING. */
static void a_server_that_cannot_save_must_still_be_read_from(void **state)
{
    kp_lease lease;
    char path[96];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/dump.rdb", redis.server.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    redis_do("OK", "SET saved 1");
    redis_do("OK", "ACL SETUSER mute on >welcome ~* +@all -echo");
    save_when("1000 1000");
    open_pool((kp_redis_options){ .user = "mute", .password = "welcome",
                                  .check_timeout_ms = 60000 });
    lease = get(redis.path);
    redis_do("Background saving", "BGSAVE");
    assert_int_equal(server_await(&redis.server, "Background saving error", 20000), 0);
    redis_do("MISCONF", "PING");
    kp_release(&lease);
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 1);
    assert_int_equal(try_get(redis.path, 20000, &lease), KP_ECREATE);
    expect_text("MISCONF");
    close_pool();

    open_pool((kp_redis_options){ .client_name = "home" });
    for (int i = 0; i < 3; i++) {
        lease = get(redis.path);
        assert_int_equal(reused(&lease), i > 0);
        must_say(&lease, "1", "GET saved");
        must_say(&lease, "home", "CLIENT GETNAME");
        (void)redisAppendCommand(kp_redis(&lease), "SELECT 7");
        (void)redisAppendCommand(kp_redis(&lease), "CLIENT SETNAME other");
        for (int j = 0; j < 7 * i; j++)
            (void)redisAppendCommand(kp_redis(&lease), j % 2 ? "SET lost 1" : "GET saved");
        assert_null(must_hear(&lease, "OK"));
        assert_null(must_hear(&lease, "OK"));
        kp_release(&lease);
        assert_int_equal(stage.left.replies, 7 * i);
    }
    close_pool();

    open_pool((kp_redis_options){ .tidy = KP_REDIS_LOOK });
    for (int i = 0; i < 3; i++) {
        lease = get(redis.path);
        assert_int_equal(reused(&lease), i > 0);
        must_say(&lease, "1", "GET saved");
        kp_release(&lease);
    }
    close_pool();
    save_again_before_it_comes_back();
    assert_int_equal(rmdir(path), 0);
}

static int start_old_server(void **state)
{
    (void)state;
    return redis_set_up(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_cannot_save_must_still_be_read_from),
    };
    int failed = cmocka_run_group_tests_name("redis_unsaved", tests, start_server, stop_server);

    return failed + cmocka_run_group_tests_name("redis_unsaved, before 6.2", tests,
                                                start_old_server, stop_server);
}
