/* SPDX-License-Identifier: MIT
 *
 * The SQLite adapter on real files: what borrowers leave open is ended and reported, and what is
 * broken is not lent again.
 */
#include "sqlite_stage.h"

/* ---- giving back ----------------------------------------------------------------------------- */

/* Its borrower has begun one, and added a row. */
static kp_lease get_in_transaction(struct stage *s)
{
    kp_lease lease = get(s, KP_SQLITE_WRITER);

    assert_int_equal(run_sql(&lease, "BEGIN IMMEDIATE; INSERT INTO t VALUES (4)"), SQLITE_OK);
    return lease;
}

static void an_open_transaction_must_be_rolled_back_and_reported(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    lease = get_in_transaction(s);
    kp_release(&lease);
    assert_int_equal(s->reports, 1);
    assert_true(s->left.transaction);
    assert_int_equal(s->left.statements, 0);
    assert_false(s->left.closed);
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_not_equal(sqlite3_get_autocommit(kp_sqlite_db(&lease)), 0);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
    kp_release(&lease);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).creates, 1);
    assert_int_equal(kp_sqlite_counts_read(&s->counts).transactions, 1);
    stage_close(s);
}

static void statements_left_open_must_be_finalised_and_reported(void **state)
{
    struct stage *s = *state;
    sqlite3_stmt *idle;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    (void)start_query(&lease);
    assert_int_equal(sqlite3_prepare_v2(kp_sqlite_db(&lease), "SELECT 1", -1, &idle, NULL),
                     SQLITE_OK);
    kp_release(&lease);
    assert_int_equal(s->reports, 1);
    assert_int_equal(s->left.statements, 2);
    assert_int_equal(s->left.running, 1);
    assert_string_equal(s->left_sql, "SELECT x FROM t");
    assert_string_equal(s->left_tag, "test");
    lease = get(s, KP_SQLITE_READER);
    assert_null(sqlite3_next_stmt(kp_sqlite_db(&lease), NULL));
    kp_release(&lease);
    assert_int_equal(s->reports, 1);
    assert_int_equal(stats(s, KP_SQLITE_READER).creates, 1);
    assert_int_equal(kp_sqlite_counts_read(&s->counts).statements, 2);
    stage_close(s);
}

static sqlite3_stmt *leave_idle(const kp_lease *lease)
{
    sqlite3_stmt *idle;

    assert_int_equal(sqlite3_prepare_v2(kp_sqlite_db(lease), "SELECT 1", -1, &idle, NULL),
                     SQLITE_OK);
    return idle;
}

static void a_statement_that_only_idles_must_be_finalised_and_reported_too(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    (void)leave_idle(&lease);
    kp_release(&lease);
    assert_int_equal(s->reports, 1);
    assert_int_equal(s->left.statements, 1);
    assert_int_equal(s->left.running, 0);
    assert_string_equal(s->left_sql, "SELECT 1");
    lease = get(s, KP_SQLITE_READER);
    assert_null(sqlite3_next_stmt(kp_sqlite_db(&lease), NULL));
    kp_release(&lease);
    assert_int_equal(stats(s, KP_SQLITE_READER).creates, 1);
    stage_close(s);
}

static void a_clean_give_back_must_not_be_reported(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
    kp_release(&lease);
    stage_close(s);
    assert_int_equal(s->reports, 0);
}

static void finalize_kept(sqlite3 *db, const kp_sqlite_key *key, void *ctx)
{
    struct stage *s = ctx;

    if (key->role != KP_SQLITE_READER)
        return;
    assert_ptr_equal(sqlite3_db_handle(s->kept), db);
    assert_int_equal(sqlite3_finalize(s->kept), SQLITE_OK);
    s->kept = NULL;
}

static void statements_must_stay_and_be_reset_where_they_are_kept(void **state)
{
    struct stage *s = *state;
    sqlite3_stmt *kept;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .tidy = KP_SQLITE_KEEP, .on_close = finalize_kept });
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    kept = start_query(&lease);
    s->kept = kept;
    kp_release(&lease);
    assert_int_equal(s->left.statements, 1);    /* for it was running */
    assert_int_equal(s->left.running, 1);
    lease = get(s, KP_SQLITE_READER);
    assert_ptr_equal(sqlite3_next_stmt(kp_sqlite_db(&lease), NULL), kept);
    assert_false(sqlite3_stmt_busy(kept));
    assert_int_equal(sqlite3_step(kept), SQLITE_ROW);
    assert_int_equal(sqlite3_reset(kept), SQLITE_OK);
    kp_release(&lease);
    assert_int_equal(s->reports, 1);
    assert_int_equal(stats(s, KP_SQLITE_READER).creates, 1);
    stage_close(s);
    assert_null(s->kept);
}

