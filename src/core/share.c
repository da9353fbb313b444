/* SPDX-License-Identifier: MIT
 *
 * The arithmetic of shares, in integers. A step costs a few divisions, and only while somebody is
 * starved.
 */
#include "core/share.h"

#include "core/core.h"

enum { FIXED = 24, MOST_USUAL = 4096, MOST_HELD = 1 << 20, SAMPLES = 64, MOST_COURTESY = 50000 };

int64_t kp__held(const struct kp__subpool *sub, enum kp__measure measure)
{
    if (measure == KP__LEASED) return sub->lent_permits;
    if (measure == KP__BEING_MADE) return kp__sub_creating(sub);
    if (measure == KP__BEGUN) return 0;
    return kp__sub_live(sub) - sub->count[KP__IDLE] - sub->contest->ceded + sub->contest->promised;
}

bool kp__is_below_floor(const struct kp__budget *budget, const struct kp__subpool *sub)
{
    enum kp__measure of = budget->measure == KP__LEASED ? KP__LEASED : KP__IN_USE;

    return kp__held(sub, of) < sub->rules->floor;
}

/* span / hold, as a fixed-point number below 2^36. */
static uint64_t in_usual_holds(uint64_t span, uint64_t hold)
{
    if (span / MOST_USUAL >= hold) return (uint64_t)MOST_USUAL << FIXED;
    while (span >> (64 - FIXED)) {
        span >>= 1;
        hold >>= 1;
    }
    return (span << FIXED) / hold; /* above span / MOST_USUAL, so not 0 */
}

/* The total stays when nobody is starved any more: so what a key held until then is still counted
 * when it is next accounted for. */
uint64_t kp__contention(const struct kp__core *core)
{
    return core->contention + (core->starved ? core->latest - core->contended : 0);
}

void kp__account_now(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__share *share = &kp__contest(core, sub)->share;
    uint64_t from = share->at, to = kp__contention(core);

    share->at = to;
    if (!sub->rules || to <= from) return;
    for (int m = 0; m < KP__MEASURES; m++) {
        struct kp__usual *usual = &core->usual[m];
        uint64_t held = (uint64_t)kp__held(sub, (enum kp__measure)m);
        if (held > MOST_HELD) held = MOST_HELD;
        usual->spent += held * (to - from);
        if (usual->hold == 0) continue;
        share->had[m] += in_usual_holds(to - from, usual->hold) * held / KP__SHARE_TAU /
                         (uint64_t)sub->rules->weight;
    }
}

/* By Little's law: all permit-time, divided by the leases, or creations, that ended. That of leases
 * includes creating and destroying, so that where these are slow, keys take turns less often. */
void kp__usual_learn(struct kp__core *core, enum kp__measure measure)
{
    struct kp__usual *usual = &core->usual[measure];

    if (usual->samples < SAMPLES) usual->samples++;
    usual->hold -= usual->hold / usual->samples;
    usual->hold += usual->spent / usual->samples;
    usual->spent = 0;
}

/* Long enough for a giver to come back that lost its processor to the thread it woke; short beside
 * the time for which a permit is held. */
uint64_t kp__courtesy(const struct kp__core *core)
{
    uint64_t quarter = core->usual[KP__LEASED].hold / 4;

    return quarter < MOST_COURTESY ? quarter : MOST_COURTESY;
}

static uint64_t lag(const struct kp__budget *budget, const struct kp__subpool *sub)
{
    return sub->contest->share.had[budget->measure] + sub->contest->share.start[budget->place].from;
}

void kp__share_contend(const struct kp__core *core, struct kp__budget *budget)
{
    uint64_t hold = budget->measure == KP__BEGUN ? kp__token_period(&core->rate)
                                                 : core->usual[budget->measure].hold;
    uint64_t calm = KP__SHARE_TAU * hold;

    if (budget->bout == 0 || core->latest - budget->calm_since >= calm) kp__share_anew(budget);
}

void kp__share_anew(struct kp__budget *budget)
{
    budget->bout++;
    budget->lightest = KP__UNBOUND;
}

/* What one permit, or token, adds to a score. */
static uint64_t one(const struct kp__subpool *sub)
{
    return KP__SHARE_ONE / (uint64_t)sub->rules->weight;
}

/* How far a key may be behind that comes back: as far as it has to be to get a permit from a key
 * that holds its share, rounded up. It would hold one more by then, and the other may keep what is
 * better by less than one permit of the smaller weight (budget.h). With less credit, a key that
 * never has more than one request waiting could not get beyond its share, rounded down. But no
 * further than if it held all: where a light key had ever competed, a heavy one that came back
 * would keep all from the other heavy ones for long. */
static uint64_t credit(const struct kp__budget *budget, const struct kp__subpool *sub)
{
    int64_t held = kp__held(sub, budget->measure), weight = sub->rules->weight;
    int64_t all = budget->cap > held ? budget->cap : held + 1; /* a cap may be of other things */
    bool few = all <= (weight - 1) / budget->lightest; /* all * lightest < weight */
    uint64_t other = few ? (uint64_t)all * KP__SHARE_ONE / (uint64_t)weight
                         : KP__SHARE_ONE / (uint64_t)budget->lightest;

    return one(sub) + other;
}

void kp__share_begin(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub)
{
    struct kp__share *share = &kp__contest(core, sub)->share;
    uint64_t had = share->had[budget->measure], least = budget->virtual_time;

    if (sub->rules->weight < budget->lightest) budget->lightest = sub->rules->weight;
    if (share->start[budget->place].bout == budget->bout) {
        least -= credit(budget, sub);
        if ((int64_t)(lag(budget, sub) - least) >= 0) return;
    }
    share->start[budget->place].bout = budget->bout;
    share->start[budget->place].from = least - had;
}

uint64_t kp__share_score(const struct kp__budget *budget, const struct kp__subpool *sub)
{
    uint64_t with_one = (uint64_t)(kp__held(sub, budget->measure) + 1);

    return with_one * KP__SHARE_ONE / (uint64_t)sub->rules->weight + lag(budget, sub);
}

/* As in self-clocked fair queueing (Golestani, 1994): virtual time is the lag that the key which
 * was served last will have after a usual hold; or has at once, where that is a token. A key that
 * is served because it is below its floor does not move it, and is not charged for a token. */
void kp__share_served(struct kp__core *core, struct kp__budget *budget,
                      struct kp__subpool *sub)
{
    uint64_t after;

    if (kp__is_below_floor(budget, sub)) return;
    if (sub->contest->share.start[budget->place].bout != budget->bout)
        kp__share_begin(core, budget, sub);
    if (budget->measure == KP__BEGUN) kp__contest(core, sub)->share.had[KP__BEGUN] += one(sub);
    after = lag(budget, sub) + (budget->measure == KP__BEGUN ? 0 : one(sub) / KP__SHARE_TAU);
    if ((int64_t)(after - budget->virtual_time) > 0) budget->virtual_time = after;
}

void kp__share_refunded(struct kp__core *core, const struct kp__budget *budget,
                        struct kp__subpool *sub)
{
    if (!kp__is_below_floor(budget, sub))
        kp__contest(core, sub)->share.had[budget->measure] -= one(sub);
}
