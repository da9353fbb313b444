/* SPDX-License-Identifier: MIT
 *
 * The socket adapter on real sockets: places, what is said when nobody can be reached, and how a
 * socket is lent. socket_give_back.c has what happens afterwards.
 */
#include "socket_stage.h"

#include <fcntl.h>
#include <netinet/tcp.h>

/* ---- places ---------------------------------------------------------------------------------- */

static void talk(struct stage *s, const char *key, int listener)
{
    kp_lease lease = get(s, key);
    int fd = kp_socket_fd(&lease), peer = peer_of(listener);

    put(fd, "question");
    take(peer, "question");
    put(peer, "answer");
    take(fd, "answer");
    kp_release(&lease);
    assert_int_equal(kp_socket_fd(&lease), -1);
    lease = get(s, key);
    assert_int_equal(kp_socket_fd(&lease), fd);     /* the same one again */
    kp_release(&lease);
    (void)close(peer);
}

static void addresses_names_and_paths_must_be_reached_and_used_again(void **state)
{
    struct stage *s = *state;
    char name[32];

    stage_open(s, (kp_socket_options){ 0 });
    (void)snprintf(name, sizeof name, "localhost:%d", s->port);
    talk(s, s->place, s->tcp);
    talk(s, name, s->tcp);              /* ::1 may come first, where nobody listens */
    talk(s, s->path, s->local);
    assert_int_equal(kp_socket_counts_read(&s->counts).opened, 3);
    stage_close(s);
}

static void an_ipv6_address_must_be_written_in_brackets(void **state)
{
    struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct stage *s = *state;
    socklen_t size = sizeof at;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char key[32];
    kp_lease lease;

    stage_open(s, (kp_socket_options){ 0 });
    assert_int_equal(try_get(s, "::1:80", 1000, &lease), KP_EREFUSED);
    expect_text(s, "[address]:port");
    /* A machine without IPv6 says so itself; the rest is about one that has it. */
    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 4) == 0) {
        assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
        (void)snprintf(key, sizeof key, "[::1]:%d", ntohs(at.sin6_port));
        talk(s, key, fd);
    } else {
        assert_int_equal(try_get(s, "[::1]:80", 1000, &lease), KP_ECREATE);
    }
    if (fd >= 0)
        (void)close(fd);
    assert_int_equal(try_get(s, "[::1]:1", 1000, &lease), KP_ECREATE);
    expect_text(s, ": [::1]:1");
    stage_close(s);
}

static void a_key_that_is_no_place_must_be_refused_in_a_sentence(void **state)
{
    static const struct { const char *key, *sentence; } bad[] = {
        { "", "neither host:port nor /path" },
        { "localhost", "port is not a number" },
        { "localhost:", "port is not a number" },
        { "localhost:0", "port is not a number" },
        { "localhost:65536", "port is not a number" },
        { "localhost:8o", "port is not a number" },
        { ":80", "no host" },
        { "[::1:80", "not closed" },
        { "[::1]80", "port is not a number" },
        { "me@localhost:80", "an @ in its host" },
    };
    struct stage *s = *state;
    char path[200];
    kp_lease lease;

    stage_open(s, (kp_socket_options){ 0 });
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(try_get(s, bad[i].key, 1000, &lease), KP_EREFUSED);
        assert_int_equal(s->why.vendor_code, EINVAL);
        expect_text(s, bad[i].sentence);
    }
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(try_get(s, path, 1000, &lease), KP_EREFUSED);
    expect_text(s, "too long for a Unix socket");
    assert_int_equal(kp_get(s->pool, kp_bytes("a\0:80", 5), KP_ASK(.why = &s->why), &lease),
                     KP_EREFUSED);
    stage_close(s);
}

/* ---- nobody there ---------------------------------------------------------------------------- */

