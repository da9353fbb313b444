/* SPDX-License-Identifier: MIT
 *
 * The hard case H1, and H2, H4 and H17 for an event loop, as races on real threads: requests of a
 * loop, and cancels, race with a return, a create that ends, a deadline and a close. The loop's
 * thread is always the same one of the crew. See rounds.h.
 */
#include "rounds.h"

#include <poll.h>

enum { ASKS = 4 };

struct asked {
    kp_request request;
    struct rounds *r;
    const char *key;
    bool started, over; /* over: answered, or cancelled */
    int status;
    unsigned answers;
};

static struct stage {
    kp_loop *loop;
    struct asked ask[ASKS];
    kp_lease held;
    atomic_ullong at; /* about when the race begins; 0: not known yet */
    _Atomic(kp_job *) job;
    kp_deadline until;
    bool queue, waits_for_job, last;
    unsigned what;
    atomic_bool over;
} st;

static void answered(kp_request *request, int status, kp_lease lease)
{
    struct asked *a = request->arg;

    ROUNDS_EXPECT(a->r, !a->over, "answered after it was over: %d", status);
    a->over = true;
    a->answers++;
    a->status = status;
    rounds_answered(a->r, a->key, status, &lease);
    if (status == 0) rounds_release(a->r, &lease);
}

static int start(struct rounds *r, struct asked *a, const char *key, kp_deadline until)
{
    kp_ask ask = { .within_ms = until.ns ? 0 : ROUNDS_LONG_MS, .until = until, .tag = "loop" };
    int rc;

    *a = (struct asked){ .r = r, .key = key, .status = 1 };
    a->request = (kp_request){ .loop = st.loop, .done = answered, .arg = a };
    rc = kp_get_start(r->pool, kp_str(key), &ask, &a->request);
    a->started = rc == 0;
    a->over = rc != 0;
    if (rc) atomic_fetch_add(&r->refusals, 1);
    ROUNDS_EXPECT(r, a->answers == 0, "%s", "answered from inside start");
    return rc;
}

static void cancel(struct rounds *r, struct asked *a)
{
    kp_cancel(&a->request);
    if (!a->over) atomic_fetch_add(&r->refusals, 1);
    a->over = true;
}

/* Dispatch until the request was answered. Polls the loop as a program would. */
static void await(struct asked *a)
{
    while (!a->over) {
        int64_t ms = kp_loop_dispatch(st.loop);
        struct pollfd p = { .fd = kp_loop_fd(st.loop), .events = POLLIN };
        ROUNDS_EXPECT(a->r, ms >= -1, "dispatch: %lld", (long long)ms);
        if (!a->over && ms != 0) (void)poll(&p, 1, ms < 0 || ms > 1000 ? 1000 : (int)ms);
    }
}

/* Sets the moment at which the race begins; the loop's thread calls it when its requests wait. */
static void ready(void) { atomic_store(&st.at, rounds_ns() + 2000); }

static void when_ready(uint64_t apart_ns)
{
    ROUNDS_AWAIT(atomic_load(&st.at));
    rounds_spin_until(atomic_load(&st.at) + rounds_roll(apart_ns));
}

static void stage_open(struct rounds *r)
{
    memset(&st, 0, sizeof st);
    r->cast = true;
    r->options.driver.flags = KP_NEVER_BLOCKS;
    assert_int_equal(kp_loop_open(&st.loop), 0);
}

static void stage_next(void)
{
    atomic_store(&st.at, 0);
    atomic_store(&st.job, NULL);
    atomic_store(&st.over, false);
}

/* The loop is closed by the thread that used it. */
static void stage_close(struct rounds *r)
{
    st.last = true;
    rounds_race(r);
    rounds_end(r);
}

static bool last(struct rounds *r, unsigned who)
{
    if (st.last && who == 0) ROUNDS_EXPECT(r, kp_loop_close(st.loop) == 0, "%s", "all are over");
    return st.last;
}

/* ---- H1: cancel against hand-off ------------------------------------------------------------- */

