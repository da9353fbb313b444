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

static void bench_must_say_why_it_is_not_let_in(void **state)
{
    (void)state;
    RUN("bench", with(":no-such-word@"), "-z", "100ms");
    it_must_fail(3, "WRONGPASS");
    nothing_must_show("no-such-word");
    RUN("bench", with(""), "-z", "100ms");
    it_must_fail(3, "NOAUTH");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_must_load_a_server_and_report_it),
        cmocka_unit_test(bench_must_say_why_it_is_not_let_in),
        cmocka_unit_test(bench_must_say_that_nobody_listens),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
