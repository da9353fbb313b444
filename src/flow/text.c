/* SPDX-License-Identifier: MIT
 *
 * kp_options_set: one table says what every option is called, where it lies and what it may be.
 */
#include "flow/text.h"

#include <string.h>

#include "flow/flow.h"

/* ---- values -------------------------------------------------------------------------------- */

struct word {
    const char *word;
    int32_t     value;
};

enum kind { COUNT, GROUP, TIME, PERCENT, ENUM, MASK };

/* Words that an option may take in place of a number. */
enum { NONE = 1, UNLIMITED = 2, OFF = 4, ONCE = 8 };

static const struct word special[] = {
    { "none", KP_NONE }, { "unlimited", KP_UNLIMITED }, { "off", KP_OFF }, { "once", KP_ONCE },
};

static const struct word prefills[] = {
    { "none", KP_PREFILL_NONE }, { "first_get", KP_PREFILL_FIRST_GET }, { NULL, 0 }
};
static const struct word refills[] = {
    { "lazy", KP_REFILL_LAZY }, { "eager", KP_REFILL_EAGER }, { NULL, 0 }
};
static const struct word wait_orders[] = {
    { "fifo", KP_FIFO }, { "lifo", KP_LIFO }, { "eventual", KP_EVENTUAL }, { NULL, 0 }
};
static const struct word idle_orders[] = { { "fifo", KP_FIFO }, { "lifo", KP_LIFO }, { NULL, 0 } };
static const struct word on_fails[] = {
    { "fail_request", KP_FAIL_REQUEST }, { "fail_retry", KP_FAIL_RETRY }, { NULL, 0 }
};
static const struct word ends[] = { { "reuse", KP_REUSE }, { "destroy", KP_DESTROY }, { NULL, 0 } };
static const struct word overs[] = {
    { "drop_returned", KP_DROP_RETURNED }, { "drop_oldest", KP_DROP_OLDEST }, { NULL, 0 }
};
static const struct word acrosses[] = {
    { "share", KP_ACROSS_SHARE }, { "arrival", KP_ACROSS_ARRIVAL }, { NULL, 0 }
};
static const struct word forks[] = {
    { "fresh", KP_FORK_FRESH }, { "refuse", KP_FORK_REFUSE }, { NULL, 0 }
};
static const struct word hit_ways[] = {
    { "quick", KP_HITS_QUICK }, { "locked", KP_HITS_LOCKED },
    { "portable", KP_HITS_PORTABLE }, { NULL, 0 }
};
static const struct word deadlocks[] = {
    { "off", 0 }, { "report", KP_DEADLOCK_REPORT }, { "refuse", KP_DEADLOCK_REFUSE }, { NULL, 0 }
};
static const struct word switches[] = { { "on", 1 }, { "1", 1 }, { "off", KP_OFF }, { NULL, 0 } };
static const struct word flags[] = {
    { "on", 1 }, { "1", 1 }, { "off", 0 }, { "0", 0 }, { NULL, 0 }
};
static const struct word checks[] = {
    { "get", KP_CHECK_GET }, { "return", KP_CHECK_RETURN }, { "keeper", KP_CHECK_KEEPER },
    { NULL, 0 }
};
static const struct word expiries[] = {
    { "idle", KP_KIND_IDLE }, { "excess", KP_KIND_EXCESS }, { "age", KP_KIND_AGE },
    { "none", KP_KIND_NONE }, { NULL, 0 }
};
static const struct word breaks[] = {
    { "create", KP_BREAK_CREATE }, { "use", KP_BREAK_USE }, { NULL, 0 }
};

static const struct word gones[] = {
    { "test", KP_GONE_TEST }, { "replace", KP_GONE_REPLACE }, { "off", KP_OFF }, { NULL, 0 }
};

/* ---- the table ----------------------------------------------------------------------------- */

struct option {
    const char        *name;        /* as in C; it is known without its _ms or _pct, too */
    const struct word *words;       /* of ENUM and MASK */
    uint16_t           offset;
    uint8_t            size, kind, takes;
};

#define AT(name, field, kind, takes, words)                                     \
    { name, words, (uint16_t)offsetof(kp_options, field),                       \
      (uint8_t)sizeof(((kp_options *)0)->field), kind, takes }
#define LIMIT(field, kind, takes)  AT("limits." #field, limits.field, kind, takes, NULL)
#define LIMITS(field, kind, words) AT("limits." #field, limits.field, kind, 0, words)
#define BUDGET(field)              AT("budget." #field, budget.field, COUNT, NONE | UNLIMITED, NULL)
#define BUDGETS(field, words)      AT("budget." #field, budget.field, ENUM, 0, words)
#define WHOLE(field, kind, takes)  AT(#field, field, kind, takes, NULL)
#define WHOLES(field, words)       AT(#field, field, ENUM, 0, words)

