/* SPDX-License-Identifier: MIT
 *
 * Plans as values: the pauses of a schedule, what is tried again, and which plans make no sense.
 */
#include "flow/settings.h"

/* ---- does a plan make sense? ---------------------------------------------------------------- */

/* A number of a plan: zero is "not said" (R2), and KP_NONE, if `none` allows it, means zero. */
struct number {
    const char *field;
    size_t      offset;
    int64_t     most;
    bool        none;
    int64_t     endless;                /* KP_UNLIMITED or KP_OFF is a value; 0: neither is */
    const char *sentence;
};

#define NUMBER(f, most, none, endless, sentence) \
    { "plan." #f, offsetof(kp_plan, f), most, none, endless, sentence }

static const char must_be_count[] = "must be a count, KP_NONE or KP_UNLIMITED";
static const char must_be_time[] = "must be a time, KP_NONE or KP_OFF";
static const char must_be_finite[] = "must be a finite time, or KP_NONE";
static const char newer[] = "is not zero; is the header newer than the library?";

static const struct number numbers[] = {
    NUMBER(schedule.times, INT64_MAX, true, KP_UNLIMITED, must_be_count),
    NUMBER(schedule.first_ms, INT64_MAX, true, 0, must_be_finite),
    NUMBER(schedule.max_ms, INT64_MAX, true, KP_OFF, must_be_time),
    NUMBER(schedule.factor_pct, INT64_MAX, true, 0, "must be a percentage, or KP_NONE"),
    NUMBER(schedule.jitter_pct, 100, true, 0, "must be from 1 to 100, or KP_NONE"),
    NUMBER(schedule.for_ms, INT64_MAX, true, KP_OFF, must_be_time),
    NUMBER(schedule.reserved[0], 0, false, 0, newer),
    NUMBER(schedule.reserved[1], 0, false, 0, newer),
    NUMBER(each_ms, INT64_MAX, true, KP_OFF, must_be_time),
    NUMBER(on_error, KP_DESTROY, false, 0, "must be KP_REUSE or KP_DESTROY"),
    NUMBER(reserved[0], 0, false, 0, newer),
    NUMBER(reserved[1], 0, false, 0, newer),
    NUMBER(reserved[2], 0, false, 0, newer),
    NUMBER(reserved[3], 0, false, 0, newer),
};

static const struct number *bad_number(const kp_plan *plan)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const struct number *n = &numbers[i];
        int64_t v = *(const int64_t *)(const void *)((const char *)plan + n->offset);
        bool meant = v >= 0 ? v <= n->most : (v == KP_NONE && n->none) || v == n->endless;
        if (!meant) return n;
    }
    return NULL;
}

int kp__plan_check(const kp_plan *plan)
{
    const struct number *bad = bad_number(plan);
    int64_t within = plan->ask.within_ms;
    if (within < 0 && within != KP_NONE && within != KP_OFF)
        return kp__refused(plan->ask.why, "plan.ask.within_ms", must_be_time);
    if (bad) return kp__refused(plan->ask.why, bad->field, bad->sentence);
    if (plan->fallbacks > 0 && !plan->fallback)
        return kp__refused(plan->ask.why, "plan.fallback", "is NULL, but plan.fallbacks is not 0");
    if (plan->fallbacks > SIZE_MAX / sizeof *plan->fallback)
        return kp__refused(plan->ask.why, "plan.fallbacks", "is too large");
    return 0;
}

/* ---- schedules ------------------------------------------------------------------------------ */

/* R2 for a number of a schedule. */
static int64_t or_default(int64_t value, int64_t unsaid)
{
    if (value == 0) return unsaid;
    if (value == KP_NONE) return 0;
    return value < 0 ? INT64_MAX : value;
}

static int64_t percent_of(int64_t value, int64_t percent)
{
    if (percent > 0 && value > INT64_MAX / percent) return INT64_MAX;
    return value * percent / 100;
}

static int64_t full_pause(const kp_schedule *schedule, int64_t attempt)
{
    int64_t most = or_default(schedule->max_ms, KP_SECONDS(30));
    int64_t pause = or_default(schedule->first_ms, 100);
    int64_t factor = or_default(schedule->factor_pct, 200);
    for (int64_t i = 1; i < attempt && pause < most; i++) {
        int64_t next = percent_of(pause, factor);
        if (next == pause && (factor <= 100 || pause == 0)) break;
        pause = next == pause ? pause + 1 : next; /* rounding must not keep it from growing */
    }
    return pause < most ? pause : most;
}

int64_t kp_schedule_pause_ms(const kp_schedule *schedule, int64_t attempt, int64_t elapsed_ms,
                             uint64_t random)
{
    if (!schedule || attempt < 1 || elapsed_ms < 0) return -1;
    if (attempt > or_default(schedule->times, 0)) return -1;
    if (bad_number(&(kp_plan){ .schedule = *schedule })) return -1;
    int64_t pause = full_pause(schedule, attempt);
    uint64_t part = (uint64_t)percent_of(pause, or_default(schedule->jitter_pct, 0));
    pause -= (int64_t)(random % (part + 1));
    return pause > or_default(schedule->for_ms, INT64_MAX) - elapsed_ms ? -1 : pause;
}

/* ---- what is tried again -------------------------------------------------------------------- */

bool kp_retry_any(int status, void *arg)
{
    (void)arg;
    return status < 0;
}

bool kp_retry_helps(int status, void *arg)
{
    (void)arg;
    return kp_error_find(status)->retry != KP_RETRY_NEVER;
}
