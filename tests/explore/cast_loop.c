/* SPDX-License-Identifier: MIT
 *
 * Event loops of the cast: one for each thread that starts requests. A request is answered exactly
 * once, by a dispatch of its own thread, and never after it was cancelled (I7).
 */
#include "cast_inside.h"

#include <string.h>

enum { ASKS = 3 };
enum asking { OVER, UNDER_WAY };

struct ask {
    kp_request request;
    enum asking state;
    int key;
    int64_t within_ms;
    uint32_t closed, invalidations;
    kp_why why;
};

/* In memory where plain accesses are checked (ex_room). */
static struct ask (*asks)[ASKS];

static struct {
    kp_loop *loop[EX_THREADS];
    bool dispatching[EX_THREADS];
    bool over; /* the pool's own loop may end */
} l;

void loops_open(unsigned threads)
{
    if (!asks) asks = ex_room(EX_THREADS * sizeof *asks);
    ex_keep(&l, sizeof l);
    memset(&l, 0, sizeof l);
    memset(asks, 0, EX_THREADS * sizeof *asks);
    for (int t = 0; t < EX_THREADS; t++)
        if ((threads >> t & 1) && kp_loop_open(&l.loop[t]) != 0) ex_fail("kp_loop_open failed");
}

kp_loop *loops_of(int thread)
{
    return thread < EX_THREADS ? l.loop[thread] : NULL;
}

static int under_way(int me)
{
    int n = 0;

    for (int i = 0; i < ASKS; i++) n += asks[me][i].state == UNDER_WAY;
    return n;
}

/* The request's memory is ours again: the library must not touch it any more. */
static void over(struct ask *a)
{
    a->state = OVER;
    ex_overwrite(&a->request, sizeof a->request);
}

static void done(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;
    int me = ex_self();

    cast_unlocked("done");
    ex_note("done: %s", status == 0 ? "a lease" : kp_strerror(status));
    cast_said(status, a->why.vendor_code);
    if (a->state != UNDER_WAY) ex_fail("I7: a request is answered that is over");
    if (a < asks[me] || a >= asks[me] + ASKS) ex_fail("I7: another thread answers");
    if (!l.dispatching[me]) ex_fail("I7: done runs outside of dispatch");
    if (!cast_explained(status, a->within_ms, 0))
        ex_fail("done: %s; but why?", kp_strerror(status));
    over(a);
    if (status == 0) cast_got(lease, a->closed, a->invalidations);
}

void cast_start(int key, int64_t within_ms)
{
    int me = ex_self(), i = 0;
    kp_ask ask = { .within_ms = within_ms };

    while (i < ASKS && asks[me][i].state == UNDER_WAY) i++;
    if (i == ASKS || !l.loop[me]) ex_fail("the scenario starts too much");
    struct ask *a = &asks[me][i];
    *a = (struct ask){ .request = { .loop = l.loop[me], .done = done, .arg = a },
                       .state = UNDER_WAY,
                       .key = key,
                       .within_ms = within_ms };
    if (g.stage.bad_creates) ask.why = &a->why;
    cast_hear(&a->closed, &a->invalidations);
    ex_note("start");
    int code = kp_get_start(cast_pool(), cast_key(key), &ask, &a->request);
    ex_note("start: %s", kp_strerror(code));
    if (code == 0) return;
    cast_said(code, 0);
    if (!cast_explained(code, KP_OFF, 0)) ex_fail("kp_get_start: %s", kp_strerror(code));
    over(a);
}

void cast_cancel(void)
{
    int me = ex_self();

    for (int i = ASKS - 1; i >= 0; i--) {
        if (asks[me][i].state != UNDER_WAY) continue;
        ex_note("cancel");
        kp_cancel(&asks[me][i].request);
        ex_note("cancel: done");
        over(&asks[me][i]);
        return;
    }
}

/* Repeats while it says that more can be done at once: others may be waiting for that. */
int64_t cast_dispatch(void)
{
    int me = ex_self();
    int64_t next = 0;

    while (next == 0) {
        ex_note("dispatch");
        l.dispatching[me] = true;
        next = kp_loop_dispatch(l.loop[me]);
        l.dispatching[me] = false;
        ex_note("dispatch: %d", (int)next);
        if (next < -1) ex_fail("kp_loop_dispatch: %s", kp_strerror((int)next));
    }
    return next;
}

void cast_serve(void)
{
    int me = ex_self();

    while (under_way(me) > 0) {
        int64_t next = cast_dispatch();
        if (under_way(me) == 0) return;
        cast_release_all(); /* our next request may wait for what we hold */
        if (under_way(me) > 0) ex_poll(kp_loop_fd(l.loop[me]), next);
    }
}

bool loops_kick(void)
{
    int keeper = g.stage.keeper - 1;

    if (keeper < 0 || l.over || !ex_alone(keeper) || under_way(keeper) > 0) return false;
    kp_stats all;
    if (kp_stats_read(cast_pool(), KP_EVERY_KEY, &all) == 0 && all.idle > 0)
        return false; /* the loop must wake by itself when that expires */
    l.over = true;
    ex_ring(kp_loop_fd(l.loop[keeper]));
    return true;
}

static bool others_are_over(int me)
{
    return ex_is_real() ? ex_alone(me) && under_way(me) == 0 : l.over;
}

void cast_keep_loop(void)
{
    int me = ex_self();
    int64_t out;

    while (!others_are_over(me)) {
        int64_t next = cast_dispatch();
        cast_release_all();
        if (ex_is_real() && next != 0) next = 1; /* nobody rings when the others are over */
        if (!others_are_over(me)) ex_poll(kp_loop_fd(l.loop[me]), next);
    }
    cast_books();
    for (int i = 0; (out = kp_pool_close(g.pool, KP_CLOSE_NOW, 0)) > 0; i++) {
        if (!ex_is_real() && i == 2) ex_fail("%d are still out, and nobody is left", (int)out);
        (void)cast_dispatch();
    }
    (void)cast_dispatch();
}

void cast_loop_close(void)
{
    int me = ex_self();

    if (!l.loop[me]) return;
    int expected = under_way(me);
    ex_note("close loop");
    int64_t n = kp_loop_close(l.loop[me]);
    /* kp_loop_close may be refused while another thread is still leaving a call of the pool, and
     * nothing reports when it has left */
    for (int i = 0; n < 0 && expected == 0 && ex_is_real() && i < 1000; i++) {
        ex_poll(kp_loop_fd(l.loop[me]), 1);
        n = kp_loop_close(l.loop[me]);
    }
    ex_note("close loop: %d", (int)n);
    if (n != expected) ex_fail("kp_loop_close: %d, and %d were under way", (int)n, expected);
    for (int i = 0; i < ASKS; i++)
        if (asks[me][i].state == UNDER_WAY) over(&asks[me][i]);
    l.loop[me] = NULL;
}
