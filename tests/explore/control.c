/* SPDX-License-Identifier: MIT
 *
 * Control calls that run together with gets, returns and each other: budgets that change (so that
 * lanes must shut, and open with other numbers), a pause of the pool, idle resources that are
 * evicted, keys that are dropped.
 */
#include "cast_inside.h"
#include "scenarios.h"

/* ---- verbs ----------------------------------------------------------------------------------- */

static void say_budget(const char *what, const kp_budget *budget)
{
    ex_note("%s", what);
    int code = kp_budget_set(g.pool, budget, NULL);
    ex_note("%s: %s", what, kp_strerror(code));
    if (!cast_explained(code, KP_OFF, 0)) ex_fail("kp_budget_set: %s", kp_strerror(code));
}

static void live_1(void)
{
    say_budget("1 live in all", &(kp_budget){ .max_live = 1 });
}

static void lent_1(void)
{
    say_budget("1 lent and idle in all", &(kp_budget){ .max_lent = 1, .max_idle = 1 });
}

static void free_all(void)
{
    say_budget("no budget", &(kp_budget){ .max_live = KP_UNLIMITED, .max_lent = KP_UNLIMITED,
                                          .max_idle = KP_UNLIMITED });
}

/* When the drain returns 0, nothing is lent until the pool is resumed. */
static void pause_all(void)
{
    say_budget("pause", &(kp_budget){ .max_lent = KP_NONE });
    int64_t out = kp_drain(g.pool, KP_EVERY_KEY, 0);
    ex_note("drain: %d", (int)out);
    int lent = out == 0 && !ex_is_real() ? ex_add(&g.lent, 0) : 0;
    if (lent > 0) ex_fail("paused and drained, and %d are lent", lent);
    say_budget("resume", &(kp_budget){ .max_lent = KP_UNLIMITED });
}

static void evict_a(void)
{
    ex_note("evict");
    int64_t n = kp_evict(g.pool, cast_key(0), KP_NONE);
    ex_note("evict: %d", (int)n);
    ex_result((int)n);
    if (n < 0 && !cast_explained((int)n, KP_OFF, 0)) ex_fail("kp_evict: %s", kp_strerror((int)n));
}

static void drop_a(void)
{
    struct thing *list[(EX_THREADS + 1) * EACH];
    unsigned n = cast_concerned(0, list);
    uint64_t until = ex_now_ms() + 30000;

    ex_note("drop");
    int64_t out = kp_drop(g.pool, cast_key(0), 0);
    ex_note("drop: %d", (int)out);
    ex_result((int)out);
    if (out < 0 && !cast_explained((int)out, KP_OFF, 0))
        ex_fail("kp_drop: %s", kp_strerror((int)out));
    if (out >= 0) cast_have_ended(list, n);
    for (unsigned i = 0; out == 0 && i < n; i++)
        if (list[i]->phase == LIVE) ex_fail("dropped, and one of before is there");
    if (out > 0 && !ex_is_real() && ex_now_ms() < until)
        ex_fail("kp_drop did not wait, and %d are out", (int)out);
}

const struct verb control_verbs[] = {
    { 'l', "live_1", live_1, MAY_CONTROL },
    { 'c', "lent_1", lent_1, MAY_CONTROL },
    { 'C', "no_budget", free_all, MAY_CONTROL },
    { 'V', "pause_drain_resume", pause_all, MAY_CONTROL },
    { 'G', "evict", evict_a, 0 },
    { '4', "drop", drop_a, MAY_INVALIDATE },
    { 0, NULL, NULL, 0 },
};

/* ---- the scenarios --------------------------------------------------------------------------- */

static const struct stage idle_1 = { .max_live = 1, .idle = 1 };
static const struct stage held_1 = { .max_live = 1, .held = 1 };
static const struct stage idle_2 = { .max_live = 2, .idle = 2 };
static const struct stage later = { .max_live = 1, .pends = true };
static const struct stage at_least_1 = { .max_live = 2, .min_live = 1, .idle = 1 };
static const struct stage passing = { .max_live = 1, .held = 1, .eventual = true };

static const struct {
    const char *where;
    const struct stage *stage;
    const char *bodies[24];
} chosen[] = {
    { "1 idle of 1", &idle_1,
      { "gr 4", "grgr 4", "gd 4", "wr 4", "tr 4", "arar 4", "ar 4", "4 4", "4 k", "4 0", "4 x",
        "gr G", "arar G", "G k", "G G", "4 s", "4 m", "4 M", "gr V", "arar V", "SLr 4",
        "gr gr 4" } },
    { "1 held of 1", &held_1,
      { "4 R", "gr 4 R", "wr 4 R", "gr 4 D", "4 0 R", "gr G R", "V R", "gr V R", "4 V R" } },
    { "2 idle of 2", &idle_2,
      { "gr l", "grgr l", "arar l", "gr br l", "arar br c", "ar br l", "arar lC", "arar cC",
        "gr bd l", "gr l C", "gr c k", "gr br cC", "gr V l" } },
    { "created later, 1 of 1", &later, { "gr 4 J", "wr 4 J", "m 4 J", "SLr 4 J", "gr V J" } },
    { "at least 1", &at_least_1, { "gr 4", "gr G", "e 4", "gr 4e" } },
    { "eventual, 1 held of 1", &passing, { "gr 4 R", "gr l R", "grgr V R" } },
};

void add_control(void)
{
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++)
        for (const char *const *b = chosen[i].bodies; *b; b++)
            (void)scenario_add(TRIPLES, "control", chosen[i].where, chosen[i].stage, *b);
}
