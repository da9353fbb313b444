/* SPDX-License-Identifier: MIT
 *
 * The model's decisions: which request may have what, and which is next. The calls that use them
 * are in model_calls.c (a get) and model_back.c (the way back); upkeep and the rest are in
 * model_keep.c, the options in model_limits.c.
 *
 * m_settle is law L1: when something became free, the requests that are next are served, first in
 * this key, then in keys that lack nothing but what a budget now has left.
 */
#include "model_inside.h"

/* ---- who is next in a key -------------------------------------------------------------------- */

/* Requests with the same needs are in one line. The first of each line (with LIFO: the last) is
 * looked at, these in order of their arrival. */
enum line { EITHER, TAKERS, SPONSORS, FRESH, OWN, LINES };

static enum line line_of(const struct model *m, const struct model_request *r)
{
    if (r->making != NOBODY && (r->flags & KP_FRESH || m->slot[r->making].state == M_LENT))
        return OWN;
    if (r->making != NOBODY) return SPONSORS;
    if (r->flags & KP_FRESH) return FRESH;
    return r->flags & KP_DONT_CREATE ? TAKERS : EITHER;
}

bool m_before(const struct model *m, int a, int b)
{
    bool earlier = m->request[a].stamp < m->request[b].stamp;

    return m->key[m->request[a].key].rules.wait_lifo ? !earlier : earlier;
}

static int first_of(const struct model *m, int key, enum line line)
{
    int first = NOBODY;

    for (int i = 0; i < MODEL_REQUESTS; i++) {
        const struct model_request *r = &m->request[i];
        if (r->waiting && r->key == key && line_of(m, r) == line &&
            (first == NOBODY || m_before(m, i, first)))
            first = i;
    }
    return first;
}

int m_first_beside(const struct model *m, const struct model_request *r)
{
    return first_of(m, r->key, line_of(m, r));
}

bool m_creator_waits(const struct model *m, int key)
{
    return first_of(m, key, EITHER) != NOBODY || first_of(m, key, FRESH) != NOBODY;
}

static int heads(const struct model *m, int key, int out[LINES])
{
    int n = 0;

    for (int line = EITHER; line < OWN; line++) {
        int at = n, first = first_of(m, key, (enum line)line);
        if (first == NOBODY) continue;
        for (; at > 0 && m_before(m, first, out[at - 1]); at--) out[at] = out[at - 1];
        out[at] = first;
        n++;
    }
    return n;
}

/* Requests that wait for a creation of their own do not count: they take nothing else. */
int m_head(const struct model *m, int key)
{
    int head[LINES];

    return heads(m, key, head) > 0 ? head[0] : NOBODY;
}

/* ---- who is next across keys ----------------------------------------------------------------- */

/* The request that came first goes first (KP_ACROSS_ARRIVAL); in a LIFO pool, the one that came
 * last. In others, a LIFO key stands where its longest waiting request came, but behind those who
 * came before it was served last. */
static uint64_t rank_of(const struct model *m, int key)
{
    bool lifo = m->key[key].rules.wait_lifo;
    uint64_t place = UINT64_MAX;
    int head[LINES];

    if (heads(m, key, head) == 0) return UINT64_MAX;
    if (m->last_first) return UINT64_MAX - m->request[head[0]].stamp;
    if (!lifo) return m->request[head[0]].stamp;
    for (int i = 0; i < MODEL_REQUESTS; i++) {
        const struct model_request *r = &m->request[i];
        if (r->waiting && r->key == key && line_of(m, r) != OWN && r->stamp < place)
            place = r->stamp;
    }
    return place > m->key[key].served_at ? place : m->key[key].served_at;
}

/* The key that gets the next permit of this budget (of a group: which one), among those that lack
 * nothing else. */
static int first_starved(const struct model *m, enum model_budget budget, int64_t group)
{
    int first = NOBODY;

    for (int k = 0; k < MODEL_KEYS; k++) {
        if (!m->key[k].in_use || m->key[k].lacks != budget || m_waiting(m, k) == 0) continue;
        if (m_group(m, k, budget) != group) continue;
        if (first == NOBODY || rank_of(m, k) < rank_of(m, first))
            first = k;
    }
    return first;
}

bool m_outranked(const struct model *m, enum model_budget budget, int key)
{
    int first = first_starved(m, budget, m_group(m, key, budget));

    return first != NOBODY && first != key && rank_of(m, first) < rank_of(m, key);
}

bool m_may_take(const struct model *m, enum model_budget budget, int key)
{
    if (budget == B_GROUP_0 || budget == B_GROUP_1)
        return !m_group_is_full(m, key, budget) && !m_outranked(m, budget, key);
    int64_t used = budget == B_LENT       ? m_lent(m, NOBODY)
                   : budget == B_CREATING ? m_count(m, NOBODY, M_CREATING) + m_promised(m, NOBODY)
                                          : m_live(m, NOBODY);
    int64_t cap = budget == B_LENT       ? m->budget_lent
                  : budget == B_CREATING ? m->budget_creating
                                         : m->budget_live;

    return used < cap && !m_outranked(m, budget, key);
}

