/* SPDX-License-Identifier: MIT
 *
 * A program that asks again as soon as it has its answer, until it hears of what else it waits for.
 */
#ifndef KP_TESTS_BUSY_H
#define KP_TESTS_BUSY_H

enum { MOST = 100000 };

static kp_pool *pool;
static bool heard;
static int answers;

static int create(kp_job *job, void **resource)
{
    *resource = job->ctx;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static void ask(kp_request *request)
{
    assert_int_equal(kp_get_start(pool, kp_str("key"), NULL, request), 0);
}

static void ask_again(kp_request *request, int status, kp_lease lease)
{
    assert_int_equal(status, 0);
    kp_release(&lease);
    if (++answers < MOST && !heard)
        ask(request);
}

static void hear(kp_watch *watch, int events)
{
    (void)watch;
    heard = events == KP_WATCH_READ;
}

#endif
