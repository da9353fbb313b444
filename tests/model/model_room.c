/* SPDX-License-Identifier: MIT
 *
 * The model's room for one more: in the pool, and in the groups of its key. Where there is none,
 * idle resources go to make room: victims.
 */
#include "model_inside.h"

/* ---- groups ---------------------------------------------------------------------------------- */

static int which(enum model_budget budget)
{
    return budget == B_GROUP_1;
}

/* The group in which this key counts; 0: none. Of any other budget, too: 0. */
int64_t m_group(const struct model *m, int key, enum model_budget budget)
{
    if (budget != B_GROUP_0 && budget != B_GROUP_1) return 0;
    return m->counts_groups[which(budget)] ? m->key[key].rules.group[which(budget)] : 0;
}

/* Is one of these victims in the group? */
static bool is_inside(const struct model *m, int victim, enum model_budget budget, int64_t group)
{
    for (int v = victim; v != NOBODY; v = m->slot[v].next)
        if (m_group(m, m->slot[v].key, budget) == group) return true;
    return false;
}

/* What a group holds: what is live in its keys, or of that only what stays; and what its keys were
 * promised, each of which has the place of its victim if that is in the group, too. */
static int64_t held(const struct model *m, enum model_budget budget, int64_t group, bool stays)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        bool live = m_is_live(s) && (s->state != M_CLOSING || !stays);
        if (live && m_group(m, s->key, budget) == group) n++;
        if (s->state == M_CLOSING && s->promised != NOBODY &&
            m_group(m, s->promised, budget) == group && (stays || !is_inside(m, i, budget, group)))
            n++;
    }
    return n;
}

bool m_group_is_full(const struct model *m, int key, enum model_budget budget)
{
    int64_t group = m_group(m, key, budget), most = m->group_live[which(budget)];

    return group != 0 && held(m, budget, group, false) >= most;
}

int64_t m_group_surplus(const struct model *m, enum model_budget budget, int64_t group)
{
    return group ? held(m, budget, group, true) - m->group_live[which(budget)] : -NO_LIMIT;
}

bool m_groups_exceed(const struct model *m, int key)
{
    return m_group_surplus(m, B_GROUP_0, m_group(m, key, B_GROUP_0)) > 0 ||
           m_group_surplus(m, B_GROUP_1, m_group(m, key, B_GROUP_1)) > 0;
}

/* Do more stay than the pool's budget, or those of the key's groups, allow? */
bool m_exceeds(const struct model *m, int key)
{
    return m_surplus(m) > 0 || m_groups_exceed(m, key);
}

/* May one more stay, by all of them? */
static bool may_stay(const struct model *m, int key)
{
    return m_surplus(m) < 0 && m_group_surplus(m, B_GROUP_0, m_group(m, key, B_GROUP_0)) < 0 &&
           m_group_surplus(m, B_GROUP_1, m_group(m, key, B_GROUP_1)) < 0;
}

bool m_has_room(const struct model *m, int key)
{
    return m_may_take(m, B_GROUP_0, key) && m_may_take(m, B_GROUP_1, key) &&
           m_may_take(m, B_LIVE, key);
}

void m_settle_groups(struct model *m, const int64_t group[2])
{
    int64_t first = group[0], other = group[1];

    if (first) m_settle_budget(m, B_GROUP_0, first);
    if (other) m_settle_budget(m, B_GROUP_1, other);
}

/* ---- whose room it is ------------------------------------------------------------------------ */

static bool has_to_spare(const struct model *m, int key)
{
    const struct model_rules *rules = &m->key[key].rules;
    int64_t kept = rules->floor > rules->min_live ? rules->floor : rules->min_live;

    return m->evicts && m_staying(m, key) > kept;
}

/* Is the room of one of this key's resources owed to the key that is next for that budget? */
enum model_budget m_owed_elsewhere(const struct model *m, int key)
{
    static const enum model_budget order[] = { B_GROUP_1, B_GROUP_0, B_LIVE };

    for (int i = 0; i < 3 && has_to_spare(m, key); i++)
        if (m_outranked(m, order[i], key)) return order[i];
    return B_NONE;
}

/* ---- victims --------------------------------------------------------------------------------- */

/* Does the end of one of key a's make room for key b in these budgets? */
static bool counts_in(const struct model *m, int a, int b, const bool full[BUDGETS])
{
    for (enum model_budget g = B_GROUP_0; g <= B_GROUP_1; g++)
        if (full[g] && m_group(m, a, g) != m_group(m, b, g)) return false;
    return true;
}

/* The least recently used idle one of all keys above their minimum and floor. */
static int least_worthy(const struct model *m, int key, const bool full[BUDGETS])
{
    int worst = NOBODY;

    for (int k = 0; k < MODEL_KEYS; k++) {
        if (!m->key[k].in_use || !has_to_spare(m, k) || !counts_in(m, k, key, full)) continue;
        int oldest = m_oldest_idle(m, k);
        if (oldest != NOBODY && (worst == NOBODY || m->slot[oldest].order < m->slot[worst].order))
            worst = oldest;
    }
    return worst;
}

