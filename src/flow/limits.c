/* SPDX-License-Identifier: MIT
 *
 * Limits: from what the user said to the rules that the core decides by. Zero means "not said"
 * (R2); what is impossible or contradicts itself is refused with the field's name.
 */
#include <stdio.h>
#include <string.h>

#include "flow/event.h"
#include "flow/fields.h"
#include "flow/settings.h"

/* ---- what was said, and what follows --------------------------------------------------------- */

/* What follows in `base`, and is said to be just what follows now, goes on following: so limits
 * that were read can be set again. */
static void go_on_following(kp_limits *said, const kp_limits *base)
{
    kp_limits follows = *said;

    for (const struct kp__field *f = kp__limit_fields; f->name; f++)
        if (kp__field_get(base, f) == KP__FOLLOWS) kp__field_put(&follows, f, KP__FOLLOWS);
    const kp_limits given = kp__limits_given(&follows);
    for (const struct kp__field *f = kp__limit_fields; f->name; f++)
        if (kp__field_get(said, f) == kp__field_get(&given, f))
            kp__field_put(said, f, kp__field_get(&follows, f));
}

kp_limits kp__limits_merge(const kp_limits *said, const kp_limits *base)
{
    kp_limits out = *said; /* reserved words too: kp__rules_make looks at them */

    for (const struct kp__field *f = kp__limit_fields; f->name; f++) {
        int64_t value = kp__field_get(said, f);
        if (value == 0) value = base ? kp__field_get(base, f) : f->unsaid;
        kp__field_put(&out, f, value == KP_NONE ? 0 : value);
    }
    if (base) go_on_following(&out, base);
    return out;
}

kp_limits kp__limits_given(const kp_limits *base)
{
    kp_limits out = *base;

    bool few = out.max_live >= 0 && out.max_live < (INT32_MAX - 64) / 4; /* it may be unlimited */
    if (out.max_waiting == KP__FOLLOWS)
        out.max_waiting = few ? 4 * out.max_live + 64 : KP_UNLIMITED;
    if (out.excess_over == KP__FOLLOWS) out.excess_over = out.min_live;
    if (out.surplus == KP__FOLLOWS) out.surplus = out.renew_ahead_ms != KP_OFF;
    return out;
}

kp_limits kp__limits_read(const kp_limits *base)
{
    kp_limits out = kp__limits_given(base);

    for (const struct kp__field *f = kp__limit_fields; f->name; f++)
        if (kp__field_get(&out, f) == 0) kp__field_put(&out, f, KP_NONE);
    return out;
}

kp_limits kp__limits_taken(const kp_limits *left, const kp_limits *given, const kp_limits *base)
{
    kp_limits out = *left;

    for (const struct kp__field *f = kp__limit_fields; f->name; f++) {
        int64_t value = kp__field_get(left, f);
        if (value == kp__field_get(given, f)) value = kp__field_get(base, f); /* not touched */
        kp__field_put(&out, f, value == KP_NONE ? 0 : value);
    }
    return out;
}

/* ---- refusals -------------------------------------------------------------------------------- */

int kp__refused(kp_why *why, const char *field, const char *sentence)
{
    kp__say(why, KP_ECONFIG, NULL);
    if (!why) return KP_ECONFIG;
    snprintf(why->field, sizeof why->field, "%s", field);
    snprintf(why->text, sizeof why->text, "%s: %s", field, sentence);
    return KP_ECONFIG;
}

/* In merged limits zero is zero. */
static int check_fields(const kp_limits *l, kp_why *why)
{
    int code = 0;

    for (const struct kp__field *f = kp__limit_fields; f->name && code == 0; f++) {
        int64_t value = kp__field_get(l, f);
        code = kp__field_check(f, value ? value : KP_NONE, why);
    }
    return code;
}

static bool more(int64_t a, int64_t b)
{
    return kp__count(a) > kp__count(b);
}

