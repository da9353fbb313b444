/* SPDX-License-Identifier: MIT
 *
 * The model's rate limit on creations over all keys (budget.create_rate): the generic cell rate
 * algorithm as virtual scheduling (ITU-T I.371), with fractions. If creations were evenly spaced,
 * the next one would be due at `arrival`; it may begin earlier by (burst - 1) spaces. The library
 * uses a token bucket instead (src/core/rate.c): another form of the same rule.
 */
#include "model_inside.h"

#define SECOND UINT64_C(1000000000)

static bool earlier(struct model_moment a, struct model_moment b)
{
    return a.ns != b.ns ? a.ns < b.ns : a.part < b.part;
}

/* n times the space between two creations. */
static struct model_moment spaces(const struct model *m, int64_t n)
{
    uint64_t rate = (uint64_t)m->create_rate, seconds = (uint64_t)n * SECOND;

    return (struct model_moment){ seconds / rate, seconds % rate };
}

static struct model_moment plus(const struct model *m, struct model_moment a,
                                struct model_moment b)
{
    uint64_t rate = (uint64_t)m->create_rate, part = a.part + b.part;

    return (struct model_moment){ a.ns + b.ns + part / rate, part % rate };
}

static struct model_moment minus(const struct model *m, struct model_moment a,
                                 struct model_moment b)
{
    uint64_t borrowed = a.part < b.part;

    return (struct model_moment){ a.ns - b.ns - borrowed,
                                  a.part + borrowed * (uint64_t)m->create_rate - b.part };
}

uint64_t m_token_at(const struct model *m, uint64_t now)
{
    if (m->create_rate == NO_LIMIT) return now;
    struct model_moment early = spaces(m, m->create_burst - 1);
    struct model_moment then = { now > m->took ? now : m->took, 0 }; /* upkeep's may be older */
    if (!earlier(plus(m, then, early), m->arrival)) return now;
    struct model_moment at = minus(m, m->arrival, early);
    return at.ns + (at.part > 0);
}

void m_token_take(struct model *m, uint64_t now)
{
    struct model_moment then = { now, 0 };

    if (m->create_rate == NO_LIMIT) return;
    if (now > m->took) m->took = now;
    struct model_moment next = { m->arrival.ns + 1, m->arrival.part };
    if (!earlier(then, next)) m->arrival = then; /* less than 1 ns late is not late: rounding */
    m->arrival = plus(m, m->arrival, spaces(m, 1));
}

void m_token_back(struct model *m)
{
    if (m->create_rate == NO_LIMIT) return;
    struct model_moment took = { m->took, 0 };
    m->arrival = minus(m, m->arrival, spaces(m, 1));
    if (earlier(m->arrival, took)) m->arrival = took;
}

uint64_t m_token_look(struct model *m, int key, uint64_t now)
{
    uint64_t at = m_token_at(m, now), rate = (uint64_t)m->create_rate;
    struct model_key *k = &m->key[key];

    if (k->token_look > now && k->token_look < m->look) return k->token_look;
    if (at < m->look) at = m->look;
    m->look = at + (SECOND + rate - 1) / rate;
    return k->token_look = at;
}

/* What a bucket would hold now: a burst, less what must flow in until `arrival`. */
struct model_bucket m_bucket(const struct model *m)
{
    struct model_moment now = { m->now, 0 };

    if (m->create_rate == NO_LIMIT) return (struct model_bucket){ .full = true };
    uint64_t parts = (uint64_t)m->create_burst * SECOND;
    if (!earlier(now, m->arrival)) return (struct model_bucket){ .parts = parts };
    parts -= (m->arrival.ns - m->now) * (uint64_t)m->create_rate + m->arrival.part;
    return (struct model_bucket){ .parts = parts };
}

void m_bucket_set(struct model *m, struct model_bucket bucket)
{
    uint64_t rate = (uint64_t)m->create_rate, most, lacks;

    m->look = 0;
    if (m->create_rate == NO_LIMIT) return;
    most = (uint64_t)m->create_burst * SECOND;
    lacks = bucket.full || bucket.parts > most ? 0 : most - bucket.parts;
    m->arrival = (struct model_moment){ m->now + lacks / rate, lacks % rate };
    m->took = m->now;
}
