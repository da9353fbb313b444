/* SPDX-License-Identifier: MIT
 *
 * The socket adapter and names: this program has a getaddrinfo of its own, which knows a host that
 * does not resolve, one that never answers, one with several addresses, and one whose caller calls
 * itself.
 */
#include "socket_stage.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static sem_t go_on, freed;              /* the slow resolver may answer; its answer is gone */
static atomic_int own_port;             /* of the next socket; 0: the kernel's choice */

static struct addrinfo *address(const char *text, const char *port, struct addrinfo *next)
{
    struct sockaddr_in *at = calloc(1, sizeof *at);
    struct addrinfo *a = calloc(1, sizeof *a);

    assert_true(a && at);
    at->sin_family = AF_INET;
    at->sin_port = htons((uint16_t)atoi(port));
    assert_int_equal(inet_pton(AF_INET, text, &at->sin_addr), 1);
    a->ai_family = AF_INET;
    a->ai_socktype = SOCK_STREAM;
    a->ai_addrlen = sizeof *at;
    a->ai_addr = (struct sockaddr *)at;
    a->ai_next = next;
    return a;
}

int getaddrinfo(const char *restrict host, const char *restrict port,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    if (strcmp(host, "slow.test") == 0) {
        while (sem_wait(&go_on) != 0)
            continue;
        *found = address("127.0.0.1", port, NULL);
    } else if (strcmp(host, "many.test") == 0) {        /* refused, silent, and there */
        *found = address("127.0.0.2", port, address("127.0.0.3", port,
                                                    address("127.0.0.1", port, NULL)));
    } else if (strcmp(host, "self.test") == 0) {
        own_port = atoi(port);
        *found = address("127.0.0.1", port, NULL);
    } else if (strcmp(host, "broken.test") == 0) {
        errno = EMFILE;
        return EAI_SYSTEM;
    } else {
        return EAI_NONAME;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *a)
{
    while (a) {
        struct addrinfo *next = a->ai_next;

        free(a->ai_addr);
        free(a);
        a = next;
    }
    (void)sem_post(&freed);
}

/* What the kernel does by chance: the caller gets the number of the port that it calls. */
int socket(int family, int type, int protocol)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    int fd = (int)syscall(SYS_socket, family, type, protocol);

    at.sin_port = htons((uint16_t)atomic_exchange(&own_port, 0));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (at.sin_port)
        assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void an_unknown_host_must_be_told_with_its_name_and_code(void **state)
{
    struct stage *s = *state;
    kp_lease lease;

    stage_open(s, (kp_socket_options){ 0 });
    assert_int_equal(try_get(s, "nowhere.test:80", 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, EAI_NONAME);
    expect_text(s, "the host is unknown");
    expect_text(s, "nowhere.test");
    assert_int_equal(try_get(s, "broken.test:80", 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, EMFILE);
    stage_close(s);
}

/* A pipe says when a lookup has ended. */
static void a_lookup_that_cannot_begin_must_be_told_with_its_code(void **state)
{
    struct stage *s = *state;
    struct rlimit before, none;
    int next = dup(0);
    kp_lease lease;

    stage_open(s, (kp_socket_options){ 0 });
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)next;
    assert_true(next >= 0 && close(next) == 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(try_get(s, "nowhere.test:80", 5000, &lease), KP_ECREATE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(s->why.vendor_code, EMFILE);
    expect_text(s, "this process may not open more files");
    stage_close(s);
}

static void a_resolver_that_hangs_must_cost_no_more_than_the_deadline(void **state)
{
    struct stage *s = *state;
    char key[32];
    kp_lease lease;

    (void)snprintf(key, sizeof key, "slow.test:%d", s->port);
    stage_open(s, (kp_socket_options){ 0 });
    assert_int_equal(try_get(s, key, 50, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ETIMEDOUT);
    expect_text(s, "could not be looked up within the time");
    assert_int_equal(sem_post(&go_on), 0);      /* whoever was left behind frees what it found */
    assert_int_equal(sem_wait(&freed), 0);
    assert_int_equal(sem_post(&go_on), 0);
    lease = get(s, key);                        /* and the name may resolve the next time */
    kp_release(&lease);
    stage_close(s);
}

/* The second address accepts nothing: its queue is full. It gets its share of the time, no more. */
static void every_address_of_a_name_must_be_tried_within_one_deadline(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    struct stage *s = *state;
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[4];
    char key[32];
    kp_lease lease;

    at.sin_port = htons((uint16_t)s->port);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.3", &at.sin_addr), 1);
    assert_int_equal(bind(silent, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(silent, 0), 0);
    for (int i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    (void)snprintf(key, sizeof key, "many.test:%d", s->port);
    stage_open(s, (kp_socket_options){ .connect_timeout_ms = 300 });
    lease = get(s, key);
    kp_release(&lease);
    stage_close(s);
    for (int i = 0; i < 4; i++)
        (void)close(fill[i]);
    (void)close(silent);
}

/* Else nobody listens there as long as it is lent: the server could not have its port back. */
static void a_socket_that_has_called_itself_must_not_be_lent(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    char key[32];
    int port;

    (void)close(listen_tcp(&port, 1));
    (void)snprintf(key, sizeof key, "self.test:%d", port);
    stage_open(s, (kp_socket_options){ 0 });
    assert_int_equal(try_get(s, key, 5000, &lease), KP_ECREATE);
    assert_int_equal(s->why.vendor_code, ECONNREFUSED);
    expect_text(s, "nobody listens there");
    stage_close(s);
}

static int stage_sems(void **state)
{
    if (sem_init(&go_on, 0, 0) != 0 || sem_init(&freed, 0, 0) != 0)
        return -1;
    return set_up(state);
}

#define NAME_TEST(name) cmocka_unit_test_setup_teardown(name, stage_sems, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAME_TEST(an_unknown_host_must_be_told_with_its_name_and_code),
        NAME_TEST(a_lookup_that_cannot_begin_must_be_told_with_its_code),
        NAME_TEST(a_resolver_that_hangs_must_cost_no_more_than_the_deadline),
        NAME_TEST(every_address_of_a_name_must_be_tried_within_one_deadline),
        NAME_TEST(a_socket_that_has_called_itself_must_not_be_lent),
    };

    return cmocka_run_group_tests_name("socket_names", tests, NULL, NULL);
}
