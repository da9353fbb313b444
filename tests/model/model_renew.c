/* SPDX-License-Identifier: MIT
 *
 * The model's replacements before the end (limits.renew_ahead_ms, limits.surplus), and kp_rotate.
 */
#include "model_inside.h"

#define SECOND UINT64_C(1000000000)

/* ---- counting -------------------------------------------------------------------------------- */

static bool is_there(const struct model_slot *s, int key)
{
    return s->key == key &&
           (s->state == M_IDLE || s->state == M_LENT || s->state == M_TESTED);
}

static int64_t ageing(const struct model *m, int key)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++)
        n += is_there(&m->slot[i], key) && m->slot[i].ageing;
    return n;
}

static int64_t making(const struct model *m, int key)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++)
        n += m->slot[i].state == M_CREATING && m->slot[i].key == key && m->slot[i].renews;
    return n;
}

/* How many replacements exist together with what they replace; at most the surplus. */
int64_t m_extra(const struct model *m, int key)
{
    int64_t extra = making(m, key) + m->key[key].spare, surplus = m->key[key].rules.surplus;
    int64_t old = ageing(m, key);

    if (extra > old) extra = old;
    return extra < surplus ? extra : surplus;
}

/* How many count towards max_live. */
int64_t m_counted(const struct model *m, int key)
{
    return m_live(m, key) + m->key[key].promised - m_extra(m, key);
}

bool m_renewal_wanted(const struct model *m, int key)
{
    return m->key[key].rules.renew_ahead > 0 &&
           making(m, key) + m->key[key].spare < ageing(m, key);
}

bool m_is_replaced(const struct model *m, const struct model_slot *s)
{
    const struct model_key *k = &m->key[s->key];

    return s->ageing && k->spare > 0 &&
           (m_waiting(m, s->key) == 0 || m_staying(m, s->key) > k->rules.max_live);
}

/* ---- the end of an age ----------------------------------------------------------------------- */

static uint64_t renew_at(const struct model *m, const struct model_slot *s)
{
    const struct model_rules *rules = &m->key[s->key].rules;
    bool ends = rules->age_check && !((rules->respects_min & KP_KIND_AGE) &&
                                      m_staying(m, s->key) <= rules->min_live);

    if (!rules->renew_ahead || s->age_end == FOREVER || (!ends && !s->old)) return FOREVER;
    return s->age_end > rules->renew_ahead ? s->age_end - rules->renew_ahead : 1;
}

void m_file_age(const struct model *m, struct model_slot *s)
{
    uint64_t at = s->ageing ? FOREVER : renew_at(m, s);

    if (s->old && s->age_end < at) at = s->age_end;
    if (at < s->look_at) s->look_at = at;
}

static bool is_needed(const struct model *m, const struct model_slot *s)
{
    const struct model_rules *rules = &m->key[s->key].rules;
    int64_t left = m_staying(m, s->key) - ageing(m, s->key) - 1;

    return s->state == M_LENT || left < m_ready(m, s->key, false) ||
           (s->lends > 0 &&
            (!rules->idle_check || m_later(s->since, rules->idle_ttl) > s->age_end));
}

/* True: the slot is closing now. */
bool m_age(struct model *m, int slot, uint64_t now)
{
    struct model_slot *s = &m->slot[slot];

    if (s->old && now >= s->age_end) {
        (void)m_doom(m, slot, R_EXPIRED);
        return s->state == M_CLOSING;
    }
    if (s->doomed) return false;
    if (!s->ageing && now >= renew_at(m, s)) {
        if (!is_needed(m, s)) {
            (void)m_doom(m, slot, R_EXPIRED);
            return s->state == M_CLOSING;
        }
        s->ageing = true;
        m_file_key(m, s->key, now);
    }
    m_file_age(m, s);
    return false;
}

/* The n-th resource of a key: first the idle ones, from the least recently used on; then the lent
 * ones, from the one lent last on; then those that are tested, likewise. NOBODY: there are not so
 * many. */
static int nth(const struct model *m, int key, int n)
{
    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        int before = 0;
        if (!is_there(s, key)) continue;
        for (int j = 0; j < MODEL_SLOTS; j++) {
            const struct model_slot *o = &m->slot[j];
            if (!is_there(o, key)) continue;
            if (o->state != s->state) before += o->state < s->state;
            else if (s->state == M_IDLE) before += o->order < s->order;
            else if (s->state == M_LENT) before += o->lent_at > s->lent_at;
            else before += o->tested > s->tested;
        }
        if (before == n) return i;
    }
    return NOBODY;
}

void m_age_all(struct model *m, int key, uint64_t now)
{
    int all[MODEL_SLOTS], n = 0;

    while (n < MODEL_SLOTS && (all[n] = nth(m, key, n)) != NOBODY) n++;
    for (int i = 0; i < n; i++)
        if (m->slot[all[i]].state != M_TESTED) (void)m_age(m, all[i], now);
}

/* The slot closes: what was made to replace it no longer counts as spare. */
void m_aged(struct model *m, struct model_slot *s)
{
    if (s->ageing && m->key[s->key].spare > 0) m->key[s->key].spare--;
    s->ageing = false;
}

/* ---- replacements ---------------------------------------------------------------------------- */

