/* SPDX-License-Identifier: MIT
 *
 * The model's time and books: expiry, upkeep, invalidation, close. Keys are in model_keys.c, the
 * counters in model_count.c.
 */
#include "model_inside.h"

#define SECOND UINT64_C(1000000000)

uint64_t m_later(uint64_t at, uint64_t by)
{
    return by >= FOREVER - at ? FOREVER : at + by;
}

uint64_t m_span(int64_t ms)
{
    return (uint64_t)ms > FOREVER / 1000000 ? FOREVER : (uint64_t)ms * 1000000;
}

void m_set_until(const struct model *m, struct model_slot *s, uint64_t until)
{
    s->until = until;
    s->left_ms = until == FOREVER ? INT64_MAX
                 : until > m->now ? (int64_t)((until - m->now + 999999) / 1000000)
                                  : 1;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- when ------------------------------------------------------------------------------------ */

/* The kinds of ages that the minimum of its key stops now. */
static uint32_t stopped(const struct model *m, int key)
{
    const struct model_rules *rules = &m->key[key].rules;

    return m_staying(m, key) > rules->min_live ? 0 : rules->respects_min;
}

/* Does its age end it, if that is looked at on `check`? One that kp_rotate retired, in any case. */
static bool ends(const struct model *m, const struct model_slot *s, uint32_t check)
{
    bool checked = m->key[s->key].rules.age_check & check;

    return s->old || (checked && !(stopped(m, s->key) & KP_KIND_AGE));
}

bool m_is_too_old(const struct model *m, const struct model_slot *s, uint32_t check)
{
    return m->now >= s->age_end && ends(m, s, check);
}

/* When an idle resource must go because nobody used it, as far as that is looked at on `check`. */
uint64_t m_unused_until(const struct model *m, int slot, uint32_t check)
{
    const struct model_slot *s = &m->slot[slot];
    const struct model_rules *rules = &m->key[s->key].rules;
    uint32_t not = stopped(m, s->key);
    uint64_t at = FOREVER;

    if ((rules->idle_check & check) && !(not & KP_KIND_IDLE))
        at = sooner(at, m_later(s->since, rules->idle_ttl));
    if ((rules->excess_check & check) && !(not & KP_KIND_EXCESS) &&
        m_staying(m, s->key) > rules->excess_over)
        at = sooner(at, m_later(s->since, rules->excess_ttl));
    return at;
}

/* The same, or because of its age. */
uint64_t m_expires_at(const struct model *m, int slot, uint32_t check)
{
    const struct model_slot *s = &m->slot[slot];
    uint64_t at = m_unused_until(m, slot, check);

    return ends(m, s, check) ? sooner(at, s->age_end) : at;
}

/* A resource that is protected when its time comes is looked at again one such time later, but not
 * within a second (decision 0007). */
static uint64_t not_before(uint64_t at, uint64_t now, uint64_t ttl)
{
    return at > now ? at : m_later(now, ttl > SECOND ? ttl : SECOND);
}

static uint64_t next_look(const struct model *m, const struct model_slot *s, uint64_t now)
{
    const struct model_rules *rules = &m->key[s->key].rules;
    uint64_t at = FOREVER;

    if (rules->idle_check & KP_CHECK_KEEPER)
        at = sooner(at, not_before(m_later(s->since, rules->idle_ttl), now, rules->idle_ttl));
    if (rules->excess_check & KP_CHECK_KEEPER)
        at = sooner(at, not_before(m_later(s->since, rules->excess_ttl), now, rules->excess_ttl));
    if (rules->age_check & KP_CHECK_KEEPER)
        at = sooner(at, not_before(s->age_end, now, rules->max_age));
    if (m_test_at(m, s) != FOREVER)
        at = sooner(at, not_before(m_test_at(m, s), now, rules->validate_every));
    return at;
}

/* Upkeep looks at it when it may expire, and when a lease may be a leak or is to be revoked. */
void m_file_slot(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];

    if (s->state == M_IDLE)
        s->look_at = sooner(s->look_at, m_expires_at(m, slot, KP_CHECK_KEEPER) <= s->since
                                            ? s->since
                                            : next_look(m, s, s->since));
    if (s->state == M_LENT) m_file_leases(m, s, 0);
}

