/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, on an event loop of one thread. Who includes this has
 * said before what the loop is: struct glue with a watcher and a loop, glue_open, glue_turn,
 * glue_watching, glue_close.
 */
#ifndef TESTS_ADAPTERS_POSTGRES_LOOP_H
#define TESTS_ADAPTERS_POSTGRES_LOOP_H

#include <keyedpool_postgres.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "adapters/postgres_server.h"

enum { ASKS = 20 };

struct ask {
    kp_request request;
    kp_why     why;
    kp_lease   lease;
    int        status;          /* KP_PENDING: no answer so far */
};

static struct {
    struct glue loop;
    kp_pool *pool;
    kp_why   why;
    kp_pg_counts counts;
    int      invalid, answers;
    char     cause[200];
    struct ask ask[ASKS];
} stage;

/* ---- the stage ------------------------------------------------------------------------------- */

static void note(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind != KP_EVENT_INVALID)
        return;
    stage.invalid++;
    (void)snprintf(stage.cause, sizeof stage.cause, "%s", event->why ? event->why->text : "");
}

static void open_pool(kp_pg_options pg_options)
{
    kp_options more = { .why = &stage.why, .on_event = note };

    memset(&stage, 0, sizeof stage);
    assert_int_equal(glue_open(&stage.loop), 0);
    more.loop = glue_loop(&stage.loop);
    more.limits.max_live = 2;
    more.limits.retry_first_ms = KP_NONE;
    more.limits.validate_after_ms = KP_NONE;
    more.watch_every_ms = KP_OFF;
    pg_options.conninfo = pg.conninfo;
    pg_options.watcher = glue_watcher(&stage.loop);
    pg_options.counts = &stage.counts;
    if (kp_pg_open(&pg_options, &more, &stage.pool) != 0)
        fail_msg("open: %s", stage.why.text);
}

static void turn(void)
{
    glue_turn(&stage.loop);
}

/* All that was made is closed, and nothing is watched for it any more. */
static void close_pool(void)
{
    kp_pg_counts counts;

    (void)kp_pool_close(stage.pool, KP_CLOSE_NOW, 0);
    while (glue_watching(&stage.loop))
        turn();
    (void)kp_loop_dispatch(glue_loop(&stage.loop));
    counts = kp_pg_counts_read(&stage.counts);
    assert_int_equal(counts.opened, counts.closed);
    glue_close(&stage.loop);
}

static void done(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;

    a->status = status;
    a->lease = lease;
    stage.answers++;
}

static struct ask *begin(int number, const char *key, int64_t within_ms)
{
    struct ask *a = &stage.ask[number];

    memset(a, 0, sizeof *a);
    a->request.loop = glue_loop(&stage.loop);
    a->request.done = done;
    a->request.arg = a;
    a->status = KP_PENDING;
    assert_int_equal(kp_get_start(stage.pool, kp_str(key),
                                  KP_ASK(.within_ms = within_ms, .why = &a->why, .tag = "loop"),
                                  &a->request), 0);
    return a;
}

static int await(struct ask *a)
{
    while (a->status == KP_PENDING)
        turn();
    return a->status;
}

static PGconn *get(int number)
{
    struct ask *a = begin(number, NULL, 20000);

    if (await(a) != 0)
        fail_msg("get: %s", a->why.text);
    return kp_pg_conn(&a->lease);
}

static void give_back(int number)
{
    kp_release(&stage.ask[number].lease);
}

/* ---- a question without blocking ------------------------------------------------------------- */

static void told(kp_watch *watch, int events)
{
    *(bool *)watch->arg = events != 0;
}

static long value(PGconn *conn, const char *sql)
{
    kp_watcher *watcher = glue_watcher(&stage.loop);
    bool ready = true;
    kp_watch watch = { .told = told, .arg = &ready };
    PGresult *result;
    long out = -1;

    assert_int_equal(PQsendQuery(conn, sql), 1);
    while (ready) {
        int unsent = PQflush(conn);

        ready = false;
        if (!unsent && PQconsumeInput(conn) && !PQisBusy(conn))
            break;
        assert_int_equal(watcher->start(watcher, &watch, PQsocket(conn), KP_WATCH_READ |
                                        (unsent ? KP_WATCH_WRITE : 0), 20000), 0);
        while (watch.next)
            turn();
    }
    while ((result = PQgetResult(conn)) != NULL) {
        if (PQresultStatus(result) == PGRES_TUPLES_OK)
            out = strtol(PQgetvalue(result, 0, 0), NULL, 10);
        PQclear(result);
    }
    return out;
}

