/* SPDX-License-Identifier: MIT
 *
 * The command and a Redis server.
 */
#include "cli/run.h"

#include "adapters/redis_server.h"

static char url[200], shown[200];

static const char *with(const char *user)
{
    static char text[200];

    (void)snprintf(text, sizeof text, "redis://%s127.0.0.1:%d", user, redis.port);
    return text;
}

static int start(void **state)
{
    (void)state;
    if (redis_set_up(false) != 0)
        return -1;
    (void)snprintf(url, sizeof url, "%s", with(":" REDIS_SECRET "@"));
    (void)snprintf(shown, sizeof shown, "%s", with(""));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_tear_down();
    return 0;
}

/* ---- bench ----------------------------------------------------------------------------------- */

static void bench_must_load_a_server_and_report_it(void **state)
{
    (void)state;
    RUN("bench", url, "-z", "100ms", "-c", "4", "--size", "2", "-k", "2", "-o", "json");
    it_must_have_measured("redis", shown, "PING");
    nothing_must_show(REDIS_SECRET);
    RUN("bench", with("guest:welcome@"), "-z", "100ms", "-c", "4", "-r", "100");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, with("guest@"));
    said_must_have(said.out, "hiredis");
    nothing_must_show("welcome");
}

static void tell_the_password(void)
{
    (void)setenv("REDISCLI_AUTH", REDIS_SECRET, 1);
}

static void tell_the_password_of_a_guest(void)
{
    (void)setenv("REDISCLI_AUTH", "welcome", 1);
}

static void a_password_may_be_told_by_the_environment(void **state)
{
    (void)state;
    run_before = tell_the_password;
    RUN("bench", shown, "-z", "100ms", "-o", "json");
    it_must_have_measured("redis", shown, "PING");
    nothing_must_show(REDIS_SECRET);
    run_before = tell_the_password_of_a_guest;
    RUN("bench", with("guest@"), "-z", "100ms", "-o", "json");
    it_must_have_measured("redis", with("guest@"), "PING");
    nothing_must_show("welcome");
}

static void bench_must_say_why_it_is_not_let_in(void **state)
{
    (void)state;
    RUN("bench", with(":no-such-word@"), "-z", "100ms");
    it_must_fail(3, "WRONGPASS");
    nothing_must_show("no-such-word");
    RUN("bench", with(""), "-z", "100ms");
    it_must_fail(3, "NOAUTH");
}

/* Then all that follows is a path, and none of it a password. */
static void a_slash_too_many_must_show_no_password(void **state)
{
    static const char *const schemes[] = { "redis", "postgres", "http" };
    char wrong[64];

    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)snprintf(wrong, sizeof wrong, "%s:///me:open?sesame@127.0.0.1/1", schemes[i]);
        RUN("bench", wrong, "-z", "1ms");
        it_must_fail(2, "in a user or password as %2F");
        nothing_must_show("open");
        RUN("doctor", wrong);
        it_must_fail(2, "in a user or password as %2F");
        nothing_must_show("open");
    }
}

/* Nor is a user who has one a host. But a path may have colons. */
static void a_slash_in_a_user_must_show_no_password(void **state)
{
    static const char *const wrong[] = { "redis://corp/me:open@h", "redis://corp/me:open?sesame@h",
                                         "postgres://corp/me:open@127.0.0.1:1/db",
                                         "http://[::1]/me:open@h" };

    (void)state;
    for (int i = 0; i < 4; i++) {
        RUN("doctor", wrong[i]);
        it_must_fail(2, "in a user or password as %2F");
        nothing_must_show("open");
    }
    RUN("doctor", "redis://127.0.0.1/a@b:c");
    it_must_fail(2, "its database is not a number");
    RUN("bench", "http://127.0.0.1:1/?at=12:30&to=a%40b", "-z", "1ms");
    it_must_fail(3, "Failed to connect");
}

/* Where a bracket is not closed, there is none that belongs to the host. */
static void no_colon_must_be_looked_for_behind_a_url(void **state)
{
    (void)state;
    RUN("bench", "redis://[a/b@c", "-z", "1ms");
    it_must_fail(2, "its database is not a number");
    RUN("doctor", "redis://[a/b@c");
    it_must_fail(2, "its database is not a number");
}

/* A bracket before an address is one, and not one that a user begins with. */
static void a_bracket_must_show_no_password(void **state)
{
    static const char *const wrong[] = { "redis://[me:open/sesame@h", "http://[me:open]a/b@h",
                                         "postgres://[me:open]:a/b@h" };

    (void)state;
    for (int i = 0; i < 3; i++) {
        RUN("doctor", wrong[i]);
        it_must_fail(2, "in a user or password as %2F");
        nothing_must_show("open");
    }
    RUN("doctor", "redis://[::1]/1/a@b");
    it_must_fail(2, "its database is not a number");
}

