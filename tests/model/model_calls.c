/* SPDX-License-Identifier: MIT
 *
 * The model's get, from the call to the lease: claim, wait, create, check, lend (docs/PATH.md).
 */
#include <stdio.h>

#include "model_inside.h"

/* ---- a get ----------------------------------------------------------------------------------- */

/* A request with KP_DONT_WAIT must not wait, not even for those that are ahead of it. */
void m_send_away(struct model *m, int request)
{
    const struct model_request *r = &m->request[request];

    if (r->waiting && (r->flags & KP_DONT_WAIT) && r->making == NOBODY)
        m_refuse(m, request, KP_EAGAIN, r->limit);
}

/* Only the first of a line is looked at. Others are limited by those ahead of them, unless
 * something is under way for them. */
void m_join(struct model *m, struct model_request *r)
{
    int at = (int)(r - m->request), first = m_first_beside(m, r);

    r->waiting = true;
    int behind = m_first_beside(m, r) == at ? first : at;
    if (behind != NOBODY && m->request[behind].making == NOBODY)
        m->request[behind].limit = "wait_order";
}

/* The request joins its line, at the place of its stamp. If the line was empty, how slow it was
 * before no longer counts. */
static void queue_again(struct model *m, struct model_request *r)
{
    struct model_key *k = &m->key[r->key];

    if (m_waiting(m, r->key) == 0 && m->now >= k->interval_end) {
        k->slow = false;
        k->interval_end = k->least_wait = 0;
    }
    if (m_waiting(m, r->key) == 0) m_late_begin(m, r->key);
    r->grant = G_WAIT;
    m_join(m, r);
    r->good = false;
    r->mail = 0; /* if there is a letter, it went on already */
    TALLY(m, r->key, waits, !r->waited && !r->at_once);
    r->waited = true;
    if (m->closed) m_refuse(m, (int)(r - m->request), KP_ECLOSED, "");
}

void m_wait_again(struct model *m, struct model_request *r)
{
    queue_again(m, r);
    if (!m->closed) m_settle(m, r->key);
    m_send_away(m, (int)(r - m->request));
}

/* The same for one whose resource was bad: nobody overtakes it when that is given back. */
static void wait_for_another(struct model *m, struct model_request *r, int slot, int seat,
                             int status)
{
    queue_again(m, r);
    m_give(m, slot, seat, status >= 0, R_INVALID);
    m_send_away(m, (int)(r - m->request));
}

static void wait_again_in_time(struct model *m, struct model_request *r)
{
    if (m->now < r->deadline) {
        m_wait_again(m, r);
    } else {
        m_no(r, r->at_once ? KP_EAGAIN : KP_ETIMEDOUT, "deadline");
    }
}

/* It waits, behind one that waits for what its key has: so nothing has changed for those ahead. */
static bool changes_nothing(const struct model *m, const struct model_request *r)
{
    const struct model_rules *rules = &m->key[r->key].rules;
    const struct model_request *first = &m->request[m_first_beside(m, r)];

    return first != r && strcmp(first->limit, "max_live") == 0 && rules->reserve == 0 &&
           rules->shed_target == FOREVER;
}

static void claim(struct model *m, struct model_request *r)
{
    int64_t waiting = m_waiting(m, r->key);
    bool others = m_head(m, r->key) != NOBODY;

    m->key[r->key].used_at = m->now;
    r->stamp = ++m->stamps;
    r->again = FOREVER;
    r->limit = "wait_order"; /* others are ahead; a later look may find another reason */
    if (!others && m_decide(m, r) == ANSWERED) return;
    if (r->flags & KP_DONT_WAIT)
        m_no(r, KP_EAGAIN, r->limit);
    else if (waiting >= m->key[r->key].rules.max_waiting)
        m_no(r, r->at_once ? KP_EAGAIN : KP_EFULL, r->at_once ? r->limit : "max_waiting");
    else if (m_waiting(m, NOBODY) >= m->budget_waiting)
        m_no(r, r->at_once ? KP_EAGAIN : KP_EFULL, r->at_once ? r->limit : "budget.max_waiting");
    else if (!others || !m_seems_too_late(m, r)) {
        queue_again(m, r);
        if (!changes_nothing(m, r)) m_settle(m, r->key);
    }
}