static const struct option options_table[] = {
    LIMIT(min_live, COUNT, NONE),
    LIMIT(max_live, COUNT, NONE | UNLIMITED),
    LIMIT(max_lent, COUNT, NONE | UNLIMITED),
    LIMIT(max_idle, COUNT, NONE | UNLIMITED),
    LIMIT(min_idle, COUNT, NONE),
    LIMIT(max_creating, COUNT, UNLIMITED),
    LIMIT(max_waiting, COUNT, NONE | UNLIMITED),
    LIMIT(sharing, COUNT, 0),
    LIMIT(utilization_pct, PERCENT, 0),
    LIMIT(idle_ttl_ms, TIME, NONE | OFF),
    LIMIT(excess_ttl_ms, TIME, NONE | OFF),
    LIMIT(max_age_ms, TIME, NONE | OFF),
    LIMIT(age_spread_pct, PERCENT, NONE),
    LIMIT(excess_over, COUNT, NONE | UNLIMITED),
    LIMIT(create_timeout_ms, TIME, OFF),
    LIMIT(validate_timeout_ms, TIME, OFF),
    LIMIT(validate_after_ms, TIME, NONE | OFF),
    LIMIT(retry_first_ms, TIME, NONE),
    LIMIT(retry_max_ms, TIME, NONE | OFF),
    LIMIT(cache_failure_ms, TIME, NONE | OFF | ONCE),
    LIMIT(breaker_failures, COUNT, OFF),
    LIMIT(breaker_open_ms, TIME, NONE | OFF),
    LIMIT(shed_target_ms, TIME, OFF),
    LIMIT(shed_interval_ms, TIME, 0),
    LIMIT(reserve, COUNT, NONE | UNLIMITED),
    LIMIT(reserve_after_ms, TIME, NONE | OFF),
    LIMIT(weight, COUNT, 0),
    LIMIT(floor, COUNT, NONE),
    LIMIT(max_uses, COUNT, UNLIMITED),
    LIMIT(validate_every_ms, TIME, 0),
    LIMITS(on_gone, ENUM, gones),
    LIMIT(renew_ahead_ms, TIME, OFF),
    LIMIT(surplus, COUNT, NONE),
    LIMIT(breaker_rate_pct, PERCENT, OFF),
    LIMIT(breaker_window_ms, TIME, 0),
    LIMIT(breaker_calls, COUNT, 0),
    LIMIT(breaker_probes, COUNT, 0),
    LIMITS(refuse_late, ENUM, switches),
    LIMIT(revoke_after_ms, TIME, OFF),
    LIMIT(group[0], GROUP, NONE),
    LIMIT(group[1], GROUP, NONE),
    LIMITS(prefill, ENUM, prefills),
    LIMITS(refill, ENUM, refills),
    LIMITS(wait_order, ENUM, wait_orders),
    LIMITS(idle_order, ENUM, idle_orders),
    LIMITS(on_create_failure, ENUM, on_fails),
    LIMITS(on_return, ENUM, ends),
    LIMITS(over_idle, ENUM, overs),
    LIMITS(idle_check, MASK, checks),
    LIMITS(excess_check, MASK, checks),
    LIMITS(age_check, MASK, checks),
    LIMITS(validate_on, MASK, checks),
    LIMITS(respects_min, MASK, expiries),
    LIMITS(breaker_counts, MASK, breaks),
    LIMITS(fail_fast, ENUM, switches),

    BUDGET(max_live),
    BUDGET(max_lent),
    BUDGET(max_idle),
    AT("budget.max_creating", budget.max_creating, COUNT, UNLIMITED, NULL),
    BUDGET(max_waiting),
    BUDGET(max_keys),
    AT("budget.create_rate", budget.create_rate, COUNT, UNLIMITED, NULL),
    AT("budget.create_burst", budget.create_burst, COUNT, 0, NULL),
    BUDGET(group_max_live[0]),
    BUDGET(group_max_live[1]),
    BUDGETS(evict_other_keys, switches),
    BUDGETS(across, acrosses),

    WHOLE(threads, COUNT, NONE),
    WHOLE(deadline_ms, TIME, NONE | OFF),
    WHOLE(keep_every_ms, TIME, OFF),
    WHOLE(forget_key_after_ms, TIME, NONE | OFF),
    WHOLE(watch_every_ms, TIME, OFF),
    WHOLE(leak_after_ms, TIME, OFF),
    WHOLES(on_fork, forks),
    WHOLES(on_misuse_abort, flags),
    WHOLES(hits, hit_ways),
    WHOLES(on_deadlock, deadlocks),
};

/* ---- reading ------------------------------------------------------------------------------- */

bool kp__text_is(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* The digits at the start of s; how many there are, or 0 where the number is above `most`. */
static size_t read_digits(const char *s, size_t n, int64_t most, int64_t *out)
{
    int64_t value = 0;
    size_t i = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
        int digit = s[i] - '0';
        if (value > (most - digit) / 10) return 0;
        value = value * 10 + digit;
    }
    *out = value;
    return i;
}