static void h1_play(struct rounds *r, unsigned who)
{
    struct asked *b = &st.ask[0];

    if (last(r, who)) return;
    if (who == 0) {
        ROUNDS_EXPECT(r, start(r, b, "a", (kp_deadline){ 0 }) == 0, "%s", "started");
        ready();
        when_ready(rounds_roll(2) ? 1500 : 12000);
        for (uint64_t n = rounds_roll(8); n > 0 && !b->over; n--) (void)kp_loop_dispatch(st.loop);
        cancel(r, b);
        ROUNDS_EXPECT(r, kp_loop_dispatch(st.loop) >= -1, "%s", "dispatch");
        ROUNDS_EXPECT(r, b->answers == 0 || b->status == 0, "%d", b->status);
        atomic_fetch_add(&r->tally[b->answers], 1);
    } else if (who == 1) {
        when_ready(1500);
        rounds_release(r, &st.held);
    } else if (st.queue) { /* a thread waits behind the requests */
        ROUNDS_AWAIT(atomic_load(&st.at));
        (void)rounds_visit(r, "a", false);
    }
}

static void H1_a_cancel_that_meets_its_hand_off_loses_nothing(void **state)
{
    static const char *const tallies[] = { "cancelled", "served", NULL };
    struct rounds *r = rounds_open("H1", 3, h1_play, tallies);

    (void)state;
    stage_open(r);
    r->options.limits.max_live = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        (void)rounds_get(r, "a", &st.held);
        stage_next();
        st.queue = rounds_roll(2);
        rounds_race(r);
        rounds_has(r, "a", 1);
        ROUNDS_EXPECT(r, atomic_load(&r->creates) == 1, "%s", "it was lost");
    }
    stage_close(r);
}

/* ---- H1: cancel of a permit ------------------------------------------------------------------ */

/* There is room for one over all keys. The request is granted a permit to create it, in some rounds
 * after an idle one of another key was evicted. */
static void h1_permit(struct rounds *r, unsigned who)
{
    struct asked *a = &st.ask[0];

    if (last(r, who)) return;
    if (who > 0) {
        ROUNDS_AWAIT(atomic_load(&st.at));
        rounds_pause(3000);
        if (who == 1 || st.queue) (void)rounds_visit(r, who == 1 ? "b" : "a", false);
        return;
    }
    ROUNDS_EXPECT(r, start(r, a, "a", (kp_deadline){ 0 }) == 0, "%s", "started");
    ready();
    rounds_pause(3000);
    for (uint64_t n = rounds_roll(4); n > 0 && !a->over; n--) (void)kp_loop_dispatch(st.loop);
    cancel(r, a);
    atomic_fetch_add(&r->tally[a->answers], 1);
}

static void H1_a_cancel_of_a_permit_gives_its_room_back(void **state)
{
    static const char *const tallies[] = { "cancelled", "served", NULL };
    struct rounds *r = rounds_open("H1 with a permit", 3, h1_permit, tallies);

    (void)state;
    stage_open(r);
    r->options.budget.max_live = 1;
    while (rounds_next(r)) {
        r->options.budget.max_lent = r->round % 2 ? 1 : 0;
        rounds_pool(r);
        if (rounds_roll(2)) (void)rounds_visit(r, "b", false);
        stage_next();
        st.queue = rounds_roll(2);
        rounds_race(r);
        rounds_has(r, "a", 1);
        rounds_has(r, "b", 1);
        rounds_close(r);
    }
    stage_close(r);
}

/* ---- H2 and H1: a deadline, a cancel and a hand-off ------------------------------------------ */

static void h2_play(struct rounds *r, unsigned who)
{
    struct asked *b = &st.ask[0];

    if (last(r, who)) return;
    if (who == 0) {
        ROUNDS_EXPECT(r, start(r, b, "a", st.until) == 0, "%s", "started");
        if (st.what) await(b);
        rounds_spin_until(st.until.ns + rounds_roll(20000));
        if (rounds_roll(2)) (void)kp_loop_dispatch(st.loop);
        cancel(r, b);
        ROUNDS_EXPECT(r, b->status == 1 || b->status == 0 || b->status == KP_ETIMEDOUT, "%d",
                      b->status);
        if (b->status == KP_ETIMEDOUT) ROUNDS_EXPECT(r, rounds_ns() >= st.until.ns, "%s", "early");
        atomic_fetch_add(&r->tally[b->status == 1 ? 0 : b->status == 0 ? 1 : 2], 1);
    } else {
        rounds_spin_until(st.until.ns + rounds_roll(20000));
        rounds_release(r, &st.held);
    }
}

