/* SPDX-License-Identifier: MIT
 *
 * A pre-fork server: the pool is opened once, before the workers are forked. Each worker starts
 * with an empty pool of its own and never uses a connection of its parent.
 */
#include <keyedpool.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, SERVER_TAKES = 100 };

static int server[2];                   /* a pipe stands for the server: it counts goodbyes */

static int dial(kp_job *job, void **out)
{
    int fd = dup(server[1]);

    *out = (void *)(intptr_t)fd;
    return fd > 0 ? 0 : kp_job_fail(job, 0, "no descriptor");
}

static int hang_up(kp_job *job, void *c)
{
    (void)job;
    return write((int)(intptr_t)c, "bye", 1) == 1 ? close((int)(intptr_t)c) : -1;
}

static int drop(kp_job *job, void *c)   /* the parent still speaks on it: close our copy, no more */
{
    (void)job;
    return close((int)(intptr_t)c);
}

static int work(kp_pool *pool)
{
    kp_lease lease;

    if (kp_get(pool, kp_str("db"), KP_IN_S(5), &lease) != 0) return 1;
    kp_release(&lease);
    return kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0;
}

int main(void)
{
    kp_options options = { .driver = { .create = dial, .destroy = hang_up, .abandon = drop },
                           .budget = { .max_live = SERVER_TAKES / WORKERS } }; /* per process */
    int      status, failed = 0;
    char     byes[SERVER_TAKES];
    kp_pool *pool;

    if (pipe(server) != 0 || kp_pool_open(&options, &pool) != 0) return 1;
    kp_warm(pool, (kp_key[]){ kp_str("db") }, 1, KP_IN_S(5)); /* the parent has one, too */
    for (int i = 0; i < WORKERS; i++)
        if (fork() == 0) _exit(work(pool));
    for (int i = 0; i < WORKERS; i++) failed |= wait(&status) < 0 || status != 0;
    failed |= kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0;
    return failed || read(server[0], byes, sizeof byes) != WORKERS + 1;
}
