/* SPDX-License-Identifier: MIT
 *
 * The SQLite adapter on real files: keys and roles, what is opened and how, and the message if it
 * cannot be opened. sqlite_limits.c has how many there may be, sqlite_give_back.c what happens
 * afterwards.
 */
#include "sqlite_stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- keys and roles -------------------------------------------------------------------------- */

static void four_readers_must_share_a_file_and_the_fifth_must_wait(void **state)
{
    struct stage *s = *state;
    kp_sqlite_key key = { s->file, KP_SQLITE_READER };
    kp_lease lease[4], fifth;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    for (int i = 0; i < 4; i++) {
        lease[i] = get(s, KP_SQLITE_READER);
        assert_int_equal(value(&lease[i], "SELECT count(*) FROM t"), 3);
    }
    assert_int_equal(kp_get(s->pool, KP_KEY(&key), KP_ASK(.within_ms = 1, .why = &s->why), &fifth),
                     KP_ETIMEDOUT);
    assert_string_equal(s->why.limit, "max_live");
    assert_int_equal(s->why.max_live, 4);
    for (int i = 0; i < 4; i++)
        kp_release(&lease[i]);
    stage_close(s);
}

static void the_number_of_readers_must_be_what_the_options_say(void **state)
{
    struct stage *s = *state;
    kp_sqlite_key key = { s->file, KP_SQLITE_READER };
    kp_lease one, two, three;

    stage_open(s, (kp_sqlite_options){ .readers = 2 });
    make_table(s);
    one = get(s, KP_SQLITE_READER);
    two = get(s, KP_SQLITE_READER);
    assert_int_equal(kp_get(s->pool, KP_KEY(&key), KP_ASK(.within_ms = 1), &three), KP_ETIMEDOUT);
    kp_release(&one);
    kp_release(&two);
    stage_close(s);
}

static void there_must_be_one_writer_beside_the_readers(void **state)
{
    struct stage *s = *state;
    kp_sqlite_key key = { s->file, KP_SQLITE_WRITER };
    kp_lease writer, second, reader;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    writer = get(s, KP_SQLITE_WRITER);
    assert_int_equal(kp_get(s->pool, KP_KEY(&key), KP_ASK(.within_ms = 1, .why = &s->why), &second),
                     KP_ETIMEDOUT);
    assert_int_equal(s->why.max_live, 1);
    reader = get(s, KP_SQLITE_READER);
    assert_int_equal(run_sql(&writer, "INSERT INTO t VALUES (4)"), SQLITE_OK);
    assert_int_equal(value(&reader, "SELECT count(*) FROM t"), 4);
    kp_release(&writer);
    kp_release(&reader);
    stage_close(s);
}

struct writers { struct stage *s; atomic_int busy, failed; };

static void *write_often(void *arg)
{
    struct writers *w = arg;

    for (int i = 0; i < 50; i++) {
        kp_sqlite_key key = { w->s->file, KP_SQLITE_WRITER };
        kp_lease lease;
        int rc;

        if (kp_get(w->s->pool, KP_KEY(&key), KP_IN_S(30), &lease) != 0) {
            atomic_fetch_add(&w->failed, 1);
            continue;
        }
        rc = run_sql(&lease, "BEGIN; INSERT INTO t VALUES (9); COMMIT");
        atomic_fetch_add(rc == SQLITE_BUSY ? &w->busy : &w->failed, rc != SQLITE_OK);
        kp_release(&lease);
    }
    return NULL;
}

static void threads_that_write_must_never_meet_sqlite_busy(void **state)
{
    struct stage *s = *state;
    struct writers w = { .s = s };
    pthread_t thread[4];
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .busy_timeout_ms = KP_NONE,
                                       .pragmas = "PRAGMA synchronous = off" });
    make_table(s);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_often, &w), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(w.busy, 0);
    assert_int_equal(w.failed, 0);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).creates, 1);
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3 + 4 * 50);
    kp_release(&lease);
    stage_close(s);
}

