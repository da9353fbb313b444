/* SPDX-License-Identifier: MIT
 *
 * What failures leave behind: a pause, and the last reason. And the circuits: a list of successes
 * and failures, and marks on what was let through as a probe while the circuit is half-open. The
 * number of probes is counted from the marks, not stored.
 */
#include "model_inside.h"

bool m_breaks(const struct model_rules *rules, uint32_t kind)
{
    return (rules->breaker_counts & kind) &&
           (rules->breaker_failures != NO_LIMIT || rules->breaker_rate != NO_LIMIT);
}

static int64_t probes(const struct model *m, int key)
{
    int64_t n = 0;

    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &m->slot[i];
        int whose = s->state == M_CLOSING ? s->heir : s->key; /* a victim has its heir's mark */
        n += s->state != M_FREE && whose == key && s->probe;
        for (int j = 0; j < MODEL_SEATS; j++)
            n += s->state == M_LENT && s->key == key && s->seat[j].lent && s->seat[j].probe;
    }
    for (int i = 0; i < MODEL_REQUESTS; i++) {
        const struct model_request *r = &m->request[i];
        n += r->active && r->key == key && r->grant == G_PERMIT && r->probe;
    }
    return n;
}

bool m_circuit_bars(const struct model *m, int key)
{
    const struct model_key *k = &m->key[key];
    const uint64_t second = 1000000000;
    uint64_t patience = k->rules.breaker_open > second ? k->rules.breaker_open : second;

    if (!k->tripped) return false;
    if (m->now < k->open_until) return true;
    return probes(m, key) >= k->rules.breaker_probes && m->now < m_later(k->probed_at, patience);
}

void m_probe(struct model *m, struct model_request *r, bool *mark)
{
    struct model_key *k = &m->key[r->key];

    *mark = true;
    k->probed_at = m->now;
    if (!k->probing) k->passed = 0;
    r->first = !k->probing;
    k->probing = true;
}

/* The request goes on without the resource that is being checked for it, which is no probe then. */
void m_probe_end(struct model *m, const struct model_request *r)
{
    if (r->making == NOBODY || m->slot[r->making].state != M_LENT) return;
    for (int j = 0; j < MODEL_SEATS; j++) m->slot[r->making].seat[j].probe = false;
}

/* A creation that no request has asked for, where a creation can close the circuit. */
void m_probe_unasked(struct model *m, int key, bool *mark)
{
    struct model_key *k = &m->key[key];
    struct model_request nobody = { .key = key };
    bool by_use = k->by_use && m_breaks(&k->rules, KP_BREAK_USE);

    if (!k->tripped || by_use || !m_breaks(&k->rules, KP_BREAK_CREATE)) return;
    if (!m_circuit_bars(m, key)) m_probe(m, &nobody, mark);
}

static void open_it(struct model *m, struct model_key *k, const char *limit, bool use)
{
    k->tripped = true;
    k->probing = false;
    k->opened_by = limit;
    k->by_use = use;
    k->open_until = m_later(m->now, k->rules.breaker_open);
}

void m_circuit_close(struct model *m, int key)
{
    struct model_key *k = &m->key[key];

    k->tripped = k->probing = false;
    k->use_failures = 0;
    k->outcomes = 0;
}

/* Looks at the outcomes in the current eighth of the window and in the seven before it. */
static bool is_bad(const struct model *m, const struct model_key *k)
{
    uint64_t width = k->rules.breaker_window / 8;
    int64_t all = 0, failed = 0;

    for (int i = 0; i < k->outcomes; i++) {
        if (k->outcome[i].at / width + 8 <= m->now / width) continue;
        all++;
        failed += !k->outcome[i].ok;
    }
    return all >= k->rules.breaker_calls && failed * 100 >= all * k->rules.breaker_rate;
}

static void note(struct model *m, struct model_key *k, bool ok)
{
    if (k->window != k->rules.breaker_window) k->outcomes = 0; /* a changed window begins empty */
    k->window = k->rules.breaker_window;
    if (k->outcomes == MODEL_OUTCOMES)
        memmove(k->outcome, k->outcome + 1, (size_t)--k->outcomes * sizeof k->outcome[0]);
    k->outcome[k->outcomes].at = m->now;
    k->outcome[k->outcomes++].ok = ok;
}

static void while_closed(struct model *m, struct model_key *k, bool use, bool ok)
{
    bool by_rate = k->rules.breaker_rate != NO_LIMIT;

    if (use) k->use_failures = ok ? 0 : k->use_failures + 1;
    if (by_rate) note(m, k, ok);
    if (!ok && (use ? k->use_failures : k->failures) >= k->rules.breaker_failures)
        open_it(m, k, "breaker_failures", use);
    else if (by_rate && is_bad(m, k))
        open_it(m, k, "breaker_rate_pct", use);
}

/* True: the circuit opened, half-opened or closed. */
bool m_outcome(struct model *m, int key, uint32_t kind, bool ok, bool *mark)
{
    struct model_key *k = &m->key[key];
    bool use = kind == KP_BREAK_USE, probe = *mark, before = k->tripped, half = k->probing;

    /* a creation that succeeded stays a probe as a lease, if uses count */
    if (use || !ok || !m_breaks(&k->rules, KP_BREAK_USE)) *mark = false;
    if (!m_breaks(&k->rules, kind)) return false;
    if (!k->tripped) {
        while_closed(m, k, use, ok);
    } else if (probe && k->probing) {
        bool counts = use || !k->by_use || !m_breaks(&k->rules, KP_BREAK_USE);
        if (!ok) open_it(m, k, k->opened_by, use);
        else if (counts && ++k->passed >= k->rules.breaker_probes) m_circuit_close(m, key);
    }
    return k->tripped != before || k->probing != half;
}

/* Tells the circuit how a use went; requests that wait are looked at again. */
void model_lease_report(struct model *m, int slot, int seat, int status)
{
    struct model_slot *s = &m->slot[slot];

    if (m_outcome(m, s->key, KP_BREAK_USE, status >= 0, &s->seat[seat].probe)) m_settle(m, s->key);
    if (status >= 0) m_used_well(m, slot);
    else if (status == KP_EGONE) m_peer_gone(m, slot);
    m_do(m);
}

/* A pause after failures, with full jitter. */
static uint64_t pause_after(const struct model *m, const struct model_rules *rules,
                            int64_t failures)
{
    uint64_t least = UINT64_C(10000000), pause = rules->retry_first;

    if (pause == 0 && rules->retry) pause = least;
    for (int64_t i = 1; i < failures && pause < rules->retry_max; i++) pause *= 2;
    if (pause > rules->retry_max) pause = rules->retry_max;
    if (pause == 0 && rules->retry) pause = least;
    return pause ? m->luck % pause + 1 : 0;
}

/* Without a pause the background stops rather than retry at once. */
void m_remember(const struct model *m, struct model_key *k, int code, bool background)
{
    const struct model_rules *rules = &k->rules;
    uint64_t pause = pause_after(m, rules, ++k->failures);

    k->back_off = pause ? m->now + pause : 0;
    if (background && !pause && !rules->cache_once) k->refill = k->warm = false;
    if (k->refused && code != KP_EREFUSED) return; /* the refusal stays the reason */
    k->refused = code == KP_EREFUSED;
    if (rules->cache_once && background && !k->refused && k->kept < rules->max_live) {
        k->kept_code[k->kept++] = code;
        return;
    }
    k->last_code = code;
    k->last_until = rules->cache_once || !rules->cache_failure || k->refused
                        ? 0
                        : m_later(m->now, rules->cache_failure);
}
