/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter where it is not like others: keys and settings, what a give-back undoes
 * and what it costs, and reasons. postgres_conform.c has what holds for all, postgres_gone.c what
 * happens when a server ends connections.
 */
#include "adapters/postgres_stage.h"

/* ---- keys ------------------------------------------------------------------------------------ */

static void a_key_must_be_laid_over_the_settings_of_all(void **state)
{
    static const struct { const char *key, *database, *name; } cases[] = {
        { NULL, "postgres", "keyedpool" },
        { "template1", "template1", "keyedpool" },
        { "dbname=template1 application_name=mine", "template1", "mine" },
        { "postgresql:///template1?application_name=mine", "template1", "mine" },
    };
    kp_lease none;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_lease lease = get(cases[i].key);
        char sql[160];

        assert_string_equal(PQdb(kp_pg_conn(&lease)), cases[i].database);
        assert_string_equal(PQuser(kp_pg_conn(&lease)), "app");
        (void)snprintf(sql, sizeof sql, "SELECT (current_setting('application_name') = '%s')::int",
                       cases[i].name);
        assert_int_equal(value(&lease, sql), 1);
        kp_release(&lease);
    }
    assert_int_equal(kp_get(stage.pool, kp_bytes("a\0b", 3), NULL, &none), KP_EREFUSED);
    close_pool();
}

/* Tenants are known by name; where they live, and the password, is the program's business. */
static int where_they_live(kp_key key, char *buf, size_t size, void *ctx)
{
    assert_string_equal(ctx, "ctx");
    if (strcmp(key.data, "acme") == 0)
        (void)snprintf(buf, size, "dbname=template1 password=" PG_SECRET);
    else if (strcmp(key.data, "odd") == 0)
        (void)snprintf(buf, size, "postgresql://app:a@" PG_SECRET "@db/app");
    else
        return -1;
    return 0;
}

static void a_name_must_be_mapped_and_its_password_never_be_told(void **state)
{
    char text[200];
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ .conninfo_for = where_they_live, .ctx = "ctx" });
    lease = get("acme");
    assert_string_equal(PQdb(kp_pg_conn(&lease)), "template1");
    kp_release(&lease);
    assert_int_equal(try_get("nobody", &lease), KP_EREFUSED);
    assert_non_null(strstr(stage.why.text, "does not know this key"));
    assert_int_equal(try_get("odd", &lease), KP_EREFUSED);
    assert_null(strstr(stage.why.text, PG_SECRET));
    (void)kp_key_text(stage.pool, kp_str("acme"), text, sizeof text);
    assert_string_equal(text, "acme");
    close_pool();
}

static void who_was_refused_must_be_let_in_after_retry_now(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    assert_int_equal(try_get("later", &lease), KP_EREFUSED);
    assert_int_equal(pg_ask("CREATE DATABASE later"), 0);
    assert_int_equal(try_get("later", &lease), KP_EREFUSED);
    assert_int_equal(kp_retry_now(stage.pool, kp_str("later")), 0);
    lease = get("later");
    kp_release(&lease);
    close_pool();
    assert_int_equal(pg_ask("DROP DATABASE later"), 0);
}

static void tls_must_work_like_the_rest(void **state)
{
    char key[160];

    (void)state;
    (void)snprintf(key, sizeof key, "sslmode=verify-full sslrootcert=%s/server.crt", pg.data);
    open_pool((kp_pg_options){ 0 });
    for (int i = 0; i < 3; i++) {
        kp_lease lease = get(key);

        assert_int_equal(PQsslInUse(kp_pg_conn(&lease)), 1);
        assert_int_equal(was_reused(&lease), i > 0);
        assert_int_equal(value(&lease, "BEGIN"), 0);
        kp_release(&lease);
    }
    close_pool();
}

/* ---- giving back ----------------------------------------------------------------------------- */

