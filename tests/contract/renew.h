/* SPDX-License-Identifier: MIT
 *
 * What the tests of replacements share: creations that take a while, as many borrowers as there may
 * be resources, and a check in every millisecond.
 */
#ifndef KP_TESTS_RENEW_H
#define KP_TESTS_RENEW_H

#include "house.h"

enum { N = 10, CREATE_MS = 200 };

static const kp_line slow[] = { { .takes_ms = CREATE_MS, .times = KP_OFF }, { 0 } };
static const kp_script slowly = { .create = slow };

/* There must never be more than `most`, checked each ms. */
static KP_MAYBE_UNUSED void watch(struct house *h, uint64_t most, int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        kp_stats s = house_stats(h, NULL);
        HOUSE_HAS(h, s.live <= most);
        kp_sim_pass_ms(h->sim, 1);
    }
}

/* Resources live for one minute, and are replaced one second before. */
static KP_MAYBE_UNUSED kp_options aging_by(struct house *h, uint64_t seed, const kp_script *script)
{
    kp_options o = house_plan(h, seed, NULL, script);

    o.limits.max_live = N;
    o.limits.max_age_ms = KP_MINUTES(1);
    o.limits.age_spread_pct = KP_NONE;
    o.limits.idle_ttl_ms = KP_OFF;
    o.limits.renew_ahead_ms = 1000;
    return o;
}

static KP_MAYBE_UNUSED kp_options aging(struct house *h, uint64_t seed)
{
    return aging_by(h, seed, &slowly);
}

static const char *const db[] = { "db" };

/* As many borrowers as there may be resources; each gives back and asks again at once. */
static KP_MAYBE_UNUSED void works(struct house *h, struct worker w[N], int64_t hold_ms,
                                  unsigned rounds)
{
    for (int i = 0; i < N; i++) {
        w[i] = (struct worker){ .house = h, .keys = db, .key_count = 1, .rounds = rounds,
                                .hold_ms = hold_ms + 3 * i, .within_ms = KP_SECONDS(30),
                                .dice = h->seed * 1000 + (uint64_t)i };
        w[i].task = kp_sim_spawn(h->sim, worker_run, &w[i]);
    }
    kp_sim_settle(h->sim);
}

static KP_MAYBE_UNUSED void all_got(struct house *h, const struct worker w[N])
{
    kp_sim_join(h->sim, 0);
    for (int i = 0; i < N; i++) HOUSE_IS(h, w[i].got, w[i].rounds);
    house_check(h);
}

#endif
