/* SPDX-License-Identifier: MIT
 *
 * The command and a PostgreSQL server.
 */
#include "cli/run.h"

#include "adapters/peer.h"
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
    it_must_fail(2, "write '/', '?', '#' in a user or password as %2F, %3F, %23");
    RUN("bench", "postgres://me:hu@sh@127.0.0.1:1/db", "-z", "100ms");
    it_must_fail(2, "and '@' there and after a path as %40");
    nothing_must_show("sh@");
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
    it_must_fail(2, "--write: SELECT 1 writes nothing");
    RUN("bench", url, url);
    it_must_fail(2, "only one URL can be measured at a time");
    nothing_must_show(PG_SECRET);
}

/* ---- doctor ---------------------------------------------------------------------------------- */

static PGconn *held[PG_CONNECTIONS];

static void hold(int count)
{
    for (int i = 0; i < count; i++) {
        held[i] = PQconnectdb(pg.conninfo);
        assert_int_equal(PQstatus(held[i]), CONNECTION_OK);
    }
}

/* Its processes are gone when the server says so. */
static void let_go(int count)
{
    for (int i = 0; i < count; i++)
        PQfinish(held[i]);
    while (pg_ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") > 0)
        ;
}

static void doctor_must_hold_the_budget_against_what_the_server_lets_in(void **state)
{
    (void)state;
    let_go(0);
    RUN("doctor", "--json", url, "--size", "17");
    it_must_have_found(NULL, "connect", "ok", "SELECT 1 took");
    it_must_have_found(NULL, "version", "ok", "PostgreSQL 1");
    it_must_have_found(NULL, "connections", "ok", "allows 17, 0 are in use");
    nothing_must_show(PG_SECRET);
    RUN("doctor", "--json", url, "-k", "2", "--size", "20", "--max-live", "9", "--processes", "2");
    it_must_have_found(NULL, "connections", "fail",
                       "17, the pools may open 18: raise it, or lower budget.max_live to 8");
    hold(10);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connections", "warn",
                       "10 are in use: that leaves 7, the pools may open 10");
    let_go(10);
}

static long workers(const char *kind)
{
    char sql[128];

    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
                   "'%s worker' AND datid IS NOT NULL", kind);
    return pg_ask(sql);
}

/* They take no place of a connection. One vacuums a table without any hurry, and one of app's runs
 * its query. */
static void doctor_must_not_count_workers_as_connections(void **state)
{
    PGconn *busy = PQconnectdb(pg.conninfo);
    PGcancel *cancel = PQgetCancel(busy);
    char why[64];

    (void)state;
    assert_int_equal(pg_ask("ALTER SYSTEM SET autovacuum_naptime = 1"), 0);
    assert_int_equal(pg_ask("SELECT pg_reload_conf()"), 0);
    assert_int_equal(pg_ask("CREATE TABLE dusty AS SELECT repeat('x', 500) FROM"
                            " generate_series(1, 10000);"
                            "ALTER TABLE dusty SET (autovacuum_vacuum_threshold = 1,"
                            " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
                            ";DELETE FROM dusty"), 0);
    assert_int_equal(PQsendQuery(busy, "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;"
                                 "SET min_parallel_table_scan_size = 0;"
                                 "SELECT count(*) FROM pg_attribute WHERE pg_sleep(600) IS NULL"),
                     1);
    while (workers("autovacuum") == 0 || workers("parallel") == 0)
        ;
    RUN("doctor", "--json", url);
    assert_true(workers("autovacuum") > 0);
    assert_int_equal(PQcancel(cancel, why, sizeof why), 1);
    PQfreeCancel(cancel);
    PQfinish(busy);
    assert_int_equal(pg_ask("ALTER SYSTEM RESET autovacuum_naptime"), 0);
    assert_int_equal(pg_ask("SELECT pg_reload_conf()"), 0);
    assert_int_equal(pg_ask("DROP TABLE dusty"), 0);
    it_must_have_found(NULL, "connections", "ok", "allows 17, 1 are in use");
    let_go(0);
}

static void doctor_must_not_count_what_is_reserved_for_who_is_a_superuser(void **state)
{
    char admin[200];

    (void)state;
    (void)snprintf(admin, sizeof admin, "postgres:///postgres?host=%s&port=%d&user=kp",
                   pg.server.folder, pg.port);
    RUN("doctor", "--json", admin, "--size", "20");
    it_must_have_found(NULL, "connections", "ok", "allows 20, 0 are in use");
}

