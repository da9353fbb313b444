/* SPDX-License-Identifier: MIT
 *
 * What must hold of the model between any two calls. The library is compared with the model; here
 * the model is checked against the laws, so that both cannot be wrong in the same way.
 */
#include "model_inside.h"

/* Has anything become possible, or due, by the passing of time alone, with no call since? */
static bool time_is_ahead(const struct model *m)
{
    for (int i = 0; i < MODEL_REQUESTS; i++) {
        const struct model_request *r = &m->request[i];
        const struct model_key *k = &m->key[r->key];
        if (!r->waiting) continue;
        if (r->again <= m->now) return true;
        if (k->slow && (m->now - r->began) / 2 > k->rules.shed_target) return true;
    }
    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        if (s->state == M_IDLE && m->now >= m_expires_at(m, i, KP_CHECK_GET)) return true;
        if (s->state == M_LENT && s->open && m->now >= s->age_end) return true;
    }
    return false;
}

/* Could it go on? To wait for what is being destroyed already, a victim that another request left
 * behind, is not that. */
static bool is_served(const struct model *m, const struct model_request *r)
{
    if (r->waiting || r->grant == G_NO) return false;
    return r->grant != G_PERMIT || r->victim == NOBODY || m->slot[r->victim].state != M_CLOSING;
}

/* Is L1 broken: does a request wait while something could serve it? */
static bool has_idle_hands(const struct model *m)
{
    static struct model copy;

    if (m->closed || m_waiting(m, NOBODY) == 0 || time_is_ahead(m)) return false;
    copy = *m;
    for (int k = 0; k < MODEL_KEYS; k++)
        if (copy.key[k].in_use) m_settle(&copy, k);
    for (int i = 0; i < MODEL_REQUESTS; i++)
        if (m->request[i].waiting && is_served(m, &copy.request[i])) return true;
    return false;
}

/* A budget may have been lowered below what was in use: then that may stay, but not grow. */
static bool exceeds(int64_t used, int64_t budget, int64_t peak)
{
    return used > budget && used > peak;
}

const char *model_broken(const struct model *m)
{
    int64_t creating = m_count(m, NOBODY, M_CREATING) + m_promised(m, NOBODY);

    if (exceeds(m_live(m, NOBODY), m->budget_live, m->peak_live))
        return "L2: more are live than budget.max_live";
    if (exceeds(m_lent(m, NOBODY), m->budget_lent, m->peak_lent))
        return "L2: more are lent than budget.max_lent";
    if (exceeds(creating, m->budget_creating, m->peak_creating))
        return "L2: more are made than budget.max_creating";
    if (m_surplus(m) > 0 && m_count(m, NOBODY, M_IDLE) > 0)
        return "L2: more stay than budget.max_live, and one is idle";
    for (int k = 0; k < MODEL_KEYS; k++)
        if (m->key[k].in_use && m_count(m, k, M_IDLE) > 0 && m_groups_exceed(m, k))
            return "L2: more stay in a group than its limit, and one is idle";
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].state != M_LENT && m->slot[i].state != M_REVOKED &&
            m_borrowers(&m->slot[i]) > 0)
            return "L5: it has a borrower, and is not lent";
    return has_idle_hands(m) ? "L1: a request waits beside what could serve it" : NULL;
}
