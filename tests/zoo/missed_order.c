/* SPDX-License-Identifier: MIT
 *
 * What the zoo showed that no test looked at, third part: late answers on real threads, for
 * ThreadSanitizer. A second thread answers every job; what it wrote must be seen by who waits.
 */
#include "contract/contract.h"

#include <pthread.h>

enum { ROUNDS = 100 };

/* One job at a time, handed to the thread that answers. */
struct desk {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    kp_job *job;
    bool over;
    int answers;
};

static int later(struct desk *desk, kp_job *job)
{
    pthread_mutex_lock(&desk->mutex);
    desk->job = job;
    pthread_cond_signal(&desk->changed);
    pthread_mutex_unlock(&desk->mutex);
    return KP_PENDING;
}

static int create_later(kp_job *job, void **resource)
{
    (void)resource;
    return later(job->ctx, job);
}

static int answer_later(kp_job *job, void *resource)
{
    (void)resource;
    return later(job->ctx, job);
}

/* Every third validation finds the resource bad. */
static int status_of(struct desk *desk, const kp_job *job)
{
    return job->kind == KP_JOB_VALIDATE && ++desk->answers % 3 == 0 ? -9 : 0;
}

static void *answer(void *arg)
{
    static int thing;
    struct desk *desk = arg;

    pthread_mutex_lock(&desk->mutex);
    while (!desk->over) {
        kp_job *job = desk->job;
        if (!job) {
            pthread_cond_wait(&desk->changed, &desk->mutex);
            continue;
        }
        desk->job = NULL;
        pthread_mutex_unlock(&desk->mutex);
        kp_job_done(job, status_of(desk, job), job->kind == KP_JOB_CREATE ? &thing : NULL);
        pthread_mutex_lock(&desk->mutex);
    }
    pthread_mutex_unlock(&desk->mutex);
    return NULL;
}

static void what_a_late_answer_says_must_be_seen_by_who_waits_for_it(void **state)
{
    struct desk desk = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, false, 0 };
    kp_options options = { .driver = { .create = create_later,
                                       .destroy = answer_later,
                                       .validate = answer_later,
                                       .ctx = &desk },
                           .limits = { .max_live = 1, .validate_after_ms = KP_NONE } };
    pthread_t thread;
    kp_pool *pool;
    kp_lease lease;
    kp_stats stats;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, answer, &desk), 0);
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(kp_get(pool, kp_str("a"), NULL, &lease), 0);
        kp_release(&lease);
    }
    assert_int_equal(kp_stats_read(pool, kp_str("a"), &stats), 0);
    assert_int_equal(stats.invalid, desk.answers / 3);
    assert_int_equal(stats.destroys, desk.answers / 3);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 0);
    pthread_mutex_lock(&desk.mutex);
    desk.over = true;
    pthread_cond_signal(&desk.changed);
    pthread_mutex_unlock(&desk.mutex);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_late_answer_says_must_be_seen_by_who_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
