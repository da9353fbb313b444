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
    for (int i = 0; i < 2; i++) m->group_live[i] = number(b->group_max_live[i]);
    for (int i = 0; i < 2; i++) m->counts_groups[i] |= m->group_live[i] != NO_LIMIT;
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
    SAY(group_max_live[0]) SAY(group_max_live[1])
#undef SAY
    if (said->create_rate == KP_UNLIMITED && !said->create_burst) b.create_burst = 0;
    if (!before->create_burst && b.create_burst == b.create_rate) b.create_burst = 0; /* follows */
    return b;
}

/* Is the new budget allowed? What keys are to keep must fit in it: for the keys of today, and for
 * as many keys as there may be. */
static bool may_be(const struct model *m, const struct model *next)
{
    int64_t least = m->budget_live < next->budget_live ? m->budget_live : next->budget_live;

    if (next->said.create_burst && next->create_rate == NO_LIMIT) return false;
    for (int i = 0; i < 2; i++)
        if (!m->counts_groups[i] && next->group_live[i] != NO_LIMIT) return false;
    if (least < m->budget_live && (m_all_keys(m, false) > least || m_all_keys(m, true) > least))
        return false;
    if (next->budget_lent < m->budget_lent && m_all_keys(m, true) > m_lent_bound(next))
        return false;
    for (int k = 0; k < MODEL_KEYS; k++)
        if (m->key[k].in_use && !m_fits(next, &m->key[k].rules, false)) return false;
    return m_fits(next, &m->rules, true);
}

/* All groups, in an order that nothing says. */
struct groups {
    int n;
    enum model_budget budget[2 * MODEL_KEYS];
    int64_t number[2 * MODEL_KEYS];
};

static void list_groups(struct model *m, struct groups *all)
{
    all->n = 0;
    for (enum model_budget b = B_GROUP_0; b <= B_GROUP_1; b++)
        for (int k = 0; k < MODEL_KEYS; k++) {
            int64_t group = m->key[k].in_use ? m_group(m, k, b) : 0;
            bool known = group == 0;
            for (int i = 0; i < all->n; i++)
                known |= all->budget[i] == b && all->number[i] == group;
            if (known) continue;
            int at = all->n++, to = at > 0 ? at - m->choose(m->ctx, at + 1) : 0;
            for (; at > to; at--) {
                all->budget[at] = all->budget[at - 1];
                all->number[at] = all->number[at - 1];
            }
            all->budget[to] = b;
            all->number[to] = group;
        }
}

int64_t m_surplus(const struct model *m)
{
    return m_staying(m, NOBODY) + m_promised(m, NOBODY) - m->budget_live;
}

/* The least recently used idle one, of all or of a group: of all keys (`any`), or only of those
 * that have more than they are to keep. */
static int least_worthy(const struct model *m, enum model_budget budget, int64_t group, bool any)
{
    int worst = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        if (s->state != M_IDLE || m_group(m, s->key, budget) != group) continue;
        const struct model_rules *rules = &m->key[s->key].rules;
        int64_t kept = rules->floor > rules->min_live ? rules->floor : rules->min_live;
        if (!any && m_staying(m, s->key) <= kept) continue;
        if (worst == NOBODY || s->order < m->slot[worst].order) worst = i;
    }
    return worst;
}

void m_trim_group(struct model *m, enum model_budget budget, int64_t group, bool any)
{
    int slot;

    while (m_group_surplus(m, budget, group) > 0 &&
           (slot = least_worthy(m, budget, group, any)) != NOBODY)
        m_close(m, slot, R_SURPLUS);
}

static void trim(struct model *m, const struct groups *groups)
{
    int slot;

    for (int any = 0; any < 2; any++) {
        for (int i = 0; i < groups->n; i++)
            m_trim_group(m, groups->budget[i], groups->number[i], any);
        while ((m_surplus(m) > 0 || m_count(m, NOBODY, M_IDLE) > m->budget_idle) &&
               (slot = least_worthy(m, B_LIVE, 0, any)) != NOBODY)
            m_close(m, slot, R_SURPLUS);
    }
}

static void serve_all(struct model *m, const struct groups *groups)
{
    m_settle_budget(m, B_LENT, 0);
    m_settle_budget(m, B_CREATING, 0);
    m_settle_budget(m, B_TOKEN, 0);
    m_settle_budget(m, B_LIVE, 0);
    for (int i = 0; i < groups->n; i++) m_settle_budget(m, groups->budget[i], groups->number[i]);
}

int model_budget_set(struct model *m, const kp_budget *said)
{
    static struct model next;
    struct groups groups;
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
    list_groups(m, &groups);
    trim(m, &groups);
    serve_all(m, &groups);
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

/* How many idle ones are too many. Those that are being tested count, unless they go anyway. */
static int64_t too_many(const struct model *m, int key, int64_t keep)
{
    const struct model_rules *rules = &m->key[key].rules;
    int64_t idle = m_count(m, key, M_IDLE), stay = m_staying(m, key) - rules->min_live;

    for (int i = 0; i < MODEL_SLOTS; i++)
        idle += m->slot[i].state == M_TESTED && m->slot[i].key == key && !m->slot[i].doomed;
    if (keep != 0) return idle - (keep == KP_NONE ? 0 : keep);
    return idle - rules->min_idle < stay ? idle - rules->min_idle : idle > 0 ? stay : 0;
}

/* The one of the key whose test began first, of those that do not go anyway. */
static int first_tested(const struct model *m, int key)
{
    int first = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].state == M_TESTED && m->slot[i].key == key && !m->slot[i].doomed &&
            (first == NOBODY || m->slot[i].tested < m->slot[first].tested))
            first = i;
    return first;
}

static int64_t evict_one(struct model *m, int key, int64_t keep)
{
    int64_t found = 0, many = too_many(m, key, keep);

    m->key[key].interest++;
    for (; found < many && m_count(m, key, M_IDLE) > 0; found++)
        m_close(m, m_oldest_idle(m, key), R_SURPLUS);
    for (; found < many; found++) (void)m_doom(m, first_tested(m, key), R_SURPLUS);
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