/* ---- lending --------------------------------------------------------------------------------- */

static void many_gets_must_share_two_connections_on_one_thread(void **state)
{
    (void)state;
    open_pool((kp_pg_options){ .set_up = "SET work_mem = '33MB'" });
    for (int i = 0; i < ASKS; i++)
        (void)begin(i, NULL, 20000);
    assert_int_equal(await(&stage.ask[1]), 0);
    for (int i = 0; i < ASKS; i++) {
        PGconn *conn;

        assert_int_equal(await(&stage.ask[i]), 0);
        conn = kp_pg_conn(&stage.ask[i].lease);
        assert_int_equal(PQisnonblocking(conn), 1);
        assert_int_equal(value(conn, "SELECT (current_setting('work_mem') = '33MB')::int"), 1);
        give_back(i);
    }
    assert_int_equal(stage.counts.opened, 2);
    assert_int_equal(stage.counts.resets, 0);
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
        while (stage.counts.results == (uint64_t)i)
            turn();
    }
    conn = get(0);
    assert_int_equal(value(conn, "SELECT 6"), 6);
    give_back(0);
    /* The result was there in time and was read, or its connection was closed. */
    assert_int_equal(stage.counts.results, 3);
    assert_true(stage.counts.opened <= stage.counts.closed + 2);
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
    while (stage.counts.resets == 0)
        turn();                         /* else a new one might come first */
    second = get(0);
    assert_ptr_equal(first, second);
    assert_int_equal(PQtransactionStatus(second), PQTRANS_IDLE);
    assert_int_equal(stage.counts.resets, 1);
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

static void a_server_that_says_nothing_must_not_hold_the_loop(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof at;
    struct ask *deaf, *late, *well;
    char key[32];

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(key, sizeof key, "port=%d", ntohs(at.sin_port));
    open_pool((kp_pg_options){ .connect_timeout_ms = 100 });
    while (await(begin(2, NULL, 20000)) != 0)
        continue;                       /* a slow machine may need more than 100 ms */
    give_back(2);
    deaf = begin(0, key, 20000);
    late = begin(1, key, 20);
    well = begin(2, NULL, 20000);
    assert_int_equal(await(well), 0);
    assert_int_equal(value(kp_pg_conn(&well->lease), "SELECT 2"), 2);
    give_back(2);
    assert_int_equal(await(deaf), KP_ECREATE);
    assert_non_null(strstr(deaf->why.text, "no connection in time (08001)"));
    assert_int_not_equal(await(late), 0);
    assert_int_not_equal(late->why.text[0], '\0');
    deaf = begin(0, key, 20000);        /* and one that is given up in the middle */
    turn();
    kp_cancel(&deaf->request);
    assert_int_equal(deaf->status, KP_PENDING);
    close_pool();
    (void)close(fd);
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

static void a_pool_that_closes_must_end_what_is_under_way(void **state)
{
    struct ask *lent, *begun;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    lent = begin(0, NULL, 20000);
    assert_int_equal(await(lent), 0);
    begun = begin(1, NULL, 20000);
    (void)kp_loop_dispatch(glue_loop(&stage.loop));
    assert_true(kp_pool_close(stage.pool, KP_CLOSE_NOW, 0) >= 1);
    assert_int_equal(await(begun), KP_ECLOSED);
    assert_int_equal(value(kp_pg_conn(&lent->lease), "SELECT 4"), 4);
    give_back(0);
    close_pool();
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
        cmocka_unit_test(a_transaction_must_be_rolled_back_without_blocking),
        cmocka_unit_test(a_wrong_password_must_be_told_as_everywhere),
        cmocka_unit_test(a_server_that_says_nothing_must_not_hold_the_loop),
        cmocka_unit_test(a_connection_that_was_ended_must_be_replaced),
        cmocka_unit_test(a_connection_that_does_not_answer_must_be_replaced),
        cmocka_unit_test(a_pool_that_closes_must_end_what_is_under_way),
        cmocka_unit_test(a_pool_of_a_loop_must_have_a_watcher),
    };

    return cmocka_run_group_tests_name(name, tests, start, stop);
}

#endif
