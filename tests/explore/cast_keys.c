/* SPDX-License-Identifier: MIT
 *
 * The cast's other calls: on keys, limits, copies of leases, the pool itself, and pending creates.
 */
#include "cast_inside.h"

static const char *cast_name(int key)
{
    return key < 0 ? "*" : (const char *)cast_key(key).data;
}

/* Which resources must never be lent to a get that begins after this call. */
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

void cast_end_copy(int lease, bool discard)
{
    kp_lease copy = g.main[lease];
    struct thing *t = copy.resource;

    /* whoever comes first says that main holds it no more, in the same step */
    if (ex_claim(&g.main_ended[lease])) {
        (void)ex_add(&t->holders, -1);
        (void)ex_add(&g.lent, -1);
    }
    ex_note("%s main's", discard ? "discard" : "release");
    if (discard) kp_discard(&copy);
    else kp_release(&copy);
}

void cast_end_copies(bool upwards)
{
    int held = g.stage.held_b + g.stage.held;

    for (int i = 0; i < held; i++) cast_end_copy(upwards ? i : held - 1 - i, true);
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

/* By a pin of this thread's own, and asking for nothing: the shortest way there is. */
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