/* A number and the name of its unit; the first unit has no name. */
static bool read_number(const char *s, size_t n, const struct word *units, int64_t most,
                        int64_t *out)
{
    int64_t value = 0;
    size_t digits = read_digits(s, n, most, &value);
    if (digits == 0) return false;
    for (; units->word; units++) {
        if (!kp__text_is(s + digits, n - digits, units->word)) continue;
        if (value > most / units->value) return false;
        *out = value == 0 ? KP_NONE : value * units->value;
        return true;
    }
    return false;
}

bool kp__text_count(const char *s, size_t n, int64_t most, int64_t *out)
{
    static const struct word units[] = { { "", 1 }, { "k", 1000 }, { "M", 1000000 }, { NULL, 0 } };
    return read_number(s, n, units, most, out);
}

bool kp__text_time(const char *s, size_t n, int64_t *out)
{
    static const struct word units[] = { { "", 1 },        { "ms", 1 },      { "s", 1000 },
                                         { "min", 60000 }, { "h", 3600000 }, { NULL, 0 } };
    return read_number(s, n, units, KP__TIME_MOST, out);
}

static bool read_percent(const char *s, size_t n, int64_t *out)
{
    static const struct word units[] = { { "", 1 }, { "%", 1 }, { NULL, 0 } };
    return read_number(s, n, units, 100, out);
}

static bool read_special(const char *s, size_t n, int64_t *out)
{
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        if (!kp__text_is(s, n, special[i].word)) continue;
        *out = special[i].value;
        return true;
    }
    return false;
}

static bool takes(const struct option *o, int64_t value)
{
    switch (value) {
    case KP_NONE: return (o->takes & NONE) != 0;
    case KP_UNLIMITED: return (o->takes & UNLIMITED) != 0;
    case KP_OFF: return (o->takes & OFF) != 0;
    case KP_ONCE: return (o->takes & ONCE) != 0;
    default: return true;
    }
}

static bool read_word(const struct word *words, const char *s, size_t n, int64_t *out)
{
    for (; words->word; words++) {
        if (!kp__text_is(s, n, words->word)) continue;
        *out = words->value;
        return true;
    }
    return false;
}

/* Words between commas or bars. "none" stands for no kind of expiry, so it stands alone. */
static bool read_mask(const struct word *words, const char *s, int64_t *out)
{
    int64_t all = 0;
    int64_t one = 0;
    for (;; s++) {
        size_t n = strcspn(s, ",|");
        if (!read_word(words, s, n, &one)) return false;
        all |= one;
        s += n;
        if (!*s) break;
    }
    if (words == expiries && (all & KP_KIND_NONE) && all != KP_KIND_NONE) return false;
    *out = all;
    return true;
}

static bool read_value(const struct option *o, const char *s, int64_t *out)
{
    size_t n = strlen(s);
    bool ok = false;
    if (o->kind == ENUM) return read_word(o->words, s, n, out);
    if (o->kind == MASK) return read_mask(o->words, s, out);
    if (read_special(s, n, out)) return takes(o, *out);
    if (o->kind == COUNT) ok = kp__text_count(s, n, KP__COUNT_MOST, out);
    if (o->kind == GROUP) ok = kp__text_count(s, n, INT64_MAX, out);
    if (o->kind == TIME) ok = kp__text_time(s, n, out);
    if (o->kind == PERCENT) ok = read_percent(s, n, out);
    return ok && takes(o, *out);
}

/* ---- setting ------------------------------------------------------------------------------- */

static bool is_called(const struct option *o, const char *name)
{
    size_t full = strlen(o->name);
    size_t unit = o->kind == TIME ? strlen("_ms") : o->kind == PERCENT ? strlen("_pct") : 0;
    return strcmp(o->name, name) == 0 || kp__text_is(o->name, full - unit, name);
}

static void store(kp_options *options, const struct option *o, int64_t value)
{
    void *field = (char *)options + o->offset;
    int32_t small = (int32_t)value;     /* ENUM and MASK only: their words are int32_t */
    if (o->size == sizeof value)
        memcpy(field, &value, sizeof value);
    else
        memcpy(field, &small, sizeof small);
}

int kp_options_set(kp_options *options, const char *name, const char *value)
{
    if (!options) return kp__misuse(NULL, NULL, "kp_options_set: options is NULL");
    if (!name) return KP_ENOTFOUND;
    if (strcmp(name, "preset") == 0) return value ? kp__preset_set(options, value) : KP_ECONFIG;
    for (size_t i = 0; i < sizeof options_table / sizeof *options_table; i++) {
        const struct option *o = &options_table[i];
        int64_t number = 0;
        if (!is_called(o, name)) continue;
        if (!value || !read_value(o, value, &number)) return KP_ECONFIG;
        store(options, o, number);
        return 0;
    }
    return KP_ENOTFOUND;
}