/* A replacement has been made: chooses the one that goes for it. */
static void replaced(struct model *m, int slot)
{
    int key = m->slot[slot].key, goes = NOBODY;
    bool shared = m->key[key].rules.sharing > 1;

    m->slot[slot].renews = false;
    if (m->key[key].spare == ageing(m, key)) return;
    m->key[key].spare++;
    for (int state = M_IDLE; state <= (shared ? M_LENT : M_IDLE) && goes == NOBODY; state++)
        for (int n = MODEL_SLOTS - 1; n >= 0; n--) { /* of equals, the one lent first */
            int i = nth(m, key, n);
            if (i == NOBODY || (int)m->slot[i].state != state || !m->slot[i].ageing ||
                m->slot[i].doomed)
                continue;
            if (goes == NOBODY || m->slot[i].age_end < m->slot[goes].age_end) goes = i;
        }
    if (goes != NOBODY) (void)m_doom(m, goes, R_RENEWED);
}

static bool may_renew(const struct model *m, int key, uint64_t now)
{
    const struct model_key *k = &m->key[key];
    int64_t live = m_live(m, key) + k->promised;

    if (live - m_extra(m, key) > k->rules.max_live) return false;
    return live < k->rules.max_live + k->rules.surplus && !k->leaving &&
           (!m_creator_waits(m, key) || live - m_extra(m, key) >= k->rules.max_live) &&
           m_may_make(m, key, now);
}

void m_renew(struct model *m, int key, uint64_t now)
{
    struct model_key *k = &m->key[key];

    if (!m_renewal_wanted(m, key) || k->refused) return;
    if (m->closed || now < m_rests_until(k) || !may_renew(m, key, now)) {
        bool rests = now < m_rests_until(k), lacks_token = m_token_at(m, now) > now;
        if (!rests && !lacks_token) m_hold_up(m, key);
        m_file_key(m, key, rests         ? m_rests_until(k)
                           : lacks_token ? m_token_look(m, key, now)
                                         : now + SECOND);
        return;
    }
    int64_t before = making(m, key);
    int slot = m_permit(m, key);
    m->slot[slot].renews = true;
    m_token_take(m, now);
    k->held_up = 0;
    m_create(m, key, slot, NOBODY);
    if (making(m, key) > before) m_file_key(m, key, now);
}

/* ---- a new epoch ----------------------------------------------------------------------------- */

bool m_is_old(const struct model *m, const struct model_slot *s)
{
    return s->epoch < m->key[s->key].epoch;
}

static void retire(struct model *m, int slot, uint64_t at, uint64_t now)
{
    struct model_slot *s = &m->slot[slot];
    uint32_t any = KP_CHECK_GET | KP_CHECK_RETURN | KP_CHECK_KEEPER;
    bool outlives = !s->old && now >= s->age_end && !m_is_too_old(m, s, any);

    s->old = true;
    if (at < s->age_end || outlives) s->age_end = at;
    m_file_age(m, s);
}

/* A creation has succeeded. */
void m_renewed(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];
    const struct model_key *k = &m->key[s->key];

    if (m_is_old(m, s)) retire(m, slot, s->epoch < k->overdue ? m->now : k->retire_by, m->now);
    if (s->renews) replaced(m, slot);
    m_file_age(m, s);
}

static int64_t retire_key(struct model *m, int key, uint64_t by, uint64_t now)
{
    struct model_key *k = &m->key[key];
    uint64_t many = 0, all = (uint64_t)(m_count(m, key, M_IDLE) + m_count(m, key, M_LENT) +
                                        m_count(m, key, M_TESTED));
    uint64_t step = all > 0 && by != FOREVER ? (by - now) / all : 0;

    if (m_count(m, key, M_CREATING) > 0) { /* by then it goes, too */
        if (k->retire_by <= now) k->overdue = k->epoch; /* their time has come already */
        if (by < k->retire_by || k->retire_by <= now) k->retire_by = by;
        k->epoch = m->epoch;
    }
    for (int n = 0, i; n < (int)all && (i = nth(m, key, n)) != NOBODY; n++)
        if (!m->slot[i].doomed) retire(m, i, by == FOREVER ? by : now + step * ++many, now);
    if (by == FOREVER)
        for (int i = 0; i < MODEL_SLOTS; i++)
            many += is_there(&m->slot[i], key) && !m->slot[i].doomed;
    m_age_all(m, key, now);
    return (int64_t)many;
}

static void forgive(struct model *m, int key)
{
    m->key[key].interest++;
    m_forgive(m, key);
    m_do(m);
    m_lose_interest(m, key, m->key[key].used_at);
}

int64_t model_rotate(struct model *m, int key, int64_t over_ms)
{
    uint64_t now = m->now, by = FOREVER;
    int64_t many = 0;

    if (m->closed) return KP_ECLOSED;
    if (over_ms == 0) over_ms = 30000;
    if (over_ms != KP_OFF) by = m_later(now, over_ms == KP_NONE ? 0 : m_span(over_ms));
    m->epoch++;
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        if (key == NOBODY || k == key) many += retire_key(m, k, by, now);
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        if (key == NOBODY || k == key) forgive(m, k);
    return many;
}