static void bench_must_say_that_nobody_listens(void **state)
{
    char nobody[200];

    (void)state;
    (void)snprintf(nobody, sizeof nobody, "redis://:%s@127.0.0.1:%d", REDIS_SECRET,
                   server_free_port());
    RUN("bench", nobody, "-z", "100ms");
    it_must_fail(3, "Connection refused");
    nothing_must_show(REDIS_SECRET);
}

/* The first connection is that of the admin. */
static void bench_must_say_what_a_get_failed_of(void **state)
{
    redisContext *admin = redis_admin();

    (void)state;
    assert_null(redis_says(admin, "OK", "CONFIG SET maxclients 3"));
    RUN("bench", url, "-c", "8", "--size", "8", "-z", "200ms");
    assert_null(redis_says(admin, "OK", "CONFIG SET maxclients 1000"));
    redisFree(admin);
    assert_int_equal(said.status, 1);
    said_must_have(said.out, "\n  first error: get redis://127.0.0.1");
    said_must_have(said.out, "max number of clients");
}

/* The first line of progress has come. */
static void bench_must_end_in_time_when_the_server_dies(void **state)
{
    json_t *o, *result;

    (void)state;
    run_meanwhile = redis_kill;
    RUN("bench", url, "-z", "500ms", "-P", "200ms", "--timeout", "300ms", "-o", "json");
    assert_int_equal(redis_start(), 0);
    assert_int_equal(said.status, 1);
    o = said_object("keyedpool-bench-1");
    result = json_object_get(o, "result");
    assert_true(json_integer_value(json_object_get(result, "errors")) > 0);
    assert_non_null(strstr(text_at(result, "first_error"), "redis://127.0.0.1"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "stats"), "lent")), 0);
    json_decref(o);
    nothing_must_show(REDIS_SECRET);
}

static void hang(void)
{
    (void)kill(redis.server.pid, SIGSTOP);
}

/* Some of so many connections are in an operation then, and not just being given back; or, where
 * the machine is busy, still being made. */
static void bench_must_say_that_the_server_hangs(void **state)
{
    (void)state;
    run_meanwhile = hang;
    RUN("bench", url, "-c", "16", "--size", "16", "-z", "300ms", "-P", "100ms", "--timeout",
        "200ms");
    assert_int_equal(kill(redis.server.pid, SIGCONT), 0);
    assert_int_equal(said.status, 1);
    said_must_have(said.out, "\n  first error: ");
    if (!strstr(said.out, "no answer within the time"))     /* of who was getting one */
        said_must_have(said.out, ": no answer in time");
}

static void bench_must_count_who_waited_in_vain(void **state)
{
    json_t *o, *result;

    (void)state;
    run_meanwhile = hang;
    RUN("bench", url, "-c", "8", "--size", "1", "-z", "300ms", "-P", "100ms", "--timeout", "200ms",
        "-o", "json");
    assert_int_equal(kill(redis.server.pid, SIGCONT), 0);
    assert_int_equal(said.status, 1);
    o = said_object("keyedpool-bench-1");
    result = json_object_get(o, "result");
    assert_true(json_integer_value(json_object_get(result, "timeouts")) > 0);
    json_decref(o);
}

