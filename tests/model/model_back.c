/* SPDX-License-Identifier: MIT
 *
 * The model's way back: leases that end, creations that end, resources that go.
 */
#include "model_inside.h"

int m_answer(struct model *m, kp_job_kind kind, uint64_t serial)
{
    uint64_t takes_ns = 0;
    int status = m->answer(m->ctx, kind, serial, &takes_ns);

    m->now += takes_ns;
    if (status != KP_PENDING) m->latest = m->now;
    return status;
}

/* ---- resources that go ----------------------------------------------------------------------- */

/* To be destroyed by this call, after all decisions were made. */
void m_close(struct model *m, int slot, enum model_reason reason)
{
    struct model_slot *s = &m->slot[slot];

    m_aged(m, s);
    s->state = M_CLOSING;
    s->reason = reason;
    s->look_at = FOREVER;
    s->open = 0;
    s->doubted = false;
    m->todo.slot[m->todo.end++] = slot;
}

/* The resource must never be lent again. */
bool m_doom(struct model *m, int slot, enum model_reason reason)
{
    struct model_slot *s = &m->slot[slot];

    if (s->state == M_IDLE) {
        m_close(m, slot, reason);
        return true;
    }
    if ((s->state != M_LENT && s->state != M_TESTED) || s->doomed) return false;
    s->doomed = true;
    s->reason = reason;
    s->open = 0;
    s->doubted = false;
    if ((m_borrowers(s) > 0 || s->state == M_TESTED) && m_waiting(m, s->key) > 0)
        m_file_key(m, s->key, m->latest);
    return true;
}

struct model_frame m_open_todo(struct model *m)
{
    struct model_frame outer = { m->todo.base, m->todo.first, m->todo.end };

    m->todo.base = m->todo.first = m->todo.end;
    return outer;
}

void m_close_todo(struct model *m, struct model_frame outer)
{
    m->todo.base = outer.base;
    m->todo.first = outer.first;
    m->todo.end = outer.end;
}

void m_do(struct model *m)
{
    while (m->todo.first < m->todo.end) m_destroy(m, m->todo.slot[m->todo.first++]);
    m->todo.first = m->todo.end = m->todo.base;
}

/* The place is free now. The key may then have to make another, or will be forgotten in time. */
static void vacate(struct model *m, int slot)
{
    struct model_slot *s = &m->slot[slot];
    struct model_key *k = &m->key[s->key];

    m_count_reason(m, s);
    *s = (struct model_slot){ .state = M_FREE, .key = s->key };
    if (k->rules.eager && m_wanted(m, s->key, false) > 0) k->refill = true;
    if (k->refill || m_renewal_wanted(m, s->key)) m_file_key(m, s->key, m->now);
    if (m_live(m, s->key) <= k->rules.min_live) m_file_forget(m, s->key);
}

static void destroyed(struct model *m, int slot, int status)
{
    struct model_slot *s = &m->slot[slot];

    if (s->state == M_RECLAIMED) {
        m_reclaimed(m, slot, status);
        return;
    }
    int key = s->key, heir = s->promised, sponsor = s->sponsor, next = s->next;
    bool probe = s->probe;
    struct model_frame outer = m_open_todo(m);

    TALLY(m, key, destroy_failures, status < 0); /* it is gone all the same */
    if (heir != NOBODY && next == NOBODY) m->key[heir].promised--;
    vacate(m, slot);
    if (heir != NOBODY && next != NOBODY) m_await_next(m, next, heir, sponsor, probe);
    else if (heir != NOBODY) m_inherit(m, slot, heir, sponsor, probe);
    m_settle(m, key);
    m_do(m);
    m_close_todo(m, outer);
}

void m_destroy(struct model *m, int slot)
{
    m->slot[slot].job = J_DESTROY;
    if (m_posted(m, slot)) return;
    int status = m_answer(m, KP_JOB_DESTROY, m->slot[slot].serial);
    if (status != KP_PENDING) destroyed(m, slot, status);
}

/* ---- the end of a lease ---------------------------------------------------------------------- */

static bool too_many_idle(const struct model *m, int key, int64_t more)
{
    const struct model_rules *rules = &m->key[key].rules;

    return m->key[key].dropped || m_exceeds(m, key) ||
           m_count(m, key, M_IDLE) + more > rules->max_idle ||
           m_count(m, NOBODY, M_IDLE) + more > m->budget_idle ||
           m_staying(m, key) - m_extra(m, key) > rules->max_live + rules->reserve;
}

