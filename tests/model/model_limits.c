/* SPDX-License-Identifier: MIT
 *
 * The model's options: the given values, the defaults of the others, and what is refused.
 */
#include "model_inside.h"

#define MS UINT64_C(1000000)

/* ---- limits ---------------------------------------------------------------------------------- */

static void count_said(int64_t said, int64_t *count)
{
    if (said == 0) return;
    *count = said == KP_NONE ? 0 : said == KP_UNLIMITED || said == KP_OFF ? NO_LIMIT : said;
}

static void time_said(int64_t said_ms, uint64_t *ns)
{
    if (said_ms == 0) return;
    *ns = said_ms == KP_NONE ? 0 : said_ms == KP_OFF ? FOREVER : (uint64_t)said_ms * 1000000;
}

static void mask_said(int32_t said, uint32_t *mask)
{
    if (said != 0) *mask = said == KP_NONE ? 0 : (uint32_t)said;
}

static void choices_said(const kp_limits *said, struct model_rules *rules)
{
    if (said->on_gone) rules->spares_others = said->on_gone == KP_OFF;
    if (said->on_gone) rules->tests_others = said->on_gone == KP_GONE_TEST;
    if (said->prefill) rules->prefill = said->prefill == KP_PREFILL_FIRST_GET;
    if (said->refill) rules->eager = said->refill == KP_REFILL_EAGER;
    if (said->wait_order) rules->wait_lifo = said->wait_order == KP_LIFO;
    if (said->idle_order) rules->idle_lifo = said->idle_order == KP_LIFO;
    if (said->on_create_failure) rules->retry = said->on_create_failure == KP_FAIL_RETRY;
    if (said->on_return) rules->reuse = said->on_return == KP_REUSE;
    if (said->over_idle) rules->drop_oldest = said->over_idle == KP_DROP_OLDEST;
}

void model_rules(const kp_limits *said, struct model_rules *rules)
{
    count_said(said->min_live, &rules->min_live);
    count_said(said->max_live, &rules->max_live);
    count_said(said->max_lent, &rules->max_lent);
    count_said(said->max_idle, &rules->max_idle);
    count_said(said->min_idle, &rules->min_idle);
    count_said(said->max_creating, &rules->max_creating);
    count_said(said->max_waiting, &rules->said_waiting);
    count_said(said->sharing, &rules->sharing);
    count_said(said->weight, &rules->weight);
    count_said(said->floor, &rules->floor);
    count_said(said->max_uses, &rules->max_uses);
    count_said(said->age_spread_pct, &rules->spread_pct);
    count_said(said->utilization_pct, &rules->utilization_pct);
    count_said(said->breaker_failures, &rules->breaker_failures);
    count_said(said->breaker_rate_pct, &rules->breaker_rate);
    count_said(said->breaker_calls, &rules->breaker_calls);
    count_said(said->breaker_probes, &rules->breaker_probes);
    count_said(said->reserve, &rules->reserve);
    count_said(said->excess_over, &rules->said_over);
    count_said(said->surplus, &rules->said_surplus);
    for (int i = 0; i < 2; i++) count_said(said->group[i], &rules->group[i]);
    if (said->renew_ahead_ms == KP_OFF) rules->renew_ahead = 0;
    else time_said(said->renew_ahead_ms, &rules->renew_ahead);
    rules->surplus = rules->said_surplus >= 0 ? rules->said_surplus : rules->renew_ahead > 0;
    time_said(said->idle_ttl_ms, &rules->idle_ttl);
    time_said(said->excess_ttl_ms, &rules->excess_ttl);
    time_said(said->max_age_ms, &rules->max_age);
    time_said(said->create_timeout_ms, &rules->create_timeout);
    time_said(said->validate_timeout_ms, &rules->validate_timeout);
    time_said(said->validate_after_ms, &rules->validate_after);
    time_said(said->retry_first_ms, &rules->retry_first);
    time_said(said->retry_max_ms, &rules->retry_max);
    time_said(said->breaker_open_ms, &rules->breaker_open);
    time_said(said->breaker_window_ms, &rules->breaker_window);
    time_said(said->reserve_after_ms, &rules->reserve_after);
    time_said(said->shed_target_ms, &rules->shed_target);
    time_said(said->shed_interval_ms, &rules->shed_interval);
    time_said(said->revoke_after_ms, &rules->revoke_after);
    time_said(said->validate_every_ms, &rules->validate_every);
    if (said->cache_failure_ms) rules->cache_once = said->cache_failure_ms == KP_ONCE;
    time_said(rules->cache_once ? 0 : said->cache_failure_ms, &rules->cache_failure);
    choices_said(said, rules);
    mask_said(said->validate_on, &rules->validate_on);
    mask_said(said->idle_check, &rules->idle_check);
    mask_said(said->excess_check, &rules->excess_check);
    mask_said(said->age_check, &rules->age_check);
    mask_said(said->breaker_counts, &rules->breaker_counts);
    if (said->refuse_late) rules->refuse_late = said->refuse_late == 1;
    if (said->fail_fast) rules->fail_fast = said->fail_fast == 1;
    mask_said(said->respects_min, &rules->respects_min);
    rules->excess_over = rules->said_over >= 0 ? rules->said_over : rules->min_live;
    rules->max_waiting = rules->said_waiting >= 0      ? rules->said_waiting
                         : rules->max_live == NO_LIMIT ? NO_LIMIT
                                                       : 4 * rules->max_live + 64;
}

