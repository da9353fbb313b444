/* SPDX-License-Identifier: MIT
 *
 * The model's event loop: a request that must wait returns to its caller. When it has an answer, a
 * letter goes to the loop's mailbox, and the next dispatch goes on with the request. Dispatch also
 * goes on with requests whose time has come.
 */
#include "model_inside.h"

/* From now on the loop looks at the request when it reads the letter, and at no other time. */
void m_rouse(struct model *m, struct model_request *r)
{
    if (!r->boxed) return;
    r->mail = ++m->mails;
    r->at = FOREVER;
}

bool m_posted(struct model *m, int slot)
{
    if (m->stepping) m->slot[slot].posted = ++m->mails;
    return m->stepping;
}

/* When the loop must look at the request, unless a letter comes before. */
static void file(const struct model *m, struct model_request *r)
{
    uint64_t end = m_end_of(m, r);

    if (r->mail) return;
    r->at = end < r->again ? end : r->again;
}

int model_start(struct model *m, int key, uint32_t flags, int64_t within_ms, int request)
{
    struct model_request *r = &m->request[request];
    int code = m_begin(m, key, flags, within_ms, request);

    if (code != 0) return code;
    r->boxed = true;
    m_claim(m, r);
    if (r->grant == G_NO) {
        (void)m_over(m, r);
        return r->code;
    }
    m_do(m);
    if (!r->waited) m_rouse(m, r); /* answered by letter: `done` never runs inside of start */
    file(m, r);
    return 0;
}

/* What the request was granted goes to the request that is next. */
void m_decline(struct model *m, struct model_request *r)
{
    enum model_grant grant = r->grant;

    r->probe = false;
    m_no(r, KP_ECANCELED, "");
    if (grant == G_SLOT) {
        m->slot[r->slot].lends--; /* it was not lent after all */
        if (r->idle_ns > 0) m_give_unused(m, r->slot, r->seat);
        else m_give(m, r->slot, r->seat, true, R_RETURNED);
    } else if (grant == G_PERMIT) {
        r->holds_lent = false;
        if (r->victim != NOBODY) {
            m_waive(m, r->key, r->victim);
        } else {
            m_token_back(m);
            m->slot[r->slot].state = M_FREE;
            m_let_on(m, m->latest);
        }
        m_settle(m, r->key);
    }
}

void model_cancel(struct model *m, int request)
{
    struct model_request *r = &m->request[request];

    if (!r->active) return;
    if (r->grant == G_WAIT) {
        m_probe_end(m, r);
        m_refuse(m, request, KP_ECANCELED, r->limit);
        m_settle(m, r->key);
    } else {
        m_decline(m, r);
    }
    r->code = KP_ECANCELED;
    (void)m_over(m, r);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static void step(struct model *m, int request)
{
    struct model_request *r = &m->request[request];

    m->stepping = true;
    m_look_up(m, r);
    bool over = m_run(m, r);
    m->stepping = false;
    if (over) m_tell(m, r);
    m_do(m);
    if (over) {
        (void)m_over(m, r);
        m->done[m->dones++] = request;
    } else {
        file(m, r);
    }
}

/* Runs a driver function that was posted. */
static void perform(struct model *m, int slot)
{
    static const kp_job_kind kind[] = { [J_CREATE] = KP_JOB_CREATE,
                                        [J_CHECK] = KP_JOB_VALIDATE,
                                        [J_DESTROY] = KP_JOB_DESTROY };
    int status;

    m->slot[slot].posted = 0;
    status = m_answer(m, kind[m->slot[slot].job], m->slot[slot].serial);
    if (status != KP_PENDING) model_job_done(m, slot, status);
}

static int first_job(const struct model *m)
{
    int first = NOBODY;

    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slot[i].posted &&
            (first == NOBODY || m->slot[i].posted < m->slot[first].posted))
            first = i;
    return first;
}

static int first_letter(const struct model *m)
{
    int first = NOBODY;

    for (int i = 0; i < MODEL_REQUESTS; i++)
        if (m->request[i].active && m->request[i].mail &&
            (first == NOBODY || m->request[i].mail < m->request[first].mail))
            first = i;
    return first;
}

/* Lists the requests whose time comes first; *at: when. */
static int timers(const struct model *m, int out[MODEL_REQUESTS], uint64_t *at)
{
    int n = 0;

    *at = FOREVER;
    for (int i = 0; i < MODEL_REQUESTS; i++) {
        const struct model_request *r = &m->request[i];
        if (!r->active || !r->boxed || r->at == FOREVER || r->at > *at) continue;
        if (r->at < *at) n = 0;
        *at = r->at;
        out[n++] = i;
    }
    return n;
}

int64_t model_dispatch(struct model *m)
{
    int request, due[MODEL_REQUESTS], n;
    uint64_t at;

    m->dones = 0;
    for (;;) {
        int job = first_job(m);
        if (job != NOBODY) {
            perform(m, job);
            continue;
        }
        if ((request = first_letter(m)) == NOBODY) break;
        m->request[request].mail = 0;
        step(m, request);
    }
    uint64_t now = m->now;
    while ((n = timers(m, due, &at)) > 0 && at <= now) {
        request = due[n > 1 ? m->choose(m->ctx, n) : 0];
        step(m, request);
    }
    if (first_letter(m) != NOBODY || first_job(m) != NOBODY) return 0;
    if (at == FOREVER) return -1;
    return at > m->now ? (int64_t)((at - m->now + 999999) / 1000000) : 0;
}
