/* SPDX-License-Identifier: MIT
 *
 * The command and a PostgreSQL server.
 */
#include "cli/run.h"

#include "adapters/postgres_server.h"

static char url[200], shown[200];

/* A URL with this password. */
static const char *with(const char *password)
{
    static char text[200];

    (void)snprintf(text, sizeof text, "postgresql://app:%s@127.0.0.1:%d/postgres", password,
                   pg.port);
    return text;
}

static int start(void **state)
{
    (void)state;
    if (pg_set_up() != 0)
        return -1;
    (void)snprintf(url, sizeof url, "%s", with(PG_SECRET));
    (void)snprintf(shown, sizeof shown, "postgresql://app@127.0.0.1:%d/postgres", pg.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    pg_tear_down();
    return 0;
}

/* ---- bench ----------------------------------------------------------------------------------- */

static void bench_must_load_a_server_and_report_it(void **state)
{
    (void)state;
    RUN("bench", url, "-z", "100ms", "-c", "4", "--size", "2", "-o", "json");
    it_must_have_measured("postgres", shown, "SELECT 1");
    nothing_must_show(PG_SECRET);
    RUN("bench", url, "-z", "100ms", "-c", "4", "-k", "3", "--max-live", "4");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, shown);
    said_must_have(said.out, "3 keys");
    said_must_have(said.out, "key-00");         /* that of the longest wait */
    nothing_must_show(PG_SECRET);
}

static void bench_must_say_why_it_is_not_let_in_without_the_password(void **state)
{
    (void)state;
    RUN("bench", with("no-such-word"), "-z", "100ms");
    it_must_fail(3, "password authentication failed for user \"app\" (28P01)");
    nothing_must_show("no-such-word");
    RUN("bench", with("slash/at@no-such-word"), "-z", "100ms");
    it_must_fail(2, "in a password '/', '?', '#' are written %2F, %3F, %23");
}

static void bench_must_say_that_nobody_listens(void **state)
{
    char nobody[200];

    (void)state;
    (void)snprintf(nobody, sizeof nobody, "postgres://app:" PG_SECRET "@127.0.0.1:%d/postgres",
                   server_free_port());
    RUN("bench", nobody, "-z", "100ms");
    it_must_fail(3, "Connection refused");
    nothing_must_show(PG_SECRET);
}

static void a_url_must_be_shown_without_its_secrets(void **state)
{
    static const struct { const char *url, *shown; } cases[] = {
        { "postgres://me:hush@[::1]:1/db?sslmode=disable&password=hush&options=hush",
          "postgres://me@[::1]:1/db?sslmode=disable" },
        { "postgres:///db?host=/no/such/folder&port=1&user=me&sslpassword=hush",
          "postgres:///db?host=/no/such/folder&port=1&user=me" },
        { "postgres://:hush@127.0.0.1:1", "postgres://127.0.0.1:1" },
        { "postgres://127.0.0.1/a@b?port=1", "postgres://127.0.0.1/a@b?port=1" },
        { "postgres://[::1]/a@b?port=1", "postgres://[::1]/a@b?port=1" },
    };
    char line[200];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN("bench", cases[i].url, "-z", "100ms");
        (void)snprintf(line, sizeof line, "keyedpool bench: %s: ", cases[i].shown);
        it_must_fail(3, line);
        nothing_must_show("hush");
    }
}

static void bench_must_say_what_it_cannot_do_there(void **state)
{
    (void)state;
    RUN("bench", url, "--write", "5");
    it_must_fail(2, "--write: nothing is written by SELECT 1");
    RUN("bench", url, url);
    it_must_fail(2, "there is one URL too many");
    nothing_must_show(PG_SECRET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_must_load_a_server_and_report_it),
        cmocka_unit_test(bench_must_say_why_it_is_not_let_in_without_the_password),
        cmocka_unit_test(bench_must_say_that_nobody_listens),
        cmocka_unit_test(a_url_must_be_shown_without_its_secrets),
        cmocka_unit_test(bench_must_say_what_it_cannot_do_there),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