bool m_first_for_token(const struct model *m, int key)
{
    return !m_outranked(m, B_TOKEN, key);
}

/* ---- the questions that a request is asked --------------------------------------------------- */

static enum verdict lacks(struct model_request *r, const char *limit)
{
    r->limit = limit;
    r->short_of = B_NONE;
    return LACKS;
}

enum verdict m_lacks(struct model_request *r, enum model_budget budget)
{
    static const char *const name[BUDGETS] = {
        [B_LENT] = "budget.max_lent",          [B_CREATING] = "budget.max_creating",
        [B_TOKEN] = "budget.create_rate",      [B_GROUP_0] = "budget.group_max_live",
        [B_GROUP_1] = "budget.group_max_live", [B_LIVE] = "budget.max_live"
    };

    r->limit = name[budget];
    r->short_of = budget;
    return LACKS;
}

void m_no(struct model_request *r, int code, const char *limit)
{
    r->grant = G_NO;
    r->code = code;
    r->bound = limit;
}

static enum verdict answer_no(struct model_request *r, int code, const char *limit)
{
    m_no(r, code, limit);
    return ANSWERED;
}

/* An open circuit refuses creations, and leases too if uses count; except for probes. */
static enum verdict circuit(struct model *m, struct model_request *r)
{
    const struct model_key *k = &m->key[r->key];

    if (!m_breaks(&k->rules, KP_BREAK_USE) || r->holds_lent) return GO_ON;
    return m_circuit_bars(m, r->key) ? answer_no(r, KP_EBREAKER, k->opened_by) : GO_ON;
}

static enum verdict may_borrow(struct model *m, struct model_request *r)
{
    if (r->holds_lent) return GO_ON;
    if (m_lent(m, r->key) >= m->key[r->key].rules.max_lent)
        return lacks(r, "max_lent");
    return m_may_take(m, B_LENT, r->key) ? GO_ON : m_lacks(r, B_LENT);
}

/* The idle one that is next; one in doubt only if there is no other. */
static int next_idle(const struct model *m, int key)
{
    int next = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i], *n = &m->slot[next == NOBODY ? 0 : next];
        if (s->state != M_IDLE || s->key != key) continue;
        bool newer = next != NOBODY && s->order > n->order;
        if (next == NOBODY || (s->doubted != n->doubted ? n->doubted
                                                        : newer == m->key[key].rules.idle_lifo))
            next = i;
    }
    return next;
}

/* The lent one, shared, that was opened last; else the idle one that is next. Those that are too
 * old end here. */
static int ready_slot(struct model *m, int key)
{
    int found;

    for (;;) {
        found = NOBODY;
        for (int i = 0; i < MODEL_SLOTS; i++)
            if (m->slot[i].state == M_LENT && m->slot[i].key == key && m->slot[i].open &&
                (found == NOBODY || m->slot[i].open > m->slot[found].open))
                found = i;
        if (found == NOBODY || !m_is_too_old(m, &m->slot[found], KP_CHECK_GET)) break;
        m_doom(m, found, R_EXPIRED); /* its borrowers keep it until they return it */
    }
    while (found == NOBODY && m_count(m, key, M_IDLE) > 0) {
        found = next_idle(m, key);
        bool young = (m->slot[found].due_to_key && !m->slot[found].old) ||
                     m->now < m_expires_at(m, found, KP_CHECK_GET);
        if (young && !m_spent(m, &m->slot[found])) break;
        m_close(m, found, R_EXPIRED);
        found = NOBODY;
    }
    return found;
}

bool m_seat_left(const struct model *m, const struct model_slot *s)
{
    int n = m_borrowers(s);

    return n < s->seats && n < m->key[s->key].rules.sharing && !m_spent(m, s) && !s->doubted;
}

void m_open_seats(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];

    if (!s->open && m_seat_left(m, s)) s->open = ++m->opens;
}

int m_take_seat(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];
    const struct model_rules *rules = &m->key[s->key].rules;
    int seat = 0;

    while (s->seat[seat].lent) seat++;
    if (s->state != M_LENT) s->lent_at = ++m->opens;
    s->state = M_LENT;
    s->lends++;
    s->seat[seat] = (struct model_seat){ .lent = true, .since = m->now };
    if (!m_seat_left(m, s)) s->open = 0;
    m_open_seats(m, slot);
    m_file_slot(m, slot);
    if (rules->min_idle > 0 || rules->utilization_pct < 100) m_want_more(m, s->key);
    return seat;
}