static int contradiction(const kp_limits *l, kp_why *why)
{
    if (more(l->min_live, l->max_live))
        return kp__refused(why, "limits.min_live", "is above limits.max_live");
    if (more(l->min_idle, l->max_idle))
        return kp__refused(why, "limits.min_idle", "is above limits.max_idle");
    if (more(l->min_idle, l->max_live))
        return kp__refused(why, "limits.min_idle", "is above limits.max_live");
    if (more(l->floor, l->max_live))
        return kp__refused(why, "limits.floor", "is above limits.max_live");
    if (l->retry_max_ms != KP_OFF && l->retry_first_ms > l->retry_max_ms)
        return kp__refused(why, "limits.retry_first_ms", "is above limits.retry_max_ms");
    if (l->fail_fast == 1 && l->on_create_failure == KP_FAIL_RETRY)
        return kp__refused(why, "limits.fail_fast",
                           "contradicts limits.on_create_failure = KP_FAIL_RETRY");
    if (l->fail_fast == 1 && l->retry_first_ms == 0)
        return kp__refused(why, "limits.fail_fast",
                           "needs a pause, but limits.retry_first_ms is KP_NONE");
    if (l->renew_ahead_ms != KP_OFF && l->max_age_ms != KP_OFF &&
        l->renew_ahead_ms * 100 >= l->max_age_ms * (100 - l->age_spread_pct))
        return kp__refused(why, "limits.renew_ahead_ms",
                           "is not below limits.max_age_ms minus its spread");
    if (l->breaker_rate_pct != KP_OFF && l->breaker_counts == 0)
        return kp__refused(why, "limits.breaker_rate_pct",
                           "counts nothing: limits.breaker_counts is KP_NONE");
    if (l->wait_order == KP_LIFO && l->shed_target_ms != KP_OFF)
        return kp__refused(why, "limits.wait_order", "KP_LIFO contradicts limits.shed_target_ms");
    if ((l->respects_min & KP_KIND_NONE) && l->respects_min != KP_KIND_NONE)
        return kp__refused(why, "limits.respects_min", "KP_KIND_NONE contradicts the other kinds");
    if (l->revoke_after_ms != KP_OFF && l->sharing > 1)
        return kp__refused(why, "limits.revoke_after_ms", "contradicts limits.sharing above 1");
    return kp__reserved_check(l->reserved, sizeof l->reserved / sizeof *l->reserved,
                              "limits.reserved", why);
}

/* ---- against the budgets --------------------------------------------------------------------- */

static bool above(int64_t each, int64_t keys, int64_t cap)
{
    return cap != KP__UNBOUND && each > 0 && each > cap / keys; /* each * keys > cap */
}

static int too_high(kp_why *why, bool floor, const char *budget, const struct kp__bounds *bounds,
                    int64_t keys)
{
    const char *field = floor ? "limits.floor" : "limits.min_live";
    char sentence[120];

    if (bounds->changing) {
        snprintf(sentence, sizeof sentence, "is below %s%s", field,
                 keys > 1 ? " times budget.max_keys" : "");
        return kp__refused(why, budget, sentence);
    }
    snprintf(sentence, sizeof sentence, "%s %s",
             keys > 1 ? "multiplied by budget.max_keys is above" : "is above", budget);
    return kp__refused(why, field, sentence);
}

int kp__rules_fit_driver(const struct kp__rules *rules, const kp_driver *driver, kp_why *why)
{
    if (rules->revoke_after == KP__NEVER || driver->revoke) return 0;
    return kp__refused(why, "limits.revoke_after_ms", "needs driver.revoke");
}

int kp__rules_fit(const struct kp__rules *rules, const struct kp__bounds *bounds, kp_why *why)
{
    const int64_t kept[] = { rules->min_live, rules->floor };

    for (int64_t keys = 1;; keys = bounds->keys) { /* one key first: that gives the plainer text */
        for (int floor = 0; floor < 2; floor++) {
            if (above(kept[floor], keys, bounds->live))
                return too_high(why, floor, "budget.max_live", bounds, keys);
            for (int g = 0; g < KP__GROUPS; g++)
                if (rules->group[g] && above(kept[floor], keys, bounds->group[g]))
                    return too_high(why, floor, kp__group_fields[g], bounds, keys);
        }
        if (above(rules->floor, keys, bounds->lent))
            return too_high(why, true, "budget.max_lent", bounds, keys);
        if (keys == bounds->keys) return 0;
    }
}