static void H2_a_loops_deadline_a_cancel_and_a_hand_off_at_once_lose_nothing(void **state)
{
    static const char *const tallies[] = { "cancelled", "served", "timed out", NULL };
    struct rounds *r = rounds_open("H2 on a loop", 2, h2_play, tallies);

    (void)state;
    stage_open(r);
    r->options.limits.max_live = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        (void)rounds_get(r, "a", &st.held);
        stage_next();
        st.until.ns = kp_now_ns(r->pool) + 60000 + rounds_roll(20000);
        st.what = rounds_roll(4) == 0; /* it sleeps in poll until then */
        rounds_race(r);
        rounds_has(r, "a", 1);
        ROUNDS_EXPECT(r, atomic_load(&r->creates) == 1, "%s", "it was lost");
    }
    stage_close(r);
}

/* ---- H4: requests of a loop that meet a close ------------------------------------------------ */

static void h4_play(struct rounds *r, unsigned who)
{
    static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };

    if (last(r, who)) return;
    if (who == 0) {
        for (int i = 0; i < ASKS; i++) {
            int rc = start(r, &st.ask[i], i % 2 ? "a" : "b", (kp_deadline){ 0 });
            ROUNDS_EXPECT(r, rc == 0 || rc == KP_ECLOSED, "%d", rc);
            if (rounds_roll(8) == 0) cancel(r, &st.ask[i]);
        }
        atomic_store(&r->queued, true); /* in case none had to wait */
        for (int i = 0; i < ASKS; i++) await(&st.ask[i]);
        for (int i = 0; i < ASKS; i++) {
            const struct asked *a = &st.ask[i];
            ROUNDS_EXPECT(r, a->answers <= a->started, "%u answers", a->answers);
            ROUNDS_EXPECT(r, a->status == 1 || a->status == 0 || a->status == KP_ECLOSED, "%d",
                          a->status);
            atomic_fetch_add(&r->tally[a->status == 0 ? 0 : a->status == 1 ? 2 : 1], 1);
        }
    } else if (who == 1) {
        if (r->round % 4) ROUNDS_AWAIT(rounds_queued(r, r->round % 4));
        (void)kp_pool_close(r->pool, modes[r->round % 3], ROUNDS_LONG_MS);
    } else {
        if (r->round % 4) ROUNDS_AWAIT(rounds_queued(r, r->round % 4));
        rounds_release(r, &st.held);
    }
}

static void H4_each_request_of_a_loop_that_meets_a_close_ends_once(void **state)
{
    static const char *const tallies[] = { "served", "closed", "not begun or cancelled", NULL };
    struct rounds *r = rounds_open("H4 on a loop", 3, h4_play, tallies);

    (void)state;
    stage_open(r);
    r->options.limits.max_live = 1;
    while (rounds_next(r)) {
        rounds_pool(r);
        (void)rounds_get(r, "a", &st.held);
        stage_next();
        rounds_race(r);
        rounds_gone(r);
    }
    stage_close(r);
}

/* ---- H17: cancel while a create is under way ------------------------------------------------- */

static int h17_create(struct rounds *r, kp_job *job)
{
    (void)r;
    if (!job->tag || strcmp(job->tag, "loop") != 0 || atomic_load(&st.job)) return 0;
    atomic_store(&st.job, job);
    return KP_PENDING;
}

/* The first request's create is pending, and the second waits behind it. When the create ends, each
 * may be cancelled, and another key needs the room that is left. */
static void h17_play(struct rounds *r, unsigned who)
{
    if (last(r, who)) return;
    if (who == 0) {
        for (int i = 0; i < 2; i++)
            ROUNDS_EXPECT(r, start(r, &st.ask[i], "a", (kp_deadline){ 0 }) == 0, "%s", "started");
        for (int n = 0; n < 3; n++) (void)kp_loop_dispatch(st.loop); /* begins the create */
        ready();
        when_ready(2500);
        for (unsigned i = 0; i < 2; i++)
            if (st.what & 1 << i) cancel(r, &st.ask[1 - i]);
        for (int i = 0; i < 2; i++) await(&st.ask[i]);
        for (int i = 0; i < 2; i++) atomic_fetch_add(&r->tally[st.ask[i].status != 0], 1);
        atomic_store(&st.over, true);
    } else if (who == 1) {
        when_ready(2500);
        ROUNDS_AWAIT(atomic_load(&st.job) || atomic_load(&st.over));
        if (atomic_load(&st.job)) kp_job_done(atomic_load(&st.job), 0, rounds_make(r, 'a'));
    } else {
        (void)rounds_visit(r, "b", false);
    }
}