static enum verdict take_ready(struct model *m, struct model_request *r)
{
    const struct model_rules *rules = &m->key[r->key].rules;
    enum model_budget owed;

    if (r->flags & KP_FRESH) return GO_ON;
    int found = ready_slot(m, r->key);
    if (found == NOBODY) return GO_ON;
    if (m->slot[found].state == M_IDLE && !m->slot[found].due_to_key &&
        (owed = m_owed_elsewhere(m, r->key)) != B_NONE)
        return m_lacks(r, owed);
    struct model_slot *s = &m->slot[found];
    if (s->doubted && m_is_raced(m, r)) return GO_ON;
    bool made_for_it = r->holds_lent && s->lends == 0, idle = s->state == M_IDLE;
    r->idle_ns = idle ? m->now - m_proven(s) : 0;
    r->grant = G_SLOT;
    r->slot = found;
    r->holds_lent = false; /* the lease counts instead */
    bool probes = m->key[r->key].tripped && m_breaks(rules, KP_BREAK_USE) &&
                  !m_circuit_bars(m, r->key);
    r->seat = m_take_seat(m, found);
    if (probes) m_probe(m, r, &s->seat[r->seat].probe);
    s->seat[r->seat].hit = !made_for_it;
    /* nobody shares it before it is known to be good */
    if (idle && !made_for_it && m->has_validate && (rules->validate_on & KP_CHECK_GET) &&
        r->idle_ns >= rules->validate_after)
        s->open = 0;
    return ANSWERED;
}

/* The request that is first wakes when the next creation may begin, and so does upkeep. */
static enum verdict want_token(struct model *m, struct model_request *r)
{
    bool first = !m_outranked(m, B_TOKEN, r->key);
    uint64_t at = m_token_at(m, m->now);

    if (first && at == m->now) return GO_ON;
    if (first) m_file_key(m, r->key, at);
    if (first || (r->flags & KP_FRESH)) r->again = at;
    return m_lacks(r, B_TOKEN);
}

/* Is there room for one more in the key, and in the budgets? For the latter an idle one elsewhere
 * may have to go. */
static enum verdict find_room(struct model *m, struct model_request *r)
{
    const struct model_rules *rules = &m->key[r->key].rules;
    int64_t live = m_counted(m, r->key);
    uint64_t late = m_later(r->began, rules->reserve_after);

    r->victim = NOBODY;
    if ((r->flags & KP_FRESH) && m_count(m, r->key, M_IDLE) > 0 &&
        live <= rules->max_live + rules->reserve &&
        (live >= rules->max_live || !m_has_room(m, r->key)))
        r->victim = m_oldest_idle(m, r->key);
    else if (live >= rules->max_live + rules->reserve)
        return lacks(r, "max_live");
    else if (live >= rules->max_live && m->now < late) { /* the reserve is for long waits */
        r->again = late;
        return lacks(r, "max_live");
    }
    if (!m_may_take(m, B_CREATING, r->key)) return m_lacks(r, B_CREATING);
    if (want_token(m, r) == LACKS) return LACKS;
    return r->victim == NOBODY ? m_make_room(m, r) : GO_ON;
}

/* A failure that is kept for other requests: each one from the background is told once, or the last
 * one for a time. */
static enum verdict told_before(struct model *m, struct model_request *r)
{
    struct model_key *k = &m->key[r->key];
    int code = k->last_code;

    if (k->kept > 0) {
        code = k->kept_code[0];
        memmove(k->kept_code, k->kept_code + 1, (size_t)--k->kept * sizeof k->kept_code[0]);
        if (k->rules.eager) m_want_more(m, r->key);
    } else if (!code || m->now >= k->last_until) {
        return GO_ON;
    }
    return answer_no(r, code, "cache_failure_ms");
}

/* Can only a creation serve it? */
static bool needs_creation(const struct model *m, const struct model_request *r)
{
    return (r->flags & KP_FRESH) || !m_may_return(m, r->key);
}

static enum verdict is_healthy(struct model *m, struct model_request *r)
{
    struct model_key *k = &m->key[r->key];
    int64_t making = m_count(m, r->key, M_CREATING) + k->promised;
    bool told = k->rules.fail_fast && k->failures && needs_creation(m, r);

    if (k->refused && needs_creation(m, r)) return answer_no(r, KP_EREFUSED, "driver.create");
    if (k->refused) return lacks(r, "driver.create");
    enum verdict v = told_before(m, r);
    if (v != GO_ON) return v;
    if (m_circuit_bars(m, r->key)) return answer_no(r, KP_EBREAKER, k->opened_by);
    if (!k->tripped && m->now < k->back_off) {
        if (told) return answer_no(r, KP_ECREATE, "retry_first_ms");
        r->again = k->back_off;
        return lacks(r, "retry_first_ms");
    }
    if (making >= (k->failures && k->rules.retry_first && !k->tripped ? 1 : k->rules.max_creating))
        return told ? answer_no(r, KP_ECREATE, "max_creating") : lacks(r, "max_creating");
    return GO_ON;
}

