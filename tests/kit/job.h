/* SPDX-License-Identifier: MIT
 *
 * The pool's side of a job, for tests of the scripted driver. They have no pool: kp_job_done,
 * kp_job_fail and kp_keep are defined here, and record their arguments. A program includes this
 * once, after cmocka.h.
 */
#ifndef KEYEDPOOL_TESTS_KIT_JOB_H
#define KEYEDPOOL_TESTS_KIT_JOB_H

#include "keyedpool_test.h"
#include "no_pools.h"

typedef struct tested_job {
    kp_job      job;                    /* first: the kit is handed its address */
    int         answers, status, vendor_code;
    int64_t     answered_ms;
    void       *resource;
    const char *text;
} tested_job;

static kp_sim *sim;
static kp_cast *cast;
static kp_driver driver;
static int answered;                    /* how many jobs so far */
static tested_job *answers[8];          /* in this order */

void kp_job_done(kp_job *job, int status, void *resource)
{
    tested_job *its = (tested_job *)(void *)job;

    its->answers++;
    its->status = status;
    its->resource = resource;
    its->answered_ms = kp_sim_now_ms(sim);
    answers[answered++ % 8] = its;
}

int kp_job_fail(kp_job *job, int vendor_code, const char *text)
{
    tested_job *its = (tested_job *)(void *)job;

    its->vendor_code = vendor_code;
    its->text = text;
    return KP_ECREATE;
}

int64_t kp_keep(kp_pool *pool)
{
    (void)pool;
    return -1;
}

static tested_job new_job(kp_job_kind kind, const char *key)
{
    tested_job its = { 0 };

    its.job.kind = kind;
    its.job.ctx = driver.ctx;
    its.job.key = kp_str(key);
    return its;
}

static int run(tested_job *its, kp_job_kind kind, void *resource, void **made)
{
    *its = new_job(kind, "key");
    its->job.resource = resource;
    switch (kind) {
    case KP_JOB_CREATE:
        return driver.create(&its->job, made);
    case KP_JOB_VALIDATE:
        return driver.validate(&its->job, resource);
    case KP_JOB_RESET:
        return driver.reset(&its->job, resource);
    case KP_JOB_DESTROY:
        return driver.destroy(&its->job, resource);
    case KP_JOB_REVOKE:
        return driver.revoke(&its->job, resource);
    case KP_JOB_ABANDON: /* the cast has none: its props are memory */
        break;
    }
    return KP_EMISUSE;
}

static int make(kp_prop **made)
{
    tested_job its;
    void *resource = NULL;
    int status = run(&its, KP_JOB_CREATE, NULL, &resource);

    *made = resource;
    return status;
}

static int use(kp_job_kind kind, void *resource)
{
    tested_job its;

    return run(&its, kind, resource, NULL);
}

static void open_cast(const kp_script *script)
{
    answered = 0;
    assert_int_equal(kp_cast_open(script, &cast), 0);
    driver = kp_cast_driver(cast);
}

#endif
