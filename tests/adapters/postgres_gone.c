/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter when a server ends connections, or sleeps: which of its words mean that it
 * is gone, and which concern one session alone.
 */
#include "adapters/postgres_stage.h"

#include <poll.h>
#include <sys/socket.h>
#include <time.h>

/* ---- servers that end connections, or sleep -------------------------------------------------- */

/* The server ends it, and has said so when this returns. */
static void end_backend(int backend)
{
    char sql[80];

    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 10000)::int", backend);
    assert_int_equal(pg_ask(sql), 1);
}

static void a_connection_that_the_server_ended_must_be_replaced_and_its_reason_told(void **state)
{
    kp_lease lease;
    int backend;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    lease = get(NULL);
    backend = PQbackendPID(kp_pg_conn(&lease));
    kp_release(&lease);
    end_backend(backend);
    lease = get(NULL);
    assert_false(was_reused(&lease));
    assert_int_equal(stage.invalid, 1);
    assert_int_equal(stage.code, KP_PG_SQLSTATE('5', '7', 'P', '0', '1'));
    assert_non_null(strstr(stage.cause, "terminating connection due to administrator command"));
    kp_release(&lease);
    close_pool();
}

static void a_connection_that_ended_while_it_was_lent_must_not_come_to_the_next(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    lease = get(NULL);
    end_backend(PQbackendPID(kp_pg_conn(&lease)));
    kp_release(&lease);                 /* who borrowed it has not noticed */
    assert_int_equal(stage.invalid, 1);
    assert_int_equal(stage.code, KP_PG_SQLSTATE('5', '7', 'P', '0', '1'));
    close_pool();
}

/* Without a word, as a machine does that is switched off, or what stands between. */
static void a_connection_that_was_cut_must_count_as_a_server_that_is_gone(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    lease = get(NULL);
    (void)shutdown(PQsocket(kp_pg_conn(&lease)), SHUT_RDWR);
    kp_release(&lease);
    assert_int_equal(stage.invalid, 1);
    assert_int_equal(stage.code, KP_PG_SQLSTATE('0', '8', '0', '0', '6'));
    assert_int_equal(stage.gone, 1);
    close_pool();
}

/* It may be slow, and so may the others be: nothing is known of them. */
static void a_connection_that_does_not_answer_must_be_replaced_in_time(void **state)
{
    kp_lease lease, other;
    pid_t backend;

    (void)state;
    open_pool((kp_pg_options){ .answer_timeout_ms = 100 });
    lease = get(NULL);
    other = get(NULL);
    backend = PQbackendPID(kp_pg_conn(&lease));
    kp_release(&other);
    kp_release(&lease);
    assert_int_equal(kill(backend, SIGSTOP), 0);
    lease = get(NULL);
    assert_int_equal(kill(backend, SIGCONT), 0);
    assert_int_not_equal(PQbackendPID(kp_pg_conn(&lease)), backend);
    assert_non_null(strstr(stage.cause, "no answer in time (57014)"));
    assert_int_equal(stage.suspect, 0);
    kp_release(&lease);
    close_pool();
}

/* Like PQputCopyData, until no more can be sent. */
static void fill_up(const PGconn *conn)
{
    char rows[] = "d\0\0\0\011line\n";

    while (send(PQsocket(conn), rows, sizeof rows - 1, MSG_DONTWAIT) > 0)
        continue;
}

/* Part of a COPY is not sent yet, and cannot be. */
static void a_copy_to_one_that_does_not_read_must_not_hold_up_its_borrower(void **state)
{
    kp_lease lease;
    pid_t backend;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    lease = get(NULL);
    backend = PQbackendPID(kp_pg_conn(&lease));
    assert_int_equal(value(&lease, "CREATE TEMP TABLE t (x text)"), 0);
    PQclear(PQexec(kp_pg_conn(&lease), "COPY t FROM STDIN"));
    assert_int_equal(kill(backend, SIGSTOP), 0);
    fill_up(kp_pg_conn(&lease));
    assert_int_equal(PQputCopyData(kp_pg_conn(&lease), "more\n", 5), 1);
    kp_release(&lease);                 /* it would wait for ever */
    assert_int_equal(kill(backend, SIGCONT), 0);
    assert_int_equal(stage.left, KP_PG_LEFT_RESULT);
    close_pool();
}

/* ---- what one says of the others ------------------------------------------------------------- */

static void what_a_server_says_as_it_goes_must_have_the_others_tested(void **state)
{
    kp_lease lease, other;
    int backend;

    (void)state;
    open_pool((kp_pg_options){ 0 });
    lease = get(NULL);
    other = get(NULL);
    backend = PQbackendPID(kp_pg_conn(&lease));
    kp_release(&other);
    kp_release(&lease);                 /* this one is lent first */
    end_backend(backend);
    lease = get(NULL);
    assert_int_equal(stage.suspect, 1);
    assert_int_equal(stage.gone, 1);
    kp_release(&lease);
    lease = get(NULL);
    assert_int_equal(kp_pg_counts_read(&stage.counts).closed, 1);       /* the other is good */
    kp_release(&lease);
    close_pool();
}