static void a_clean_give_back_must_take_no_round_trip(void **state)
{
    (void)state;
    open_pool((kp_pg_options){ .set_up = "SET work_mem = '33MB'" });
    for (int i = 0; i < 10; i++) {
        kp_lease lease = get(NULL);

        assert_int_equal(value(&lease, "SELECT 1"), 1);
        assert_int_equal(value(&lease, "BEGIN; SELECT 1; COMMIT"), 0);
        kp_release(&lease);
    }
    assert_int_equal(stage.counts.opened, 1);
    assert_int_equal(stage.counts.resets, 0);
    assert_int_equal(stage.reports, 0);
    close_pool();
}

/* libpq believes it idle: only a Sync would end the transaction. */
static void a_pipeline_without_its_end_must_not_be_committed_by_the_next(void **state)
{
    (void)state;
    assert_int_equal(pg_ask("CREATE TABLE piped (n int); GRANT ALL ON piped TO app"), 0);
    open_pool((kp_pg_options){ 0 });
    for (int i = 0; i < 2; i++) {
        kp_lease lease = get(NULL);
        PGconn *conn = kp_pg_conn(&lease);

        assert_int_equal(PQenterPipelineMode(conn), 1);
        assert_int_equal(PQsendQueryParams(conn, "INSERT INTO piped VALUES (1)", 0, NULL, NULL,
                                           NULL, NULL, 0), 1);
        assert_int_equal(PQsendFlushRequest(conn), 1);
        PQclear(PQgetResult(conn));
        assert_null(PQgetResult(conn));
        if (i == 1)                     /* and one who leaves the mode by himself */
            assert_int_equal(PQexitPipelineMode(conn), 1);
        kp_release(&lease);
        assert_int_equal(stage.left, KP_PG_LEFT_PIPELINE);
        assert_int_equal(stage.reports, i + 1);
        lease = get(NULL);
        assert_int_equal(value(&lease, "SELECT count(*) FROM piped"), 0);
        kp_release(&lease);
    }
    close_pool();
    assert_int_equal(pg_ask("DROP TABLE piped"), 0);
}

static void hear(void *heard, const char *message)
{
    (void)message;
    ++*(int *)heard;
}

static void a_borrowers_notice_processor_must_not_hear_the_next(void **state)
{
    static const char sql[] = "DO $$ BEGIN RAISE WARNING 'not for him'; END $$";
    int heard = 0;
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ .set_up = "SET client_min_messages = error" });
    lease = get(NULL);
    (void)PQsetNoticeProcessor(kp_pg_conn(&lease), hear, &heard);
    kp_release(&lease);
    lease = get(NULL);
    assert_int_equal(value(&lease, "SET client_min_messages = warning"), 0);
    assert_int_equal(value(&lease, sql), 0);
    assert_int_equal(heard, 0);
    kp_release(&lease);
    close_pool();
}

static void hear_for_all(void *heard, const char *message)
{
    hear(heard, message);
}

static int set_for_all(PGconn *conn, kp_key key, void *heard)
{
    (void)key;
    (void)PQsetNoticeProcessor(conn, hear_for_all, heard);
    return 0;
}

/* It cannot be put back, as libpq does not tell its argument; so the connection ends. */
static void the_programs_notice_processor_must_hear_each_borrower(void **state)
{
    int heard = 0, for_all = 0;

    (void)state;
    open_pool((kp_pg_options){ .on_open = set_for_all, .ctx = &for_all });
    for (int i = 0; i < 4; i++) {
        kp_lease lease = get(NULL);

        assert_int_equal(was_reused(&lease), i == 1 || i == 2);
        assert_int_equal(value(&lease, "DO $$ BEGIN RAISE WARNING 'all'; END $$"), 0);
        assert_int_equal(for_all, i + 1);
        if (i == 2)
            (void)PQsetNoticeProcessor(kp_pg_conn(&lease), hear, &heard);
        kp_release(&lease);
    }
    assert_int_equal(stage.code, KP_PG_SQLSTATE('2', '5', '0', '0', '0'));
    close_pool();
}