/* When it gives up: at its deadline, or when its creation or check has taken too long. */
uint64_t m_end_of(const struct model *m, const struct model_request *r)
{
    const struct model_slot *s = &m->slot[r->making == NOBODY ? 0 : r->making];
    bool timed = r->making != NOBODY && (s->job == J_CREATE || s->job == J_CHECK);

    return timed && s->until < r->deadline ? s->until : r->deadline;
}

static uint32_t ahead(const struct model *m, const struct model_request *r)
{
    uint32_t many = 0;

    for (int i = 0; i < MODEL_REQUESTS; i++)
        many += m->request[i].waiting && m->request[i].key == r->key &&
                m_before(m, i, (int)(r - m->request));
    return many;
}

static void give_up(struct model *m, struct model_request *r)
{
    bool late = m->now >= r->deadline, retry = m->key[r->key].rules.retry;
    bool checking = r->making != NOBODY && m->slot[r->making].state == M_LENT;
    int head = m_head(m, r->key);
    const char *bound = head != NOBODY ? m->request[head].limit : r->limit;

    m_probe_end(m, r);
    m_refuse(m, (int)(r - m->request), r->at_once ? KP_EAGAIN : KP_ETIMEDOUT,
             late && checking ? "deadline" : r->limit);
    m_settle(m, r->key);
    if (strcmp(r->bound, "wait_order") == 0 && !ahead(m, r)) r->bound = bound; /* they left */
    if (!late && (checking || retry)) wait_again_in_time(m, r);
    else if (!late) m_no(r, KP_ECREATE, "create_timeout_ms");
}

/* Step 3: it woke up and has no answer yet. */
void m_look_up(struct model *m, struct model_request *r)
{
    if (r->grant != G_WAIT) return;
    if (m->now >= m_end_of(m, r)) {
        give_up(m, r);
    } else if (m->now >= r->again) { /* a pause after a failure has ended */
        r->again = FOREVER;
        m_settle(m, r->key);
    }
}

/* Step 4. */
static void create(struct model *m, struct model_request *r)
{
    int request = (int)(r - m->request), victim = r->victim;
    bool goes = victim != NOBODY && m->slot[victim].heir != NOBODY; /* it was waived */

    if (m->closed) { /* it was granted the permit before */
        m_decline(m, r);
        m_no(r, KP_ECLOSED, "");
        return;
    }
    if (!m->on_loop || (victim == NOBODY && !r->boxed)) m_do(m);
    if (victim != NOBODY) {
        r->victim = NOBODY;
        m->slot[victim].heir = r->key;
        if (m->on_loop) { /* it goes on when it has the permit */
            m->slot[victim].probe = r->probe;
            r->probe = false;
            m->slot[victim].sponsor = request;
            r->making = victim;
            r->limit = "destroy";
            m_wait_again(m, r);
        }
        if (m->on_loop && !goes) m_destroy(m, victim);
        if (m->on_loop) return;
        for (int next; victim != NOBODY; victim = next) {
            next = m->slot[victim].next;
            r->slot = victim;
            m->slot[victim].heir = r->key;
            m_destroy(m, victim);
        }
    }
    m->slot[r->slot].probe = r->probe;
    r->probe = false;
    m_create(m, r->key, r->slot, request);
    if (r->grant == G_NO && r->code == KP_ECREATE && m->key[r->key].rules.retry && !m->closed)
        wait_again_in_time(m, r);
}

static bool must_validate(const struct model *m, const struct model_request *r)
{
    const struct model_slot *s = &m->slot[r->slot];
    const struct model_rules *rules = &m->key[r->key].rules;

    if (!m->has_validate || r->good || m_borrowers(s) > 1) return false;
    return s->doubted || ((rules->validate_on & KP_CHECK_GET) && s->seat[r->seat].hit &&
                          r->idle_ns >= rules->validate_after);
}