bool m_may_stay(const struct model *m, const struct model_slot *s, enum model_reason *why)
{
    const struct model_rules *rules = &m->key[s->key].rules;

    *why = s->doomed ? s->reason : m->closed ? R_RETURNED : R_SURPLUS;
    if (s->doomed || m->closed) return false;
    if (m_spent(m, s) || m_is_too_old(m, s, KP_CHECK_GET | KP_CHECK_RETURN)) {
        *why = R_EXPIRED;
        return false;
    }
    if (m_is_replaced(m, s)) return *why = R_RENEWED, false;
    int64_t most = rules->max_live + (m_waiting(m, s->key) ? rules->reserve : 0);
    if (m_exceeds(m, s->key) || m_staying(m, s->key) - m_extra(m, s->key) > most) return false;
    return m_waiting(m, s->key) > 0 || rules->drop_oldest || !too_many_idle(m, s->key, 1);
}

/* It came back, and no request took it: then the one idle longest may have expired. */
static void drop_expired(struct model *m, int slot)
{
    int oldest = m_oldest_idle(m, m->slot[slot].key);

    if (m->slot[slot].state != M_IDLE) return;
    if (m->now >= m_unused_until(m, oldest, KP_CHECK_RETURN)) m_close(m, oldest, R_EXPIRED);
}

/* No request took it. If too many are idle now, it goes, or, with drop_oldest, the oldest does. */
void m_drop_surplus(struct model *m, int slot)
{
    int key = m->slot[slot].key;

    if (m->slot[slot].state != M_IDLE || !too_many_idle(m, key, 0)) return;
    m_close(m, m->key[key].rules.drop_oldest ? m_oldest_idle(m, key) : slot, R_SURPLUS);
}

static void becomes_idle(struct model *m, int slot)
{
    m->slot[slot].state = M_IDLE;
    m->slot[slot].open = 0;
    m->slot[slot].proven = 0;
    m->slot[slot].order = ++m->returns;
}

static void end_lease(struct model *m, int slot, int seat, bool keep, enum model_reason reason,
                      bool used)
{
    struct model_slot *s = &m->slot[slot];
    int key = s->key;

    s->seat[seat].lent = false;
    TALLY(m, key, held_ns, m->now - s->seat[seat].since);
    if (m_borrowers(s) > 0) m_open_seats(m, slot);
    m->key[key].used_at = m->now;
    s->seat[seat].probe = false;
    if (!keep) (void)m_doom(m, slot, reason);
    if (m_borrowers(s) > 0) {
        m_settle(m, key);
        return;
    }
    if (!keep || !m_may_stay(m, s, &reason)) {
        s->owes_lent = true;
        m_close(m, slot, reason);
        if (m_waiting(m, key) > 0) m_settle(m, key);
        return;
    }
    if (used) s->since = m->now;
    becomes_idle(m, slot);
    m_settle(m, key);
    drop_expired(m, slot);
    m_drop_surplus(m, slot);
    if (s->state == M_IDLE) m_file_slot(m, slot); /* else a request has it now */
    if (s->doubted) m_file_key(m, key, m->now);   /* to be tested */
    if (m_live(m, key) <= m->key[key].rules.min_live) m_file_forget(m, key);
}

void m_give(struct model *m, int slot, int seat, bool keep, enum model_reason reason)
{
    end_lease(m, slot, seat, keep, reason, true);
}

void m_give_unused(struct model *m, int slot, int seat)
{
    end_lease(m, slot, seat, true, R_RETURNED, false); /* as if it had been idle all the time */
}

/* Step 8 has an answer: of reset, or of a validate on return. */
static void made_ready(struct model *m, int slot, int status)
{
    struct model_slot *s = &m->slot[slot];

    if (status != KP_PENDING && status >= 0 && s->then_validate && !m_spent(m, s) && !m->closed) {
        s->then_validate = false;
        s->job = J_VALIDATE;
        m_set_until(m, s, m_later(m->now, m->key[s->key].rules.validate_timeout));
        status = m_answer(m, KP_JOB_VALIDATE, s->serial);
    }
    if (status == KP_PENDING) return;
    m_take_note(m, slot, status, s->job == J_VALIDATE);
    s->job = J_NONE;
    m_give(m, slot, s->job_seat, status >= 0, R_INVALID);
    m_do(m);
}

void model_release(struct model *m, int slot, int seat, bool discard)
{
    struct model_slot *s = &m->slot[slot];
    const struct model_rules *rules = &m->key[s->key].rules;
    bool reuse = s->seat[seat].decided ? s->seat[seat].reuse : rules->reuse;
    bool keep = !discard && reuse, last = m_borrowers(s) == 1;
    bool validate = m->has_validate && (rules->validate_on & KP_CHECK_RETURN);
    bool reset = m->has_reset && !(m->asks && model_is_clean(s->serial));

    if (m_give_revoked(m, slot, seat, discard ? R_DISCARDED : R_RETURNED)) return;
    if (keep && last && !m_spent(m, s) && !m->closed && (reset || validate)) {
        s->open = 0; /* not shared meanwhile */
        s->job = reset ? J_RESET : J_VALIDATE;
        s->job_seat = seat;
        s->then_validate = reset && validate;
        m_set_until(m, s, reset ? FOREVER : m_later(m->now, rules->validate_timeout));
        made_ready(m, slot, m_answer(m, reset ? KP_JOB_RESET : KP_JOB_VALIDATE, s->serial));
        return;
    }
    m_give(m, slot, seat, keep, discard ? R_DISCARDED : R_RETURNED);
    m_do(m);
}