static void a_key_must_be_the_text_of_its_file_and_its_role(void **state)
{
    struct stage *s = *state;
    char copy[96], text[200];
    kp_sqlite_key key = { copy, KP_SQLITE_WRITER };
    kp_stats all;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    memcpy(copy, s->file, sizeof copy);
    lease = get(s, KP_SQLITE_READER);
    kp_release(&lease);
    assert_int_equal(try_get(s, copy, KP_SQLITE_READER, &lease), 0);
    kp_release(&lease);
    assert_int_equal(try_get(s, s->other, KP_SQLITE_WRITER, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_stats_read(s->pool, KP_EVERY_KEY, &all), 0);
    assert_int_equal(all.keys, 3);
    assert_int_equal(all.creates, 3);
    (void)kp_key_text(s->pool, KP_KEY(&key), text, sizeof text);
    assert_non_null(strstr(text, s->file));
    assert_non_null(strstr(text, "writer"));
    stage_close(s);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void a_reader_of_a_missing_file_must_say_so_until_its_writer_made_it(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    assert_int_equal(try_get(s, s->file, KP_SQLITE_READER, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code & 0xff, SQLITE_CANTOPEN);
    assert_non_null(strstr(s->why.text, "does not exist yet: get its writer"));
    assert_int_not_equal(access(s->file, F_OK), 0);
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
    kp_release(&lease);
    stage_close(s);
}

/* A writer could not make it, either: there is a file where it needs a folder. */
static void a_reader_of_an_impossible_file_must_not_be_sent_to_its_writer(void **state)
{
    struct stage *s = *state;
    char file[sizeof s->file + 16];
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .open_flags = SQLITE_OPEN_URI });
    make_table(s);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(file, sizeof file, "%s%s/b.db", i ? "file:" : "", s->file);
        assert_int_equal(try_get(s, file, KP_SQLITE_READER, &lease), KP_ECREATE);
        assert_int_equal(s->why.vendor_code & 0xff, SQLITE_CANTOPEN);
        assert_null(strstr(s->why.text, "does not exist yet"));
        assert_non_null(strstr(s->why.text, "(14), Not a directory: reader of "));
    }
    stage_close(s);
}

static void a_file_that_is_no_database_must_be_refused_with_sqlites_reason(void **state)
{
    struct stage *s = *state;
    FILE *f = fopen(s->file, "w");
    kp_lease lease;

    assert_non_null(f);
    for (int i = 0; i < 200; i++)
        (void)fputs("this is no database ", f);
    (void)fclose(f);
    stage_open(s, (kp_sqlite_options){ .pragmas = "PRAGMA foreign_keys = on" });
    assert_int_equal(try_get(s, s->file, KP_SQLITE_READER, &lease), KP_EREFUSED);
    assert_int_equal(s->why.vendor_code, SQLITE_NOTADB);
    assert_non_null(strstr(s->why.text, "file is not a database"));
    assert_int_equal(try_get(s, s->file, KP_SQLITE_WRITER, &lease), KP_EREFUSED);
    stage_close(s);
}

/* To open one to read would wait for somebody who writes, past every deadline. */
static void a_pipe_must_not_be_waited_for(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    assert_int_equal(mkfifo(s->file, 0600), 0);
    stage_open(s, (kp_sqlite_options){ 0 });
    assert_int_equal(try_get(s, s->file, KP_SQLITE_READER, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, SQLITE_CANTOPEN);
    assert_non_null(strstr(s->why.text, "(14), it is a pipe: reader of "));
    assert_int_equal(try_get(s, s->file, KP_SQLITE_WRITER, &lease), KP_ECREATE);
    stage_close(s);
}

static void an_error_must_name_the_file_and_carry_sqlites_extended_code(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .pragmas = "CREATE TABLE u (x UNIQUE);"
                                                  "INSERT INTO u VALUES (1), (1)" });
    assert_int_equal(try_get(s, s->file, KP_SQLITE_WRITER, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, SQLITE_CONSTRAINT_UNIQUE);
    assert_non_null(strstr(s->why.text, "UNIQUE constraint failed"));
    assert_int_equal(try_get(s, "/nonexistent/a.db", KP_SQLITE_WRITER, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code & 0xff, SQLITE_CANTOPEN);
    assert_non_null(strstr(s->why.text, "/nonexistent/a.db"));
    stage_close(s);
}

static void a_key_without_file_or_role_must_be_refused(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    assert_int_equal(try_get(s, "", KP_SQLITE_WRITER, &lease), KP_EREFUSED);
    assert_non_null(strstr(s->why.text, "no file"));
    assert_int_equal(try_get(s, s->file, (kp_sqlite_role)7, &lease), KP_EREFUSED);
    assert_non_null(strstr(s->why.text, "role"));
    stage_close(s);
}

static void the_writer_must_set_wal_and_a_reader_must_not_write(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&lease, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(run_sql(&lease, "INSERT INTO t VALUES (4)"), SQLITE_READONLY);
    kp_release(&lease);
    stage_close(s);
}

static void the_journal_mode_must_be_what_the_options_say(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .journal_mode = "truncate" });
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(value(&lease, "SELECT journal_mode = 'truncate' FROM pragma_journal_mode"), 1);
    kp_release(&lease);
    stage_close(s);
    stage_open(s, (kp_sqlite_options){ .journal_mode = "" });
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(value(&lease, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
    kp_release(&lease);
    stage_close(s);
    stage_open(s, (kp_sqlite_options){ .journal_mode = "persits" });    /* no error to SQLite */
    assert_int_equal(try_get(s, s->file, KP_SQLITE_WRITER, &lease), KP_ECREATE);
    assert_non_null(strstr(s->why.text, "the file cannot have this journal mode"));
    stage_close(s);
}

static int count_open(sqlite3 *db, const kp_sqlite_key *key, void *ctx)
{
    struct stage *s = ctx;

    assert_string_equal(key->file, s->file);
    assert_int_equal(sqlite3_db_readonly(db, "main"), key->role == KP_SQLITE_READER);
    s->opens++;
    return s->open_code;
}

static void count_close(sqlite3 *db, const kp_sqlite_key *key, void *ctx)
{
    struct stage *s = ctx;

    assert_non_null(db);
    assert_string_equal(key->file, s->file);
    s->closes++;
}

static void pragmas_and_hooks_must_run_once_for_every_connection(void **state)
{
    struct stage *s = *state;
    kp_lease one, two;

    stage_open(s, (kp_sqlite_options){ .pragmas = "PRAGMA foreign_keys = on; PRAGMA cache_size = 7",
                                       .on_open = count_open, .on_close = count_close });
    make_table(s);
    one = get(s, KP_SQLITE_READER);
    two = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&one, "PRAGMA foreign_keys"), 1);
    assert_int_equal(value(&two, "PRAGMA cache_size"), 7);
    kp_release(&one);
    kp_release(&two);
    assert_int_equal(s->opens, 3);
    stage_close(s);
    assert_int_equal(s->closes, 3);
}