/* As far as is known, the resource is good: others may share it. */
static void open_to_others(struct model *m, const struct model_request *r)
{
    const struct model_slot *s = &m->slot[r->slot];

    if (m_borrowers(s) == s->seats || s->open) return;
    m_open_seats(m, r->slot);
    m_settle(m, r->key);
}

/* Step 5: is the resource still good? If not, it goes, and the request waits again at its place. */
static bool check(struct model *m, struct model_request *r)
{
    struct model_slot *s = &m->slot[r->slot];
    int slot = r->slot, seat = r->seat;

    if (!must_validate(m, r)) {
        open_to_others(m, r);
        return true;
    }
    s->open = 0; /* not shared before it is known to be good */
    uint64_t most = m_later(m->now, m->key[r->key].rules.validate_timeout);
    if (m->on_loop && m->closed) { /* it goes, whatever a check would say */
        m_no(r, KP_ECLOSED, "");
        m_give(m, slot, seat, true, R_RETURNED);
        return false;
    }
    if (m->on_loop) {
        m_set_until(m, s, most < r->deadline ? most : r->deadline);
        s->job = J_CHECK;
        s->job_seat = seat;
        s->sponsor = (int)(r - m->request);
        r->making = slot;
        m_wait_again(m, r);
        if (m_posted(m, slot)) return false;
    } else {
        m_do(m);
    }
    if (!m->on_loop) m_set_until(m, s, most < r->deadline ? most : r->deadline);
    int status = m_answer(m, KP_JOB_VALIDATE, s->serial);
    if (m->on_loop) {
        if (status != KP_PENDING) m_checked(m, slot, seat, status);
        return false;
    }
    m_take_note(m, slot, status, true);
    if (status >= 0 && !s->doomed) {
        m_file_leases(m, s, 0); /* now somebody has the lease */
        open_to_others(m, r);
        return true;
    }
    if (m->now < r->deadline || r->at_once) { /* then it may have another one that is there */
        wait_for_another(m, r, slot, seat, status);
    } else {
        m_give(m, slot, seat, status >= 0, R_INVALID);
        m_no(r, KP_ETIMEDOUT, "deadline");
    }
    m_do(m);
    return false;
}

/* Fills in why the answer is no: the limit, how long it waited, and the state of the key. */
static void explain(const struct model *m, struct model_request *r)
{
    const struct model_key *k = &m->key[r->key];
    kp_why *why = &r->why;

    why->code = r->code;
    snprintf(why->limit, sizeof why->limit, "%s", r->bound);
    why->waited_ms = (int64_t)((m->now - r->began) / 1000000);
    uint64_t at = k->tripped ? k->open_until : k->back_off;
    if (k->last_until > at) at = k->last_until; /* a failure that is kept */
    bool creates = r->code == KP_ECREATE || strcmp(r->bound, "budget.create_rate") == 0 ||
                   strcmp(r->bound, "retry_first_ms") == 0;
    if (creates && m_token_at(m, m->now) > at) at = m_token_at(m, m->now);
    if (strcmp(r->bound, "refuse_late") == 0) at = r->again;
    if (kp_error_find(r->code)->retry == KP_RETRY_NEVER) at = FOREVER;
    why->retry_after_ms = at > m->now ? (int64_t)((at - m->now + 999999) / 1000000) : 0;
    if (at == FOREVER) why->retry_after_ms = KP_OFF;
    why->ahead = ahead(m, r);
    why->live = (uint32_t)m_live(m, r->key);
    why->creating = (uint32_t)m_making(m, r->key);
    why->idle = (uint32_t)m_count(m, r->key, M_IDLE);
    why->lent = (uint32_t)m_count(m, r->key, M_LENT);
    why->closing = (uint32_t)m_count(m, r->key, M_CLOSING);
    why->waiting = (uint32_t)m_waiting(m, r->key);
}

/* A time-out is reported to on_event, outside the lock, before the get returns. What this call has
 * to destroy is destroyed then. */