/* Its number would be that of a connection, and the report be told to the server. */
static void a_report_must_not_go_to_a_server(void **state)
{
    char line[600];
    int status;

    (void)state;
    (void)snprintf(line, sizeof line, "%s bench %s -z 50ms <&- >&- 2> /dev/null", KP_COMMAND, url);
    status = system(line);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* ---- doctor ---------------------------------------------------------------------------------- */

static void doctor_must_hold_the_budget_against_what_the_server_lets_in(void **state)
{
    redisContext *admin = redis_admin();
    json_t *o;

    (void)state;
    assert_null(redis_says(admin, "OK", "CONFIG SET maxclients 12"));
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connect", "ok", "PING took");
    it_must_have_found(NULL, "version", "ok", "Redis ");
    it_must_have_found(NULL, "connections", "ok", "maxclients allows 12, 1 are in use");
    nothing_must_show(REDIS_SECRET);
    o = said_object("keyedpool-doctor-1");
    assert_int_equal(found_number(o, "connections", "limit"), 12);
    assert_int_equal(found_number(o, "connections", "in_use"), 1);
    assert_int_equal(found_number(o, "connections", "need"), 10);
    json_decref(o);
    RUN("doctor", "--json", url, "--size", "12");
    it_must_have_found(NULL, "connections", "warn", "that leaves 11, the pools may open 12");
    RUN("doctor", "--json", url, "--size", "4", "--processes", "4");
    it_must_have_found(NULL, "connections", "fail", "or lower budget.max_live to 3");
    assert_null(strstr(said.out, " processes"));
    RUN("doctor", "--json", url, "--size", "4", "--processes", "13");
    it_must_have_found(NULL, "connections", "fail", "raise it, or run at most 12 processes");
    assert_null(redis_says(admin, "OK", "CONFIG SET maxclients 1"));
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connect", "fail", "max number of clients");
    assert_null(redis_says(admin, "OK", "CONFIG SET maxclients 1000"));
    redisFree(admin);
}

/* The server lets in no more clients than maxclients, and replicas are some, although it does not
 * count them in connected_clients. */
static void doctor_must_count_replicas(void **state)
{
    redisContext *admin = redis_admin(), *replica = redis_admin();
    int done = 0;

    (void)state;
    assert_int_equal(redisAppendCommand(replica, "SYNC"), REDIS_OK);
    while (!done)
        assert_int_equal(redisBufferWrite(replica, &done), REDIS_OK);
    while (redis_clients("flags=S") == 0)
        ;
    assert_null(redis_says(admin, "OK", "CONFIG SET maxclients 12"));
    RUN("doctor", "--json", url, "--size", "11");
    assert_null(redis_says(admin, "OK", "CONFIG SET maxclients 1000"));
    redisFree(replica);
    redisFree(admin);
    it_must_have_found(NULL, "connections", "warn", "allows 12, 2 are in use: that leaves 10");
}

static void doctor_must_say_that_the_server_ends_idle_ones_first(void **state)
{
    json_t *o;

    (void)state;
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "idle", "ok", "never closes idle connections (timeout)");
    redis_do("OK", "CONFIG SET timeout 600");
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "idle", "warn", "set limits.idle_ttl_ms below");
    it_must_have_found(NULL, "idle", "warn", "after 10.0 min (timeout), the pool keeps them for 1");
    RUN("doctor", "--json", url, "--idle", "599s");
    it_must_have_found(NULL, "idle", "ok", "(timeout), the pool after");
    o = said_object("keyedpool-doctor-1");
    assert_int_equal(found_number(o, "idle", "server_ms"), 600000);
    assert_int_equal(found_number(o, "idle", "pool_ms"), 599000);
    json_decref(o);
    redis_do("OK", "CONFIG SET timeout 0");
}

static void doctor_must_say_why_a_server_is_not_reached_or_not_seen(void **state)
{
    (void)state;
    RUN("doctor", "--json", with(":no-such-word@"));
    it_must_have_found(NULL, "connect", "fail", "WRONGPASS");
    nothing_must_show("no-such-word");
    assert_int_equal(kill(redis.server.pid, SIGSTOP), 0);
    RUN("doctor", "--json", url, "--timeout", "200ms");
    assert_int_equal(kill(redis.server.pid, SIGCONT), 0);
    it_must_have_found(NULL, "connect", "fail", "(110)");
    redis_do("OK", "ACL SETUSER narrow on >narrow-gate +@all -config -info");
    RUN("doctor", "--json", with("narrow:narrow-gate@"));
    it_must_have_found(NULL, "connect", "ok", "connected in");
    it_must_have_found(NULL, "version", "warn", "INFO cannot be read: NOPERM");
    it_must_have_found(NULL, "maxclients", "warn", "maxclients cannot be read: NOPERM");
    it_must_have_found(NULL, "timeout", "warn", "timeout cannot be read: NOPERM");
    nothing_must_show("narrow-gate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_must_load_a_server_and_report_it),
        cmocka_unit_test(a_password_may_be_told_by_the_environment),
        cmocka_unit_test(bench_must_say_why_it_is_not_let_in),
        cmocka_unit_test(a_slash_too_many_must_show_no_password),
        cmocka_unit_test(a_slash_in_a_user_must_show_no_password),
        cmocka_unit_test(no_colon_must_be_looked_for_behind_a_url),
        cmocka_unit_test(a_bracket_must_show_no_password),
        cmocka_unit_test(bench_must_say_that_nobody_listens),
        cmocka_unit_test(bench_must_say_what_a_get_failed_of),
        cmocka_unit_test(bench_must_end_in_time_when_the_server_dies),
        cmocka_unit_test(bench_must_say_that_the_server_hangs),
        cmocka_unit_test(bench_must_count_who_waited_in_vain),
        cmocka_unit_test(a_report_must_not_go_to_a_server),
        cmocka_unit_test(doctor_must_hold_the_budget_against_what_the_server_lets_in),
        cmocka_unit_test(doctor_must_count_replicas),
        cmocka_unit_test(doctor_must_say_that_the_server_ends_idle_ones_first),
        cmocka_unit_test(doctor_must_say_why_a_server_is_not_reached_or_not_seen),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