static void doctor_must_know_the_limits_of_roles_and_databases(void **state)
{
    (void)state;
    assert_int_equal(pg_ask("ALTER ROLE app CONNECTION LIMIT 9"), 0);
    assert_int_equal(pg_ask("ALTER DATABASE postgres CONNECTION LIMIT 12"), 0);
    RUN("doctor", "--json", url);
    assert_int_equal(pg_ask("ALTER ROLE app CONNECTION LIMIT -1"), 0);
    assert_int_equal(pg_ask("ALTER DATABASE postgres CONNECTION LIMIT -1"), 0);
    it_must_have_found(NULL, "role_connections", "fail",
                       "CONNECTION LIMIT of the role allows 9, the pools may open 10");
    it_must_have_found(NULL, "database_connections", "ok",
                       "CONNECTION LIMIT of the database allows 12, 0 are in use");
}

/* The server does not apply these limits to superusers. */
static void doctor_must_not_hold_a_superuser_to_limits_of_roles_and_databases(void **state)
{
    PGconn *more[3];
    char admin[200];

    (void)state;
    (void)snprintf(admin, sizeof admin, "postgres:///postgres?host=%s&port=%d&user=kp",
                   pg.server.folder, pg.port);
    assert_int_equal(pg_ask("ALTER ROLE kp CONNECTION LIMIT 1"), 0);
    assert_int_equal(pg_ask("ALTER DATABASE postgres CONNECTION LIMIT 1"), 0);
    for (int i = 0; i < 3; i++) {
        more[i] = pg_admin();
        assert_int_equal(PQstatus(more[i]), CONNECTION_OK);
    }
    for (int i = 0; i < 3; i++)
        PQfinish(more[i]);
    RUN("doctor", "--json", admin);
    assert_int_equal(pg_ask("ALTER ROLE kp CONNECTION LIMIT -1"), 0);
    assert_int_equal(pg_ask("ALTER DATABASE postgres CONNECTION LIMIT -1"), 0);
    it_must_have_found(NULL, "connections", "ok", "allows 20");
    assert_null(strstr(said.out, "CONNECTION LIMIT"));
}

static void doctor_must_say_that_the_server_ends_idle_ones_first(void **state)
{
    (void)state;
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "idle", "ok", "never closes idle connections (idle_session_timeout)");
    assert_int_equal(pg_ask("ALTER ROLE app SET idle_session_timeout = '5min'"), 0);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "idle", "warn", "set limits.idle_ttl_ms below");
    RUN("doctor", "--json", url, "--idle", "4min");
    it_must_have_found(NULL, "idle", "ok", "the pool after 4.00 min");
    assert_int_equal(pg_ask("ALTER ROLE app RESET idle_session_timeout"), 0);
}

static void doctor_must_say_why_a_server_is_not_reached(void **state)
{
    char nobody[200];

    (void)state;
    (void)snprintf(nobody, sizeof nobody, "postgres://127.0.0.1:%d", server_free_port());
    RUN("doctor", "--json", with("no-such-word"));
    it_must_have_found(NULL, "connect", "fail", "password authentication failed");
    nothing_must_show("no-such-word");
    RUN("doctor", "--json", nobody);
    it_must_have_found(NULL, "connect", "fail", "Connection refused");
    assert_int_equal(kill(pg.server.pid, SIGSTOP), 0);
    RUN("doctor", "--json", url, "--timeout", "200ms");
    assert_int_equal(kill(pg.server.pid, SIGCONT), 0);
    it_must_have_found(NULL, "connect", "fail", "in time");
    hold(PG_CONNECTIONS - 3);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connect", "fail", "(53300)");
    let_go(PG_CONNECTIONS - 3);
}

static void doctor_must_say_that_it_may_not_see_the_limits(void **state)
{
    (void)state;
    assert_int_equal(pg_ask("REVOKE SELECT ON pg_stat_activity FROM PUBLIC"), 0);
    RUN("doctor", "--json", url);
    assert_int_equal(pg_ask("GRANT SELECT ON pg_stat_activity TO PUBLIC"), 0);
    it_must_have_found(NULL, "limits", "warn", "permission denied for view pg_stat_activity");
}

