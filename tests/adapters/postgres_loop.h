/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, on an event loop of one thread (loop_cases.h).
 */
#ifndef TESTS_ADAPTERS_POSTGRES_LOOP_H
#define TESTS_ADAPTERS_POSTGRES_LOOP_H

#include <keyedpool_postgres.h>

#include <poll.h>

#include "adapters/loop_cases.h"
#include "adapters/postgres_server.h"

static kp_pg_counts counted;

static void open_pool(kp_pg_options pg_options)
{
    kp_options more = plan_on_loop();

    memset(&counted, 0, sizeof counted);
    pg_options.conninfo = pg.conninfo;
    pg_options.watcher = glue_watcher(&stage.loop);
    pg_options.counts = &counted;
    if (kp_pg_open(&pg_options, &more, &stage.pool) != 0)
        fail_msg("open: %s", stage.why.text);
}

static void close_pool(void)
{
    kp_pg_counts counts;

    end_loop();
    counts = kp_pg_counts_read(&counted);
    assert_int_equal(counts.opened, counts.closed);
}

static PGconn *get(int number)
{
    return kp_pg_conn(lease_of(number, NULL));
}

static long value(PGconn *conn, const char *sql)
{
    bool ready = true;
    PGresult *result;
    long out = -1;

    assert_int_equal(PQsendQuery(conn, sql), 1);
    while (ready) {
        int unsent = PQflush(conn);

        if (!unsent && PQconsumeInput(conn) && !PQisBusy(conn))
            break;
        ready = turn_until(PQsocket(conn), KP_WATCH_READ | (unsent ? KP_WATCH_WRITE : 0));
    }
    while ((result = PQgetResult(conn)) != NULL) {
        if (PQresultStatus(result) == PGRES_TUPLES_OK)
            out = strtol(PQgetvalue(result, 0, 0), NULL, 10);
        PQclear(result);
    }
    return out;
}

/* ---- for loop_cases.h ------------------------------------------------------------------------ */

static void open_within(int64_t connect_timeout_ms)
{
    open_pool((kp_pg_options){ .connect_timeout_ms = connect_timeout_ms });
}

static const char *here(void)
{
    return "";
}

static void deaf_key(char *key, size_t size, int port)
{
    (void)snprintf(key, size, "port=%d", port);
}

static bool is_late(const kp_why *why)
{
    return strstr(why->text, "no connection in time (08001)");
}

static void must_work(const kp_lease *lease)
{
    assert_int_equal(value(kp_pg_conn(lease), "SELECT 4"), 4);
}

/* ---- lending --------------------------------------------------------------------------------- */

static void must_be_ready(const kp_lease *lease)
{
    PGconn *conn = kp_pg_conn(lease);

    assert_int_equal(PQisnonblocking(conn), 1);
    assert_int_equal(value(conn, "SELECT (current_setting('work_mem') = '33MB')::int"), 1);
}

static void many_gets_must_share_two_connections_on_one_thread(void **state)
{
    (void)state;
    open_pool((kp_pg_options){ .set_up = "SET work_mem = '33MB'" });
    all_in_turn(NULL, must_be_ready);
    assert_int_equal(counted.opened, 2);
    assert_int_equal(counted.resets, 0);
    close_pool();
}

static void what_was_left_must_be_undone_before_the_next(void **state)
{
    PGconn *conn;

    (void)state;
    open_pool((kp_pg_options){ .set_up = "SET work_mem = '33MB'" });
    for (int i = 0; i < 3; i++) {
        conn = get(0);
        assert_int_equal(PQtransactionStatus(conn), PQTRANS_IDLE);
        assert_int_equal(value(conn, "SELECT (current_setting('work_mem') = '33MB')::int"), 1);
        (void)value(conn, "SET work_mem = '44MB'");
        (void)value(conn, "BEGIN");
        assert_int_equal(PQsendQuery(conn, "SELECT 1"), 1);
        while (PQflush(conn) == 1)
            turn();
        give_back(0);
        while (counted.results == (uint64_t)i)
            turn();
    }
    conn = get(0);
    assert_int_equal(value(conn, "SELECT 6"), 6);
    give_back(0);
    /* The result was there in time and was read, or its connection was closed. */
    assert_int_equal(counted.results, 3);
    assert_true(counted.opened <= counted.closed + 2);
    close_pool();
}

static void what_cannot_be_watched_must_be_told_as_such(void **state)
{
    (void)state;
    open_pool((kp_pg_options){ 0 });
    do (void)value(get(0), "BEGIN");
    while (!give_back_unwatched(0));
    assert_non_null(strstr(stage.cause, "(25000)"));
    assert_int_equal(PQtransactionStatus(get(0)), PQTRANS_IDLE);
    give_back(0);
    close_pool();
}

