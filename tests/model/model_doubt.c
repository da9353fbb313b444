/* SPDX-License-Identifier: MIT
 *
 * The model's doubts: when the peer of one resource is gone (KP_EGONE), others of its key may be
 * dead, too. And its tests: the keeper has idle resources validated, those in doubt at once.
 */
#include "model_inside.h"

/* ---- doubts ---------------------------------------------------------------------------------- */

static int64_t doubts(const struct model *m, int key)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++) n += m->slot[i].key == key && m->slot[i].doubted;
    return n;
}

/* Those in doubt go: the idle ones first, from the one used last on. */
static void drop_doubted(struct model *m, int key, int but)
{
    for (int again = 1; again--;) {
        int next = NOBODY;
        for (int i = 0; i < MODEL_SLOTS; i++)
            if (i != but && m->slot[i].state == M_IDLE && m->slot[i].key == key &&
                m->slot[i].doubted && (next == NOBODY || m->slot[i].order > m->slot[next].order))
                next = i;
        if (next == NOBODY) break;
        again = m_doom(m, next, R_INVALID);
    }
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (i != but && m->slot[i].key == key && m->slot[i].doubted)
            (void)m_doom(m, i, R_INVALID);
}

/* Its peer is gone. The first time, the others come into doubt, or go at once; if it was in doubt
 * itself, or others are, those go. */
void m_peer_gone(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];
    struct model_key *k = &m->key[s->key];
    bool first = false;

    if (k->rules.spares_others || s->doomed) return;
    drop_doubted(m, s->key, slot);
    for (int i = 0; i < MODEL_SLOTS && !s->doubted; i++) {
        struct model_slot *o = &m->slot[i];
        bool there = o->state == M_IDLE || o->state == M_LENT || o->state == M_TESTED;
        if (i == slot || o->key != s->key || !there || o->doomed) continue;
        first = o->doubted = true;
        o->open = 0;
    }
    if (first && m->has_validate && k->rules.tests_others) m_file_key(m, s->key, m->now);
    else if (first) drop_doubted(m, s->key, slot);
    (void)m_doom(m, slot, R_INVALID);
    if (!first) return;
    k->interest++;
    m_do(m); /* on_event is told, as in m_tell */
    m_lose_interest(m, s->key, k->used_at);
}

/* The answer of a validate or a reset. */
void m_take_note(struct model *m, int slot, int status, bool validated)
{
    if (status == KP_EGONE) m_peer_gone(m, slot);
    else if (status >= 0 && validated) m->slot[slot].doubted = false;
}

void m_used_well(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];

    if (!s->doubted) return;
    s->doubted = false;
    m_open_seats(m, slot);
    m_settle(m, s->key);
}

/* All idle ones are in doubt. Need the request not wait until one of them is validated, since a new
 * one can be made at once, or is being made for it already? */
bool m_is_raced(struct model *m, const struct model_request *r)
{
    const struct model_key *k = &m->key[r->key];

    if (r->making != NOBODY) return true;
    if (r->flags & (KP_DONT_CREATE | KP_DONT_WAIT)) return false;
    return k->failures == 0 && !k->tripped && !k->refused && k->kept == 0 && k->promised == 0 &&
           m_live(m, r->key) < k->rules.max_live && m_may_make(m, r->key, m->now);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Since when nothing is known of an idle one. */
uint64_t m_proven(const struct model_slot *s)
{
    return s->proven ? s->proven : s->since;
}

/* A quarter earlier at most: each resource has its own time. */
uint64_t m_test_at(const struct model *m, const struct model_slot *s)
{
    const struct model_rules *rules = &m->key[s->key].rules;
    uint64_t every = rules->validate_every, parts = s->serial * UINT64_C(0x9e3779b97f4a7c15) >> 48;

    if (!m->has_validate || !(rules->validate_on & KP_CHECK_KEEPER)) return FOREVER;
    return m_later(m_proven(s), every - every / 4 / 65536 * parts);
}

static void test(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];

    s->state = M_TESTED;
    s->job = J_TEST;
    s->tested = ++m->opens;
    m_set_until(m, s, m_later(m->now, m->key[s->key].rules.validate_timeout));
    s->look_at = s->until;
    m_file_age(m, s);
    int status = m_answer(m, KP_JOB_VALIDATE, s->serial);
    if (status != KP_PENDING) m_tested(m, slot, status);
}

/* Nobody is to wait for a resource because it is being tested. */
static bool may_test(const struct model *m, int key)
{
    int64_t tests = m_count(m, key, M_TESTED);

    for (int k = 0; k < MODEL_KEYS; k++)
        if (m->key[k].in_use && m->key[k].lacks != B_NONE && m_waiting(m, k) > 0) return false;
    return !m->closed && m_waiting(m, key) == 0 && m->tests < 16 &&
           (tests == 0 || m_count(m, key, M_IDLE) > 1) && tests < m->key[key].rules.max_creating &&
           m_count(m, NOBODY, M_TESTED) < m->budget_creating;
}

/* Upkeep looks at an idle one. */
void m_test_due(struct model *m, int slot, uint64_t now)
{
    struct model_slot *s = &m->slot[slot];
    uint64_t soon = now + m->key[s->key].rules.validate_every / 16;

    if (now < m_test_at(m, s)) return;
    if (may_test(m, s->key)) {
        m->tests++;
        test(m, slot);
    } else if (soon < s->look_at) {
        s->look_at = soon;
    }
}

/* Upkeep looks at a key: those in doubt are tested, from the one used last on. */
void m_test_doubts(struct model *m, int key)
{
    for (;;) {
        int next = NOBODY;
        if (m->closed || m_count(m, key, M_TESTED) >= m->key[key].rules.max_creating) return;
        for (int i = 0; i < MODEL_SLOTS; i++)
            if (m->slot[i].state == M_IDLE && m->slot[i].key == key && m->slot[i].doubted &&
                (next == NOBODY || m->slot[i].order > m->slot[next].order))
                next = i;
        if (next == NOBODY) return;
        test(m, next);
        m_do(m);
    }
}

/* A test has ended. A good one is idle again, at the place that it had. */
void m_tested(struct model *m, int slot, int status)
{
    struct model_slot *s = &m->slot[slot];
    struct model_frame outer = m_open_todo(m);
    enum model_reason why = R_INVALID;
    int key = s->key;

    m_take_note(m, slot, status, true);
    s->job = J_NONE;
    if (status < 0 || !m_may_stay(m, s, &why)) {
        m_close(m, slot, why);
        if (doubts(m, key) > 0) m_file_key(m, key, m->now); /* to test the next */
    } else {
        if (doubts(m, key) > 0) m_file_key(m, key, m->now);
        s->state = M_IDLE;
        m_file_age(m, s);
        s->proven = m->now;
        m_settle(m, key);
        m_drop_surplus(m, slot);
        if (s->state == M_IDLE) m_file_slot(m, slot);
        if (m_live(m, key) <= m->key[key].rules.min_live) m_file_forget(m, key);
    }
    m_do(m);
    m_close_todo(m, outer);
}
