/* SPDX-License-Identifier: MIT
 *
 * More of cast.h: calls on keys, limits, copies of leases, the pool itself, and pending creates.
 */
#include "cast_inside.h"

static const char *cast_name(int key)
{
    return key < 0 ? "*" : (const char *)cast_key(key).data;
}

/* Lists the live resources of a key: those that must not be lent to any get that begins after the
 * key was invalidated. */
unsigned cast_concerned(int key, struct thing *list[])
{
    unsigned n = 0;

    if (ex_is_real()) return 0; /* looking would be a race */
    for (int who = 0; who <= EX_THREADS; who++)
        for (int i = 0; i < g.made_by[who]; i++) {
            struct thing *t = &g.thing[who][i];
            if (t->known && t->phase == LIVE && (key < 0 || t->key == key)) list[n++] = t;
        }
    return n;
}

void cast_have_ended(struct thing *list[], unsigned n)
{
    uint32_t number;

    if (n == 0) return;
    number = g.invalidations + 1;
    for (unsigned i = 0; i < n; i++)
        if (!list[i]->invalid) list[i]->invalid = number;
    ex_say(&g.invalidations, number);
}

void cast_invalidate(void)
{
    struct thing *first = &g.thing[EX_THREADS][g.warmed];
    bool live = !ex_is_real() && first->phase == LIVE;

    ex_note("invalidate");
    int64_t n = kp_invalidate(g.pool, first);
    ex_note("invalidate: %d", (int)n);
    ex_result((int)n);
    if (n < 0 || n > 1) ex_fail("kp_invalidate: %d", (int)n);
    if (live) cast_have_ended(&first, 1);
}

void cast_mark_own(void)
{
    int me = ex_self();

    if (g.leases[me] == 0) return;
    struct thing *own = g.lease[me][g.leases[me] - 1].resource;
    ex_note("invalidate what is held");
    int64_t n = kp_invalidate(g.pool, own);
    if (n != 1) ex_fail("kp_invalidate: %d of what is held", (int)n);
    if (!ex_is_real()) cast_have_ended(&own, 1);
}

void cast_use(int many)
{
    kp_lease lease[LEASES];

    for (int i = 0; i < many; i++)
        if (kp_get(g.pool, cast_key(0), NULL, &lease[i]) != 0) ex_fail("set-up failed");
    for (int i = 0; i < many; i++) kp_release(&lease[i]);
}

/* When to validate. Idle ones are due for it only after the first cast_pass. */
void cast_checks(const struct stage *stage, kp_limits *limits)
{
    if (stage->checks_returns) limits->validate_on = KP_CHECK_RETURN;
    if (!stage->checks_idle) return;
    limits->validate_on = KP_CHECK_KEEPER;
    limits->validate_every_ms = 3000;
    limits->idle_ttl_ms = KP_OFF;
}

void cast_budget(const struct stage *stage, kp_options *options)
{
    kp_budget *b = &options->budget;

    b->max_live = stage->budget;
    b->max_lent = stage->max_lent;
    b->max_idle = stage->max_idle;
    b->max_creating = stage->creating;
    b->group_max_live[0] = stage->group;
    options->limits.group[0] = stage->group > 0;
    if (stage->rate && !ex_is_real()) { /* on real threads ex_pass_ms does nothing */
        b->create_rate = stage->rate;
        b->create_burst = 1;
    }
}

void cast_may_be_lent(const struct thing *t, uint32_t invalidations)
{
    if (t->invalid && t->invalid <= invalidations)
        ex_fail("I5: a resource is lent after it was invalidated");
    if (t->doubted && t->doubted <= invalidations)
        ex_fail("a resource in doubt is lent, and was not validated");
}

/* Except those that were checked meanwhile: they may have been found good after the report. */
static void are_in_doubt(struct thing *list[], const uint32_t checks[], unsigned n)
{
    uint32_t number = g.invalidations + 1;

    for (unsigned i = 0; i < n; i++)
        if (list[i]->checks == checks[i]) list[i]->doubted = number;
    ex_say(&g.invalidations, number);
}

/* Afterwards all others of the key are suspect: without a driver.validate they must all go at once,
 * with one they must be validated before they are lent. */
void cast_say_gone(void)
{
    int me = ex_self(), told = g.suspects[me];
    struct thing *list[(EX_THREADS + 1) * EACH];
    uint32_t checks[(EX_THREADS + 1) * EACH];

    if (g.leases[me] == 0) return;
    kp_lease *lease = &g.lease[me][g.leases[me] - 1];
    struct thing *own = lease->resource;
    unsigned n = cast_concerned(own->key, list);
    for (unsigned i = 0; i < n; i++) checks[i] = list[i]->checks;
    ex_note("report that the peer is gone");
    kp_lease_report(lease, KP_EGONE);
    ex_note("report: done");
    if (ex_is_real()) return;
    if (g.suspects[me] > told && !g.stage.validates) cast_have_ended(list, n);
    else if (g.suspects[me] > told) are_in_doubt(list, checks, n);
    cast_have_ended(&own, 1);
}