static void a_failing_on_open_or_pragma_must_fail_the_create_with_its_code(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    s->open_code = SQLITE_AUTH;
    stage_open(s, (kp_sqlite_options){ .on_open = count_open });
    assert_int_equal(try_get(s, s->file, KP_SQLITE_WRITER, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, SQLITE_AUTH);
    assert_non_null(strstr(s->why.text, "on_open"));
    stage_close(s);
    stage_open(s, (kp_sqlite_options){ .pragmas = "no such word" });
    assert_int_equal(try_get(s, s->file, KP_SQLITE_WRITER, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, SQLITE_ERROR);
    assert_non_null(strstr(s->why.text, "syntax error"));
    stage_close(s);
}

static void a_lock_of_another_process_must_be_busy_when_the_timeout_is_over(void **state)
{
    struct stage *s = *state;
    sqlite3 *stranger;
    kp_lease lease;

    stage_open(s, (kp_sqlite_options){ .busy_timeout_ms = 1 });
    make_table(s);
    assert_int_equal(sqlite3_open(s->file, &stranger), SQLITE_OK);
    assert_int_equal(sqlite3_exec(stranger, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(run_sql(&lease, "INSERT INTO t VALUES (4)"), SQLITE_BUSY);
    assert_int_equal(sqlite3_exec(stranger, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(run_sql(&lease, "INSERT INTO t VALUES (4)"), SQLITE_OK);
    kp_release(&lease);
    assert_int_equal(sqlite3_close(stranger), SQLITE_OK);
    stage_close(s);
}

static void impossible_options_must_be_refused_by_name(void **state)
{
    static const struct { kp_sqlite_options options; const char *field; } bad[] = {
        { { .readers = KP_UNLIMITED }, "sqlite.readers" },
        { { .busy_timeout_ms = -5 }, "sqlite.busy_timeout_ms" },
        { { .journal_mode = "wal; DROP TABLE t" }, "sqlite.journal_mode" },
        { { .tidy = 9 }, "sqlite.tidy" },
        { { .open_flags = SQLITE_OPEN_READWRITE }, "sqlite.open_flags" },
        { { .open_flags = SQLITE_OPEN_READONLY }, "sqlite.open_flags" },
        { { .open_flags = SQLITE_OPEN_CREATE }, "sqlite.open_flags" },
        { { .open_flags = SQLITE_OPEN_FULLMUTEX }, "sqlite.open_flags" },
        { { .reserved = { 1 } }, "sqlite.reserved" },
        { { .reserved = { [5] = 1 } }, "sqlite.reserved" },
    };
    struct stage *s = *state;
    kp_options more = { .why = &s->why };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kp_sqlite_open(&bad[i].options, &more, &s->pool), KP_ECONFIG);
        assert_null(s->pool);
        assert_string_equal(s->why.field, bad[i].field);
        assert_int_not_equal(s->why.text[0], '\0');
    }
    more.limits.min_live = 5;           /* this one the pool refuses, not the adapter */
    more.limits.max_live = 3;
    assert_int_equal(kp_sqlite_open(NULL, &more, &s->pool), KP_ECONFIG);
    assert_null(s->pool);
}

static void a_pool_that_is_filled_by_hand_must_be_open_to_more_options(void **state)
{
    kp_sqlite_options sqlite = { .readers = 3 };
    struct stage *s = *state;
    kp_options options = { .why = &s->why };
    kp_lease writer, reader;

    options.budget.max_live = 1;
    assert_int_equal(kp_sqlite_fill(&sqlite, &options), 0);
    assert_int_equal(options.limits.max_live, 3);
    assert_int_equal(kp_pool_open(&options, &s->pool), 0);
    make_table(s);
    reader = get(s, KP_SQLITE_READER);  /* the idle writer made room */
    assert_int_equal(stats(s, KP_SQLITE_WRITER).evicted, 1);
    assert_int_equal(kp_get(s->pool, KP_SQLITE_KEY(s->file, KP_SQLITE_WRITER),
                            KP_ASK(.within_ms = 1, .why = &s->why), &writer), KP_ETIMEDOUT);
    assert_string_equal(s->why.limit, "budget.max_live");
    kp_release(&reader);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
}

/* ---- fork ------------------------------------------------------------------------------------ */

/* A number of its own for each thing that goes wrong. It leaves without destructors. A pool of the
 * child's own comes first, when nothing was called yet on the one that it inherited. */
static int in_a_child(struct stage *s)
{
    kp_lease writer, reader, other;
    kp_pool *own;

    if (kp_sqlite_open(NULL, &(kp_options){ .threads = KP_NONE }, &own) != 0 ||
        kp_get(own, KP_SQLITE_KEY(s->file, KP_SQLITE_WRITER), KP_IN_S(10), &other) != KP_EREFUSED ||
        kp_pool_close(own, KP_CLOSE_NOW, 0) != 0)
        return 7;
    if (try_get(s, s->file, KP_SQLITE_WRITER, &writer) != KP_EREFUSED)
        return 1;
    if (!strstr(s->why.text, "fork"))
        return 2;
    if (try_get(s, s->file, KP_SQLITE_READER, &reader) != KP_EREFUSED)
        return 3;
    if (try_get(s, s->other, KP_SQLITE_WRITER, &other) != 0)
        return 4;
    if (run_sql(&other, "CREATE TABLE t (x)") != SQLITE_OK)
        return 5;
    kp_release(&other);
    return kp_pool_close(s->pool, KP_CLOSE_NOW, 0) == 0 ? 0 : 6;
}

static void child_must_do(struct stage *s, int (*work)(struct stage *s))
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        _exit(work(s));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int writes(struct stage *s)
{
    kp_lease writer;

    if (try_get(s, s->file, KP_SQLITE_WRITER, &writer) != 0)
        return 1;
    if (run_sql(&writer, "INSERT INTO t VALUES (4)") != SQLITE_OK)
        return 2;
    kp_release(&writer);
    return kp_pool_close(s->pool, KP_CLOSE_NOW, 0) == 0 ? 0 : 3;
}

/* It would have connections without locks there, and lose what it commits when the parent closes
 * its last one. No keeper: ThreadSanitizer ends a child that starts a thread. */
static void a_child_must_not_open_what_was_open_at_the_fork(void **state)
{
    struct stage *s = *state;
    kp_options more = { .why = &s->why, .threads = KP_NONE };
    kp_lease reader;

    assert_int_equal(kp_sqlite_open(NULL, &more, &s->pool), 0);
    make_table(s);
    child_must_do(s, in_a_child);
    assert_int_equal(kp_evict(s->pool, KP_EVERY_KEY, KP_NONE), 1);
    child_must_do(s, writes);
    reader = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&reader, "SELECT count(*) FROM t"), 4);
    kp_release(&reader);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(four_readers_must_share_a_file_and_the_fifth_must_wait),
        TEST(the_number_of_readers_must_be_what_the_options_say),
        TEST(there_must_be_one_writer_beside_the_readers),
        TEST(threads_that_write_must_never_meet_sqlite_busy),
        TEST(a_key_must_be_the_text_of_its_file_and_its_role),
        TEST(a_reader_of_a_missing_file_must_say_so_until_its_writer_made_it),
        TEST(a_reader_of_an_impossible_file_must_not_be_sent_to_its_writer),
        TEST(a_file_that_is_no_database_must_be_refused_with_sqlites_reason),
        TEST(a_pipe_must_not_be_waited_for),
        TEST(an_error_must_name_the_file_and_carry_sqlites_extended_code),
        TEST(a_key_without_file_or_role_must_be_refused),
        TEST(the_writer_must_set_wal_and_a_reader_must_not_write),
        TEST(the_journal_mode_must_be_what_the_options_say),
        TEST(pragmas_and_hooks_must_run_once_for_every_connection),
        TEST(a_failing_on_open_or_pragma_must_fail_the_create_with_its_code),
        TEST(a_lock_of_another_process_must_be_busy_when_the_timeout_is_over),
        TEST(impossible_options_must_be_refused_by_name),
        TEST(a_pool_that_is_filled_by_hand_must_be_open_to_more_options),
        TEST(a_child_must_not_open_what_was_open_at_the_fork),
    };

    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