/* It holds nothing of the file, so only the statement itself tells that it is running. */
static void a_statement_without_a_table_must_be_reset_too(void **state)
{
    struct stage *s = *state;
    sqlite3_stmt *kept;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .tidy = KP_SQLITE_KEEP });
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(sqlite3_prepare_v2(kp_sqlite_db(&lease), "VALUES (1), (2)", -1, &kept, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(kept), SQLITE_ROW);
    kp_release(&lease);
    assert_int_equal(s->left.running, 1);
    lease = get(s, KP_SQLITE_READER);
    assert_false(sqlite3_stmt_busy(kept));
    assert_int_equal(sqlite3_finalize(kept), SQLITE_OK);
    kp_release(&lease);
    stage_close(s);
}

/* A transaction was left open, the statement was not. */
static void statements_that_are_kept_must_not_be_reported(void **state)
{
    struct stage *s = *state;
    sqlite3_stmt *kept;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .tidy = KP_SQLITE_KEEP });
    make_table(s);
    lease = get(s, KP_SQLITE_WRITER);
    kept = leave_idle(&lease);
    assert_int_equal(run_sql(&lease, "BEGIN IMMEDIATE"), SQLITE_OK);
    kp_release(&lease);
    assert_true(s->left.transaction);
    assert_int_equal(s->left.statements, 0);
    assert_string_equal(s->left_sql, "");
    assert_int_equal(kp_sqlite_counts_read(&s->counts).statements, 0);
    lease = get(s, KP_SQLITE_WRITER);
    assert_ptr_equal(sqlite3_next_stmt(kp_sqlite_db(&lease), NULL), kept);
    assert_int_equal(sqlite3_finalize(kept), SQLITE_OK);
    kp_release(&lease);
    stage_close(s);
}

static void a_connection_with_open_statements_must_be_closed_where_that_is_wanted(void **state)
{
    struct stage *s = *state;
    sqlite3_stmt *late;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .tidy = KP_SQLITE_CLOSE });
    make_table(s);
    for (int idle = 0; idle < 2; idle++) {
        lease = get(s, KP_SQLITE_READER);
        late = idle ? leave_idle(&lease) : start_query(&lease);
        kp_release(&lease);
        assert_int_equal(s->reports, 1 + idle);
        assert_true(s->left.closed);
        assert_int_equal(stats(s, KP_SQLITE_READER).invalid, 1 + idle);
        assert_int_equal(stats(s, KP_SQLITE_READER).live, 0);
        assert_int_equal(stats(s, KP_SQLITE_READER).destroy_failures, 0);
        assert_int_equal(kp_sqlite_counts_read(&s->counts).statements, 1 + idle);
        assert_int_equal(sqlite3_finalize(late), SQLITE_OK);
    }
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(run_sql(&lease, "BEGIN"), SQLITE_OK);
    kp_release(&lease);                 /* no statement: it may stay */
    assert_true(s->left.transaction && !s->left.closed);
    assert_int_equal(stats(s, KP_SQLITE_READER).live, 1);
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
    kp_release(&lease);
    stage_close(s);
}