int kp__rules_add_up(const struct kp__pool *pool, const struct kp__rules *rules,
                     const struct kp__rules *old, kp_why *why)
{
    const struct kp__core *core = &pool->core;
    int64_t minima = core->minima - old->min_live + rules->min_live;
    int64_t floors = core->floors - old->floor + rules->floor;
    static const char live[] = "all keys together would keep more than budget.max_live";
    static const char lent[] = "of all keys together would be above budget.max_lent";

    if (rules->min_live > old->min_live && minima > core->live.cap)
        return kp__refused(why, "limits.min_live", live);
    if (rules->floor > old->floor && floors > core->live.cap)
        return kp__refused(why, "limits.floor", live);
    if (rules->floor > old->floor && floors > kp__lent_bound(core->lent.cap))
        return kp__refused(why, "limits.floor", lent);
    return 0;
}

/* ---- rules ----------------------------------------------------------------------------------- */

int64_t kp__count(int64_t said)
{
    return said == KP_UNLIMITED || said == KP_OFF ? KP__UNBOUND : said == KP_NONE ? 0 : said;
}

uint64_t kp__span(int64_t said_ms)
{
    return said_ms == KP_OFF ? KP__NEVER : said_ms < 0 ? 0 : (uint64_t)said_ms * 1000000;
}

static void fill_counts(struct kp__rules *r, const kp_limits *l)
{
    r->min_live = l->min_live;
    r->max_live = kp__count(l->max_live);
    r->max_lent = kp__count(l->max_lent);
    r->max_idle = kp__count(l->max_idle);
    r->min_idle = l->min_idle;
    r->max_creating = kp__count(l->max_creating);
    r->max_waiting = kp__count(l->max_waiting);
    r->sharing = l->sharing;
    r->utilization_pct = l->utilization_pct;
    r->excess_over = kp__count(l->excess_over);
    r->breaker_failures = kp__count(l->breaker_failures);
    r->reserve = r->max_live == KP__UNBOUND   ? 0
                 : l->reserve == KP_UNLIMITED ? INT32_MAX
                                              : l->reserve;
    r->weight = l->weight;
    r->floor = l->floor;
    r->max_uses = kp__count(l->max_uses);
    r->on_gone = l->on_gone;
    r->surplus = l->surplus;
    r->breaker_rate = l->breaker_rate_pct == KP_OFF ? 0 : (uint64_t)l->breaker_rate_pct;
    r->breaker_calls = (uint64_t)l->breaker_calls;
    r->breaker_probes = (uint64_t)l->breaker_probes;
    r->age_spread_pct = l->age_spread_pct;
    memcpy(r->group, l->group, sizeof r->group);
}

static void fill_times(struct kp__rules *r, const kp_limits *l)
{
    r->idle_ttl = kp__span(l->idle_ttl_ms);
    r->excess_ttl = kp__span(l->excess_ttl_ms);
    r->max_age = kp__span(l->max_age_ms);
    r->create_timeout = kp__span(l->create_timeout_ms);
    r->validate_timeout = kp__span(l->validate_timeout_ms);
    r->validate_after = kp__span(l->validate_after_ms);
    r->validate_every =
        l->validate_on & KP_CHECK_KEEPER ? kp__span(l->validate_every_ms) : KP__NEVER;
    r->retry_first = kp__span(l->retry_first_ms);
    r->retry_max = kp__span(l->retry_max_ms);
    r->cache_failure = kp__span(l->cache_failure_ms);
    r->breaker_open = kp__span(l->breaker_open_ms);
    r->breaker_window = kp__span(l->breaker_window_ms);
    r->shed_target = kp__span(l->shed_target_ms);
    r->shed_interval = kp__span(l->shed_interval_ms);
    r->reserve_after = kp__span(l->reserve_after_ms);
    r->renew_ahead = l->renew_ahead_ms == KP_OFF ? 0 : kp__span(l->renew_ahead_ms);
    r->revoke_after = kp__span(l->revoke_after_ms);
}