static void say_goodbye(PGconn *conn, kp_key key, void *ctx)
{
    (void)key;
    (void)ctx;
    (void)pg_value(conn, "DO $$ BEGIN RAISE WARNING 'bye'; END $$");
}

/* He may be gone by then: a scope runs his finalizers first, and a pool may destroy on a thread. */
static void a_borrowers_notice_processor_must_not_hear_the_end(void **state)
{
    (void)state;
    open_pool((kp_pg_options){ .on_close = say_goodbye });
    for (int i = 0; i < 2; i++) {
        kp_lease lease = get(NULL);
        int heard = 0;

        (void)PQsetNoticeProcessor(kp_pg_conn(&lease), hear, &heard);
        if (i == 0)
            kp_release(&lease);
        else
            kp_discard(&lease);
        assert_int_equal(heard, 0);
    }
    close_pool();
}

static void a_borrowers_trace_and_words_of_errors_must_not_be_the_nexts(void **state)
{
    char text[2048] = "";
    FILE *trace = tmpfile();
    kp_lease lease;

    (void)state;
    assert_non_null(trace);
    open_pool((kp_pg_options){ 0 });
    lease = get(NULL);
    PQtrace(kp_pg_conn(&lease), trace);
    (void)PQsetErrorVerbosity(kp_pg_conn(&lease), PQERRORS_TERSE);
    (void)PQsetErrorContextVisibility(kp_pg_conn(&lease), PQSHOW_CONTEXT_ALWAYS);
    assert_int_equal(value(&lease, "SELECT 4711"), 4711);
    kp_release(&lease);
    lease = get(NULL);
    assert_true(was_reused(&lease));
    assert_int_equal(value(&lease, "SELECT 1234"), 1234);
    assert_int_equal(PQsetErrorVerbosity(kp_pg_conn(&lease), PQERRORS_DEFAULT), PQERRORS_DEFAULT);
    assert_int_equal(PQsetErrorContextVisibility(kp_pg_conn(&lease), PQSHOW_CONTEXT_ERRORS),
                     PQSHOW_CONTEXT_ERRORS);
    kp_release(&lease);
    close_pool();
    assert_int_equal(fflush(trace), 0);
    rewind(trace);
    assert_true(fread(text, 1, sizeof text - 1, trace) > 0);
    assert_non_null(strstr(text, "4711"));
    assert_null(strstr(text, "1234"));
    (void)fclose(trace);
}

/* Another session has nothing of what was set up, or prepared, in the one before. */
static void one_that_was_connected_anew_must_not_reach_the_next(void **state)
{
    static const int32_t resets[] = { KP_PG_TIDY, KP_PG_ROLLBACK, KP_PG_DISCARD_ALL };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        kp_lease lease;

        open_pool((kp_pg_options){ .set_up = "SET work_mem = '33MB'", .reset = resets[i] });
        lease = get(NULL);
        PQreset(kp_pg_conn(&lease));
        assert_int_equal(PQstatus(kp_pg_conn(&lease)), CONNECTION_OK);
        kp_release(&lease);
        lease = get(NULL);
        assert_int_equal(value(&lease, "SELECT (current_setting('work_mem') = '33MB')::int"), 1);
        kp_release(&lease);
        close_pool();
    }
}

static void what_was_left_must_be_reported_with_its_borrower(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    lease = get(NULL);
    assert_int_equal(value(&lease, "BEGIN"), 0);
    assert_int_equal(PQsendQuery(kp_pg_conn(&lease), "SELECT 1"), 1);
    wait_for_input(kp_pg_conn(&lease)); /* it has come, and is not read */
    kp_release(&lease);
    assert_int_equal(stage.reports, 1);
    assert_int_equal(stage.left, KP_PG_LEFT_TRANSACTION | KP_PG_LEFT_RESULT);
    assert_string_equal(stage.left_tag, "test");
    assert_int_equal(stage.counts.transactions + stage.counts.results, 2);
    assert_int_equal(stage.counts.resets, 1);
    lease = get(NULL);
    assert_true(was_reused(&lease));
    kp_release(&lease);
    close_pool();
}

