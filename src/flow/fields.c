/* SPDX-License-Identifier: MIT
 *
 * The options, one line each. What concerns more than one of them is checked in limits.c, budgets.c
 * and open.c.
 */
#include "flow/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "flow/settings.h"

/* ---- words ----------------------------------------------------------------------------------- */

#define WORDS(name, ...) static const struct kp__spelling name[] = { __VA_ARGS__, { NULL, 0 } }

WORDS(prefills, { "none", KP_PREFILL_NONE }, { "first_get", KP_PREFILL_FIRST_GET });
WORDS(refills, { "lazy", KP_REFILL_LAZY }, { "eager", KP_REFILL_EAGER });
WORDS(wait_orders, { "fifo", KP_FIFO }, { "lifo", KP_LIFO }, { "eventual", KP_EVENTUAL });
WORDS(idle_orders, { "fifo", KP_FIFO }, { "lifo", KP_LIFO });
WORDS(on_fails, { "fail_request", KP_FAIL_REQUEST }, { "fail_retry", KP_FAIL_RETRY });
WORDS(ends, { "reuse", KP_REUSE }, { "destroy", KP_DESTROY });
WORDS(overs, { "drop_returned", KP_DROP_RETURNED }, { "drop_oldest", KP_DROP_OLDEST });
WORDS(gones, { "test", KP_GONE_TEST }, { "replace", KP_GONE_REPLACE }, { "off", KP_OFF });
WORDS(checks, { "get", KP_CHECK_GET }, { "return", KP_CHECK_RETURN },
      { "keeper", KP_CHECK_KEEPER });
WORDS(breaks, { "create", KP_BREAK_CREATE }, { "use", KP_BREAK_USE });
WORDS(acrosses, { "share", KP_ACROSS_SHARE }, { "arrival", KP_ACROSS_ARRIVAL });
WORDS(fork_ways, { "fresh", KP_FORK_FRESH }, { "refuse", KP_FORK_REFUSE });
WORDS(hit_ways, { "quick", KP_HITS_QUICK }, { "locked", KP_HITS_LOCKED },
      { "portable", KP_HITS_PORTABLE });
WORDS(deadlocks, { "off", 0 }, { "report", KP_DEADLOCK_REPORT }, { "refuse", KP_DEADLOCK_REFUSE });
WORDS(switches, { "on", 1 }, { "1", 1 }, { "off", KP_OFF });
WORDS(flags, { "on", 1 }, { "1", 1 }, { "off", 0 }, { "0", 0 });

const struct kp__spelling kp__expiries[] = {
    { "idle", KP_KIND_IDLE }, { "excess", KP_KIND_EXCESS }, { "age", KP_KIND_AGE },
    { "none", KP_KIND_NONE }, { NULL, 0 }
};

/* ---- the lists ------------------------------------------------------------------------------- */

#define FIELD(of, prefix, f, kind, takes, words, unsaid, most)                                     \
    {                                                                                              \
        prefix #f, (uint16_t)offsetof(of, f), (uint8_t)sizeof(((of *)NULL)->f), kind, takes,       \
            words, unsaid, most                                                                    \
    }
enum {
    NONE = KP__TAKES_NONE,
    UNLIMITED = KP__TAKES_UNLIMITED,
    OFF = KP__TAKES_OFF,
    ONCE = KP__TAKES_ONCE
};

#define UP_TO(f, most, takes, unsaid)                                                              \
    FIELD(OF, PREFIX, f, KP__A_COUNT, takes, NULL, unsaid, most)
#define COUNT(f, takes, unsaid)   UP_TO(f, 0, takes, unsaid)
#define GROUP(f)                  FIELD(OF, PREFIX, f, KP__A_GROUP, NONE, NULL, 0, 0)
#define TIME(f, takes, unsaid)    FIELD(OF, PREFIX, f, KP__A_TIME, takes, NULL, unsaid, 0)
#define PERCENT(f, takes, unsaid) FIELD(OF, PREFIX, f, KP__A_PERCENT, takes, NULL, unsaid, 0)
#define CHOICE(f, words, unsaid)  FIELD(OF, PREFIX, f, KP__A_CHOICE, 0, words, unsaid, 0)
#define SWITCH(f, unsaid)         FIELD(OF, PREFIX, f, KP__A_CHOICE, NONE, switches, unsaid, 0)
#define MASK(f, words, unsaid)    FIELD(OF, PREFIX, f, KP__A_MASK, 0, words, unsaid, 0)
#define END                       { NULL, 0, 0, 0, 0, NULL, 0, 0 }

