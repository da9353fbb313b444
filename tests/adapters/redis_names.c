/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter that never blocks, and names: this program has a getaddrinfo of its own, which
 * does not answer before it is told to. There is no server.
 */
#include "adapters/glue_epoll.h"

#include <keyedpool_redis.h>

#include <errno.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "adapters/loop_stage.h"

static sem_t asked, go_on, freed;       /* the resolver; it may answer; its answer is gone */

static void await_sem(sem_t *sem)
{
    while (sem_wait(sem) != 0)
        continue;
}

int getaddrinfo(const char *restrict host, const char *restrict port,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    (void)host;
    (void)port;
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    (void)sem_post(&asked);
    await_sem(&go_on);
    *found = calloc(1, sizeof **found);
    return *found ? 0 : EAI_MEMORY;
}

void freeaddrinfo(struct addrinfo *a)
{
    free(a);
    (void)sem_post(&freed);
}

static void open_within(int64_t connect_timeout_ms)
{
    kp_redis_options redis = { .connect_timeout_ms = connect_timeout_ms };
    kp_options more = plan_on_loop();

    redis.watcher = glue_watcher(&stage.loop);
    if (kp_redis_open(&redis, &more, &stage.pool) != 0)
        fail_msg("open: %s", stage.why.text);
}

/* Whoever was left behind frees what it found. */
static void answer_at_last(void)
{
    assert_int_equal(sem_post(&go_on), 0);
    await_sem(&freed);
}

static void a_lookup_must_end_with_the_time_to_connect(void **state)
{
    struct ask *a;

    (void)state;
    open_within(20);
    a = begin(0, "slow.test", 20000);
    assert_int_equal(await(a), KP_ECREATE);
    await_sem(&asked);
    assert_int_equal(a->why.vendor_code, ETIMEDOUT);
    assert_non_null(strstr(a->why.text, "could not be looked up within the time"));
    end_loop();
    answer_at_last();
}

static void a_lookup_that_nobody_waits_for_must_be_left_behind(void **state)
{
    struct ask *a;

    (void)state;
    open_within(20000);
    a = begin(0, "slow.test", 20000);
    turn();
    await_sem(&asked);
    kp_cancel(&a->request);
    end_loop();
    answer_at_last();
}

/* A Unix socket whose server lets nobody in cannot be waited for: nothing says when it does. */
static void a_server_that_lets_nobody_in_must_be_told_as_that(void **state)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), others[8], n = 0;
    struct ask *a;

    (void)state;
    (void)snprintf(at.sun_path, sizeof at.sun_path, "/tmp/kp-full-%d", (int)getpid());
    assert_int_equal(bind(server, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(server, 0), 0);
    do {
        assert_in_range(n, 0, 7);
        others[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(others[n++], (struct sockaddr *)&at, sizeof at) == 0);
    open_within(20000);
    a = begin(0, at.sun_path, 20000);
    assert_int_equal(await(a), KP_ECREATE);
    assert_int_equal(a->why.vendor_code, EAGAIN);
    if (!strstr(a->why.text, "its queue is full"))
        fail_msg("%s", a->why.text);
    end_loop();
    while (n > 0)
        (void)close(others[--n]);
    (void)close(server);
    (void)unlink(at.sun_path);
}

static int begin_sems(void **state)
{
    (void)state;
    return sem_init(&asked, 0, 0) || sem_init(&go_on, 0, 0) || sem_init(&freed, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lookup_must_end_with_the_time_to_connect),
        cmocka_unit_test(a_lookup_that_nobody_waits_for_must_be_left_behind),
        cmocka_unit_test(a_server_that_lets_nobody_in_must_be_told_as_that),
    };

    return cmocka_run_group_tests_name("redis_names", tests, begin_sems, NULL);
}
