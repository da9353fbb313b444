/* SPDX-License-Identifier: MIT
 *
 * The model of changes while in use: budgets, evicting idle resources, dropping keys.
 */
#include "model_inside.h"

/* ---- budgets --------------------------------------------------------------------------------- */

static int64_t number(int64_t said)
{
    return said == 0 || said == KP_UNLIMITED ? NO_LIMIT : said == KP_NONE ? 0 : said;
}

void m_read_budget(struct model *m, const kp_budget *b)
{
    m->said = *b;
    m->budget_live = number(b->max_live);
    m->budget_lent = number(b->max_lent);
    m->budget_idle = number(b->max_idle);
    m->budget_creating = number(b->max_creating);
    m->budget_waiting = number(b->max_waiting);
    m->budget_keys = number(b->max_keys);
    m->create_rate = number(b->create_rate);
    m->create_burst = b->create_burst ? b->create_burst : m->create_rate;
    m->evicts = b->evict_other_keys != KP_OFF;
    m->by_arrival = b->across == KP_ACROSS_ARRIVAL;
}

static kp_budget merged(const kp_budget *said, const kp_budget *before)
{
    kp_budget b = *before;

#define SAY(field)                                                                                 \
    if (said->field) b.field = said->field;
    SAY(max_live) SAY(max_lent) SAY(max_idle) SAY(max_creating) SAY(max_waiting) SAY(max_keys)
    SAY(evict_other_keys) SAY(across) SAY(create_rate) SAY(create_burst)
#undef SAY
    if (said->create_rate == KP_UNLIMITED && !said->create_burst) b.create_burst = 0;
    return b;
}

/* Is the new budget allowed? What keys are to keep must fit in it: for the keys of today, and for
 * as many keys as there may be. */
static bool may_be(const struct model *m, const struct model *next)
{
    int64_t least = m->budget_live < next->budget_live ? m->budget_live : next->budget_live;

    if (next->said.create_burst && next->create_rate == NO_LIMIT) return false;
    if (least < m->budget_live && (m_all_keys(m, false) > least || m_all_keys(m, true) > least))
        return false;
    if (next->budget_lent < m->budget_lent && m_all_keys(m, true) > m_lent_bound(next))
        return false;
    for (int k = 0; k < MODEL_KEYS; k++)
        if (m->key[k].in_use && !m_fits(next, &m->key[k].rules, false)) return false;
    return m_fits(next, &m->rules, true);
}

int64_t m_surplus(const struct model *m)
{
    return m_staying(m, NOBODY) + m_promised(m, NOBODY) - m->budget_live;
}

/* The least recently used idle one: of all (`any`), or only of keys that have more than they are to
 * keep. */
static int least_worthy(const struct model *m, bool any)
{
    int worst = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        if (s->state != M_IDLE) continue;
        const struct model_rules *rules = &m->key[s->key].rules;
        int64_t kept = rules->floor > rules->min_live ? rules->floor : rules->min_live;
        if (!any && m_staying(m, s->key) <= kept) continue;
        if (worst == NOBODY || s->order < m->slot[worst].order) worst = i;
    }
    return worst;
}

static void trim(struct model *m)
{
    int slot;

    for (int any = 0; any < 2; any++)
        while ((m_surplus(m) > 0 || m_count(m, NOBODY, M_IDLE) > m->budget_idle) &&
               (slot = least_worthy(m, any)) != NOBODY)
            m_close(m, slot, R_SURPLUS);
}

int model_budget_set(struct model *m, const kp_budget *said)
{
    static struct model next;
    kp_budget budget = merged(said, &m->said);

    if (m->closed) return KP_ECLOSED;
    next = *m;
    m_read_budget(&next, &budget);
    if (!may_be(m, &next)) return KP_ECONFIG;
    struct model_bucket bucket = m_bucket(m);
    m_read_budget(m, &budget);
    m_bucket_set(m, bucket);
    m->peak_live = m_live(m, NOBODY);
    m->peak_lent = m_lent(m, NOBODY);
    m->peak_creating = m_count(m, NOBODY, M_CREATING) + m_promised(m, NOBODY);
    trim(m);
    m_settle_all(m);
    for (int k = 0; k < MODEL_KEYS; k++) {
        if (!m->key[k].in_use) continue;
        if (m->key[k].rules.eager) m->key[k].refill = true;
        if (m->key[k].refill) m_file_key(m, k, m->now);
    }
    m_let_on(m, m->now);
    m_do(m);
    return 0;
}

/* ---- evict ----------------------------------------------------------------------------------- */

static bool is_more(const struct model *m, int key, int64_t keep)
{
    const struct model_rules *rules = &m->key[key].rules;
    int64_t idle = m_count(m, key, M_IDLE);

    if (keep != 0) return idle > (keep == KP_NONE ? 0 : keep);
    return idle > rules->min_idle && m_staying(m, key) > rules->min_live;
}

static int64_t evict_one(struct model *m, int key, int64_t keep)
{
    int64_t found = 0;

    m->key[key].interest++;
    for (; is_more(m, key, keep); found++) m_close(m, m_oldest_idle(m, key), R_SURPLUS);
    m_do(m);
    m_lose_interest(m, key, m->key[key].used_at);
    return found;
}

int64_t model_evict(struct model *m, int key, int64_t keep)
{
    int64_t found = 0;

    if (m->closed) return KP_ECLOSED;
    if (key != NOBODY) return m->key[key].in_use ? evict_one(m, key, keep) : 0;
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        found += evict_one(m, k, keep);
    return found;
}

/* ---- drop ------------------------------------------------------------------------------------ */

static void begin_drop(struct model *m, int key)
{
    struct model_key *k = &m->key[key];

    k->dropped = k->leaving = true;
    k->refill = k->warm = false;
    k->used_at = m->now;
    (void)m_invalidate_one(m, key);
}

static int64_t end_drop(struct model *m, int key)
{
    return m_live(m, key) + m_revoked(m, key) + m_promised(m, key) + m_waiting(m, key);
}

/* Does not wait for what is out. */
int64_t model_drop(struct model *m, int key)
{
    int64_t out = 0;
    uint64_t place = 0;

    if (m->closed) return KP_ECLOSED;
    if (key != NOBODY) {
        if (!m->key[key].in_use) return 0;
        m->key[key].interest++;
        begin_drop(m, key);
        out = end_drop(m, key);
        m_lose_interest(m, key, m->key[key].used_at);
        m_forget(m, key, m->now);
        return out;
    }
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        begin_drop(m, k);
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, place)) {
        place = m->key[k].place;
        out += end_drop(m, k);
        m->key[k].interest++;
        m_lose_interest(m, k, m->key[k].used_at);
        m_forget(m, k, m->now);
    }
    return out;
}