static void H17_who_is_cancelled_behind_anothers_create_takes_no_room_along(void **state)
{
    static const char *const tallies[] = { "served", "cancelled", NULL };
    struct rounds *r = rounds_open("H17 on a loop", 3, h17_play, tallies);

    (void)state;
    stage_open(r);
    r->in_create = h17_create;
    r->options.limits.max_live = 1;
    r->options.budget.max_live = 2;
    while (rounds_next(r)) {
        kp_lease both[2];
        rounds_pool(r);
        stage_next();
        st.what = (unsigned)rounds_roll(4);
        rounds_race(r);
        rounds_has(r, "a", 1);
        rounds_has(r, "b", 1);
        for (int i = 0; i < 2; i++) (void)rounds_get(r, i ? "a" : "b", &both[i]);
        for (int i = 0; i < 2; i++) rounds_release(r, &both[i]);
        rounds_close(r);
    }
    stage_close(r);
}

/* ---- closing the loop ------------------------------------------------------------------------ */

static void h1_closes(struct rounds *r, unsigned who)
{
    int64_t open = 0, closed;

    if (who == 1) {
        when_ready(1500);
        rounds_release(r, &st.held);
    } else if (who == 2) {
        ROUNDS_AWAIT(atomic_load(&st.at));
        (void)rounds_visit(r, "a", false);
    } else {
        ROUNDS_EXPECT(r, kp_loop_open(&st.loop) == 0, "%s", "open");
        for (int i = 0; i < ASKS; i++)
            ROUNDS_EXPECT(r, start(r, &st.ask[i], "a", (kp_deadline){ 0 }) == 0, "%s", "started");
        ready();
        when_ready(rounds_roll(2) ? 1500 : 12000);
        for (uint64_t n = rounds_roll(8); n > 0; n--) (void)kp_loop_dispatch(st.loop);
        for (int i = 0; i < ASKS; i++) open += !st.ask[i].over;
        closed = kp_loop_close(st.loop);
        ROUNDS_EXPECT(r, closed == open, "%lld were cancelled", (long long)closed);
        atomic_fetch_add(&r->refusals, (unsigned long long)open);
        atomic_fetch_add(&r->tally[0], (unsigned)open);
        atomic_fetch_add(&r->tally[1], (unsigned)(ASKS - open));
    }
}

static void H1_a_loop_that_is_closed_under_its_requests_takes_nothing_along(void **state)
{
    static const char *const tallies[] = { "cancelled", "served", NULL };
    struct rounds *r = rounds_open("H1 by closing the loop", 3, h1_closes, tallies);

    (void)state;
    stage_open(r);
    assert_int_equal(kp_loop_close(st.loop), 0);
    r->options.limits.max_live = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        (void)rounds_get(r, "a", &st.held);
        stage_next();
        rounds_race(r);
        rounds_has(r, "a", 1);
        ROUNDS_EXPECT(r, atomic_load(&r->creates) == 1, "%s", "it was lost");
    }
    rounds_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H1_a_cancel_that_meets_its_hand_off_loses_nothing),
        cmocka_unit_test(H1_a_cancel_of_a_permit_gives_its_room_back),
        cmocka_unit_test(H1_a_loop_that_is_closed_under_its_requests_takes_nothing_along),
        cmocka_unit_test(H2_a_loops_deadline_a_cancel_and_a_hand_off_at_once_lose_nothing),
        cmocka_unit_test(H4_each_request_of_a_loop_that_meets_a_close_ends_once),
        cmocka_unit_test(H17_who_is_cancelled_behind_anothers_create_takes_no_room_along),
    };
    return cmocka_run_group_tests_name("hard case H1, and others on loops", tests, NULL, NULL);
}