static void a_closed_port_and_a_missing_path_must_say_so(void **state)
{
    struct stage *s = *state;
    char path[128];
    kp_lease lease;

    (void)close(s->tcp);
    (void)close(s->local);
    s->tcp = s->local = -1;
    stage_open(s, (kp_socket_options){ 0 });
    assert_int_equal(try_get(s, s->place, 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ECONNREFUSED);
    expect_text(s, "nobody listens there: 127.0.0.1:");
    expect_text(s, s->place);
    assert_int_equal(try_get(s, s->path, 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ECONNREFUSED);
    expect_text(s, s->path);
    (void)snprintf(path, sizeof path, "%s/none", s->folder);
    assert_int_equal(try_get(s, path, 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ENOENT);
    expect_text(s, "the path does not exist");
    stage_close(s);
}

/* Both kinds of a queue that is full: the kernel lets a connect wait, and it must end in time. */
static void a_peer_that_does_not_answer_must_cost_no_more_than_the_deadline(void **state)
{
    struct stage *s = *state;
    struct sockaddr_in at = { .sin_family = AF_INET };
    char path[128], place[32];
    int full[2], fill[4], port;
    kp_lease lease;

    full[0] = listen_tcp(&port, 0);
    (void)snprintf(place, sizeof place, "127.0.0.1:%d", port);
    (void)snprintf(path, sizeof path, "%s/full", s->folder);
    full[1] = listen_unix(path, 0);
    at.sin_port = htons((uint16_t)port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    stage_open(s, (kp_socket_options){ 0 });
    assert_int_equal(try_get(s, place, 100, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ETIMEDOUT);
    expect_text(s, "no answer within the time");
    kp_lease first = get(s, path);
    assert_int_equal(try_get(s, path, 100, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ETIMEDOUT);
    kp_release(&first);
    for (int i = 0; i < 4; i++)
        (void)close(fill[i]);
    (void)close(full[0]);
    (void)close(full[1]);
    stage_close(s);
    (void)unlink(path);
}

/* ---- as it is lent --------------------------------------------------------------------------- */

static int option(int fd, int level, int name)
{
    socklen_t size = sizeof(int);
    int value = -1;

    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void a_socket_must_be_lent_blocking_without_delay_and_kept_alive(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    int fd;

    stage_open(s, (kp_socket_options){ 0 });
    lease = get(s, s->place);
    fd = kp_socket_fd(&lease);
    assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(option(fd, IPPROTO_TCP, TCP_NODELAY));
    assert_true(option(fd, SOL_SOCKET, SO_KEEPALIVE));
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    kp_release(&lease);
    stage_close(s);
}

static void a_socket_must_be_lent_as_the_options_say(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    int fd;

    stage_open(s, (kp_socket_options){ .keepalive_ms = 1500, .keepalive_every_ms = 2000,
                                       .keepalive_probes = 5, .nodelay = KP_OFF,
                                       .nonblocking = 1 });
    lease = get(s, s->place);
    fd = kp_socket_fd(&lease);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_false(option(fd, IPPROTO_TCP, TCP_NODELAY));
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 2);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 2);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 5);
    kp_release(&lease);
    stage_close(s);
    stage_open(s, (kp_socket_options){ .keepalive_ms = KP_OFF });
    lease = get(s, s->place);
    assert_false(option(kp_socket_fd(&lease), SOL_SOCKET, SO_KEEPALIVE));
    kp_release(&lease);
    stage_close(s);
    stage_open(s, (kp_socket_options){ .keepalive_ms = KP_HOURS(24), .keepalive_probes = 1000,
                                       .keepalive_every_ms = KP_HOURS(24) });
    lease = get(s, s->place);           /* more than the kernel has: its most */
    fd = kp_socket_fd(&lease);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 32767);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 32767);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 127);
    kp_release(&lease);
    stage_close(s);
}

/* ---- on_open --------------------------------------------------------------------------------- */

static int greet(kp_job *job, int fd, int64_t left_ms, void *ctx)
{
    struct stage *s = ctx;

    assert_true(left_ms >= 1 && left_ms <= 10000);
    assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
    put(fd, "hello");
    s->opens++;
    if (s->open_code < 0)
        return s->open_code == KP_ECREATE ? kp_job_fail(job, 451, "come back later")
                                          : s->open_code;
    return s->open_code;
}

static void note_close(kp_job *job, int fd, void *ctx)
{
    struct stage *s = ctx;

    assert_true(job->kind == KP_JOB_DESTROY && fcntl(fd, F_GETFD) >= 0);
    s->closes++;
}

static void hooks_must_run_once_for_every_connection(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    int peer;

    stage_open(s, (kp_socket_options){ .on_open = greet, .on_close = note_close });
    lease = get(s, s->place);
    peer = peer_of(s->tcp);
    take(peer, "hello");
    kp_release(&lease);
    lease = get(s, s->place);
    assert_int_equal(s->opens, 1);
    assert_int_equal(s->closes, 0);
    kp_release(&lease);
    stage_close(s);
    assert_int_equal(s->closes, 1);
    (void)close(peer);
}

static void what_on_open_answers_must_be_what_the_create_answers(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_socket_options){ .on_open = greet });
    s->open_code = KP_ECREATE;
    assert_int_equal(try_get(s, s->place, 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, 451);
    expect_text(s, "come back later");
    s->open_code = EPROTO;
    assert_int_equal(try_get(s, s->place, 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, EPROTO);
    expect_text(s, "on_open failed");
    s->open_code = KP_EREFUSED;
    assert_int_equal(try_get(s, s->place, 5000, &lease), KP_EREFUSED);
    assert_int_equal(kp_socket_counts_read(&s->counts).opened, 0);
    stage_close(s);
}

static int wait_for_banner(kp_job *job, int fd, int64_t left_ms, void *ctx)
{
    char buf[8];

    (void)ctx;
    if (recv(fd, buf, sizeof buf, 0) < 0 && errno == EAGAIN)
        return kp_job_fail(job, left_ms <= 200 ? ETIMEDOUT : EINVAL, "no banner in time");
    return 0;
}

static void a_handshake_must_end_with_the_requests_deadline(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_socket_options){ .on_open = wait_for_banner, .connect_timeout_ms = 200 });
    assert_int_equal(try_get(s, s->place, 60000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ETIMEDOUT);
    expect_text(s, "no banner in time");
    stage_close(s);
}