#define OF     kp_limits
#define PREFIX "limits."

const struct kp__field kp__limit_fields[] = {
    COUNT(min_live, NONE, 0),
    COUNT(max_live, NONE | UNLIMITED, 10),
    COUNT(max_lent, NONE | UNLIMITED, KP_UNLIMITED),
    COUNT(max_idle, NONE | UNLIMITED, KP_UNLIMITED),
    COUNT(min_idle, NONE, 0),
    COUNT(max_creating, UNLIMITED, 2),
    COUNT(max_waiting, NONE | UNLIMITED, KP__FOLLOWS), /* from max_live */
    UP_TO(sharing, 65536, 0, 1), /* a seat is a number of 16 bits */
    PERCENT(utilization_pct, 0, 100),
    TIME(idle_ttl_ms, NONE | OFF, KP_MINUTES(10)),
    TIME(excess_ttl_ms, NONE | OFF, KP_OFF),
    TIME(max_age_ms, NONE | OFF, KP_MINUTES(30)),
    PERCENT(age_spread_pct, NONE, 20),
    COUNT(excess_over, NONE | UNLIMITED, KP__FOLLOWS), /* from min_live */
    TIME(create_timeout_ms, OFF, KP_OFF),
    TIME(validate_timeout_ms, OFF, KP_OFF),
    TIME(validate_after_ms, NONE | OFF, 1000),
    TIME(validate_every_ms, 0, KP_SECONDS(30)),
    TIME(retry_first_ms, NONE, 100),
    TIME(retry_max_ms, NONE | OFF, KP_SECONDS(30)),
    TIME(cache_failure_ms, NONE | OFF | ONCE, 0),
    COUNT(breaker_failures, OFF, KP_OFF),
    TIME(breaker_open_ms, NONE | OFF, KP_SECONDS(30)),
    PERCENT(breaker_rate_pct, OFF, KP_OFF),
    TIME(breaker_window_ms, 0, KP_SECONDS(10)),
    COUNT(breaker_calls, 0, 20),
    COUNT(breaker_probes, 0, 1),
    TIME(shed_target_ms, OFF, KP_OFF),
    TIME(shed_interval_ms, 0, 100),
    COUNT(reserve, NONE | UNLIMITED, 0),
    TIME(reserve_after_ms, NONE | OFF, KP_SECONDS(5)),
    UP_TO(weight, 65536, 0, 1), /* core/share.h */
    COUNT(floor, NONE, 0),
    COUNT(max_uses, UNLIMITED, KP_UNLIMITED),
    TIME(renew_ahead_ms, OFF, KP_OFF),
    COUNT(surplus, NONE, KP__FOLLOWS), /* from renew_ahead_ms */
    TIME(revoke_after_ms, OFF, KP_OFF),
    GROUP(group[0]),
    GROUP(group[1]),
    CHOICE(on_gone, gones, KP_GONE_TEST),
    SWITCH(refuse_late, KP_OFF),
    CHOICE(prefill, prefills, KP_PREFILL_FIRST_GET),
    CHOICE(refill, refills, KP_REFILL_LAZY),
    CHOICE(wait_order, wait_orders, KP_FIFO),
    CHOICE(idle_order, idle_orders, KP_LIFO),
    CHOICE(on_create_failure, on_fails, KP_FAIL_REQUEST),
    CHOICE(on_return, ends, KP_REUSE),
    CHOICE(over_idle, overs, KP_DROP_RETURNED),
    MASK(idle_check, checks, KP_CHECK_GET | KP_CHECK_KEEPER),
    MASK(excess_check, checks, KP_CHECK_GET | KP_CHECK_KEEPER),
    MASK(age_check, checks, KP_CHECK_GET | KP_CHECK_KEEPER),
    MASK(validate_on, checks, KP_CHECK_GET),
    MASK(respects_min, kp__expiries, KP_KIND_IDLE | KP_KIND_EXCESS),
    MASK(breaker_counts, breaks, KP_BREAK_CREATE),
    SWITCH(fail_fast, KP_OFF),
    END
};