bool m_contradicts(const struct model_rules *rules)
{
    return rules->min_live > rules->max_live || rules->min_idle > rules->max_idle ||
           rules->min_idle > rules->max_live || rules->floor > rules->max_live ||
           rules->retry_first > rules->retry_max ||
           (rules->fail_fast && (rules->retry || rules->retry_first == 0)) ||
           (rules->breaker_rate != NO_LIMIT && rules->breaker_counts == 0) ||
           ((rules->respects_min & KP_KIND_NONE) && rules->respects_min != KP_KIND_NONE) ||
           (rules->wait_lifo && rules->shed_target != FOREVER) ||
           (rules->renew_ahead && rules->max_age != FOREVER &&
            rules->renew_ahead / MS * 100 >=
                rules->max_age / MS * (uint64_t)(100 - rules->spread_pct)) ||
           (rules->sharing > 1 && rules->revoke_after != FOREVER);
}

/* ---- against the budgets --------------------------------------------------------------------- */

int64_t m_all_keys(const struct model *m, bool floors)
{
    int64_t sum = 0;

    for (int k = 0; k < MODEL_KEYS; k++)
        if (m->key[k].in_use) sum += floors ? m->key[k].rules.floor : m->key[k].rules.min_live;
    return sum;
}

int64_t m_lent_bound(const struct model *m)
{
    return m->budget_lent ? m->budget_lent : NO_LIMIT; /* 0 is a pause, not a limit */
}

static bool fits(int64_t each, int64_t keys, int64_t cap)
{
    return cap == NO_LIMIT || each <= 0 || each <= cap / keys;
}

/* Does what a key is to keep fit in the budget? With `every`: what all possible keys keep? */
bool m_fits(const struct model *m, const struct model_rules *rules, bool every)
{
    int64_t lent = m_lent_bound(m);
    bool bounded = every && !m->own && m->budget_keys != NO_LIMIT && m->budget_keys > 0;

    for (int64_t keys = 1;; keys = m->budget_keys) {
        if (!fits(rules->min_live, keys, m->budget_live)) return false;
        if (!fits(rules->floor, keys, m->budget_live)) return false;
        if (!fits(rules->floor, keys, lent)) return false;
        for (int i = 0; i < 2; i++)
            if (rules->group[i] && (!fits(rules->min_live, keys, m->group_live[i]) ||
                                    !fits(rules->floor, keys, m->group_live[i])))
                return false;
        if (!bounded || keys == m->budget_keys) return true;
    }
}

/* With these rules, would all keys together be to keep more than the budget allows? */
static bool too_much(const struct model *m, const struct model_rules *rules,
                     const struct model_rules *old)
{
    int64_t minima = m_all_keys(m, false) - old->min_live + rules->min_live;
    int64_t floors = m_all_keys(m, true) - old->floor + rules->floor;

    return (rules->min_live > old->min_live && minima > m->budget_live) ||
           (rules->floor > old->floor && (floors > m->budget_live || floors > m_lent_bound(m)));
}

/* ---- while running --------------------------------------------------------------------------- */

int m_lent_after(const struct model *m, int key, uint64_t lent_at)
{
    int next = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        if (s->state == M_LENT && s->key == key && s->lent_at > lent_at &&
            (next == NOBODY || s->lent_at < m->slot[next].lent_at))
            next = i;
    }
    return next;
}

/* max_uses or sharing has changed, so that lent slots may have to be shut or opened for others. One
 * that is being checked is opened afterwards. */
static void seats_anew(struct model *m, int key)
{
    for (int i = m_lent_after(m, key, 0); i != NOBODY;
         i = m_lent_after(m, key, m->slot[i].lent_at)) {
        struct model_slot *s = &m->slot[i];
        int seat = 0;
        while (!s->seat[seat].lent) seat++;
        if (!m_seat_left(m, s)) s->open = 0;
        else if (s->seat[seat].heard && s->job == J_NONE) m_open_seats(m, i);
    }
}