/* How many may be live without an idle one ending at once, or at the next get, by expiry of this
 * kind. */
static int64_t lasting(const struct kp__rules *r, uint64_t ttl, uint32_t check, uint32_t kind)
{
    int64_t most = (r->respects_min & kind) ? r->min_live : 0;

    if (ttl > 0 || !(check & (KP_CHECK_GET | KP_CHECK_KEEPER))) return KP__UNBOUND;
    return kind == KP_KIND_EXCESS && r->excess_over > most ? r->excess_over : most;
}

static void fill_lasting(struct kp__rules *r)
{
    const struct {
        int64_t most;
        const char *field;
    } ways[] = {
        { lasting(r, r->idle_ttl, r->idle_check, KP_KIND_IDLE), "limits.idle_ttl_ms" },
        { lasting(r, r->excess_ttl, r->excess_check, KP_KIND_EXCESS), "limits.excess_ttl_ms" },
        { lasting(r, r->max_age, r->age_check, KP_KIND_AGE), "limits.max_age_ms" },
    };

    r->lasting = KP__UNBOUND;
    r->lasting_by = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (ways[i].most >= r->lasting) continue;
        r->lasting = ways[i].most;
        r->lasting_by = ways[i].field;
    }
}

static void fill_choices(struct kp__rules *r, const kp_limits *l)
{
    /* may there ever be more to make than what is asked for? */
    bool ahead = r->min_live > 0 || r->min_idle > 0 || r->utilization_pct < 100;

    r->prefill = ahead && l->prefill == KP_PREFILL_FIRST_GET;
    r->eager = l->refill == KP_REFILL_EAGER;
    r->wait_lifo = l->wait_order == KP_LIFO;
    r->wait_eventual = l->wait_order == KP_EVENTUAL;
    r->idle_lifo = l->idle_order == KP_LIFO;
    r->retry_requests = l->on_create_failure == KP_FAIL_RETRY;
    r->reuse = l->on_return == KP_REUSE;
    r->drop_oldest = l->over_idle == KP_DROP_OLDEST;
    r->cache_once = l->cache_failure_ms == KP_ONCE;
    r->fail_fast = l->fail_fast == 1;
    r->refuse_late = l->refuse_late == 1;
    r->idle_check = r->idle_ttl == KP__NEVER ? 0 : (uint32_t)l->idle_check; /* it never expires */
    r->excess_check = r->excess_ttl == KP__NEVER ? 0 : (uint32_t)l->excess_check;
    r->age_check = (uint32_t)l->age_check;
    r->validate_on = (uint32_t)l->validate_on;
    r->respects_min = (uint32_t)l->respects_min;
    r->breaker_counts = (uint32_t)l->breaker_counts;
    fill_lasting(r);
    r->clocked = r->idle_ttl != KP__NEVER || r->excess_ttl != KP__NEVER ||
                 r->max_age != KP__NEVER || r->shed_target != KP__NEVER || r->refuse_late ||
                 r->revoke_after != KP__NEVER;
}

int kp__rules_make(const struct kp__world *world, const kp_limits *limits, struct kp__rules **out,
                   kp_why *why)
{
    kp_limits given = kp__limits_given(limits);
    struct kp__rules *r;
    int code;

    *out = NULL;
    if ((code = check_fields(&given, why)) != 0) return code;
    if ((code = contradiction(&given, why)) != 0) return code;
    if ((r = kp__alloc(world, sizeof *r, 16)) == NULL) return kp__say(why, KP_ENOMEM, NULL);
    fill_counts(r, &given);
    fill_times(r, &given);
    fill_choices(r, &given);
    r->said = *limits;
    *out = r;
    return 0;
}

void kp__rules_drop(const struct kp__world *world, struct kp__rules *rules)
{
    kp__free(world, rules, sizeof *rules);
}