/* The first victim that a request of this key left behind, unless a budget was lowered meanwhile
 * and needs its room. */
static int waived(const struct model *m, int key, const bool full[BUDGETS])
{
    int first = NOBODY;

    if (!may_stay(m, key)) return NOBODY;
    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        if (s->waived && s->heir == key && counts_in(m, s->key, key, full) &&
            (first == NOBODY || s->waived < m->slot[first].waived))
            first = i;
    }
    return first;
}

/* One victim is enough, unless both groups are full and no idle one is in both. */
static enum verdict find_victims(struct model *m, struct model_request *r,
                                 const bool full[BUDGETS])
{
    bool one[2][BUDGETS] = { { [B_GROUP_0] = full[B_GROUP_0] },
                             { [B_GROUP_1] = full[B_GROUP_1] } };
    bool both = full[B_GROUP_0] && full[B_GROUP_1];
    int next = NOBODY;

    if ((r->victim = waived(m, r->key, full)) != NOBODY) return GO_ON;
    if ((r->victim = least_worthy(m, r->key, full)) == NOBODY && both) {
        if ((next = least_worthy(m, r->key, one[0])) == NOBODY) return m_lacks(r, B_GROUP_0);
        r->victim = least_worthy(m, r->key, one[1]);
    }
    if (r->victim == NOBODY)
        return m_lacks(r, full[B_GROUP_1] ? B_GROUP_1 : full[B_GROUP_0] ? B_GROUP_0 : B_LIVE);
    m->slot[r->victim].next = next;
    return GO_ON;
}

/* Where the pool or a group is full, idle ones have to go; unless another key is next there. */
enum verdict m_make_room(struct model *m, struct model_request *r)
{
    static const enum model_budget order[] = { B_GROUP_1, B_GROUP_0, B_LIVE };
    bool full[BUDGETS] = { false };

    if (m_has_room(m, r->key)) return GO_ON;
    for (int i = 0; i < 3; i++) {
        full[order[i]] = !m_may_take(m, order[i], r->key);
        if (m_outranked(m, order[i], r->key)) return m_lacks(r, order[i]);
    }
    return find_victims(m, r, full);
}

/* ---- promises -------------------------------------------------------------------------------- */

void m_promise(struct model *m, struct model_request *r)
{
    struct model_slot *gone = &m->slot[r->victim];

    m->key[r->key].promised++;
    gone->promised = r->key;
    if (gone->waived) {
        gone->waived = 0;
        gone->sponsor = (int)(r - m->request);
        return;
    }
    for (int v = r->victim; v != NOBODY; v = gone->next) {
        gone = &m->slot[v];
        m_aged(m, gone);
        gone->state = M_CLOSING;
        gone->doubted = false;
        gone->look_at = FOREVER;
        gone->sponsor = NOBODY;
        gone->heir = NOBODY;
        gone->reason = gone->key == r->key ? R_RETURNED : R_EVICTED;
    }
}

/* Their request goes without the permit that was promised. They are destroyed all the same. */
void m_waive(struct model *m, int key, int victim)
{
    m->key[key].promised--;
    m->slot[victim].promised = NOBODY;
    m_token_back(m);
    for (int v = victim, next; v != NOBODY; v = next) {
        struct model_slot *s = &m->slot[v];
        if (s->heir == NOBODY) m->todo.slot[m->todo.end++] = v;
        next = s->next;
        s->next = NOBODY;
        s->heir = key;
        s->sponsor = NOBODY;
        s->probe = false;
        s->waived = ++m->returns;
    }
    m_let_on(m, m->latest);
}

void m_new_slot(struct model *m, int slot, int key)
{
    m->slot[slot] = (struct model_slot){ .state = M_CREATING, .key = key, .look_at = FOREVER,
                                         .sponsor = NOBODY, .heir = NOBODY, .next = NOBODY,
                                         .promised = NOBODY };
}

/* A victim's place becomes a permit of the key that it was evicted for. A request that evicted it
 * itself goes on with the permit; on a loop the sponsor gets it, if it has not been granted it yet,
 * as one that took over a waived victim may have. */
void m_inherit(struct model *m, int slot, int heir, int sponsor, bool probe)
{
    m_new_slot(m, slot, heir);
    if (m->on_loop) {
        struct model_request *r = &m->request[sponsor];
        bool waits = r->grant == G_WAIT;
        r->grant = G_PERMIT;
        r->slot = slot;
        r->victim = NOBODY;
        r->waiting = false;
        r->making = NOBODY;
        r->probe |= probe;
        if (waits) m_rouse(m, r);
    }
    m_settle(m, heir);
}

/* The first of two victims is gone: now the other one goes. */
void m_await_next(struct model *m, int next, int heir, int sponsor, bool probe)
{
    m->slot[next].promised = heir;
    if (m->on_loop) {
        m->slot[next].heir = heir;
        m->slot[next].sponsor = sponsor;
        m->slot[next].probe = probe;
        m->request[sponsor].making = next;
        m->todo.slot[m->todo.end++] = next;
    }
    m_settle(m, heir);
}