static void apply(struct model *m, int key, const struct model_rules *rules)
{
    struct model_key *k = &m->key[key];
    int64_t left[2];

    for (int i = 0; i < 2; i++) {
        bool stays = rules->group[i] == k->rules.group[i];
        left[i] = stays ? 0 : m_group(m, key, (enum model_budget)(B_GROUP_0 + i));
    }
    k->rules = *rules;
    k->lacks = B_NONE;
    k->refused = false;
    if (!m_breaks(rules, KP_BREAK_CREATE | KP_BREAK_USE)) m_circuit_close(m, key);
    m_settle_groups(m, left); /* there is room now */
    if (k->used_at == 0) k->used_at = m->now;
    seats_anew(m, key);
    m_settle(m, key);
}

/* When the rules of all keys change, this comes after all have the new ones. */
static void trim(struct model *m, int key)
{
    struct model_key *k = &m->key[key];
    const struct model_rules *rules = &k->rules;
    uint64_t now = m->now;

    while (m_count(m, key, M_IDLE) > 0 &&
           (m_staying(m, key) - m_extra(m, key) > rules->max_live ||
            m_count(m, key, M_IDLE) > rules->max_idle || m_groups_exceed(m, key))) {
        m_close(m, m_oldest_idle(m, key), R_SURPLUS);
        m_do(m);
    }
    for (int any = 0; any < 2 && m_groups_exceed(m, key); any++)
        for (enum model_budget b = B_GROUP_0; b <= B_GROUP_1; b++)
            m_trim_group(m, b, m_group(m, key, b), any);
    m_do(m);
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].key == key && (m->slot[i].state == M_IDLE || m->slot[i].state == M_LENT))
            m_file_slot(m, i);
    m_age_all(m, key, now);
    if (rules->eager) k->refill = true;
    m_file_key(m, key, now);
    m_do(m);
}

/* Of rules in force: what follows, and is said to be just what follows, goes on following. */
static void rules_anew(const kp_limits *said, struct model_rules *rules)
{
    const struct model_rules before = *rules;
    struct model_rules follows = *rules;
    kp_limits others = *said;

    others.max_waiting = others.excess_over = others.surplus = 0;
    model_rules(&others, &follows);
    model_rules(said, rules);
    if (rules->max_waiting == follows.max_waiting) rules->said_waiting = before.said_waiting;
    if (rules->excess_over == follows.excess_over) rules->said_over = before.said_over;
    if (rules->surplus == follows.surplus) rules->said_surplus = before.said_surplus;
}

/* Sets the limits of one key unless they are refused; `only_ask`: only tells whether they are.
 * `every`: the call sets those of all keys. */
static int set_one(struct model *m, int key, const kp_limits *limits, bool every, bool only_ask)
{
    struct model_key *k = &m->key[key];
    struct model_rules rules = k->rules;

    rules_anew(limits, &rules);
    k->interest++;
    bool refused = m_contradicts(&rules) || !m_fits(m, &rules, false) ||
                   (!every && too_much(m, &rules, &k->rules));
    if (!refused && !only_ask) apply(m, key, &rules);
    if (!refused && !every) trim(m, key);
    m_do(m);
    m_lose_interest(m, key, k->used_at);
    return refused ? KP_ECONFIG : 0;
}

static int64_t each_may_keep(int64_t cap, int64_t kept, int64_t keys)
{
    return keys ? (cap > kept ? cap : kept) / keys : NO_LIMIT;
}

static int set_all(struct model *m, const kp_limits *limits)
{
    struct model_rules rules = m->rules;
    int64_t keys = 0, floors = m_all_keys(m, true);
    int code = 0;

    for (int k = 0; k < MODEL_KEYS; k++) keys += m->key[k].in_use;
    if (limits->min_live > each_may_keep(m->budget_live, m_all_keys(m, false), keys) ||
        limits->floor > each_may_keep(m->budget_live, floors, keys) ||
        limits->floor > each_may_keep(m_lent_bound(m), floors, keys))
        return KP_ECONFIG;
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        if (code == 0) code = set_one(m, k, limits, true, true);
    rules_anew(limits, &rules);
    if (code != 0 || m_contradicts(&rules) || !m_fits(m, &rules, true)) return KP_ECONFIG;
    m->rules = rules; /* after this line the call no longer fails as a whole */
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        if (set_one(m, k, limits, true, false) != 0) code = KP_ECONFIG;
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place)) {
        m->key[k].interest++;
        trim(m, k);
        m_lose_interest(m, k, m->key[k].used_at);
    }
    return code;
}

int model_limits_set(struct model *m, int key, const kp_limits *limits)
{
    if (m->closed) return KP_ECLOSED;
    if (key == NOBODY) return set_all(m, limits);
    return m->key[key].in_use ? set_one(m, key, limits, false, false) : KP_ENOTFOUND;
}

