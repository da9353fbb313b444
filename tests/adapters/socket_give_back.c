/* SPDX-License-Identifier: MIT
 *
 * What the socket adapter does with a socket that comes back, that idles, and in a child of fork:
 * the next borrower never sees what the last one left.
 */
#include "socket_stage.h"

#include <fcntl.h>
#include <sys/time.h>
#include <sys/wait.h>

/* The pool must have closed the only connection and made another one. */
static void expect_another(struct stage *s, const char *key, int listener)
{
    kp_lease lease = get(s, key);
    int peer = peer_of(listener);

    put(peer, "new");
    take(kp_socket_fd(&lease), "new");
    kp_release(&lease);
    (void)close(peer);
    assert_int_equal(kp_socket_counts_read(&s->counts).opened, 2);
}

static void unread_bytes_must_never_reach_the_next_borrower(void **state)
{
    struct stage *s = *state;
    const char *keys[2] = { s->place, s->path };
    int listeners[2] = { s->tcp, s->local };

    for (int i = 0; i < 2; i++) {
        memset(&s->counts, 0, sizeof s->counts);
        stage_open(s, (kp_socket_options){ 0 });
        kp_lease lease = get(s, keys[i]);
        int peer = peer_of(listeners[i]);

        put(peer, "a late answer");
        wait_for_input(kp_socket_fd(&lease));
        kp_release(&lease);
        assert_int_equal(kp_socket_counts_read(&s->counts).unread, 1);
        assert_int_equal(kp_socket_counts_read(&s->counts).closed, 1);
        assert_string_equal(s->invalid, "socket: given back with bytes unread");
        assert_int_equal(s->invalid_code, KP_ECREATE);  /* and not KP_EGONE */
        expect_another(s, keys[i], listeners[i]);
        (void)close(peer);
        stage_close(s);
    }
}

static void bytes_that_come_while_it_is_idle_must_end_it(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    int peer, fd;

    stage_open(s, (kp_socket_options){ 0 });
    lease = get(s, s->place);
    fd = kp_socket_fd(&lease);
    peer = peer_of(s->tcp);
    kp_release(&lease);
    put(peer, "unasked");
    wait_for_input(fd);
    expect_another(s, s->place, s->tcp);
    assert_int_equal(kp_socket_counts_read(&s->counts).unread, 1);
    assert_string_equal(s->invalid, "socket: bytes came while it was idle");
    (void)close(peer);
    stage_close(s);
}

static void a_peer_that_ended_must_be_noticed_without_a_round_trip(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    int peer, fd;

    stage_open(s, (kp_socket_options){ 0 });
    lease = get(s, s->path);
    fd = kp_socket_fd(&lease);
    peer = peer_of(s->local);
    kp_release(&lease);
    (void)close(peer);
    wait_for_input(fd);
    expect_another(s, s->path, s->local);
    assert_int_equal(kp_socket_counts_read(&s->counts).ended, 1);
    assert_string_equal(s->invalid, "socket: the other side has ended it");
    assert_int_equal(s->invalid_code, KP_EGONE);
    stage_close(s);
}

/* An end that is no FIN: the peer's kernel answers with a reset. */
static void a_connection_that_was_reset_must_be_noticed(void **state)
{
    struct linger now = { .l_onoff = 1 };
    struct stage *s = *state;
    kp_lease lease;
    int peer, fd;

    stage_open(s, (kp_socket_options){ 0 });
    lease = get(s, s->place);
    fd = kp_socket_fd(&lease);
    peer = peer_of(s->tcp);
    (void)setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(peer);
    wait_for_input(fd);
    kp_release(&lease);
    assert_int_equal(kp_socket_counts_read(&s->counts).ended, 1);
    assert_int_equal(s->invalid_code, KP_EGONE);
    expect_another(s, s->place, s->tcp);
    stage_close(s);
}