void m_file_key(struct model *m, int key, uint64_t at)
{
    m->key[key].look_at = sooner(m->key[key].look_at, at);
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

/* With a time of nothing, what is idle ends as soon as the key has more than its minimum, if that
 * protects it, or at the next get. None is made only to end so. */
static int64_t unless_fleeting(const struct model_rules *rules, int64_t target)
{
    uint64_t ttl[] = { rules->idle_ttl, rules->excess_ttl, rules->max_age };
    uint32_t check[] = { rules->idle_check, rules->excess_check, rules->age_check };
    uint32_t kind[] = { KP_KIND_IDLE, KP_KIND_EXCESS, KP_KIND_AGE };

    for (int i = 0; i < 3; i++) {
        int64_t most = (rules->respects_min & kind[i]) ? rules->min_live : 0;
        if (ttl[i] > 0 || !(check[i] & (KP_CHECK_GET | KP_CHECK_KEEPER))) continue;
        if (kind[i] == KP_KIND_EXCESS && rules->excess_over > most) most = rules->excess_over;
        if (target > most) target = most;
    }
    return target;
}

/* How many there should be: the minimum, what is lent, and what is to be kept ready besides. */
int64_t m_ready(const struct model *m, int key, bool force)
{
    const struct model_rules *rules = &m->key[key].rules;
    int64_t lent = m_count(m, key, M_LENT), target = rules->min_live;
    int64_t share = rules->utilization_pct * rules->sharing;

    if (force && target < 1) target = 1;
    if (lent + rules->min_idle > target) target = lent + rules->min_idle;
    if (rules->utilization_pct < 100 && (m_leases(m, key) * 100 + share - 1) / share > target)
        target = (m_leases(m, key) * 100 + share - 1) / share;
    if (target > rules->max_live) target = rules->max_live;
    target = unless_fleeting(rules, target);
    if (rules->max_idle < target - lent) target = lent + rules->max_idle;
    return target;
}

/* How many of them the background should make. */
int64_t m_wanted(const struct model *m, int key, bool force)
{
    const struct model_key *k = &m->key[key];
    int64_t more = m_ready(m, key, force) - m_live(m, key) - k->promised - k->kept;

    int64_t least = k->rules.min_live - (m_ready(m, key, force) - more);

    if (m->closed || k->leaving || more <= 0) return 0;
    if (m_count(m, NOBODY, M_IDLE) < m->budget_idle) return more;
    /* later, if the others have more than their minima */
    return least > 0 && k->rules.eager && m_all_keys(m, false) <= m->budget_idle ? least : 0;
}

void m_want_more(struct model *m, int key)
{
    if (m->key[key].refill || m_wanted(m, key, false) == 0) return;
    m->key[key].refill = true;
    m_file_key(m, key, m->now);
}

/* The background makes nothing before this. */
uint64_t m_rests_until(const struct model_key *k)
{
    return k->tripped && k->open_until > k->back_off ? k->open_until : k->back_off;
}

bool m_may_make(const struct model *m, int key, uint64_t now)
{
    const struct model_key *k = &m->key[key];

    return !m_circuit_bars(m, key) && m->now >= k->back_off &&
           m_count(m, key, M_CREATING) + k->promised <
               (k->failures ? 1 : k->rules.max_creating) &&
           m_may_take(m, B_CREATING, key) && m_has_room(m, key) &&
           m_token_at(m, now) == now && m_first_for_token(m, key);
}

static bool makes_all_it_may(const struct model *m)
{
    int64_t making = m_count(m, NOBODY, M_CREATING) + m_promised(m, NOBODY);

    return m->budget_creating != NO_LIMIT && making >= m->budget_creating;
}

/* None is made for it now: behind the others that wait for another creation to be over. */
void m_hold_up(struct model *m, int key)
{
    if (makes_all_it_may(m) && !m->key[key].held_up) m->key[key].held_up = ++m->held_up;
}

/* One is over: the first of them looks again. */
void m_let_on(struct model *m, uint64_t now)
{
    int first = NOBODY;

    if (makes_all_it_may(m)) return;
    for (int k = 0; k < MODEL_KEYS; k++)
        if (m->key[k].in_use && m->key[k].held_up &&
            (first == NOBODY || m->key[k].held_up < m->key[first].held_up))
            first = k;
    if (first == NOBODY) return;
    m_file_key(m, first, now);
}

/* This one has looked: if there is still room, it has what it can have. */
static void let_next_on(struct model *m, int key, uint64_t now)
{
    if (!makes_all_it_may(m)) m->key[key].held_up = 0;
    m_let_on(m, now);
}

/* Makes one at a time; the other keys and slots get their turn in between. */
static void refill(struct model *m, int key, uint64_t now)
{
    struct model_key *k = &m->key[key];

    if (!k->refill) return;
    if (m_wanted(m, key, k->warm) == 0) {
        bool making = m_count(m, key, M_CREATING) + k->promised > 0;
        if (making) m_file_key(m, key, now + SECOND);
        else k->refill = k->warm = false;
    } else if (k->refused) {
        return; /* until kp_retry_now */
    } else if (now < m_rests_until(k)) {
        m_file_key(m, key, m_rests_until(k));
    } else if (m_creator_waits(m, key) || !m_may_make(m, key, now) ||
               m_count(m, NOBODY, M_IDLE) >= m->budget_idle) {
        bool lacks_token = m_token_at(m, now) > now;
        if (!lacks_token) m_hold_up(m, key);
        m_file_key(m, key, lacks_token ? m_token_look(m, key, now) : now + SECOND);
    } else {
        int slot = m_permit(m, key);
        m_token_take(m, now);
        k->held_up = 0;
        m_create(m, key, slot, NOBODY);
        if (k->refill) m_file_key(m, key, now);
    }
}

static void look_at_key(struct model *m, int key, uint64_t now)
{
    m->key[key].look_at = FOREVER;
    m->key[key].interest++;
    m->latest = m->now;
    m_settle(m, key); /* a pause may have ended */
    m_do(m);
    m_test_doubts(m, key);
    refill(m, key, now);
    m_renew(m, key, now);
    let_next_on(m, key, now);
    m->key[key].interest--;
    m_forget(m, key, now);
}

static void look_at_slot(struct model *m, int slot, uint64_t now)
{
    struct model_slot *s = &m->slot[slot];

    s->look_at = FOREVER;
    if (s->state != M_CREATING && s->state != M_CLOSING && m_age(m, slot, now)) return;
    if (s->state == M_IDLE && now >= m_expires_at(m, slot, KP_CHECK_KEEPER)) {
        m_close(m, slot, R_EXPIRED);
    } else if (s->state == M_IDLE) {
        s->look_at = sooner(s->look_at, next_look(m, s, now));
        m_test_due(m, slot, now);
    } else if (s->state == M_LENT) {
        for (int i = 0; i < MODEL_SEATS; i++) {
            struct model_seat *seat = &s->seat[i];
            if (!seat->lent || seat->warned || m_is_nobodys(s, seat)) continue;
            if (now < m_later(seat->since, m->leak_after)) continue;
            seat->warned = true;
            TALLY(m, s->key, leaks, 1);
            break; /* one per look */
        }
        m_file_leases(m, s, now);
        m_revoke_due(m, slot, now);
    }
}

/* Lists what is due first: slots, and keys as MODEL_SLOTS + key. Returns how many; *at: when. */
static int due_first(const struct model *m, int out[MODEL_SLOTS + MODEL_KEYS], uint64_t *at)
{
    int n = 0;

    *at = FOREVER;
    for (int i = 0; i < MODEL_SLOTS + MODEL_KEYS; i++) {
        uint64_t due = i < MODEL_SLOTS ? m->slot[i].look_at : m->key[i - MODEL_SLOTS].look_at;
        bool there = i < MODEL_SLOTS ? m->slot[i].state != M_FREE : m->key[i - MODEL_SLOTS].in_use;
        if (!there || due == FOREVER || due > *at) continue;
        if (due < *at) n = 0;
        *at = due;
        out[n++] = i;
    }
    return n;
}

bool m_keeper_is_late(struct model *m)
{
    int due[MODEL_SLOTS + MODEL_KEYS];
    uint64_t at;
    bool late = due_first(m, due, &at) > 0 && m->now > at && m->now - at > 10 * SECOND;
    bool tell = late && !m->late_told;

    m->late_told = late;
    return tell;
}

int64_t model_keep(struct model *m)
{
    int due[MODEL_SLOTS + MODEL_KEYS], n;
    uint64_t now = m->now, at;

    if (model_is_over(m)) return -1;
    m->late_told = false;
    m->tests = 0;
    for (int looks = 0; looks < 256; looks++) {
        if ((n = due_first(m, due, &at)) == 0 || at > now) break;
        int first = due[n > 1 ? m->choose(m->ctx, n) : 0];
        if (first < MODEL_SLOTS) look_at_slot(m, first, now);
        else look_at_key(m, first - MODEL_SLOTS, now);
        m_do(m);
    }
    (void)due_first(m, due, &at);
    if (at == FOREVER) return -1;
    return at > m->now ? (int64_t)((at - m->now + 999999) / 1000000) : 0;
}

/* ---- marks ----------------------------------------------------------------------------------- */

int64_t model_invalidate(struct model *m, uint64_t serial)
{
    int64_t found = 0;

    for (int i = 0; i < MODEL_SLOTS && !m->closed; i++)
        if (m->slot[i].serial == serial && !m->slot[i].doomed) found += m_doom(m, i, R_INVALIDATED);
    m_do(m);
    return found;
}

int64_t m_invalidate_one(struct model *m, int key)
{
    int64_t found = 0;

    m->key[key].interest++;
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].key == key && m->slot[i].state == M_LENT)
            found += m_doom(m, i, R_INVALIDATED);
    for (; m_count(m, key, M_IDLE) > 0; found++) m_close(m, m_newest_idle(m, key), R_INVALIDATED);
    for (int i = 0; i < MODEL_SLOTS; i++) /* they go when their tests end */
        if (m->slot[i].key == key && m->slot[i].state == M_TESTED)
            found += m_doom(m, i, R_INVALIDATED);
    m_do(m);
    m_lose_interest(m, key, m->key[key].used_at);
    return found;
}

