/* SPDX-License-Identifier: MIT
 *
 * The model's keys: how they are made, and how they are forgotten, after a time or to make room.
 */
#include "model_inside.h"

static bool is_unused(const struct model *m, int key)
{
    const struct model_key *k = &m->key[key];

    return !k->interest && !k->pins && !k->promised && m_waiting(m, key) == 0 &&
           m_live(m, key) == 0 && m_revoked(m, key) == 0;
}

/* Files when the key may be forgotten; while it is in use: never, and its last user calls again. */
void m_file_forget(struct model *m, int key)
{
    struct model_key *k = &m->key[key];

    if (k->interest || k->pins) return;
    m_file_key(m, key, k->dropped ? k->used_at : m_later(k->used_at, m->forget_after));
    if (m->forget_after == FOREVER || !is_unused(m, key)) return;
    if (!k->unused || k->unused_since != k->used_at) k->unused = ++m->unused;
    k->unused_since = k->used_at;
}

/* The key that has been unused for the longest time, if nothing is to be kept of it. */
static int spare_key(struct model *m)
{
    for (;;) {
        int first = NOBODY;
        for (int i = 0; i < MODEL_KEYS; i++)
            if (m->key[i].in_use && m->key[i].unused &&
                (first == NOBODY || m->key[i].unused < m->key[first].unused))
                first = i;
        if (first == NOBODY) return NOBODY;
        const struct model_rules *rules = &m->key[first].rules;
        if (is_unused(m, first) && !rules->min_live && !rules->floor && !m->key[first].refill)
            return first;
        m->key[first].unused = 0;
    }
}

/* Calls on all keys go through them in the order of their places. A new key takes the place of the
 * key that was forgotten last, among the first `free` of these; without one, a new last place. */
static uint64_t take_place(struct model *m, int free)
{
    uint64_t place = free ? m->free_place[free - 1] : ++m->places;

    for (m->free_places -= free > 0; free && free <= m->free_places; free++)
        m->free_place[free - 1] = m->free_place[free];
    return place;
}

static void is_forgotten(struct model *m, int key)
{
    m->free_place[m->free_places++] = m->key[key].place;
    m->key[key].in_use = false;
    m->key[key].look_at = FOREVER;
    m->tally.keys_forgotten++;
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].waived && m->slot[i].heir == key) m->slot[i].heir = NOBODY;
    m_let_on(m, m->latest);
}

static bool has_room_for_a_key(struct model *m)
{
    for (;;) {
        int64_t keys = 0;
        for (int i = 0; i < MODEL_KEYS; i++) keys += m->key[i].in_use;
        if (keys < m->budget_keys) return true;
        int spare = spare_key(m);
        if (spare == NOBODY) return false;
        is_forgotten(m, spare);
    }
}

/* Unused: no call uses it, and it holds no more than its minimum. */
static bool may_forget(struct model *m, int key, uint64_t now)
{
    struct model_key *k = &m->key[key];
    int64_t live = m_live(m, key);

    if (k->interest || k->pins || k->promised || m_waiting(m, key)) return false;
    if (m_revoked(m, key) > 0) return false;
    if (m_count(m, key, M_IDLE) != live || live > k->rules.min_live) return false;
    if (now >= (k->dropped ? k->used_at : m_later(k->used_at, m->forget_after))) return true;
    m_file_forget(m, key);
    return false;
}

void m_lose_interest(struct model *m, int key, uint64_t used_at)
{
    m->key[key].interest--;
    if (used_at > m->key[key].used_at) m->key[key].used_at = used_at;
    (void)may_forget(m, key, 0);
}

/* Finds the key, or makes it. Returns it with interest added, or -1 and a code. */
int m_find(struct model *m, int key, int *code)
{
    struct model_key *k = &m->key[key];
    int free = m->free_places; /* before another one goes to make room */

    if (!k->in_use && !has_room_for_a_key(m)) {
        *code = KP_EFULL;
        return NOBODY;
    }
    if (!k->in_use) {
        *k = (struct model_key){ .in_use = true, .look_at = FOREVER, .rules = m->rules };
        if (m->own) model_rules(&m->own[key], &k->rules);
        k->least_wait = FOREVER;
        k->place = take_place(m, free);
        m->tally.keys_made++;
        if (m->own && (m_contradicts(&k->rules) || !m_fits(m, &k->rules, false))) {
            is_forgotten(m, key);
            *code = KP_ECONFIG;
            return NOBODY;
        }
        if (k->rules.prefill && k->rules.min_live > 0) {
            k->refill = true;
            m_file_key(m, key, m->now);
        }
        k->interest++;
        m_settle(m, key);
        if (!m->overpromised && (m_all_keys(m, false) > m->budget_live ||
                                 m_all_keys(m, true) > m->budget_live ||
                                 m_all_keys(m, true) > m_lent_bound(m))) {
            m->overpromised = true; /* not all keys can have what they are to keep: reported once */
            m->tally.misuses++;
            m_do(m);
        }
        return key;
    }
    k->interest++;
    if (k->leaving && k->rules.eager) { /* in use again: it gets its minimum back */
        k->refill = true;
        m_file_key(m, key, m->now);
    }
    k->leaving = k->dropped = false;
    return key;
}

int m_next_key(const struct model *m, uint64_t after)
{
    int next = NOBODY;

    for (int k = 0; k < MODEL_KEYS; k++)
        if (m->key[k].in_use && m->key[k].place > after &&
            (next == NOBODY || m->key[k].place < m->key[next].place))
            next = k;
    return next;
}

void m_forget(struct model *m, int key, uint64_t now)
{
    struct model_key *k = &m->key[key];

    if (m->closed || !may_forget(m, key, now)) return;
    k->interest++;
    k->leaving = true;
    while (m_count(m, key, M_IDLE) > 0) m_close(m, m_newest_idle(m, key), R_EXPIRED);
    m_do(m);
    if (m_count(m, key, M_CLOSING) == 0) k->leaving = k->dropped;
    k->interest--;
    if (m_live(m, key) > 0 || !may_forget(m, key, now)) return;
    is_forgotten(m, key);
}