#undef OF
#undef PREFIX
#define OF     kp_budget
#define PREFIX "budget."

/* These are filled in where a budget is read (kp_budget_read); what the user said is kept as it is,
 * with 0 for "not said" (budgets.c). create_burst follows from create_rate. */
const struct kp__field kp__budget_fields[] = {
    COUNT(max_live, NONE | UNLIMITED, KP_UNLIMITED),
    COUNT(max_lent, NONE | UNLIMITED, KP_UNLIMITED),
    COUNT(max_idle, NONE | UNLIMITED, KP_UNLIMITED),
    COUNT(max_creating, UNLIMITED, KP_UNLIMITED),
    COUNT(max_waiting, NONE | UNLIMITED, KP_UNLIMITED),
    COUNT(max_keys, NONE | UNLIMITED, KP_UNLIMITED),
    UP_TO(create_rate, 1000000000, UNLIMITED, KP_UNLIMITED), /* one per nanosecond */
    COUNT(create_burst, 0, 0),
    COUNT(group_max_live[0], NONE | UNLIMITED, KP_UNLIMITED),
    COUNT(group_max_live[1], NONE | UNLIMITED, KP_UNLIMITED),
    CHOICE(evict_other_keys, switches, 1),
    CHOICE(across, acrosses, KP_ACROSS_SHARE),
    END
};

#undef OF
#undef PREFIX
#define OF     kp_options
#define PREFIX ""

const struct kp__field kp__pool_fields[] = {
    UP_TO(threads, 1024, NONE, 0),
    TIME(deadline_ms, NONE | OFF, KP_SECONDS(30)),
    TIME(keep_every_ms, OFF, KP_OFF),
    TIME(forget_key_after_ms, NONE | OFF, KP_MINUTES(5)),
    TIME(watch_every_ms, OFF, KP_SECONDS(1)),
    TIME(leak_after_ms, OFF, KP_SECONDS(60)),
    CHOICE(on_fork, fork_ways, 0),
    CHOICE(on_misuse_abort, flags, 0),
    CHOICE(hits, hit_ways, 0),
    CHOICE(on_deadlock, deadlocks, 0),
    END
};

/* ---- values ---------------------------------------------------------------------------------- */

int64_t kp__field_most(const struct kp__field *f)
{
    return f->most ? f->most : KP__COUNT_MOST;
}

int64_t kp__field_get(const void *of, const struct kp__field *f)
{
    const char *at = (const char *)of + f->offset;
    int64_t wide;
    int32_t narrow;

    if (f->size == sizeof wide) return memcpy(&wide, at, sizeof wide), wide;
    return memcpy(&narrow, at, sizeof narrow), narrow;
}

void kp__field_put(void *of, const struct kp__field *f, int64_t value)
{
    char *at = (char *)of + f->offset;
    int32_t narrow = (int32_t)value;

    if (f->size == sizeof value) memcpy(at, &value, sizeof value);
    else memcpy(at, &narrow, sizeof narrow);
}

void kp__fields_fill(const struct kp__field *f, void *of)
{
    for (; f->name; f++)
        if (kp__field_get(of, f) == 0) kp__field_put(of, f, f->unsaid);
}

/* ---- refusals -------------------------------------------------------------------------------- */

bool kp__field_takes(const struct kp__field *f, int64_t special)
{
    int what = special == KP_NONE        ? KP__TAKES_NONE
               : special == KP_UNLIMITED ? KP__TAKES_UNLIMITED
               : special == KP_OFF       ? KP__TAKES_OFF
               : special == KP_ONCE      ? KP__TAKES_ONCE
                                         : 0;

    return (f->takes & what) != 0;
}

