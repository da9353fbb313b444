/* SPDX-License-Identifier: MIT
 *
 * Presets: the settings that make a pool behave like a well-known other one. Each begins with the
 * plain pool that all of them share (no bound, no age, no pause), and then sets what is its own. So
 * every preset sets the same options, and of two presets the later one wins altogether.
 */
#include "flow/text.h"

#include <string.h>

#include "flow/fields.h"

/* The numbers behind a preset's name: counts first, then at most one time. */
struct numbers {
    int64_t count[3];
    int64_t ttl_ms;
};

/* ---- what they share ------------------------------------------------------------------------ */

static void plain_limits(kp_limits *l)
{
    l->min_live = KP_NONE;
    l->max_live = KP_UNLIMITED;
    l->max_lent = KP_UNLIMITED;
    l->max_idle = KP_UNLIMITED;
    l->min_idle = KP_NONE;
    l->max_creating = KP_UNLIMITED;
    l->max_waiting = KP_UNLIMITED;
    l->idle_ttl_ms = KP_OFF;
    l->excess_ttl_ms = KP_OFF;
    l->max_age_ms = KP_OFF;
    l->age_spread_pct = 0;              /* not said, like the next four: they tune what is off */
    l->excess_over = 0;
    l->retry_max_ms = 0;
    l->shed_interval_ms = 0;
    l->reserve_after_ms = 0;
    l->validate_after_ms = KP_NONE;
    l->retry_first_ms = KP_NONE;
    l->cache_failure_ms = KP_NONE;
    l->shed_target_ms = KP_OFF;
    l->reserve = KP_NONE;
    l->prefill = KP_PREFILL_NONE;
    l->refill = KP_REFILL_LAZY;
    l->wait_order = KP_FIFO;
    l->idle_order = KP_LIFO;
    l->on_create_failure = KP_FAIL_REQUEST;
    l->over_idle = KP_DROP_RETURNED;
    l->idle_check = KP_CHECK_GET | KP_CHECK_KEEPER;
    l->excess_check = KP_CHECK_GET | KP_CHECK_KEEPER;
    l->age_check = KP_CHECK_GET | KP_CHECK_KEEPER;
    l->respects_min = KP_KIND_IDLE | KP_KIND_EXCESS;
}

static void plain(kp_options *o)
{
    plain_limits(&o->limits);
    o->budget.max_live = KP_UNLIMITED;
    o->budget.max_lent = KP_UNLIMITED;
    o->budget.max_idle = KP_UNLIMITED;
    o->budget.max_creating = KP_UNLIMITED;
    o->budget.max_waiting = KP_UNLIMITED;
    o->budget.max_keys = KP_UNLIMITED;
    o->budget.evict_other_keys = KP_OFF;
    o->budget.across = KP_ACROSS_SHARE;
    o->keep_every_ms = KP_OFF;
    o->forget_key_after_ms = 0;
}

/* In Effect and ZIO a failure in the background is an item too, which the next get is given; and
 * the pool of a key stays for ever. */
static void structured(kp_options *o)
{
    o->limits.prefill = KP_PREFILL_FIRST_GET;
    o->limits.refill = KP_REFILL_EAGER;
    o->limits.cache_failure_ms = KP_ONCE;
    o->limits.idle_order = KP_FIFO;     /* items rotate: a set yields them in insertion order */
    o->forget_key_after_ms = KP_OFF;
}

/* ---- one function for each ------------------------------------------------------------------ */

static bool effect_fixed(kp_options *o, const struct numbers *n)
{
    structured(o);
    o->limits.min_live = n->count[0];
    o->limits.max_live = n->count[0];
    return n->count[0] > 0;
}

static bool effect_range(kp_options *o, const struct numbers *n)
{
    structured(o);
    o->limits.min_live = n->count[0];
    o->limits.max_live = n->count[1];
    o->limits.excess_ttl_ms = n->ttl_ms;
    return n->count[1] > 0 && n->count[0] <= n->count[1];
}

static bool effectful(kp_options *o, const struct numbers *n)
{
    o->budget.max_lent = n->count[0];
    o->budget.across = KP_ACROSS_ARRIVAL;
    o->limits.idle_order = KP_FIFO;
    o->limits.idle_check = KP_CHECK_GET;        /* for an idle_ttl, which is off until it is set */
    return n->count[0] > 0;
}

static bool keypool(kp_options *o, const struct numbers *n)
{
    (void)n;
    o->budget.max_lent = 100;
    o->budget.max_idle = 100;
    o->budget.across = KP_ACROSS_ARRIVAL;
    o->limits.max_idle = 100;
    o->limits.idle_ttl_ms = KP_SECONDS(30);
    o->limits.idle_check = KP_CHECK_KEEPER;
    o->limits.respects_min = KP_KIND_NONE;
    o->keep_every_ms = KP_SECONDS(5);
    return true;
}

/* The defaults of commons-pool: no total, 8 of each key, nothing kept ready, no evictor. Its two
 * eviction times are excess_ttl (soft) and idle_ttl (hard, below the minimum too) here. */
static bool commons(kp_options *o, const struct numbers *n)
{
    (void)n;
    o->budget.evict_other_keys = 1;
    o->limits.max_live = 8;
    o->limits.max_idle = 8;
    o->limits.respects_min = KP_KIND_EXCESS;
    return true;
}