/* A server that only pretends: whoever comes is let in, and asks something. */
static bool is_asked(int fd)
{
    static const char welcome[] = "R\0\0\0\10\0\0\0\0" "Z\0\0\0\5I";
    char asked[4096] = "";

    while (read(fd, asked, sizeof asked) > 0 && !asked[0]) {
        if (write(fd, welcome, sizeof welcome - 1) < 0)
            break;
    }
    return asked[0] == 'Q';
}

static bool answer_one(int fd)
{
    static const char one[] = "T\0\0\0\32\0\1x\0\0\0\0\0\0\0\0\0\0\27\0\4\377\377\377\377\0\0"
                              "D\0\0\0\13\0\1\0\0\0\1" "1" "C\0\0\0\15SELECT 1\0" "Z\0\0\0\5I";

    return is_asked(fd) && write(fd, one, sizeof one - 1) > 0;
}

/* Tells of a setting, and of it again. */
static bool answer_without_end(int fd)
{
    static const char setting[] = "S\0\0\0\10a\0b";
    bool asked = is_asked(fd);

    while (asked && send(fd, setting, sizeof setting, MSG_NOSIGNAL) > 0)
        ;
    return false;
}

static bool answer_with_a_copy(int fd)
{
    static const char copy[] = "G\0\0\0\7\0\0";

    return is_asked(fd) && write(fd, copy, sizeof copy) > 0;
}

static bool answer_with_nothing(int fd)
{
    static const char nothing[] = "I\0\0\0\4" "Z\0\0\0\5I";

    return is_asked(fd) && write(fd, nothing, sizeof nothing - 1) > 0;
}

static void doctor_must_say_that_a_server_is_another_kind(void **state)
{
    struct peer other = { .port = server_free_port(), .answer = answer_one };
    char at[200];

    (void)state;
    assert_int_equal(peer_start(&other), 0);
    (void)snprintf(at, sizeof at, "postgres://127.0.0.1:%d/?sslmode=disable", other.port);
    RUN("doctor", "--json", at);
    peer_kill(&other);
    it_must_have_found(NULL, "connect", "ok", "SELECT 1 took");
    it_must_have_found(NULL, "limits", "warn", "or this is no PostgreSQL");
}

static void doctor_must_end_in_time_whatever_a_server_says(void **state)
{
    static const struct { bool (*answer)(int fd); const char *words; } cases[] = {
        { answer_without_end, "no answer in time" },
        { answer_with_a_copy, "an answer without rows" },
        { answer_with_nothing, "an answer without rows" },
    };
    char at[200];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer other = { .port = server_free_port(), .answer = cases[i].answer };

        assert_int_equal(peer_start(&other), 0);
        (void)snprintf(at, sizeof at, "postgres://127.0.0.1:%d/?sslmode=disable", other.port);
        RUN("doctor", "--json", at, "--timeout", "1s");
        peer_kill(&other);
        it_must_have_found(NULL, "connect", "fail", cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_must_load_a_server_and_report_it),
        cmocka_unit_test(bench_must_say_why_it_is_not_let_in_without_the_password),
        cmocka_unit_test(bench_must_say_that_nobody_listens),
        cmocka_unit_test(a_url_must_be_shown_without_its_secrets),
        cmocka_unit_test(bench_must_say_what_it_cannot_do_there),
        cmocka_unit_test(doctor_must_hold_the_budget_against_what_the_server_lets_in),
        cmocka_unit_test(doctor_must_not_count_workers_as_connections),
        cmocka_unit_test(doctor_must_not_count_what_is_reserved_for_who_is_a_superuser),
        cmocka_unit_test(doctor_must_know_the_limits_of_roles_and_databases),
        cmocka_unit_test(doctor_must_not_hold_a_superuser_to_limits_of_roles_and_databases),
        cmocka_unit_test(doctor_must_say_that_the_server_ends_idle_ones_first),
        cmocka_unit_test(doctor_must_say_why_a_server_is_not_reached),
        cmocka_unit_test(doctor_must_say_that_it_may_not_see_the_limits),
        cmocka_unit_test(doctor_must_say_that_a_server_is_another_kind),
        cmocka_unit_test(doctor_must_end_in_time_whatever_a_server_says),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