static void a_full_text_table_must_survive_what_its_borrower_left_open(void **state)
{
    static const char ranked[] = "SELECT x FROM f WHERE f MATCH 'two' ORDER BY rank";
    struct stage *s = *state;
    kp_lease lease;
    sqlite3_stmt *q;

    stage_open(s, (kp_sqlite_options){ 0 });
    lease = get(s, KP_SQLITE_WRITER);
    if (run_sql(&lease, "CREATE VIRTUAL TABLE f USING fts5(x)") != SQLITE_OK) {
        kp_release(&lease);
        stage_close(s);
        skip();                         /* this SQLite was built without it */
    }
    assert_int_equal(run_sql(&lease, "CREATE TEMP TABLE other (x)"), SQLITE_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_sql(&lease, "INSERT INTO f VALUES ('one two'), ('two three')"),
                         SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(kp_sqlite_db(&lease), ranked, -1, &q, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(q), SQLITE_ROW);
        s->reports = 0;
        kp_release(&lease);
        assert_int_equal(s->reports, 1);
        assert_true(s->left.running >= 1);
        assert_string_equal(s->left_sql, ranked);
        lease = get(s, KP_SQLITE_WRITER);
        assert_int_equal(sqlite3_finalize(q), SQLITE_OK);   /* it was reset, and is still there */
    }
    assert_int_equal(value(&lease, "SELECT count(*) FROM f WHERE f MATCH 'two'"), 6);
    s->reports = 0;
    kp_release(&lease);
    assert_int_equal(s->reports, 0);    /* the table's own statements are not leftovers */
    assert_int_equal(stats(s, KP_SQLITE_WRITER).creates, 1);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).destroy_failures, 0);
    stage_close(s);
}

/* Then nobody can see whether there is such a table. */
static void a_full_text_table_must_survive_a_lock_of_another(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    sqlite3 *other;

    stage_open(s, (kp_sqlite_options){ .journal_mode = "delete", .busy_timeout_ms = KP_NONE });
    lease = get(s, KP_SQLITE_WRITER);
    if (run_sql(&lease, "CREATE VIRTUAL TABLE f USING fts5(x)") != SQLITE_OK) {
        kp_release(&lease);
        stage_close(s);
        skip();                         /* this SQLite was built without it */
    }
    assert_int_equal(run_sql(&lease, "INSERT INTO f VALUES ('one two')"), SQLITE_OK);
    assert_int_equal(sqlite3_open(s->file, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    kp_release(&lease);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    lease = get(s, KP_SQLITE_WRITER);
    assert_non_null(sqlite3_next_stmt(kp_sqlite_db(&lease), NULL));
    assert_int_equal(run_sql(&lease, "INSERT INTO f VALUES ('two three')"), SQLITE_OK);
    assert_int_equal(value(&lease, "SELECT count(*) FROM f WHERE f MATCH 'two'"), 2);
    kp_release(&lease);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).creates, 1);
    stage_close(s);
}

static void a_connection_that_a_statement_keeps_open_must_be_a_failed_destroy(void **state)
{
    struct stage *s = *state;
    sqlite3_stmt *q;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .tidy = KP_SQLITE_KEEP });
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    q = start_query(&lease);
    kp_discard(&lease);
    assert_int_equal(stats(s, KP_SQLITE_READER).destroy_failures, 1);
    assert_int_equal(sqlite3_finalize(q), SQLITE_OK);
    stage_close(s);
}

static void a_discarded_writer_must_leave_no_lock_behind(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .busy_timeout_ms = KP_NONE });
    make_table(s);
    lease = get_in_transaction(s);
    (void)start_query(&lease);
    kp_discard(&lease);
    assert_true(s->left.closed);
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(run_sql(&lease, "BEGIN IMMEDIATE; INSERT INTO t VALUES (5); COMMIT"),
                     SQLITE_OK);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 4);
    kp_release(&lease);
    stage_close(s);
}

/* The next borrower would find half a database, and locked. To close the connection would leave
 * sqlite3_backup_finish without it. */
