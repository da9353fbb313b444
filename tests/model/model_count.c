/* SPDX-License-Identifier: MIT
 *
 * The model counts: what can be counted is never stored. Key NOBODY: over all keys.
 */
#include "model_inside.h"

/* ---- counting -------------------------------------------------------------------------------- */

int64_t m_count(const struct model *m, int key, enum model_state state)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++)
        n += m->slot[i].state == state && (key == NOBODY || m->slot[i].key == key);
    return n;
}

int64_t m_live(const struct model *m, int key)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++)
        n += m_is_live(&m->slot[i]) && (key == NOBODY || m->slot[i].key == key);
    return n;
}

int64_t m_making(const struct model *m, int key)
{
    return m_count(m, key, M_CREATING) + m_count(m, key, M_TESTED);
}

int64_t m_staying(const struct model *m, int key)
{
    return m_live(m, key) - m_count(m, key, M_CLOSING);
}

int64_t m_waiting(const struct model *m, int key)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_REQUESTS; i++)
        n += m->request[i].waiting && (key == NOBODY || m->request[i].key == key);
    return n;
}

int m_borrowers(const struct model_slot *s)
{
    int n = 0;

    for (int i = 0; i < MODEL_SEATS; i++) n += s->seat[i].lent;
    return n;
}

int64_t m_leases(const struct model *m, int key)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].state == M_LENT && (key == NOBODY || m->slot[i].key == key))
            n += m_borrowers(&m->slot[i]);
    return n;
}

int64_t m_revoked(const struct model *m, int key)
{
    return m_count(m, key, M_REVOKED) + m_count(m, key, M_RECLAIMED);
}

/* What max_lent counts: leases, requests that create, and leases whose resource is being
 * destroyed. */
int64_t m_lent(const struct model *m, int key)
{
    int64_t n = m_leases(m, key);

    for (int i = 0; i < MODEL_SLOTS; i++)
        n += m->slot[i].state == M_CLOSING && m->slot[i].owes_lent &&
             (key == NOBODY || m->slot[i].key == key);
    for (int i = 0; i < MODEL_REQUESTS; i++)
        n += m->request[i].holds_lent && (key == NOBODY || m->request[i].key == key);
    return n;
}

int64_t m_promised(const struct model *m, int key)
{
    int64_t n = 0;

    for (int k = 0; k < MODEL_KEYS; k++) n += key == NOBODY || key == k ? m->key[k].promised : 0;
    return n;
}

bool m_may_return(const struct model *m, int key)
{
    for (int i = 0; i < MODEL_SLOTS; i++)
        if ((m->slot[i].state == M_LENT || m->slot[i].state == M_TESTED) &&
            m->slot[i].key == key && !m->slot[i].doomed)
            return true;
    return false;
}

int m_oldest_idle(const struct model *m, int key)
{
    int oldest = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].state == M_IDLE && m->slot[i].key == key &&
            (oldest == NOBODY || m->slot[i].order < m->slot[oldest].order))
            oldest = i;
    return oldest;
}

int m_newest_idle(const struct model *m, int key)
{
    int newest = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].state == M_IDLE && m->slot[i].key == key &&
            (newest == NOBODY || m->slot[i].order > m->slot[newest].order))
            newest = i;
    return newest;
}

void m_count_reason(struct model *m, const struct model_slot *s)
{
    TALLY(m, s->key, destroys, 1);
    TALLY(m, s->key, invalid, s->reason == R_INVALID);
    TALLY(m, s->key, invalidated, s->reason == R_INVALIDATED || s->reason == R_DISCARDED);
    TALLY(m, s->key, expired, s->reason == R_EXPIRED);
    TALLY(m, s->key, evicted, s->reason == R_EVICTED);
    TALLY(m, s->key, renewed, s->reason == R_RENEWED);
    TALLY(m, s->key, surplus, s->reason == R_SURPLUS);
}

/* ---- looking in ------------------------------------------------------------------------------ */

void model_misuse(struct model *m)
{
    if (!model_is_over(m)) m->tally.misuses++;
}

int model_stats(struct model *m, int key, kp_stats *out)
{
    memset(out, 0, sizeof *out);
    if (model_is_over(m)) return KP_ECLOSED;
    if (key != NOBODY && !m->key[key].in_use) return KP_ENOTFOUND;
    *out = key == NOBODY ? m->tally : m->key[key].tally;
    for (int k = 0; k < MODEL_KEYS; k++) {
        bool counts = m->key[k].in_use && (key == NOBODY || key == k);
        out->keys += counts;
        out->circuits_open += counts && m->key[k].tripped;
        out->circuits_probing += counts && m->key[k].probing;
    }
    if (key != NOBODY) out->keys_made = 1;
    out->creating = (uint64_t)m_making(m, key);
    out->testing = (uint64_t)m_count(m, key, M_TESTED);
    out->idle = (uint64_t)m_count(m, key, M_IDLE);
    out->lent = (uint64_t)m_count(m, key, M_LENT);
    out->closing = (uint64_t)m_count(m, key, M_CLOSING);
    out->live = (uint64_t)m_live(m, key);
    out->leases = (uint64_t)m_leases(m, key);
    out->waiting = (uint64_t)m_waiting(m, key);
    out->revoked = (uint64_t)m_revoked(m, key);
    if (key == NOBODY) return 0;
    m->key[key].interest++; /* reading the statistics counts as a use of the key while it lasts */
    m_lose_interest(m, key, m->key[key].used_at);
    return 0;
}