/* ---- trying again ---------------------------------------------------------------------------- */

void m_forgive(struct model *m, int key)
{
    struct model_key *k = &m->key[key];

    k->failures = 0;
    k->kept = 0;
    k->back_off = k->last_until = 0;
    k->refused = false;
    m_circuit_close(m, key);
    if (k->rules.eager) k->refill = true;
    m_file_key(m, key, m->now);
    m_settle(m, key);
}

static void retry_one(struct model *m, int key)
{
    m->key[key].interest++;
    m_forgive(m, key);
    m_do(m);
    m_lose_interest(m, key, m->key[key].used_at);
}

int model_retry_now(struct model *m, int key)
{
    if (m->closed) return KP_ECLOSED;
    if (key != NOBODY && !m->key[key].in_use) return KP_ENOTFOUND;
    if (key != NOBODY) retry_one(m, key);
    for (int k = m_next_key(m, 0); key == NOBODY && k != NOBODY;
         k = m_next_key(m, m->key[k].place))
        retry_one(m, k);
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static uint64_t span(int64_t said_ms, uint64_t otherwise)
{
    time_said(said_ms, &otherwise);
    return otherwise;
}

int model_open(struct model *m, const kp_options *options, const kp_limits *own, uint64_t now)
{
    static const kp_limits defaults = {
        .min_live = KP_NONE,
        .max_live = 10,
        .max_lent = KP_UNLIMITED,
        .max_idle = KP_UNLIMITED,
        .min_idle = KP_NONE,
        .max_creating = 2,
        .max_waiting = -1,
        .excess_over = -1,
        .idle_check = KP_CHECK_GET | KP_CHECK_KEEPER,
        .excess_check = KP_CHECK_GET | KP_CHECK_KEEPER,
        .age_check = KP_CHECK_GET | KP_CHECK_KEEPER,
        .sharing = 1,
        .max_uses = KP_UNLIMITED,
        .surplus = -1,
        .renew_ahead_ms = KP_OFF,
        .weight = 1,
        .floor = KP_NONE,
        .age_spread_pct = 20,
        .idle_ttl_ms = KP_MINUTES(10),
        .excess_ttl_ms = KP_OFF,
        .max_age_ms = KP_MINUTES(30),
        .create_timeout_ms = KP_OFF,
        .validate_timeout_ms = KP_OFF,
        .validate_after_ms = 1000,
        .retry_first_ms = 100,
        .retry_max_ms = KP_SECONDS(30),
        .prefill = KP_PREFILL_FIRST_GET,
        .refill = KP_REFILL_LAZY,
        .wait_order = KP_FIFO,
        .idle_order = KP_LIFO,
        .on_create_failure = KP_FAIL_REQUEST,
        .on_return = KP_REUSE,
        .over_idle = KP_DROP_RETURNED,
        .validate_on = KP_CHECK_GET, .validate_every_ms = KP_SECONDS(30), .on_gone = KP_GONE_TEST,
        .respects_min = KP_KIND_IDLE | KP_KIND_EXCESS, .utilization_pct = 100,
        .breaker_failures = KP_OFF, .reserve = KP_NONE, .breaker_open_ms = KP_SECONDS(30),
        .reserve_after_ms = KP_SECONDS(5), .shed_target_ms = KP_OFF, .shed_interval_ms = 100,
        .cache_failure_ms = KP_NONE, .breaker_counts = KP_BREAK_CREATE,
        .breaker_rate_pct = KP_OFF, .breaker_window_ms = KP_SECONDS(10), .breaker_calls = 20,
        .breaker_probes = 1,
        .revoke_after_ms = KP_OFF,
    };

    memset(m, 0, sizeof *m);
    m->own = own;
    model_rules(&defaults, &m->rules);
    model_rules(&options->limits, &m->rules);
    m_read_budget(m, &options->budget);
    m->has_validate = options->driver.validate != NULL;
    m->has_reset = options->driver.reset != NULL;
    m->asks = options->driver.is_clean != NULL;
    m->forget_after = span(options->forget_key_after_ms, 300 * UINT64_C(1000000000));
    m->leak_after = span(options->leak_after_ms, 60 * UINT64_C(1000000000));
    m->deadline = span(options->deadline_ms, 30 * UINT64_C(1000000000));
    m->now = now;
    m->epoch = 1;
    m->last_first = m->rules.wait_lifo;
    for (int i = 0; i < MODEL_SLOTS; i++) m->slot[i].look_at = FOREVER;
    return m_contradicts(&m->rules) || !m_fits(m, &m->rules, true) ? KP_ECONFIG : 0;
}