void m_tell(struct model *m, struct model_request *r)
{
    if (r->grant != G_NO || r->code != KP_ETIMEDOUT) return;
    explain(m, r);
    m_do(m);
}

bool m_over(struct model *m, struct model_request *r)
{
    uint64_t wanted = r->began;
    if (r->waited && !r->at_once) { /* it waited until its lease began, or until now */
        bool lent = r->grant == G_SLOT;
        wanted = lent ? m->slot[r->slot].seat[r->seat].since : m->now;
        TALLY(m, r->key, wait_ns, wanted - r->began);
    }
    if (r->grant == G_SLOT) r->code = 0;
    TALLY(m, r->key, gets, r->code == 0);
    if (r->code == 0) TALLY(m, r->key, hits, m->slot[r->slot].seat[r->seat].hit);
    if (r->code == 0) m->slot[r->slot].seat[r->seat].heard = true;
    TALLY(m, r->key, timeouts, r->code == KP_ETIMEDOUT);
    TALLY(m, r->key, refusals, r->code != 0 && r->code != KP_ETIMEDOUT);
    if (r->code != 0 && r->code != KP_ETIMEDOUT) explain(m, r);
    r->active = false;
    r->mail = 0;
    m_lose_interest(m, r->key, wanted);
    m_do(m);
    return true;
}

bool m_run(struct model *m, struct model_request *r)
{
    for (;;) {
        if (r->first && !r->boxed) m_do(m); /* on_event is told, as in m_tell */
        r->first = false;
        switch (r->grant) {
        case G_WAIT:
            if (r->boxed) return false;
            m_do(m);
            if (r->grant != G_WAIT) break;
            if (m->now < m_end_of(m, r) && m->now < r->again) return false; /* it sleeps */
            m_look_up(m, r);
            break;
        case G_PERMIT: create(m, r); break;
        case G_SLOT:
            if (check(m, r)) return true;
            break;
        case G_NO: return true;
        }
    }
}

/* ---- the door -------------------------------------------------------------------------------- */

static uint64_t deadline_of(const struct model *m, int64_t within_ms)
{
    if (within_ms == KP_NONE) return m->now;
    if (within_ms == KP_OFF) return FOREVER;
    return m_later(m->now, within_ms == 0 ? m->deadline : m_span(within_ms));
}

/* Steps 1 and 2. Not 0: the code with which the request is over before it began. */
int m_begin(struct model *m, int key, uint32_t flags, int64_t within_ms, int request)
{
    struct model_request *r = &m->request[request];
    int code = m->closed ? KP_ECLOSED : 0;

    *r = (struct model_request){ .key = key, .flags = flags, .making = NOBODY, .victim = NOBODY };
    if (code == 0) (void)m_find(m, key, &code);
    if (code != 0) { /* counted for the pool only: there is no key */
        m->tally.refusals++;
        r->code = code;
        r->why.code = code;
        if (!kp_retry_helps(code, NULL)) r->why.retry_after_ms = KP_OFF;
        if (code == KP_EFULL) strcpy(r->why.limit, "budget.max_keys");
        return code;
    }
    r->active = true;
    r->at_once = within_ms == KP_NONE;
    r->began = m->now;
    r->deadline = deadline_of(m, within_ms);
    return 0;
}

void m_claim(struct model *m, struct model_request *r)
{
    claim(m, r);
    if (r->grant != G_SLOT && m_keeper_is_late(m)) m_do(m); /* on_event is told, as in m_tell */
}

static bool run_to_end(struct model *m, struct model_request *r)
{
    if (!m_run(m, r)) return false;
    m_tell(m, r);
    return m_over(m, r);
}

bool model_get(struct model *m, int key, uint32_t flags, int64_t within_ms, int request)
{
    struct model_request *r = &m->request[request];

    if (m_begin(m, key, flags, within_ms, request) != 0) return true;
    m_claim(m, r);
    return run_to_end(m, r);
}

bool model_go_on(struct model *m, int request)
{
    struct model_request *r = &m->request[request];

    m_look_up(m, r);
    return run_to_end(m, r);
}