int64_t model_invalidate_key(struct model *m, int key)
{
    int64_t found = 0;

    if (m->closed) return 0;
    if (key != NOBODY) return m->key[key].in_use ? m_invalidate_one(m, key) : 0;
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        found += m_invalidate_one(m, k);
    return found;
}

/* ---- adding, warming, pinning ---------------------------------------------------------------- */

int model_add(struct model *m, int key, uint64_t serial)
{
    struct model_key *k = &m->key[key];
    int code = m->closed ? KP_ECLOSED : 0, slot;

    for (int i = 0; i < MODEL_SLOTS; i++) {
        enum model_state state = m->slot[i].state;
        bool there = state == M_IDLE || state == M_LENT || state == M_TESTED ||
                     state == M_REVOKED;
        if (!there || m->slot[i].serial != serial) continue;
        model_misuse(m); /* no key is made */
        return KP_EMISUSE;
    }
    if (code != 0 || m_find(m, key, &code) == NOBODY) return code;
    bool full = m_count(m, key, M_IDLE) >= k->rules.max_idle ||
                m_count(m, NOBODY, M_IDLE) >= m->budget_idle;
    if (m_live(m, key) + k->promised >= k->rules.max_live) code = KP_EFULL;
    else if (full && !m_waiting(m, key)) code = KP_EFULL; /* it would be idle */
    else if (!m_has_room(m, key)) code = KP_EFULL;
    if (code == 0) {
        slot = m_permit(m, key);
        m->slot[slot].serial = ++m->serials;
        m->slot[slot].seats = (int)k->rules.sharing;
        m->slot[slot].epoch = m->epoch;
        m_created(m, slot, NULL);
        m_do(m);
    }
    m_lose_interest(m, key, m->now);
    return code;
}