static const char *wrong_count(const struct kp__field *f, int64_t v)
{
    bool unlimited = f->takes & KP__TAKES_UNLIMITED;

    if (v == KP_UNLIMITED) return "must be a number, not KP_UNLIMITED";
    if (v == KP_NONE) return "must be at least 1";
    if (v < 0)
        return unlimited ? "is not a count; for no bound use KP_UNLIMITED" : "is not a count";
    if (v <= KP__COUNT_MOST) return NULL;
    return unlimited ? "is too large; for no bound use KP_UNLIMITED" : "is too large";
}

static const char *wrong_time(const struct kp__field *f, int64_t v)
{
    bool off = f->takes & KP__TAKES_OFF;

    if (v == KP_OFF) return "must be a time in ms, not KP_OFF";
    if (v == KP_ONCE) return "KP_ONCE is for limits.cache_failure_ms only";
    if (v == KP_NONE) return off ? "must be at least 1 ms, or KP_OFF" : "must be at least 1 ms";
    if (v < 0) return off ? "is not a time in ms; for never use KP_OFF" : "is not a time in ms";
    if (v <= KP__TIME_MOST) return NULL;
    return off ? "is too long; for never use KP_OFF" : "is too long";
}

static const char *wrong_number(const struct kp__field *f, int64_t v)
{
    if (f->kind == KP__A_COUNT) return wrong_count(f, v);
    if (f->kind == KP__A_TIME) return wrong_time(f, v);
    if (f->kind == KP__A_GROUP) return v < 0 ? "must be a positive number, or KP_NONE" : NULL;
    if (v >= 1 && v <= 100) return NULL;
    return f->takes & KP__TAKES_NONE  ? "must be from 1 to 100, or KP_NONE"
           : f->takes & KP__TAKES_OFF ? "must be from 1 to 100, or KP_OFF"
                                      : "must be from 1 to 100";
}

static bool is_word(const struct kp__spelling *w, int64_t v)
{
    while (w->word && w->value != v) w++;
    return w->word != NULL;
}

/* "must be one of fresh, refuse" */
static int refuse_choice(const struct kp__field *f, kp_why *why)
{
    char sentence[100] = "must be one of";

    for (const struct kp__spelling *w = f->words; w->word; w++) {
        size_t length = strlen(sentence);
        snprintf(sentence + length, sizeof sentence - length, "%s %s", w == f->words ? "" : ",",
                 w->word);
    }
    return kp__refused(why, f->name, sentence);
}

static int refuse_most(const struct kp__field *f, kp_why *why)
{
    char sentence[50];

    snprintf(sentence, sizeof sentence, "must be at most %" PRId64, f->most);
    return kp__refused(why, f->name, sentence);
}

static int64_t all_of(const struct kp__spelling *w)
{
    int64_t all = 0;

    for (; w->word; w++) all |= w->value;
    return all;
}

int kp__field_check(const struct kp__field *f, int64_t v, kp_why *why)
{
    const char *sentence = NULL;

    if (kp__field_takes(f, v)) return 0;
    if (f->kind == KP__A_CHOICE) return is_word(f->words, v) ? 0 : refuse_choice(f, why);
    if (f->most && v > f->most) return refuse_most(f, why);
    if (f->kind != KP__A_MASK) sentence = wrong_number(f, v);
    else if (v != KP_NONE && (v < 0 || (v & ~all_of(f->words))))
        sentence = "has a bit that this library does not know";
    return sentence ? kp__refused(why, f->name, sentence) : 0;
}

int kp__fields_check(const struct kp__field *f, const void *of, kp_why *why)
{
    int code = 0;

    for (; f->name && code == 0; f++) {
        int64_t value = kp__field_get(of, f);
        if (value != 0) code = kp__field_check(f, value, why);
    }
    return code;
}

int kp__reserved_check(const int64_t *words, size_t count, const char *field, kp_why *why)
{
    for (size_t i = 0; i < count; i++)
        if (words[i])
            return kp__refused(why, field, "is not zero; is the header newer than the library?");
    return 0;
}