/* `how` is for shutdown. */
static void must_be_the_borrowers_end(struct stage *s, const char *key, int listener, int how)
{
    memset(&s->counts, 0, sizeof s->counts);
    stage_open(s, (kp_socket_options){ 0 });
    kp_lease lease = get(s, key);
    int peer = peer_of(listener);

    assert_int_equal(shutdown(kp_socket_fd(&lease), how), 0);
    kp_release(&lease);
    assert_int_equal(kp_socket_counts_read(&s->counts).ended, 1);
    assert_string_equal(s->invalid, "socket: the borrower has ended its half of it");
    assert_int_equal(s->invalid_code, KP_ECREATE);
    expect_another(s, key, listener);
    (void)close(peer);
    stage_close(s);
}

static void a_half_that_the_borrower_ended_must_not_be_lent_again(void **state)
{
    struct stage *s = *state;

    must_be_the_borrowers_end(s, s->path, s->local, SHUT_WR);
    must_be_the_borrowers_end(s, s->place, s->tcp, SHUT_WR);
#ifdef __linux__
    must_be_the_borrowers_end(s, s->place, s->tcp, SHUT_RD);
    must_be_the_borrowers_end(s, s->place, s->tcp, SHUT_RDWR);
#endif
}

static void mode_and_timeouts_must_be_undone(void **state)
{
    struct timeval tv = { .tv_usec = 1000 };
    struct stage *s = *state;
    socklen_t size = sizeof tv;
    kp_lease lease;
    int fd, peer;

    stage_open(s, (kp_socket_options){ .io_timeout_ms = 2500 });
    lease = get(s, s->place);
    fd = kp_socket_fd(&lease);
    peer = peer_of(s->tcp);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
    kp_release(&lease);
    lease = get(s, s->place);
    assert_int_equal(kp_socket_fd(&lease), fd);
    assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &size), 0);
    assert_int_equal(tv.tv_sec, 2);
    assert_in_range(tv.tv_usec, 400000, 600000);
    put(fd, "x");                       /* looking at it had sent nothing of its own */
    take(peer, "x");
    kp_release(&lease);
    (void)close(peer);
    stage_close(s);
}

/* ThreadSanitizer ends children of a process with threads, unless it is told not to; and no pool
 * may have threads there. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

/* The child's pool begins anew; what the parent had goes on in the parent. */
static void a_child_of_fork_must_leave_the_parents_connection_alone(void **state)
{
    struct stage *s = *state;
    kp_lease lease, childs;
    int fd, peer, status;
    pid_t child;

    assert_int_equal(kp_socket_open(NULL, &(kp_options){ .threads = KP_NONE }, &s->pool), 0);
    lease = get(s, s->place);
    fd = kp_socket_fd(&lease);
    peer = peer_of(s->tcp);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (kp_get(s->pool, kp_str(s->place), NULL, &childs) != 0)
            _exit(1);
        put(kp_socket_fd(&childs), "child");
        kp_release(&childs);
        (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
        if (kp_socket_fd(&lease) != -1)
            _exit(2);
        _exit(fcntl(fd, F_GETFD) < 0 ? 0 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    put(fd, "parent");
    take(peer, "parent");               /* and no end, and nothing of the child's */
    kp_release(&lease);
    (void)close(peer);
    peer = peer_of(s->tcp);
    take(peer, "child");
    (void)close(peer);
    stage_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unread_bytes_must_never_reach_the_next_borrower),
        TEST(bytes_that_come_while_it_is_idle_must_end_it),
        TEST(a_peer_that_ended_must_be_noticed_without_a_round_trip),
        TEST(a_connection_that_was_reset_must_be_noticed),
        TEST(a_half_that_the_borrower_ended_must_not_be_lent_again),
        TEST(mode_and_timeouts_must_be_undone),
        TEST(a_child_of_fork_must_leave_the_parents_connection_alone),
    };

    return cmocka_run_group_tests_name("socket_give_back", tests, NULL, NULL);
}
