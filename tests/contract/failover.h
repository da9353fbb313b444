/* SPDX-License-Identifier: MIT
 *
 * A house (house.h) whose server fails over: resources that were made before are dead from then on,
 * and it takes a socket's time-out to find that out.
 */
#ifndef KP_TESTS_FAILOVER_H
#define KP_TESTS_FAILOVER_H

#include "house.h"

enum { FAILOVER_TIMEOUT = 5000 }; /* ms: of a socket to a peer that is gone */

static struct failover {
    struct house h;
    uint64_t dead_first, dead_last; /* numbers of the resources whose peer is gone */
    int64_t good_takes_ms;          /* how long a check of the others takes */
    uint64_t checks, timeouts;
    uint64_t at_once, most_at_once; /* checks */
    int reset_says;
} failover;

static bool failover_is_dead(const kp_prop *prop)
{
    return prop->number >= failover.dead_first && prop->number <= failover.dead_last;
}

static int failover_validate(kp_job *job, void *resource)
{
    struct failover *f = &failover;
    bool dead = failover_is_dead(resource);

    f->checks++;
    if (++f->at_once > f->most_at_once) f->most_at_once = f->at_once;
    if (dead) f->timeouts++;
    int64_t takes = dead ? FAILOVER_TIMEOUT : f->good_takes_ms;
    if (takes > 0) kp_sim_pass_ms(f->h.sim, takes);
    f->at_once--;
    if (!dead) return 0;
    (void)kp_job_fail(job, 110, "no answer within 5 s");
    return KP_EGONE;
}

static KP_MAYBE_UNUSED int failover_reset(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return failover.reset_says;
}

/* One key with room for max_live; nothing ages. */
static KP_MAYBE_UNUSED kp_options failover_plan(int64_t max_live, const kp_script *script)
{
    memset(&failover, 0, sizeof failover);
    kp_options o = house_plan(&failover.h, 1, NULL, script);

    o.driver.validate = failover_validate;
    o.limits.max_live = max_live;
    o.limits.idle_ttl_ms = o.limits.max_age_ms = o.leak_after_ms = KP_OFF;
    return o;
}

/* Makes so many idle ones, which are not used for a while; then all of them are dead. */
static KP_MAYBE_UNUSED void failover_happens(unsigned idle)
{
    house_stock(&failover.h, "db", idle);
    house_pass(&failover.h, KP_SECONDS(2));
    failover.dead_first = 1;
    failover.dead_last = idle;
}

static KP_MAYBE_UNUSED bool failover_is_suspect(void)
{
    char text[2000];

    (void)kp_explain(failover.h.pool, kp_str("db"), text, sizeof text);
    return strstr(text, "suspect: ") != NULL;
}

#endif