static void a_transaction_must_be_rolled_back_without_blocking(void **state)
{
    PGconn *first, *second;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    first = get(0);
    (void)value(first, "BEGIN");
    give_back(0);
    while (counted.resets == 0)
        turn();                         /* else a new one might come first */
    second = get(0);
    assert_ptr_equal(first, second);
    assert_int_equal(PQtransactionStatus(second), PQTRANS_IDLE);
    assert_int_equal(counted.resets, 1);
    give_back(0);
    close_pool();
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void a_wrong_password_must_be_told_as_everywhere(void **state)
{
    struct ask *a;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    a = begin(0, "user=stranger", 20000);
    assert_int_equal(await(a), KP_EREFUSED);
    assert_int_equal(a->why.vendor_code, KP_PG_SQLSTATE('2', '8', 'P', '0', '1'));
    assert_non_null(strstr(a->why.text, "password authentication failed"));
    a = begin(0, "port=1", 20000);
    assert_int_equal(await(a), KP_ECREATE);
    assert_non_null(strstr(a->why.text, "Connection refused"));
    close_pool();
}

static void a_connection_that_was_ended_must_be_replaced(void **state)
{
    char sql[80];
    PGconn *conn;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    conn = get(0);
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 10000)::int",
                   PQbackendPID(conn));
    give_back(0);
    assert_int_equal(pg_ask(sql), 1);
    conn = get(0);
    assert_int_equal(value(conn, "SELECT 5"), 5);
    assert_int_equal(stage.invalid, 1);
    assert_non_null(strstr(stage.cause, "(57P01)"));
    give_back(0);
    close_pool();
}

static void a_connection_that_does_not_answer_must_be_replaced(void **state)
{
    pid_t backend;
    PGconn *conn;

    (void)state;
    open_pool((kp_pg_options){ .answer_timeout_ms = 100 });
    conn = get(0);
    backend = PQbackendPID(conn);
    give_back(0);
    assert_int_equal(kill(backend, SIGSTOP), 0);
    conn = get(0);
    assert_int_equal(kill(backend, SIGCONT), 0);
    assert_int_not_equal(PQbackendPID(conn), backend);
    assert_non_null(strstr(stage.cause, "no answer in time (57014)"));
    give_back(0);
    close_pool();
}

static void not_heard(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static int hear_nothing(PGconn *conn, kp_key key, void *ctx)
{
    (void)key;
    (void)ctx;
    (void)PQsetNoticeProcessor(conn, not_heard, NULL);
    return 0;
}

/* There is always something to read, and never the answer. */
static void one_that_never_stops_talking_must_be_replaced(void **state)
{
    int first;

    (void)state;
    open_pool((kp_pg_options){ .answer_timeout_ms = 100, .on_open = hear_nothing,
                               .reset_sql = "DO $$ BEGIN LOOP RAISE NOTICE 'and another thing';"
                                            " END LOOP; END $$" });
    first = PQbackendPID(get(0));
    give_back(0);
    while (stage.invalid == 0)
        turn();
    assert_non_null(strstr(stage.cause, "no answer in time (57014)"));
    assert_int_not_equal(PQbackendPID(get(0)), first);
    give_back(0);
    close_pool();
}

/* Reads the first message and answers: you are in, and I am ready. Then it reads no more. */
static int let_in(int listening)
{
    static const char in[] = "R\0\0\0\10\0\0\0\0Z\0\0\0\5I";
    struct pollfd p = { .fd = listening, .events = POLLIN };
    char message[512];

    while (poll(&p, 1, 0) == 0)
        turn();
    p.fd = accept(listening, NULL, NULL);
    while (poll(&p, 1, 0) == 0)
        turn();
    assert_true(recv(p.fd, message, sizeof message, 0) > 0);
    assert_int_equal(send(p.fd, in, sizeof in - 1, 0), sizeof in - 1);
    return p.fd;
}

/* No matter how much there is to send. */
static void a_server_that_reads_no_set_up_must_not_hold_the_loop(void **state)
{
    static char set_up[1 << 25];
    int port, listening = deaf_peer(&port), fd;
    char key[64];
    struct ask *a;

    (void)state;
    memset(set_up, ' ', sizeof set_up - 1);
    open_pool((kp_pg_options){ .set_up = set_up, .connect_timeout_ms = 500 });
    (void)snprintf(key, sizeof key, "port=%d sslmode=disable gssencmode=disable", port);
    a = begin(0, key, 20000);
    fd = let_in(listening);
    assert_int_equal(await(a), KP_ECREATE);
    close_pool();
    (void)close(fd);
    (void)close(listening);
}

static void a_pool_of_a_loop_must_have_a_watcher(void **state)
{
    kp_options more = { .why = &stage.why };
    kp_loop *loop;

    (void)state;
    assert_int_equal(kp_loop_open(&loop), 0);
    more.loop = loop;
    assert_int_equal(kp_pg_open(NULL, &more, &stage.pool), KP_ECONFIG);
    assert_string_equal(stage.why.field, "postgres.watcher");
    assert_int_equal(kp_loop_close(loop), 0);
}

static int start(void **state)
{
    (void)state;
    return pg_set_up();
}

static int stop(void **state)
{
    (void)state;
    pg_tear_down();
    return 0;
}

static int run_on(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_gets_must_share_two_connections_on_one_thread),
        cmocka_unit_test(what_was_left_must_be_undone_before_the_next),
        cmocka_unit_test(what_cannot_be_watched_must_be_told_as_such),
        cmocka_unit_test(a_transaction_must_be_rolled_back_without_blocking),
        cmocka_unit_test(a_wrong_password_must_be_told_as_everywhere),
        cmocka_unit_test(a_connection_that_was_ended_must_be_replaced),
        cmocka_unit_test(a_connection_that_does_not_answer_must_be_replaced),
        cmocka_unit_test(one_that_never_stops_talking_must_be_replaced),
        cmocka_unit_test(a_server_that_reads_no_set_up_must_not_hold_the_loop),
        cmocka_unit_test(a_pool_of_a_loop_must_have_a_watcher),
        LOOP_CASES,
    };

    return cmocka_run_group_tests_name(name, tests, start, stop);
}

#endif
