/* SPDX-License-Identifier: MIT
 *
 * The model's leases while they last: kp_lease_reuse, reports, and revoking those that have lasted
 * for too long.
 */
#include "model_inside.h"

/* It must not be lent again. */
bool m_spent(const struct model *m, const struct model_slot *s)
{
    return s->doomed || s->lends >= (uint64_t)m->key[s->key].rules.max_uses;
}

void model_lease_reuse(struct model *m, int slot, int seat, bool reuse)
{
    m->slot[slot].seat[seat].decided = true;
    m->slot[slot].seat[seat].reuse = reuse;
}

bool model_is_doomed(const struct model *m, int slot, int seat)
{
    const struct model_slot *s = &m->slot[slot];
    const struct model_seat *t = &s->seat[seat];

    return m->closed || m_spent(m, s) || !(t->decided ? t->reuse : m->key[s->key].rules.reuse);
}

/* ---- taking back ----------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Nobody has the lease: it was given back, or its resource is still being checked. */
bool m_is_nobodys(const struct model_slot *s, const struct model_seat *seat)
{
    return seat->ending || s->job == J_CHECK || s->job == J_RESET || s->job == J_VALIDATE;
}

/* When upkeep is to look at the slot's leases. What could not be revoked in time is looked at each
 * second. */
void m_file_leases(const struct model *m, struct model_slot *s, uint64_t now)
{
    uint64_t after = m->key[s->key].rules.revoke_after;

    for (int i = 0; i < MODEL_SEATS; i++) {
        const struct model_seat *seat = &s->seat[i];
        uint64_t at = m_later(seat->since, after);
        if (!seat->lent) continue;
        if (!seat->warned && !m_is_nobodys(s, seat))
            s->look_at = sooner(s->look_at, m_later(seat->since, m->leak_after));
        if (s->job != J_REVOKE && !seat->kept)
            s->look_at = sooner(s->look_at, at > now ? at : now + UINT64_C(1000000000));
    }
}

/* Those that were revoked, and those that are being revoked. */
static int64_t taken(const struct model *m, int key)
{
    int64_t n = m_revoked(m, key);

    for (int i = 0; i < MODEL_SLOTS; i++)
        n += m->slot[i].job == J_REVOKE && (key == NOBODY || m->slot[i].key == key);
    return n;
}

static bool may_revoke(const struct model_slot *s)
{
    if (s->state != M_LENT || s->seats > 1 || s->job != J_NONE) return false;
    return s->seat[0].heard && !s->seat[0].kept;
}

static void revoke(struct model *m, int slot)
{
    m->slot[slot].job = J_REVOKE;
    int status = m_answer(m, KP_JOB_REVOKE, m->slot[slot].serial);
    if (status != KP_PENDING) m_revoke_ended(m, slot, status);
}

void m_revoke_due(struct model *m, int slot, uint64_t now)
{
    const struct model_slot *s = &m->slot[slot];
    const struct model_rules *rules = &m->key[s->key].rules;

    if (!may_revoke(s) || now < m_later(s->seat[0].since, rules->revoke_after)) return;
    if (taken(m, s->key) >= rules->max_live || taken(m, NOBODY) >= m->budget_live) return;
    revoke(m, slot);
}

/* At the deadline of a close. */
void m_revoke_all(struct model *m)
{
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        for (int i = m_lent_after(m, k, 0), next; i != NOBODY; i = next) {
            next = m_lent_after(m, k, m->slot[i].lent_at);
            if (may_revoke(&m->slot[i])) revoke(m, i);
        }
}

/* The resource no longer counts as live; its place goes to the request that is next. */
static void revoked(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];
    struct model_key *k = &m->key[s->key];

    TALLY(m, s->key, held_ns, m->now - s->seat[0].since);
    TALLY(m, s->key, revokes, 1);
    s->state = M_REVOKED;
    s->look_at = FOREVER;
    m_aged(m, s);
    if (!s->doomed) s->reason = R_RETURNED;
    s->doomed = true;
    s->doubted = false;
    k->used_at = m->now;
    s->seat[0].probe = false;
    if (k->rules.eager && m_wanted(m, s->key, false) > 0) k->refill = true;
    if (k->refill || m_renewal_wanted(m, s->key)) m_file_key(m, s->key, m->now);
    m_settle(m, s->key);
}

void m_revoke_ended(struct model *m, int slot, int status)
{
    struct model_slot *s = &m->slot[slot];
    struct model_frame outer = m_open_todo(m);

    s->job = J_NONE;
    if (s->seat[0].ending) { /* the lease ended meanwhile: the resource goes in any case */
        m_give(m, slot, 0, false, s->reason);
    } else if (status < 0) {
        s->seat[0].kept = true;
        TALLY(m, s->key, revoke_failures, 1);
    } else {
        revoked(m, slot);
    }
    m_do(m);
    m_close_todo(m, outer);
}

bool m_give_revoked(struct model *m, int slot, int seat, enum model_reason reason)
{
    struct model_slot *s = &m->slot[slot];

    if (s->job == J_REVOKE) {
        s->seat[seat].ending = true;
        (void)m_doom(m, slot, reason);
        return true;
    }
    if (s->state != M_REVOKED) return false;
    s->seat[seat].lent = false;
    s->state = M_RECLAIMED;
    if (s->reason == R_RETURNED) s->reason = reason;
    m->todo.slot[m->todo.end++] = slot;
    m_do(m);
    return true;
}

void m_reclaimed(struct model *m, int slot, int status)
{
    struct model_slot *s = &m->slot[slot];

    TALLY(m, s->key, destroy_failures, status < 0);
    m_count_reason(m, s);
    *s = (struct model_slot){ .state = M_FREE, .key = s->key };
    m_file_forget(m, s->key);
}