static int note_time(kp_job *job, int fd, int64_t left_ms, void *ctx)
{
    (void)job;
    (void)fd;
    (void)ctx;
    assert_in_range(left_ms, 1, 30000);
    return 0;
}

/* As for what is made in the background, there is none. */
static void without_a_deadline_connecting_must_not_take_for_ever(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_socket_options){ .on_open = note_time });
    assert_int_equal(try_get(s, s->place, KP_OFF, &lease), 0);
    kp_release(&lease);
    stage_close(s);
    stage_open(s, (kp_socket_options){ .on_open = note_time, .connect_timeout_ms = 20000 });
    assert_int_equal(try_get(s, s->place, KP_OFF, &lease), 0);
    kp_release(&lease);
    stage_close(s);
}

/* ---- options --------------------------------------------------------------------------------- */

static void impossible_options_must_be_refused_by_name(void **state)
{
    static const struct { kp_socket_options how; const char *field, *sentence; } bad[] = {
        { { .connect_timeout_ms = -5 }, "socket.connect_timeout_ms", "a time, or KP_OFF" },
        { { .io_timeout_ms = KP_NONE }, "socket.io_timeout_ms", "a time, or KP_OFF" },
        { { .keepalive_ms = KP_UNLIMITED }, "socket.keepalive_ms", "a time, or KP_OFF" },
        { { .keepalive_every_ms = KP_OFF }, "socket.keepalive_every_ms", "must be a time" },
        { { .keepalive_probes = -1 }, "socket.keepalive_probes", "must be at least 1" },
        { { .nodelay = 2 }, "socket.nodelay", "must be 1 or KP_OFF" },
        { { .reserved = { 1 } }, "socket.reserved", "header newer" },
        { { .reserved = { [5] = 1 } }, "socket.reserved", "header newer" },
        { { .nonblocking = -1 }, "socket.nonblocking", "must be 1 or KP_OFF" },
    };
    struct stage *s = *state;
    kp_options more = { .why = &s->why };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kp_socket_open(&bad[i].how, &more, &s->pool), KP_ECONFIG);
        assert_null(s->pool);
        assert_string_equal(s->why.field, bad[i].field);
        expect_text(s, bad[i].field);
        expect_text(s, bad[i].sentence);
    }
    more.limits.min_live = 5;           /* this one the pool refuses, not the adapter */
    more.limits.max_live = 3;
    assert_int_equal(kp_socket_open(NULL, &more, &s->pool), KP_ECONFIG);
    assert_null(s->pool);
}

static void a_pool_that_is_filled_by_hand_must_be_open_to_more_options(void **state)
{
    struct stage *s = *state;
    kp_options options = { .limits = { .max_live = 1 } };
    kp_lease lease, other;

    assert_int_equal(kp_socket_fill(NULL, &options), 0);
    assert_int_equal(kp_pool_open(&options, &s->pool), 0);
    lease = get(s, s->place);
    assert_int_equal(kp_try_get(s->pool, kp_str(s->place), &other), KP_EAGAIN);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(addresses_names_and_paths_must_be_reached_and_used_again),
        TEST(an_ipv6_address_must_be_written_in_brackets),
        TEST(a_key_that_is_no_place_must_be_refused_in_a_sentence),
        TEST(a_closed_port_and_a_missing_path_must_say_so),
        TEST(a_peer_that_does_not_answer_must_cost_no_more_than_the_deadline),
        TEST(a_socket_must_be_lent_blocking_without_delay_and_kept_alive),
        TEST(a_socket_must_be_lent_as_the_options_say),
        TEST(hooks_must_run_once_for_every_connection),
        TEST(what_on_open_answers_must_be_what_the_create_answers),
        TEST(a_handshake_must_end_with_the_requests_deadline),
        TEST(without_a_deadline_connecting_must_not_take_for_ever),
        TEST(impossible_options_must_be_refused_by_name),
        TEST(a_pool_that_is_filled_by_hand_must_be_open_to_more_options),
    };

    return cmocka_run_group_tests_name("socket", tests, NULL, NULL);
}