static void set_up_must_hold_again_after_settings_were_undone(void **state)
{
    static const int32_t resets[] = { KP_PG_TIDY, KP_PG_DISCARD_ALL };
    kp_lease lease;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_pool((kp_pg_options){ .set_up = "SET work_mem = '33MB'", .reset = resets[i] });
        lease = get(NULL);
        assert_int_equal(value(&lease, "SELECT (current_setting('work_mem') = '33MB')::int"), 1);
        assert_int_equal(value(&lease, "RESET work_mem"), 0);
        kp_release(&lease);
        lease = get(NULL);
        assert_true(was_reused(&lease));
        assert_int_equal(value(&lease, "SELECT (current_setting('work_mem') = '33MB')::int"), 1);
        kp_release(&lease);
        close_pool();
    }
}

static void what_set_up_listens_to_must_be_heard_by_the_next(void **state)
{
    static const int32_t resets[] = { KP_PG_TIDY, KP_PG_ROLLBACK, KP_PG_DISCARD_ALL };
    static const char *const left[] = { "LISTEN his", "NOTIFY ours", "LISTEN his; SET geqo = off",
                                        "UNLISTEN *" };

    (void)state;
    for (size_t i = 0; i < 12; i++) {
        kp_lease lease;

        open_pool((kp_pg_options){ .set_up = "LISTEN ours", .reset = resets[i / 4] });
        lease = get(NULL);
        assert_int_equal(value(&lease, left[i % 4]), 0);
        kp_release(&lease);
        lease = get(NULL);
        assert_true(was_reused(&lease));
        assert_int_equal(value(&lease, "SELECT count(*) FILTER (WHERE c = 'ours') * 10 + count(*)"
                                       " FROM pg_listening_channels() c"), 11);
        kp_release(&lease);
        close_pool();
    }
}

static void prepared_statements_must_stay_unless_all_is_discarded(void **state)
{
    static const struct { kp_pg_options options; long prepared; } cases[] = {
        { { .reset = KP_PG_TIDY }, 1 },
        { { .reset = KP_PG_ROLLBACK }, 1 },
        { { .reset = KP_PG_DISCARD_ALL }, 0 },
        { { .reset_sql = "DEALLOCATE ALL" }, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_lease lease;

        open_pool(cases[i].options);
        lease = get(NULL);
        PQclear(PQprepare(kp_pg_conn(&lease), "p", "SELECT 5", 0, NULL));
        assert_int_equal(value(&lease, "SET work_mem = '33MB'; BEGIN"), 0);
        kp_release(&lease);
        lease = get(NULL);
        assert_true(was_reused(&lease));
        assert_int_equal(PQtransactionStatus(kp_pg_conn(&lease)), PQTRANS_IDLE);
        assert_int_equal(value(&lease, "SELECT count(*) FROM pg_prepared_statements"),
                         cases[i].prepared);
        kp_release(&lease);
        close_pool();
    }
}

static void settings_must_stay_where_only_transactions_are_undone(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ .reset = KP_PG_ROLLBACK });
    lease = get(NULL);
    assert_int_equal(value(&lease, "SET work_mem = '33MB'; LISTEN news"), 0);
    kp_release(&lease);
    lease = get(NULL);
    assert_int_equal(value(&lease, "SELECT (current_setting('work_mem') = '33MB')::int"), 1);
    assert_int_equal(value(&lease, "SELECT count(*) FROM pg_listening_channels()"), 0);
    assert_int_equal(value(&lease, "SET work_mem = '34MB'"), 0);
    kp_release(&lease);
    lease = get(NULL);
    assert_int_equal(value(&lease, "BEGIN"), 0);
    kp_release(&lease);
    assert_int_equal(stage.left, KP_PG_LEFT_TRANSACTION);       /* he has set nothing */
    close_pool();
}

