/* SPDX-License-Identifier: MIT
 *
 * The model's victims: idle resources that go to make room for another key.
 */
#include "model_inside.h"

bool m_has_to_spare(const struct model *m, int key)
{
    const struct model_rules *rules = &m->key[key].rules;
    int64_t kept = rules->floor > rules->min_live ? rules->floor : rules->min_live;

    return m->evicts && m->budget_live < NO_LIMIT && m_staying(m, key) > kept;
}

/* The least recently used idle one of all keys above their minimum and floor. */
static int least_worthy(const struct model *m)
{
    int worst = NOBODY;

    for (int k = 0; k < MODEL_KEYS; k++) {
        int oldest = m->key[k].in_use && m_has_to_spare(m, k) ? m_oldest_idle(m, k) : NOBODY;
        if (oldest != NOBODY && (worst == NOBODY || m->slot[oldest].order < m->slot[worst].order))
            worst = oldest;
    }
    return worst;
}

/* The first victim that a request of this key left behind, unless the budget was lowered meanwhile
 * and needs its room. */
static int waived(const struct model *m, int key)
{
    int first = NOBODY;

    if (m->budget_live < NO_LIMIT && m_surplus(m) >= 0) return NOBODY;
    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        if (s->waived && s->heir == key && (first == NOBODY || s->waived < m->slot[first].waived))
            first = i;
    }
    return first;
}

int m_victim(const struct model *m, int key)
{
    int victim = waived(m, key);

    return victim == NOBODY ? least_worthy(m) : victim;
}

void m_promise(struct model *m, struct model_request *r)
{
    struct model_slot *gone = &m->slot[r->victim];

    m->key[r->key].promised++;
    if (gone->waived) {
        gone->waived = 0;
        gone->sponsor = (int)(r - m->request);
        return;
    }
    m_aged(m, gone);
    gone->state = M_CLOSING;
    gone->look_at = FOREVER;
    gone->sponsor = NOBODY;
    gone->heir = NOBODY;
    gone->reason = gone->key == r->key ? R_RETURNED : R_EVICTED;
}

/* Its request goes without the permit that was promised. It is destroyed all the same. */
void m_waive(struct model *m, int key, int victim)
{
    struct model_slot *s = &m->slot[victim];

    if (s->heir == NOBODY) m->todo.slot[m->todo.end++] = victim;
    m->key[key].promised--;
    m_token_back(m);
    s->heir = key;
    s->sponsor = NOBODY;
    s->probe = false;
    s->waived = ++m->returns;
    m_let_on(m, m->latest);
}
