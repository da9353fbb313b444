/* SPDX-License-Identifier: MIT
 *
 * A wait that something else can end: a worker thread of a server waits for a connection, but no
 * longer than its client does. kp_get would sleep until its deadline. So the worker starts a
 * request on a loop of its own, and polls two descriptors: the loop's and the client's. In the same
 * way it could wait for an eventfd that another thread writes to, or a signalfd.
 *
 * Its driver may block, as those of most databases do, so it runs on a thread of the pool's own.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE                  /* POLLRDHUP */
#endif
#include <keyedpool.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- kp_get, unless the peer of a socket hangs up first -------------------------------------- */

struct answer {
    int      status;
    kp_lease lease;
};

static void answered(kp_request *request, int status, kp_lease lease)
{
    struct answer *answer = request->arg;

    answer->status = status;
    answer->lease = lease;
}

static int get_unless_gone(kp_pool *pool, kp_key key, const kp_ask *ask, kp_loop *loop, int client,
                           kp_lease *out)
{
    struct answer answer = { .status = KP_PENDING };
    kp_request request = { .loop = loop, .done = answered, .arg = &answer };
    int status = kp_get_start(pool, key, ask, &request);

    if (status != 0)
        return status;
    for (;;) {
        int64_t next = kp_loop_dispatch(loop);      /* ms until it has more to do; -1: nothing */
        if (answer.status != KP_PENDING)
            break;
        struct pollfd p[] = { { .fd = kp_loop_fd(loop), .events = POLLIN },
                              { .fd = client, .events = POLLRDHUP } };
        (void)poll(p, 2, next > 1000 ? 1000 : (int)next);
        if (p[1].revents) {
            kp_cancel(&request);                    /* it is over, and holds nothing */
            return KP_ECANCELED;
        }
    }
    *out = answer.lease;
    return answer.status;
}

/* ---- the server ------------------------------------------------------------------------------ */

static int connect_to(kp_job *job, void **out)
{
    *out = malloc(1);                               /* stands for a connection */
    return *out ? 0 : kp_job_fail(job, 0, "out of memory");
}

static int disconnect(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

struct visit {
    kp_pool *pool;
    int      client;
    int      status;
};

static void *serve(void *arg)
{
    struct visit *visit = arg;
    kp_lease lease;
    kp_loop *loop;                                  /* a server keeps one for each worker */

    if ((visit->status = kp_loop_open(&loop)) != 0)
        return NULL;
    visit->status = get_unless_gone(visit->pool, kp_str("db"), KP_IN_S(30), loop, visit->client,
                                    &lease);
    if (visit->status == 0)
        kp_release(&lease);
    (void)kp_loop_close(loop);
    return NULL;
}

int main(void)
{
    kp_options options = {
        .driver = { .create = connect_to, .destroy = disconnect },
        .limits = { .max_live = 1 },
        .threads = 1,
    };
    kp_lease busy;
    kp_pool *pool;
    int impatient[2], patient[2];
    pthread_t thread[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, impatient) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, patient) != 0 || kp_pool_open(&options, &pool) != 0)
        return 1;
    if (kp_get(pool, kp_str("db"), KP_IN_S(30), &busy) != 0)    /* the only connection is out */
        return 1;
    struct visit visit[] = { { pool, impatient[1], 0 }, { pool, patient[1], 0 } };
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, serve, &visit[i]) != 0)
            return 1;
    close(impatient[0]);
    pthread_join(thread[0], NULL);
    printf("the client that hung up: %s\n", kp_strerror(visit[0].status));
    kp_release(&busy);
    pthread_join(thread[1], NULL);
    printf("the client that stayed: %s\n",
           visit[1].status == 0 ? "served" : kp_strerror(visit[1].status));
    close(impatient[1]);
    close(patient[0]);
    close(patient[1]);
    return kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0 ||
           visit[0].status != KP_ECANCELED || visit[1].status != 0;
}
