/* SPDX-License-Identifier: MIT
 *
 * The model of refuse_late: a request that would be served too late is told so at once. The
 * estimate is plain arithmetic and equals the library's to the nanosecond. And of shed_target_ms.
 */
#include "model_inside.h"

void m_late_begin(struct model *m, int key)
{
    struct model_key *k = &m->key[key];

    if ((m->now - k->grant_at) / 16 > k->gap) k->grants = 0;
    k->grant_at = m->now;
}

void m_late_learn(struct model *m, int key)
{
    struct model_key *k = &m->key[key];
    uint64_t over = 8 + (uint64_t)m_live(m, key), took = m->now - k->grant_at;

    if (!k->rules.refuse_late) return;
    if (k->grants < over) over = ++k->grants;
    k->gap = k->gap - k->gap / over + took / over;
    k->grant_at = m->now;
}

static bool refuse(struct model_request *r, uint64_t again)
{
    m_no(r, KP_EFULL, "refuse_late");
    r->again = again;
    return true;
}

static bool may_be_late(const struct model *m, const struct model_request *r)
{
    return m->key[r->key].rules.refuse_late && !(r->flags & KP_DONT_WAIT) &&
           m->now < r->deadline && r->deadline != FOREVER;
}

/* Too late if only a creation can serve it, and none may begin in time. */
bool m_is_too_late(const struct model *m, struct model_request *r)
{
    const struct model_key *k = &m->key[r->key];
    uint64_t at = k->tripped ? m->now : k->back_off, token = m_token_at(m, m->now);

    if (!may_be_late(m, r) || (r->flags & KP_DONT_CREATE)) return false;
    if (m_count(m, r->key, M_IDLE) || m_making(m, r->key) || k->promised) return false;
    if (!(r->flags & KP_FRESH) && m_may_return(m, r->key)) return false;
    if (token > at) at = token;
    return at >= r->deadline && refuse(r, at);
}

/* Also too late if serving the requests ahead of it is expected to take longer than it has. */
bool m_seems_too_late(const struct model *m, struct model_request *r)
{
    const struct model_key *k = &m->key[r->key];
    int64_t ahead = m_waiting(m, r->key) - m_making(m, r->key);

    if (m_is_too_late(m, r)) return true;
    if (!may_be_late(m, r) || k->rules.wait_lifo || k->grants < 8 || ahead <= 0) return false;
    uint64_t each = (r->deadline - m->now) / (uint64_t)ahead;
    return k->gap > each && refuse(r, m->now + (uint64_t)ahead * (k->gap - each));
}

/* ---- shedding -------------------------------------------------------------------------------- */

/* CoDel: a line is slow if for a whole interval every request in it waited longer than the target.
 * It then refuses requests that have waited twice as long as the target, but never the last one. */
enum verdict m_shed(struct model *m, struct model_request *r)
{
    const struct model_key *k = &m->key[r->key];

    if (k->rules.shed_target == FOREVER || !r->waited || !k->slow) return GO_ON;
    if (m_waiting(m, r->key) == 1) return GO_ON;
    if (m->now - r->began <= 2 * k->rules.shed_target) return GO_ON;
    m_no(r, KP_EFULL, "shed_target_ms");
    return ANSWERED;
}

void m_shed_learn(struct model *m, const struct model_request *r)
{
    struct model_key *k = &m->key[r->key];
    uint64_t waited = m->now - r->began;

    if (k->rules.shed_target == FOREVER) return;
    if (waited < k->least_wait) k->least_wait = waited;
    if (waited < k->rules.shed_target) k->slow = false;
    if (m->now < k->interval_end) return;
    k->slow = k->interval_end != 0 && k->least_wait > k->rules.shed_target;
    k->interval_end = m->now + k->rules.shed_interval;
    k->least_wait = FOREVER;
}