int model_warm(struct model *m, int key)
{
    struct model_key *k = &m->key[key];
    int code = m->closed ? KP_ECLOSED : 0;

    if (code != 0) return code;
    if (m_find(m, key, &code) == NOBODY) return 0;
    k->used_at = m->now;
    int64_t least = k->rules.min_live > 1 ? k->rules.min_live : 1;
    if (m_count(m, key, M_IDLE) + m_count(m, key, M_LENT) < least) {
        k->refill = k->warm = true;
        m_file_key(m, key, m->now);
    }
    m_lose_interest(m, key, m->now);
    return 0;
}

/* A pinned key is not forgotten. */
int model_pin(struct model *m, int key)
{
    int code = m->closed ? KP_ECLOSED : 0;

    if (code != 0 || m_find(m, key, &code) == NOBODY) return code;
    m->key[key].pins++;
    m->key[key].interest--;
    return 0;
}

void model_unpin(struct model *m, int key)
{
    if (model_is_over(m)) return;
    m->key[key].pins--;
    m->key[key].interest++;
    m_lose_interest(m, key, m->now);
}

/* ---- the end --------------------------------------------------------------------------------- */

bool model_is_over(const struct model *m)
{
    int active = 0;

    for (int i = 0; i < MODEL_REQUESTS; i++) active += m->request[i].active;
    return m->closed && active == 0 && m_live(m, NOBODY) + m_revoked(m, NOBODY) == 0;
}

int64_t model_close(struct model *m, kp_close_mode mode)
{
    if (model_is_over(m)) return 0;
    m->closed = true;
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place))
        m_refuse_all(m, k, KP_ECLOSED);
    for (int k = 0; k < MODEL_KEYS; k++) m->key[k].lacks = B_NONE;
    struct model_frame outer = m_open_todo(m); /* what is idle goes first */
    for (int k = m_next_key(m, 0); k != NOBODY; k = m_next_key(m, m->key[k].place)) {
        m->key[k].interest++;
        while (m_count(m, k, M_IDLE) > 0) {
            m_close(m, m_newest_idle(m, k), R_RETURNED);
            m_do(m);
        }
        m->key[k].interest--;
    }
    m_close_todo(m, outer);
    m_do(m);
    if (mode != KP_CLOSE_NOW) m_revoke_all(m);
    return m_making(m, NOBODY) + m_count(m, NOBODY, M_LENT) +
           m_count(m, NOBODY, M_CLOSING) + m_revoked(m, NOBODY);
}
