/* SPDX-License-Identifier: MIT
 *
 * The terms of lanes: when one may open, until when, and for how long it stays shut afterwards.
 * lane.c opens and shuts it.
 */
#include "core/calendar.h"
#include "core/lane.h"
#include "core/serve.h"

/* ---- may it open? ---------------------------------------------------------------------------- */

/* Can hits without the lock keep all rules of this key, whatever they lend and give back? */
static bool rules_allow(const struct kp__core *core, const struct kp__subpool *sub)
{
    const struct kp__rules *r = sub->rules;
    uint32_t checks = r->idle_check | r->excess_check | (core->validates ? r->validate_on : 0);
    int64_t live = kp__sub_live(sub);

    return r->sharing == 1 && r->min_idle == 0 && r->utilization_pct == 100 && r->idle_lifo &&
           r->reuse && r->max_uses == KP__UNBOUND && !(checks & KP_CHECK_RETURN) &&
           live <= r->max_lent && live <= r->max_idle && live <= r->max_live &&
           (!core->resets || core->asks);
}

/* Nobody wants anything, except to wait for the end of a turn, and nothing is under way (I6). */
static bool is_calm(const struct kp__core *core, const struct kp__subpool *sub, uint64_t now)
{
    return sub->count[KP__IDLE] > 0 && core->phase == KP__OPEN && core->starved == 0 &&
           sub->rules && (sub->waiting == 0 || kp__may_be_passed(sub, now)) &&
           kp__sub_live(sub) <= KP__LANE_MOST &&
           sub->interest == sub->waiting && sub->contest->promised == 0 &&
           sub->count[KP__CREATING] == 0 && sub->count[KP__CLOSING] == 0 &&
           !sub->rare->health.tripped && !sub->leaving && !sub->refill &&
           sub->rare->doubts == 0 && sub->rare->renewal.ageing == 0;
}

bool kp__lane_may_open(const struct kp__core *core, const struct kp__subpool *sub, uint64_t now)
{
    return is_calm(core, sub, now) && rules_allow(core, sub);
}

/* ---- until when? ----------------------------------------------------------------------------- */

/* A term is at most 1 / TERMS of a time to live: a resource that was used while the lane was open
 * counts as idle since the lane opened, so it may expire too early, but only by that much. */
enum { TERMS = 64, LEAST_SLACK = 100000000 /* 100 ms */ };

/* A little before `at`, when a time to live of this length is over: the thread that shuts the lane
 * may have to wait for a processor, and until then the lane must not lend what is past its time. */
static uint64_t ahead_of(uint64_t at, uint64_t ttl)
{
    uint64_t slack = ttl / TERMS > LEAST_SLACK ? ttl / TERMS : LEAST_SLACK;

    return at == KP__NEVER ? KP__NEVER : at > slack ? at - slack : 0;
}

/* `span` / TERMS from now on; KP__NEVER if the span is that. */
static uint64_t part_of(uint64_t span, uint64_t now)
{
    return span == KP__NEVER ? KP__NEVER : kp__later(now, span / TERMS);
}

/* For how long a slot may be idle, by those rules that are checked at all. */
static uint64_t idle_span(const struct kp__rules *r)
{
    return kp__sooner(r->idle_check ? r->idle_ttl : KP__NEVER,
                      r->excess_check ? r->excess_ttl : KP__NEVER);
}

static bool validates_gets(const struct kp__core *core, const struct kp__rules *r)
{
    return core->validates && (r->validate_on & KP_CHECK_GET);
}

/* The end by the rules alone, whatever slots there are. */
static uint64_t end_by_rules(const struct kp__core *core, const struct kp__rules *r, uint64_t now)
{
    uint64_t until = kp__sooner(kp__later(now, core->leak_after), part_of(r->revoke_after, now));

    until = kp__sooner(until, part_of(idle_span(r), now));
    if (validates_gets(core, r)) until = kp__sooner(until, part_of(r->validate_after, now));
    if (core->validates) until = kp__sooner(until, part_of(r->validate_every, now));
    return until;
}

/* The end by the age of this slot, and by how long it has been idle. */
static uint64_t end_by_slot(const struct kp__core *core, const struct kp__slot *slot)
{
    const struct kp__rules *r = slot->sub->rules;
    uint64_t max_age = r->age_check ? r->max_age : KP__NEVER, until = KP__NEVER;

    if (r->age_check || slot->old) until = kp__sooner(until, ahead_of(slot->age_end, max_age));
    if (slot->state != KP__IDLE) return until;
    until = kp__sooner(until, ahead_of(kp__expires_at(slot, KP_CHECK_GET | KP_CHECK_KEEPER),
                                       kp__sooner(idle_span(r), max_age)));
    if (validates_gets(core, r))
        until = kp__sooner(until,
                           ahead_of(kp__later(slot->since, r->validate_after), r->validate_after));
    return until;
}

uint64_t kp__term_end(const struct kp__core *core, const struct kp__subpool *sub, uint64_t now)
{
    if (core->clocked && core->least_term == 0) return now + 1; /* for tests: exact ages */
    uint64_t until = end_by_rules(core, sub->rules, now);
    for (struct kp__slot *slot = NULL; (slot = kp__next_idle_or_lent(sub, slot)) != NULL;)
        until = kp__sooner(until, end_by_slot(core, slot));
    return until;
}

/* ---- and then? ------------------------------------------------------------------------------- */

/* Did it pay to open the lane? For SLOTS_PER_HIT slots that costs less than one hit saves; and next
 * to nothing, compared with the time, if the lane was open for NS_PER_SLOT for each slot. */
static bool has_paid(const struct kp__lane_books *books, uint64_t now)
{
    enum { SLOTS_PER_HIT = 16, NS_PER_SLOT = 50000 };
    uint64_t lasted = books->opened ? now - books->opened : 0; /* 0: opened without a clock */

    return books->served > books->cells / SLOTS_PER_HIT || lasted / NS_PER_SLOT > books->cells;
}

uint16_t kp__term_pause(const struct kp__core *core, struct kp__lane_books *books, uint64_t now)
{
    enum { LEAST = 4, MOST = 1024 };

    if (core->least_term == 0) return 0; /* for tests: whenever it may */
    if (has_paid(books, now)) books->penalty = 0;
    else if (books->penalty < MOST) books->penalty = (uint16_t)(2 * books->penalty + LEAST);
    return (uint16_t)(books->penalty + books->cells / LEAST);
}