/* ---- creations ------------------------------------------------------------------------------- */

int m_permit(struct model *m, int key)
{
    int slot = 0;

    while (m->slot[slot].state != M_FREE) slot++;
    m_new_slot(m, slot, key);
    return slot;
}

/* The creation (or check) for the sponsor has ended: the sponsor may begin another. */
static int release_sponsor(struct model *m, int slot)
{
    int sponsor = m->slot[slot].sponsor;

    m->slot[slot].sponsor = NOBODY;
    if (sponsor == NOBODY) return NOBODY;
    m->request[sponsor].making = NOBODY;
    m->request[sponsor].waiting = false;
    m_join(m, &m->request[sponsor]);
    return sponsor;
}

/* The lease of a new resource begins; if the creation was a probe, the lease is one, too. */
static int lend_new(struct model *m, int slot)
{
    int seat = m_take_seat(m, slot);

    m->slot[slot].seat[seat].probe = m->slot[slot].probe;
    m->slot[slot].probe = m->slot[slot].due_to_key = false;
    return seat;
}

/* The creation was pending: the request that is next gets the resource; a sponsor that is not next
 * waits on, without a permit. A sponsor with KP_FRESH takes its own creation and no other. */
static void created_late(struct model *m, int slot)
{
    int sponsor = release_sponsor(m, slot), key = m->slot[slot].key;
    struct model_request *r = &m->request[sponsor == NOBODY ? 0 : sponsor];

    if (sponsor != NOBODY && (r->flags & KP_FRESH)) {
        r->grant = G_SLOT;
        r->slot = slot;
        r->seat = lend_new(m, slot);
        r->waiting = r->holds_lent = false;
        r->idle_ns = 0;
        m_rouse(m, r);
        m_settle(m, key);
        return;
    }
    m->slot[slot].probe = false; /* the request that takes it becomes a probe, if one does */
    becomes_idle(m, slot);
    m_file_slot(m, slot);
    m_settle(m, key);
    m->slot[slot].due_to_key = false;
    if (sponsor != NOBODY && r->waiting && r->making == NOBODY && r->holds_lent) {
        r->holds_lent = false;
        m_settle(m, key);
    }
}

void m_created(struct model *m, int slot, struct model_request *r)
{
    struct model_slot *s = &m->slot[slot];
    struct model_key *k = &m->key[s->key];
    const struct model_rules *rules = &k->rules;
    uint64_t spread = rules->max_age / 100 * (uint64_t)rules->spread_pct;

    s->age_end = FOREVER;
    if (rules->max_age != FOREVER) s->age_end = m->now + rules->max_age - m->luck % (spread + 1);
    TALLY(m, s->key, creates, 1);
    k->failures = 0;
    k->back_off = k->last_until = 0;
    (void)m_outcome(m, s->key, KP_BREAK_CREATE, true, &s->probe);
    s->since = s->made = m->now;
    m_renewed(m, slot);
    if (k->refill || m_renewal_wanted(m, s->key)) m_file_key(m, s->key, m->now);
    if (m->closed) {
        s->probe = false;
        m_close(m, slot, R_RETURNED);
        if (!r) return;
        r->holds_lent = false;
        m_no(r, KP_ECLOSED, "");
    } else if (r) {
        r->grant = G_SLOT;
        r->slot = slot;
        r->seat = lend_new(m, slot);
        r->idle_ns = 0;
        r->holds_lent = false; /* the lease counts instead */
        m_settle(m, s->key);
    } else {
        created_late(m, slot);
        m_drop_surplus(m, slot);
    }
    if (!m->closed) m_let_on(m, m->latest);
}

static void create_failed(struct model *m, int slot, struct model_request *r, int status)
{
    int key = m->slot[slot].key, sponsor = release_sponsor(m, slot);
    struct model_key *k = &m->key[key];
    bool refused = status == KP_EREFUSED && !m_is_old(m, &m->slot[slot]);
    bool probe = m->slot[slot].probe;
    int code = refused || status == KP_ENOMEM ? status : KP_ECREATE;

    if (sponsor != NOBODY && (!k->rules.retry || code == KP_EREFUSED))
        m_refuse(m, sponsor, code, "");
    else if (sponsor != NOBODY)
        m->request[sponsor].holds_lent = false;
    if (r) {
        m_no(r, code, "");
        r->holds_lent = false;
    }
    if (m->slot[slot].renews) m_file_key(m, key, m->now + UINT64_C(1000000000));
    m->slot[slot] = (struct model_slot){ .state = M_FREE };
    TALLY(m, key, create_failures, 1);
    m_remember(m, k, code, !r && sponsor == NOBODY);
    (void)m_outcome(m, key, KP_BREAK_CREATE, false, &probe);
    if (k->back_off) m_file_key(m, key, k->back_off);
    else if (k->refill) m_file_key(m, key, m->now);
    if (k->dropped) m_file_forget(m, key);
    m_settle(m, key);
    m_let_on(m, m->latest);
}