static void a_reset_that_fails_must_close_the_connection_and_say_why(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ .reset_sql = "SELECT 1/0" });
    lease = get(NULL);
    kp_release(&lease);
    assert_int_equal(stage.invalid, 1);
    assert_int_equal(stage.code, KP_PG_SQLSTATE('2', '2', '0', '1', '2'));
    assert_non_null(strstr(stage.cause, "division by zero (22012)"));
    assert_int_equal(stage.counts.closed, 1);
    close_pool();
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static int count_open(PGconn *conn, kp_key key, void *ctx)
{
    (void)ctx;
    assert_int_equal(key.size, 0);
    stage.opens++;
    return pg_value(conn, "SELECT 3") == 3 ? stage.open_code : 1;
}

static void count_close(PGconn *conn, kp_key key, void *ctx)
{
    (void)ctx;
    assert_non_null(conn);
    assert_int_equal(key.size, 0);
    stage.closes++;
}

static void hooks_must_run_once_for_each_connection(void **state)
{
    kp_lease one, two;

    (void)state;
    open_pool((kp_pg_options){ .on_open = count_open, .on_close = count_close });
    one = get(NULL);
    two = get(NULL);
    assert_int_equal(stage.opens, 2);
    kp_release(&one);
    kp_discard(&two);
    assert_int_equal(stage.closes, 1);
    stage.open_code = 77;
    one = get(NULL);
    assert_int_equal(try_get(NULL, &two), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, 77);
    assert_non_null(strstr(stage.why.text, "on_open"));
    kp_release(&one);
    close_pool();
    assert_int_equal(stage.closes, 2);
}

static void a_set_up_that_fails_must_fail_the_create_with_its_state(void **state)
{
    char letters[6];
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ .set_up = "no such word" });
    assert_int_equal(try_get(NULL, &lease), KP_ECREATE);
    kp_pg_sqlstate(stage.why.vendor_code, letters);
    assert_string_equal(letters, "42601");
    assert_non_null(strstr(stage.why.text, "syntax error"));
    close_pool();
    open_pool((kp_pg_options){ .set_up = "COPY pg_class TO STDOUT" });
    assert_int_equal(try_get(NULL, &lease), KP_ECREATE);
    assert_non_null(strstr(stage.why.text, "COPY"));
    close_pool();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_must_be_laid_over_the_settings_of_all),
        cmocka_unit_test(a_name_must_be_mapped_and_its_password_never_be_told),
        cmocka_unit_test(who_was_refused_must_be_let_in_after_retry_now),
        cmocka_unit_test(tls_must_work_like_the_rest),
        cmocka_unit_test(a_clean_give_back_must_take_no_round_trip),
        cmocka_unit_test(a_pipeline_without_its_end_must_not_be_committed_by_the_next),
        cmocka_unit_test(a_borrowers_notice_processor_must_not_hear_the_next),
        cmocka_unit_test(the_programs_notice_processor_must_hear_each_borrower),
        cmocka_unit_test(a_borrowers_notice_processor_must_not_hear_the_end),
        cmocka_unit_test(a_borrowers_trace_and_words_of_errors_must_not_be_the_nexts),
        cmocka_unit_test(one_that_was_connected_anew_must_not_reach_the_next),
        cmocka_unit_test(what_was_left_must_be_reported_with_its_borrower),
        cmocka_unit_test(set_up_must_hold_again_after_settings_were_undone),
        cmocka_unit_test(what_set_up_listens_to_must_be_heard_by_the_next),
        cmocka_unit_test(prepared_statements_must_stay_unless_all_is_discarded),
        cmocka_unit_test(settings_must_stay_where_only_transactions_are_undone),
        cmocka_unit_test(a_reset_that_fails_must_close_the_connection_and_say_why),
        cmocka_unit_test(hooks_must_run_once_for_each_connection),
        cmocka_unit_test(a_set_up_that_fails_must_fail_the_create_with_its_state),
    };

    return cmocka_run_group_tests_name("postgres", tests, start, stop);
}