void cast_invalidate_key(int key)
{
    struct thing *list[(EX_THREADS + 1) * EACH];
    unsigned n = cast_concerned(key, list);

    ex_note("invalidate key %s", cast_name(key));
    int64_t marked = kp_invalidate_key(g.pool, cast_key(key));
    ex_note("invalidate key: %d", (int)marked);
    ex_result((int)marked);
    if (marked < 0) ex_fail("kp_invalidate_key: %s", kp_strerror((int)marked));
    cast_have_ended(list, n);
}

void cast_pass(void)
{
    ex_note("11 s pass");
    ex_pass_ms(11000);
}

void cast_expire(void)
{
    cast_pass();
    cast_keep();
}

void cast_keep(void)
{
    ex_note("keep");
    (void)kp_keep(g.pool);
    ex_note("keep: done");
}

void cast_release_copy(void)
{
    int me = ex_self();
    kp_lease copy = g.lease[me][g.leases[me] - 1];

    kp_release(&copy);
}

void cast_end_copy(int lease, bool discard)
{
    kp_lease copy = g.main[lease];
    struct thing *t = copy.resource;

    /* the first to end it records, in the same step, that main no longer holds it */
    if (ex_claim(&g.main_ended[lease])) {
        (void)ex_add(&t->holders, -1);
        (void)ex_add(&g.lent, -1);
    }
    (void)ex_add(&g.copies, 1);
    ex_note("%s main's", discard ? "discard" : "release");
    if (discard) kp_discard(&copy);
    else kp_release(&copy);
}

void cast_end_copies(bool upwards)
{
    int held = g.stage.held_b + g.stage.held;

    for (int i = 0; i < held; i++) cast_end_copy(upwards ? i : held - 1 - i, true);
}

bool cast_explained(int code, int64_t within_ms, uint32_t flags)
{
    switch (code) {
    case 0: return true;
    case KP_ETIMEDOUT: return within_ms != KP_OFF || (g.stage.may & MAY_TIME_OUT);
    case KP_EAGAIN: return (flags & KP_DONT_WAIT) != 0;
    case KP_ECLOSED: return (g.stage.may & MAY_CLOSE) != 0;
    case KP_ENOMEM: return ex_may_fault();
    case KP_ECREATE: return ex_may_fault() || g.stage.bad_creates > 0;
    case KP_EREFUSED: return g.stage.refuses;
    case KP_EBREAKER: return g.stage.probes > 0;
    case KP_EDEADLK: return g.stage.nests && g.leases[ex_self()] > 0;
    default: return false;
    }
}

void cast_resize(int64_t max_live)
{
    kp_limits limits = { .max_live = max_live };

    ex_note("max_live %d", (int)max_live);
    int code = kp_limits_set(g.pool, cast_key(0), &limits, NULL);
    ex_note("max_live: %s", kp_strerror(code));
    if (code != 0 && code != KP_ENOTFOUND && !cast_explained(code, KP_OFF, 0))
        ex_fail("kp_limits_set: %s", kp_strerror(code));
}

void cast_begun(void)
{
    if (g.stage.rate == 0 || ex_is_real()) return;
    int begun = ex_add(&g.begun, 1);
    uint64_t ms = ex_now_ms() - g.opened_ms;
    if ((uint64_t)(begun - 1) * 1000 > ms * (uint64_t)g.stage.rate)
        ex_fail("%d creates have begun after %d ms", begun, (int)ms);
}

/* The first failure opens the circuit, and the next get probes it. */
void cast_circuit(kp_limits *limits)
{
    limits->breaker_failures = 1;
    limits->breaker_open_ms = KP_NONE;
    limits->breaker_counts = KP_BREAK_USE | KP_BREAK_CREATE;
    limits->breaker_probes = g.stage.probes;
}

static void report(int status)
{
    int me = ex_self();

    ex_note("report %d", status);
    if (g.leases[me] > 0) kp_lease_report(&g.lease[me][g.leases[me] - 1], status);
}

void cast_well(void)
{
    report(0);
}

void cast_ill(void)
{
    report(-1);
}

/* No probe is under way any more. So as many as `probes` says must be let in, and their successes
 * close the circuit. */
void cast_circuit_goes_on(void)
{
    kp_stats s;

    for (int i = 0; i < g.stage.probes; i++) {
        int code = kp_get(g.pool, cast_key(0), NULL, &g.main[0]);
        if (code == KP_ECLOSED) return;
        if (code != 0) ex_fail("the circuit is wedged: %s", kp_strerror(code));
        kp_lease_report(&g.main[0], 0);
        kp_release(&g.main[0]);
    }
    if (kp_stats_read(g.pool, KP_EVERY_KEY, &s) != 0 || s.circuits_open || s.circuits_probing)
        ex_fail("it is not closed");
}