/* A creation has ended; `r` is the request that ran it itself, or NULL. */
static void finish(struct model *m, int slot, struct model_request *r, int status)
{
    int key = m->slot[slot].key;
    bool wanted = r || m->slot[slot].sponsor != NOBODY; /* else it is no use of its key */
    uint64_t used_at = wanted ? m->now : m->key[key].used_at;

    m->key[key].interest++;
    TALLY(m, key, create_ns, m->now - m->slot[slot].began);
    if (status >= 0) m_created(m, slot, r);
    else create_failed(m, slot, r, status);
    m_do(m);
    m_lose_interest(m, key, used_at);
}

/* The job was not done at once: its request waits like any other, and takes what is ready first. */
static void wait_for_it(struct model *m, int slot, int request)
{
    if (request == NOBODY) return;
    struct model_frame outer = m_open_todo(m);
    m->slot[slot].sponsor = request;
    m->request[request].making = slot;
    m->request[request].limit = "create";
    m_wait_again(m, &m->request[request]);
    m_do(m);
    m_close_todo(m, outer);
}

void m_create(struct model *m, int key, int slot, int request)
{
    struct model_slot *s = &m->slot[slot];

    s->serial = ++m->serials;
    s->seats = (int)m->key[key].rules.sharing;
    s->began = m->now;
    s->epoch = m->epoch;
    s->attempt = m->key[key].failures + 1;
    s->job = J_CREATE;
    s->due_to_key = request != NOBODY;
    if (request == NOBODY) m_probe_unasked(m, key, &s->probe);
    uint64_t until = request == NOBODY ? FOREVER : m->request[request].deadline;
    uint64_t most = m_later(m->now, m->key[key].rules.create_timeout);
    m_set_until(m, s, most < until ? most : until);
    if (m->on_loop) wait_for_it(m, slot, request);
    if (m_posted(m, slot)) return;
    int status = m_answer(m, KP_JOB_CREATE, s->serial);
    if (status == KP_PENDING && !m->on_loop) wait_for_it(m, slot, request);
    if (status == KP_PENDING) return;
    s->job = J_NONE;
    finish(m, slot, m->on_loop || request == NOBODY ? NULL : &m->request[request], status);
}

/* ---- answers that come later ----------------------------------------------------------------- */

/* A check has ended that was pending. If the resource is good, the sponsor has the lease. */
void m_checked(struct model *m, int slot, int seat, int status)
{
    struct model_slot *s = &m->slot[slot];
    struct model_request *r = &m->request[s->sponsor == NOBODY ? 0 : s->sponsor];
    struct model_frame outer = m_open_todo(m);
    bool good = status >= 0;

    m_take_note(m, slot, status, true);
    s->job = J_NONE;
    if (s->sponsor == NOBODY || !good || s->doomed) {
        int key = s->key, sponsor = release_sponsor(m, slot);
        s->lends--; /* it was not lent after all */
        m_give(m, slot, seat, good, R_INVALID);
        m_settle(m, key); /* so far the sponsor looked at nothing else */
        if (sponsor != NOBODY) m_send_away(m, sponsor);
    } else {
        (void)release_sponsor(m, slot);
        r->grant = G_SLOT;
        r->slot = slot;
        r->seat = seat;
        r->waiting = r->holds_lent = false;
        r->good = true;
        r->idle_ns = 0;
        m_rouse(m, r);
        m_file_leases(m, s, 0);
        m_open_seats(m, slot);
        m_settle(m, s->key); /* others may share it; and the check took time */
    }
    m_do(m);
    m_close_todo(m, outer);
}

void model_job_done(struct model *m, int slot, int status)
{
    enum model_job job = m->slot[slot].job;

    if (job == J_CHECK) m_checked(m, slot, m->slot[slot].job_seat, status);
    else if (job == J_RESET || job == J_VALIDATE) made_ready(m, slot, status);
    else if (job == J_DESTROY) destroyed(m, slot, status);
    else if (job == J_REVOKE) m_revoke_ended(m, slot, status);
    else if (job == J_TEST) m_tested(m, slot, status);
    else {
        m->slot[slot].job = J_NONE;
        finish(m, slot, NULL, status);
    }
}