static void a_connection_with_a_backup_under_way_must_not_be_lent_again(void **state)
{
    struct stage *s = *state;
    sqlite3_backup *backup;
    sqlite3 *from, *into;
    kp_lease lease;

    if (SQLITE_VERSION_NUMBER < 3034000)
        skip();
    stage_open(s, (kp_sqlite_options){ .busy_timeout_ms = KP_NONE });
    make_table(s);
    assert_int_equal(sqlite3_open(s->other, &from), SQLITE_OK);
    assert_int_equal(sqlite3_exec(from, "CREATE TABLE t (x); CREATE TABLE u (x);"
                                        " INSERT INTO t VALUES (1)", NULL, NULL, NULL), SQLITE_OK);
    for (int discarded = 0; discarded < 2; discarded++) {
        lease = get(s, KP_SQLITE_WRITER);
        into = kp_sqlite_db(&lease);
        backup = sqlite3_backup_init(into, "main", from, "main");
        assert_non_null(backup);
        assert_int_equal(sqlite3_backup_step(backup, 1), SQLITE_OK);
        if (discarded)
            kp_discard(&lease);
        else
            kp_release(&lease);
        assert_int_equal(stats(s, KP_SQLITE_WRITER).destroy_failures, 1 + discarded);
        assert_int_equal(sqlite3_backup_finish(backup), SQLITE_OK);
        lease = get(s, KP_SQLITE_WRITER);
        assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
        assert_int_equal(run_sql(&lease, "CREATE TABLE v (x); DROP TABLE v"), SQLITE_OK);
        kp_release(&lease);
        assert_int_equal(sqlite3_close(into), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(from), SQLITE_OK);
    stage_close(s);
}

static int authorize_no_transaction(void *nothing, int action, const char *a, const char *b,
                                    const char *c, const char *d)
{
    (void)nothing, (void)a, (void)b, (void)c, (void)d;
    return action == SQLITE_TRANSACTION ? SQLITE_DENY : SQLITE_OK;
}

/* When it is destroyed, the authorizer is gone, and it can be rolled back. */
static void a_transaction_that_reset_could_not_end_must_be_reported_once(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    lease = get_in_transaction(s);
    (void)sqlite3_set_authorizer(kp_sqlite_db(&lease), authorize_no_transaction, NULL);
    kp_release(&lease);
    assert_int_equal(s->reports, 1);
    assert_true(s->left.transaction);
    assert_true(s->left.closed);
    assert_int_equal(kp_sqlite_counts_read(&s->counts).transactions, 1);
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
    kp_release(&lease);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).creates, 2);
    stage_close(s);
}

static void an_idle_connection_to_a_deleted_file_must_not_be_lent_again(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .journal_mode = "delete" });
    make_table(s);
    assert_int_equal(unlink(s->file), 0);
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).invalid, 1);
    assert_int_equal(s->invalid_code, KP_EGONE);        /* for all that had it open */
    assert_int_equal(stats(s, KP_SQLITE_WRITER).creates, 2);
    assert_int_equal(value(&lease, "SELECT count(*) FROM sqlite_schema"), 0);
    kp_release(&lease);
    stage_close(s);
}

/* Where it may not write, SQLite opens a file to read it, and says so only to the first write. */
static void a_writer_that_may_not_write_must_not_be_lent(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    char file[128];

    (void)snprintf(file, sizeof file, "file:%s?mode=ro", s->file);
    stage_open(s, (kp_sqlite_options){ .open_flags = SQLITE_OPEN_URI });
    make_table(s);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(try_get(s, file, KP_SQLITE_WRITER, &lease), KP_ECREATE);
        assert_int_equal(s->why.vendor_code, SQLITE_READONLY);
        assert_non_null(strstr(s->why.text, "may not write"));
    }
    assert_int_equal(try_get(s, file, KP_SQLITE_READER, &lease), 0);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
    kp_release(&lease);
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(run_sql(&lease, "INSERT INTO t VALUES (4)"), SQLITE_OK);
    kp_release(&lease);
    stage_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_open_transaction_must_be_rolled_back_and_reported),
        TEST(statements_left_open_must_be_finalised_and_reported),
        TEST(a_statement_that_only_idles_must_be_finalised_and_reported_too),
        TEST(a_clean_give_back_must_not_be_reported),
        TEST(statements_must_stay_and_be_reset_where_they_are_kept),
        TEST(a_statement_without_a_table_must_be_reset_too),
        TEST(statements_that_are_kept_must_not_be_reported),
        TEST(a_connection_with_open_statements_must_be_closed_where_that_is_wanted),
        TEST(a_full_text_table_must_survive_what_its_borrower_left_open),
        TEST(a_full_text_table_must_survive_a_lock_of_another),
        TEST(a_connection_that_a_statement_keeps_open_must_be_a_failed_destroy),
        TEST(a_discarded_writer_must_leave_no_lock_behind),
        TEST(a_connection_with_a_backup_under_way_must_not_be_lent_again),
        TEST(a_transaction_that_reset_could_not_end_must_be_reported_once),
        TEST(an_idle_connection_to_a_deleted_file_must_not_be_lent_again),
        TEST(a_writer_that_may_not_write_must_not_be_lent),
    };

    return cmocka_run_group_tests_name("sqlite_give_back", tests, NULL, NULL);
}