void cast_retry(void)
{
    ex_note("retry now");
    int code = kp_retry_now(g.pool, cast_key(0));
    ex_note("retry now: %s", kp_strerror(code));
    if (!cast_explained(code, KP_OFF, 0)) ex_fail("kp_retry_now: %s", kp_strerror(code));
}

void cast_rotate(void)
{
    ex_note("rotate");
    int64_t many = kp_rotate(g.pool, cast_key(0), 1000);
    ex_note("rotate: %d", (int)many);
    if (many < 0 && !cast_explained((int)many, KP_OFF, 0)) ex_fail("kp_rotate: %d", (int)many);
}

void cast_close(kp_close_mode mode)
{
    ex_note("close %d", (int)mode);
    bool at_once = mode == 0;
    int64_t out = kp_pool_close(g.pool, at_once ? KP_CLOSE_WAIT : mode,
                                at_once ? KP_NONE : ex_is_real() ? 200 : 0);
    ex_note("close: %d still out", (int)out);
    ex_result((int)out);
    __atomic_store_n(&g.out, (int)out, __ATOMIC_RELAXED);
    if (out < 0) ex_fail("kp_pool_close: %s", kp_strerror((int)out));
    bool waits = !at_once && mode != KP_CLOSE_NOW && !loops_of(ex_self()) && !ex_is_real();
    if (waits && out > 0 && !g.stage.hangs) ex_fail("close has waited, and %d are out", (int)out);
    ex_say(&g.closed, 1);
}

void cast_warm(int key)
{
    kp_key keys[] = { cast_key(key) };
    kp_ask ask = { .within_ms = 50 };

    ex_note("warm %s", cast_name(key));
    int64_t n = kp_warm(g.pool, keys, 1, &ask);
    ex_note("warm: %d", (int)n);
    ex_result((int)n);
    if (n < 0 && !cast_explained((int)n, KP_OFF, 0)) ex_fail("kp_warm: %s", kp_strerror((int)n));
}

void cast_add(int key)
{
    struct thing *t = cast_thing(key);

    t->phase = LIVE;
    ex_use(&t->payload, true);
    ex_note("add %s", cast_name(key));
    int code = kp_add(g.pool, cast_key(key), t);
    ex_note("add: %s", kp_strerror(code));
    ex_result(code);
    if (code == 0) {
        (void)ex_add(&g.made, 1);
        cast_counted(key, 1);
    } else {
        t->phase = NONE;
    }
    if (code != 0 && code != KP_EFULL && !cast_explained(code, KP_OFF, 0))
        ex_fail("kp_add: %s", kp_strerror(code));
}

void cast_look(void)
{
    char text[800];

    ex_note("stats");
    cast_books();
    (void)kp_explain(g.pool, KP_EVERY_KEY, text, sizeof text);
}

void cast_pin(int key)
{
    kp_key pinned;

    ex_note("pin %s", cast_name(key));
    int code = kp_pin(g.pool, cast_key(key), &pinned);
    if (code == 0) kp_unpin(g.pool, &pinned);
    else if (!cast_explained(code, KP_OFF, 0)) ex_fail("kp_pin: %s", kp_strerror(code));
}

/* With a pin of this thread's own, and without an ask: the shortest path of a get. */
void cast_get_pinned(int key)
{
    kp_key *pin = &g.pin[ex_self()];
    kp_lease lease;
    uint32_t closed, invalid;
    int code = 0;

    cast_hear(&closed, &invalid);
    ex_note("get pinned %s", cast_name(key));
    if (!pin->size) code = kp_pin(g.pool, cast_key(key), pin);
    if (code == 0) code = kp_get(g.pool, *pin, NULL, &lease);
    ex_note("get pinned %s: %s", cast_name(key), code == 0 ? "a lease" : kp_strerror(code));
    cast_said(code, 0);
    if (!cast_explained(code, KP_OFF, 0)) ex_fail("get: %s; but why?", kp_strerror(code));
    if (code != 0) return;
    if (((struct thing *)lease.resource)->key != key) ex_fail("a pin led to another key");
    cast_got(lease, closed, invalid);
}

void cast_unpin(void)
{
    kp_key *pin = &g.pin[ex_self()];

    if (pin->size) kp_unpin(g.pool, pin);
}

bool cast_answer(void)
{
    if (!ex_await(&g.pending)) return false;
    kp_job *job = __atomic_load_n(&g.job, __ATOMIC_RELAXED);
    bool bad = ex_fault("pending create");
    struct thing *t = job->scratch;
    ex_say(&g.pending, 0);
    ex_say(&g.job_taken, 0);
    ex_note("job done%s", bad ? ", failed" : "");
    if (bad) {
        t->phase = GONE;
        (void)ex_add(&g.gone, 1);
        cast_counted(t->key, -1);
    }
    kp_job_done(job, bad ? -5 : 0, bad ? NULL : t);
    return true;
}