static bool pgbouncer(kp_options *o, const struct numbers *n)
{
    o->budget.evict_other_keys = 1;
    o->limits.max_live = n->count[0];
    o->limits.max_creating = 1;
    o->limits.reserve_after_ms = KP_SECONDS(5);         /* for a reserve, none by default */
    o->limits.max_age_ms = KP_HOURS(1);
    o->limits.idle_ttl_ms = KP_MINUTES(10);
    o->limits.validate_after_ms = KP_SECONDS(30);
    o->limits.on_create_failure = KP_FAIL_RETRY;
    o->limits.retry_first_ms = KP_SECONDS(15);
    o->limits.retry_max_ms = KP_SECONDS(15);
    o->limits.cache_failure_ms = KP_SECONDS(15);
    o->forget_key_after_ms = KP_HOURS(1);
    return n->count[0] > 0;
}

static bool hikari(kp_options *o, const struct numbers *n)
{
    o->limits.max_live = n->count[0];
    o->limits.min_idle = n->count[0];
    o->limits.refill = KP_REFILL_EAGER;
    o->limits.max_age_ms = KP_MINUTES(30);
    o->limits.age_spread_pct = 3;                       /* theirs is 2.5 */
    o->limits.idle_ttl_ms = KP_MINUTES(10);
    o->limits.validate_after_ms = 500;
    o->limits.wait_order = KP_EVENTUAL;
    o->limits.on_create_failure = KP_FAIL_RETRY;
    o->limits.retry_first_ms = 10;
    o->limits.retry_max_ms = KP_SECONDS(5);
    return n->count[0] > 0;
}

/* smax is a soft cap: above it, those that are ttl old go when something is returned, the oldest
 * first. An acquire skips all that are ttl old. Without a ttl there is no soft cap. */
static bool apr(kp_options *o, const struct numbers *n)
{
    int64_t ttl_ms = n->ttl_ms == KP_NONE ? KP_OFF : n->ttl_ms;
    o->limits.min_idle = n->count[0];
    o->limits.excess_over = n->count[1];
    o->limits.max_live = n->count[2];
    o->limits.excess_ttl_ms = ttl_ms;
    o->limits.excess_check = KP_CHECK_RETURN;
    o->limits.idle_ttl_ms = ttl_ms;
    o->limits.idle_check = KP_CHECK_GET;
    o->limits.respects_min = KP_KIND_EXCESS;
    return n->count[2] > 0 && n->count[0] <= n->count[1] && n->count[1] <= n->count[2];
}

static bool dbconnection(kp_options *o, const struct numbers *n)
{
    o->limits.min_live = n->count[0];
    o->limits.max_live = n->count[0];
    o->limits.prefill = KP_PREFILL_FIRST_GET;
    o->limits.refill = KP_REFILL_EAGER;
    o->limits.idle_order = KP_FIFO;
    o->limits.shed_target_ms = 50;
    o->limits.shed_interval_ms = 2000;
    o->limits.on_create_failure = KP_FAIL_RETRY;
    o->limits.retry_first_ms = KP_SECONDS(1);
    o->limits.retry_max_ms = KP_SECONDS(30);
    return n->count[0] > 0;
}

/* ---- by name --------------------------------------------------------------------------------- */

static const struct preset {
    const char *name;
    int         counts, times;
    bool      (*set)(kp_options *options, const struct numbers *numbers);
} presets[] = {
    { "effect-fixed", 1, 0, effect_fixed },
    { "effect-range", 2, 1, effect_range },
    { "zio-fixed", 1, 0, effect_fixed },        /* the two agree (D2, D5, D8) */
    { "zio-range", 2, 1, effect_range },
    { "effectful", 1, 0, effectful },
    { "keypool", 0, 0, keypool },
    { "commons", 0, 0, commons },
    { "pgbouncer", 1, 0, pgbouncer },
    { "hikari", 1, 0, hikari },
    { "apr", 3, 1, apr },
    { "dbconnection", 1, 0, dbconnection },
};

static size_t next_word(const char **text)
{
    *text += strspn(*text, " \t");
    return strcspn(*text, " \t");
}

/* Nothing more and nothing less than the preset takes. Zero is KP_NONE, below every count. */
static bool read_numbers(const struct preset *preset, const char *text, struct numbers *numbers)
{
    memset(numbers, 0, sizeof *numbers);
    for (int i = 0; i < preset->counts; i++) {
        size_t n = next_word(&text);
        if (!kp__text_count(text, n, KP__COUNT_MOST, &numbers->count[i])) return false;
        text += n;
    }
    for (int i = 0; i < preset->times; i++) {
        size_t n = next_word(&text);
        if (kp__text_is(text, n, "off"))
            numbers->ttl_ms = KP_OFF;
        else if (!kp__text_time(text, n, &numbers->ttl_ms))
            return false;
        text += n;
    }
    return next_word(&text) == 0;
}

int kp__preset_set(kp_options *options, const char *text)
{
    size_t n = next_word(&text);
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        kp_options changed = *options;
        struct numbers numbers;
        if (!kp__text_is(text, n, presets[i].name)) continue;
        if (!read_numbers(&presets[i], text + n, &numbers)) return KP_ECONFIG;
        plain(&changed);
        if (!presets[i].set(&changed, &numbers)) return KP_ECONFIG;
        *options = changed;
        return 0;
    }
    return KP_ECONFIG;
}