/* Whether its borrower has noticed, or the adapter finds out. */
static void an_idle_timeout_must_say_nothing_of_the_others(void **state)
{
    static const char *const names[] = { "idle_session_timeout",
                                         "idle_in_transaction_session_timeout" };
    struct pollfd p = { .events = POLLRDHUP };
    kp_lease one, two, three;

    (void)state;
    for (int i = 0; i < 4; i++) {
        char sql[80];

        open_pool((kp_pg_options){ 0 });
        one = get(NULL);
        two = get(NULL);
        (void)snprintf(sql, sizeof sql, "SET %s = '300ms'%s", names[i / 2], i / 2 ? "; BEGIN" : "");
        assert_int_equal(value(&one, sql), 0);
        p.fd = PQsocket(kp_pg_conn(&one));
        assert_int_equal(poll(&p, 1, 20000), 1);
        if (i % 2)
            assert_int_equal(value(&one, "SELECT 1"), -1);
        kp_release(&two);
        kp_release(&one);
        three = get(NULL);
        assert_int_equal(stage.invalid, 1);
        assert_int_equal(stage.code, i / 2 ? KP_PG_SQLSTATE('2', '5', 'P', '0', '3')
                                           : KP_PG_SQLSTATE('5', '7', 'P', '0', '5'));
        assert_int_equal(stage.gone + stage.suspect, 0);
        kp_release(&three);
        close_pool();
    }
}

/* ---- what upkeep sees ------------------------------------------------------------------------ */

/* Two connections with TLS, and both listen: they are told something, and one of them is ended.
 * When that was seen, the news was there to be seen, too. */
static void what_a_server_says_to_an_idle_one_must_not_be_taken_for_its_end(void **state)
{
    struct pollfd p = { .events = POLLIN };
    kp_lease told, ended;
    int backend, other;

    (void)state;
    open_watched((kp_pg_options){ .set_up = "LISTEN news" }, 20);
    told = get("sslmode=require");
    ended = get("sslmode=require");
    backend = PQbackendPID(kp_pg_conn(&told));
    other = PQbackendPID(kp_pg_conn(&ended));
    p.fd = PQsocket(kp_pg_conn(&told));
    kp_release(&told);
    kp_release(&ended);
    assert_int_equal(pg_ask("NOTIFY news"), 0);
    assert_int_equal(poll(&p, 1, 20000), 1);
    end_backend(other);
    while (stage.invalid == 0)
        assert_int_equal(sem_wait(&stage.news), 0);
    assert_int_equal(stage.gone, 1);
    assert_int_equal(stage.suspect, 0);
    told = get("sslmode=require");
    assert_int_equal(PQbackendPID(kp_pg_conn(&told)), backend);
    kp_release(&told);
    close_pool();
}

/* libpq closes the socket of a lost connection while that is still lent, so that the next one may
 * have its number. */
static void one_that_has_a_lost_ones_descriptor_must_be_watched(void **state)
{
    struct timespec late;
    kp_lease lost, other;
    int fd, backend;

    (void)state;
    open_watched((kp_pg_options){ 0 }, 20);
    lost = get(NULL);
    fd = PQsocket(kp_pg_conn(&lost));
    end_backend(PQbackendPID(kp_pg_conn(&lost)));
    assert_int_equal(value(&lost, "SELECT 1"), -1);
    other = get(NULL);
    assert_int_equal(PQsocket(kp_pg_conn(&other)), fd);
    kp_release(&lost);
    assert_int_equal(sem_wait(&stage.news), 0);
    backend = PQbackendPID(kp_pg_conn(&other));
    kp_release(&other);
    end_backend(backend);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &late), 0);
    late.tv_sec += 20;
    assert_int_equal(sem_timedwait(&stage.news, &late), 0);
    assert_int_equal(stage.invalid, 2);
    close_pool();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_the_server_ended_must_be_replaced_and_its_reason_told),
        cmocka_unit_test(a_connection_that_ended_while_it_was_lent_must_not_come_to_the_next),
        cmocka_unit_test(a_connection_that_was_cut_must_count_as_a_server_that_is_gone),
        cmocka_unit_test(a_connection_that_does_not_answer_must_be_replaced_in_time),
        cmocka_unit_test(a_copy_to_one_that_does_not_read_must_not_hold_up_its_borrower),
        cmocka_unit_test(what_a_server_says_as_it_goes_must_have_the_others_tested),
        cmocka_unit_test(an_idle_timeout_must_say_nothing_of_the_others),
        cmocka_unit_test(what_a_server_says_to_an_idle_one_must_not_be_taken_for_its_end),
        cmocka_unit_test(one_that_has_a_lost_ones_descriptor_must_be_watched),
    };

    return cmocka_run_group_tests_name("postgres, gone", tests, start, stop);
}