static enum verdict take_permit(struct model *m, struct model_request *r)
{
    struct model_key *k = &m->key[r->key];
    enum verdict v;

    if (r->making != NOBODY)
        return lacks(r, m->slot[r->making].state == M_CREATING ? "create" : "destroy");
    if (r->flags & (KP_DONT_CREATE | KP_DONT_WAIT))
        return lacks(r, m_counted(m, r->key) < k->rules.max_live ? "kp_ask.flags" : "max_live");
    if ((v = is_healthy(m, r)) != GO_ON || (v = find_room(m, r)) != GO_ON) return v;
    m_token_take(m, m->now);
    r->holds_lent = true;
    r->grant = G_PERMIT;
    if (r->victim == NOBODY) {
        r->slot = m_permit(m, r->key);
    } else {
        m_promise(m, r);
    }
    if (k->tripped) m_probe(m, r, &r->probe);
    if (k->rules.prefill) m_want_more(m, r->key);
    return ANSWERED;
}

enum verdict m_decide(struct model *m, struct model_request *r)
{
    static enum verdict (*const question[])(struct model *, struct model_request *) = {
        m_shed, circuit, may_borrow, take_ready, take_permit
    };
    enum verdict v = GO_ON;

    r->again = FOREVER;
    r->short_of = B_NONE;
    for (size_t i = 0; v == GO_ON && i < sizeof question / sizeof question[0]; i++)
        v = question[i](m, r);
    if (v == LACKS && (r->flags & KP_DONT_WAIT) && r->making == NOBODY) {
        m_no(r, KP_EAGAIN, r->limit);
        return ANSWERED;
    }
    return v == LACKS && m_is_too_late(m, r) ? ANSWERED : v;
}

/* ---- settling (L1) --------------------------------------------------------------------------- */

/* The request leaves its line; its answer is in r->grant. True: a victim no longer goes for it. */
static bool answered(struct model *m, struct model_request *r)
{
    int making = r->making;
    bool waives = making != NOBODY && m->slot[making].state == M_CLOSING;

    r->waiting = false;
    if (making != NOBODY) m->slot[making].sponsor = NOBODY;
    r->making = NOBODY;
    if (r->grant == G_NO) r->holds_lent = false;
    m_rouse(m, r);
    if (waives) m_waive(m, r->key, making);
    return waives;
}

void m_refuse(struct model *m, int request, int code, const char *limit)
{
    m_no(&m->request[request], code, limit);
    (void)answered(m, &m->request[request]);
}

void m_refuse_all(struct model *m, int key, int code)
{
    int first;

    for (int line = EITHER; line < LINES; line++)
        while ((first = first_of(m, key, (enum line)line)) != NOBODY) m_refuse(m, first, code, "");
}

static int serve(struct model *m, int key)
{
    int head[LINES], served = 0, waived = 0;

    for (bool again = true; again;) {
        enum model_budget short_of = B_NONE;
        int n = heads(m, key, head);
        again = false;
        for (int i = 0; i < n && !again; i++) {
            struct model_request *r = &m->request[head[i]];
            if (m_decide(m, r) == ANSWERED) {
                m_shed_learn(m, r);
                if (r->grant != G_NO) m_late_learn(m, key);
                if (r->grant != G_NO && m->key[key].rules.wait_lifo)
                    m->key[key].served_at = ++m->stamps;
                waived += answered(m, r);
                again = true;
                served++;
                continue;
            }
            if (short_of == B_NONE) short_of = r->short_of;
            for (int o = 0; o < MODEL_REQUESTS && r->again != FOREVER; o++) /* only r wakes */
                if (o != head[i] && m->request[o].waiting && m->request[o].key == key &&
                    line_of(m, &m->request[o]) == line_of(m, r))
                    m->request[o].again = FOREVER;
            if (r->again < r->at) r->at = r->again; /* so that the loop looks again in time */
        }
        if (!again) m->key[key].lacks = short_of;
    }
    if (waived) m_settle(m, key);
    return served;
}

void m_settle_budget(struct model *m, enum model_budget budget, int64_t group)
{
    int first;

    while ((first = first_starved(m, budget, group)) != NOBODY)
        if (serve(m, first) == 0 && m->key[first].lacks == budget) return;
}

void m_settle(struct model *m, int key)
{
    if (m_waiting(m, key) > 0) serve(m, key);
    m_settle_budget(m, B_LENT, 0);
    m_settle_budget(m, B_CREATING, 0);
    m_settle_budget(m, B_TOKEN, 0);
    m_settle_groups(m, m->key[key].rules.group);
    m_settle_budget(m, B_LIVE, 0);
}
