/* SPDX-License-Identifier: MIT
 *
 * The search decides, at each point, which thread goes on, and where something has several possible
 * outcomes, which one. An exhaustive search walks the tree of these decisions depth first; for each
 * path it runs the program again from the start.
 */
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct ex ex;

static struct ex_event events[EX_EVENTS];
static struct ex_node nodes[EX_DEPTH];
static uint8_t script[EX_EVENTS];


uint64_t ex_random(void)
{
    ex.rng ^= ex.rng << 13;
    ex.rng ^= ex.rng >> 7;
    ex.rng ^= ex.rng << 17;
    return ex.rng;
}

static void leave(void)
{
    fiber_switch(&ex.thread[ex.cur].fiber, &ex.main);
}

void ex_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(ex.why, sizeof ex.why, format, args);
    va_end(args);
    ex.outcome = EX_FAILED;
    for (;;) leave();
}

/* ---- who can go on --------------------------------------------------------------------------- */

static bool only_daemons_left(void)
{
    for (int t = 0; t < ex.threads; t++)
        if (!ex.thread[t].daemon && ex.thread[t].state != EX_DONE) return false;
    return true;
}

bool ex_enabled(int t)
{
    const struct ex_thread *thread = &ex.thread[t];

    if (thread->state != EX_READY) return false;
    if (thread->next.kind == EX_TAKE) return thread->next.place->holder < 0;
    if (thread->next.kind == EX_AWAIT) return *thread->awaits != 0 || only_daemons_left();
    return true;
}

static unsigned enabled_now(void)
{
    unsigned mask = 0;

    for (int t = 0; t < ex.threads; t++)
        if (ex_enabled(t)) mask |= 1u << t;
    return mask;
}

/* ---- the script ------------------------------------------------------------------------------ */

/* Which of n options does the script choose? 0 after its end. */
static unsigned scripted(unsigned n)
{
    unsigned said = ex.script_length < ex.given ? ex.give[ex.script_length] : 0;

    return said < n ? said : 0;
}

static void record(unsigned choice)
{
    if (ex.script_length >= EX_EVENTS) ex_fail("livelock: more than %d decisions", EX_EVENTS);
    ex.script[ex.script_length++] = (uint8_t)choice;
    ex.hash = (ex.hash ^ (choice + 1)) * UINT64_C(1099511628211);
}

/* Threads as options: the thread that ran last comes first, so that 0 is no preemption. */
static int option_thread(unsigned mask, unsigned option)
{
    for (int i = 0; i < ex.threads; i++) {
        int t = (ex.last_run + i) % ex.threads;
        if ((mask >> t & 1) && option-- == 0) return t;
    }
    return -1;
}

static unsigned option_of(unsigned mask, int thread)
{
    unsigned option = 0;

    for (int i = 0; i < ex.threads; i++) {
        int t = (ex.last_run + i) % ex.threads;
        if (t == thread) break;
        option += mask >> t & 1;
    }
    return option;
}

/* ---- exhaustive ------------------------------------------------------------------------------ */

static struct ex_node *new_node(void)
{
    if (ex.path >= EX_DEPTH) ex_fail("livelock: more than %d decisions", EX_DEPTH);
    ex.node[ex.path] = (struct ex_node){ .sched = false };
    return &ex.node[ex.path++];
}

static int first_pick(unsigned candidates)
{
    return (candidates >> ex.last_run & 1) ? ex.last_run : __builtin_ctz(candidates);
}

static void begin_node(unsigned enabled)
{
    unsigned candidates = enabled & ~(unsigned)ex.sleep;

    if (!candidates) {
        ex.outcome = EX_REDUNDANT;
        leave();
    }
    struct ex_node *n = new_node();
    int t = first_pick(candidates);
    unsigned others = enabled;
    if (ex.mode == EX_BOUND && ex.preemptions >= ex.bound && (enabled >> ex.last_run & 1))
        others = 1u << t;
    n->sched = true;
    n->pick = (uint8_t)t;
    n->enabled = (uint8_t)enabled;
    n->sleep = ex.sleep;
    n->preemptions = (uint8_t)ex.preemptions;
    n->backtrack = (uint8_t)(ex.mode == EX_EXHAUST && ex.reduce ? 1u << t : others);
}

static int exhaust(unsigned enabled)
{
    if (ex.depth == ex.path) begin_node(enabled);
    struct ex_node *n = &ex.node[ex.depth];
    unsigned asleep = n->sleep | n->done, still = 0;
    int t = n->pick;

    if (!n->sched || n->enabled != enabled)
        ex_fail("the explorer diverged: set-up or threads depend on something outside");
    for (int q = 0; ex.reduce && q < ex.threads; q++)
        if ((asleep >> q & 1) && q != t && !ex_conflict(ex.thread[q].next, ex.thread[t].next))
            still |= 1u << q;
    ex.sleep = (uint8_t)still;
    ex.at_node = ex.depth++;
    return t;
}

bool ex_next_path(void)
{
    while (ex.path > 0) {
        struct ex_node *n = &ex.node[ex.path - 1];
        if (!n->sched && n->pick + 1 < n->n) {
            n->pick++;
            return true;
        }
        if (n->sched) {
            n->done |= (uint8_t)(1u << n->pick);
            unsigned left = n->backtrack & ~(unsigned)n->done & ~(unsigned)n->sleep;
            if (left) {
                n->pick = (uint8_t)__builtin_ctz(left);
                return true;
            }
        }
        ex.path--;
    }
    return false;
}

void ex_forget_paths(void)
{
    ex.path = 0;
}

/* ---- at random ------------------------------------------------------------------------------- */

static int at_random(unsigned enabled)
{
    unsigned n = (unsigned)__builtin_popcount(enabled);

    return option_thread(enabled, (unsigned)(ex_random() % n));
}

/* S. Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs"
 * (ASPLOS 2010): the thread with the highest priority runs; at d - 1 random steps the running
 * thread's priority becomes the lowest. */
static int by_priority(unsigned enabled)
{
    int best = -1;

    for (int t = 0; t < ex.threads; t++)
        if ((enabled >> t & 1) && (best < 0 || ex.priority[t] > ex.priority[best])) best = t;
    for (int i = 0; i + 1 < ex.pct_depth; i++)
        if (ex.change_at[i] == ex.events) ex.priority[best] = -1 - i;
    return best;
}

/* One thread, the victim, runs only when no other can. */
static int starving(unsigned enabled)
{
    unsigned others = enabled & ~(1u << ex.victim);

    return at_random(others ? others : enabled);
}

static void begin_random(void)
{
    ex.rng = (ex.seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (int i = 0; i < 4; i++) (void)ex_random();
    ex.victim = (uint8_t)(ex_random() % (unsigned)ex.threads);
    for (int t = 0; t < ex.threads; t++)
        ex.priority[t] = (int)(ex_random() % 100000) * EX_THREADS + t;
    for (int i = 0; i < 8; i++)
        ex.change_at[i] = (int)(ex_random() % (unsigned)(ex.pct_length ? ex.pct_length : 1));
}

/* ---- who goes on ----------------------------------------------------------------------------- */

static int decide(unsigned enabled)
{
    unsigned n = (unsigned)__builtin_popcount(enabled);
    int t;

    switch (ex.mode) {
    case EX_EXHAUST:
    case EX_BOUND: t = exhaust(enabled); break;
    case EX_RANDOM: t = at_random(enabled); break;
    case EX_PCT: t = by_priority(enabled); break;
    case EX_STARVE: t = starving(enabled); break;
    default: t = option_thread(enabled, n > 1 ? scripted(n) : 0); break;
    }
    if (n > 1) record(option_of(enabled, t));
    if (t != ex.last_run) {
        ex.switches++;
        if (enabled >> ex.last_run & 1) ex.preemptions++;
    }
    ex.last_run = t;
    return t;
}

/* A thread that was invited to something steps back for at most 50 us (src/core/serve.c, invite),
 * and a request that was offered something looks again after KP__LOOKS_AFTER. Threads that sleep
 * for no longer than that are not stuck. */
#define A_MOMENT UINT64_C(250000)

/* No thread can go on. All have stopped, so each thread now sees what all others have seen. */
static void stuck(void)
{
    bool helped = ex_fire_timers(A_MOMENT);

    for (int t = 0; t < ex.threads; t++)
        for (int u = 0; u < ex.threads; u++) {
            ex_join(ex.thread[t].clock, ex.thread[u].clock);
            ex_view_join(&ex.thread[t].view, &ex.thread[u].view);
        }
    ex.live = false;
    if (!helped && ex.program->stuck) helped = ex.program->stuck();
    ex.live = true;
    if (!helped) helped = ex_fire_timers(UINT64_MAX);
    if (!helped) ex_fail("deadlock: nobody can go on");
    ex_run_woken();
}

static int who(void)
{
    for (;;) {
        unsigned enabled = enabled_now();
        bool all = true;
        if (enabled) return decide(enabled);
        for (int t = 0; t < ex.threads; t++) all = all && ex.thread[t].state == EX_DONE;
        if (all) return -1;
        stuck();
    }
}

/* Go on with the thread that is chosen; returns when that is the caller. */
static void turn(void)
{
    int me = ex.cur, t = who();

    if (t == me) return;
    if (t < 0) leave();
    ex_current(t);
    fiber_switch(&ex.thread[me].fiber, &ex.thread[t].fiber);
}

/* Was the caller only to run up to its next point (ex_run_woken)? Then switch back. */
static bool give_back(void)
{
    struct fiber *to = ex.give_back;

    if (!to) return false;
    ex.give_back = NULL;
    fiber_switch(&ex.thread[ex.cur].fiber, to);
    return true;
}

void ex_point(enum ex_kind kind, void *address)
{
    struct ex_op op = { kind, ex_place(address) };

    ex.hash = (ex.hash ^ (uint64_t)(ex.cur * 16 + (int)kind)) * UINT64_C(1099511628211);
    if (!ex_meet(op.place, kind)) return;
    ex.thread[ex.cur].next = op;
    if (!give_back()) turn();
    ex_happened(op);
}

void ex_block(void)
{
    if (!give_back()) turn();
}

/* Threads that were woken run up to their next point, which no other thread can notice. If the
 * caller is one of them (its deadline came when all were stuck), it goes on when it is chosen. */
void ex_run_woken(void)
{
    int me = ex.cur;

    for (int t = 0; t < ex.threads; t++) {
        if (ex.thread[t].state != EX_WOKEN) continue;
        ex.thread[t].state = EX_READY;
        ex.thread[t].next = (struct ex_op){ EX_LOCAL, NULL };
        if (t == me) continue;
        ex_current(t);
        ex.give_back = &ex.thread[me].fiber;
        fiber_switch(&ex.thread[me].fiber, &ex.thread[t].fiber);
        ex_current(me);
    }
}

unsigned ex_choose(unsigned n, unsigned odds)
{
    unsigned pick;

    if (n <= 1 || !ex.live) return 0;
    if (ex.mode == EX_EXHAUST || ex.mode == EX_BOUND) {
        if (ex.depth == ex.path) new_node()->n = (uint8_t)n;
        if (ex.node[ex.depth].sched || ex.node[ex.depth].n != n)
            ex_fail("the explorer diverged: set-up or threads depend on something outside");
        pick = ex.node[ex.depth++].pick;
    } else if (ex.mode == EX_REPLAY) {
        pick = scripted(n);
    } else {
        pick = (ex_random() & 255) < odds ? 1 + (unsigned)(ex_random() % (n - 1)) : 0;
    }
    record(pick);
    return pick;
}

/* ---- one execution --------------------------------------------------------------------------- */

static void begin(void)
{
    ex.run++;
    ex.outcome = EX_PASSED;
    ex.why[0] = 0;
    ex.hash = UINT64_C(1469598103934665603);
    ex.event = events;
    ex.node = nodes;
    ex.script = script;
    ex.script_length = ex.events = ex.depth = ex.preemptions = ex.switches = ex.traces = 0;
    ex.sleep = 0;
    ex.last_run = 0;
    ex.give_back = NULL;
    ex.live = false;
    ex.faults_left = ex.faults;
    ex.threads = ex.program->threads;
    ex.cur = EX_THREADS;
    begin_random();
    ex_current_begin();
    ex_places_begin();
    for (int t = 0; t <= EX_THREADS; t++) {
        struct ex_thread *thread = &ex.thread[t];
        struct fiber fiber = thread->fiber;
        memset(thread, 0, sizeof *thread);
        thread->fiber = fiber;
        thread->daemon = t >= ex.threads - ex.program->daemons;
        for (int u = 0; u < ex.threads; u++) thread->view.clock[u] = u == t;
    }
}

static void run_thread(void)
{
    ex.program->thread(ex.cur);
    ex.thread[ex.cur].state = EX_DONE;
    ex_block();
}

static void run_all(void)
{
    ex.live = true;
    for (int t = 0; t < ex.threads; t++) {
        fiber_make(&ex.thread[t].fiber, ex_stack_of(t), EX_STACK, run_thread);
        ex_current(t);
        ex.give_back = &ex.thread[EX_THREADS].fiber;
        fiber_switch(&ex.thread[EX_THREADS].fiber, &ex.thread[t].fiber);
    }
    ex_current(EX_THREADS);
    turn();
}

static void set_up(void)
{
    ex.program->setup();
    leave();
}

static void finish(void)
{
    ex.program->finish();
    leave();
}

static void in_turn(void (*fn)(void))
{
    ex_current(EX_THREADS);
    fiber_make(&ex.thread[EX_THREADS].fiber, ex_stack_of(EX_THREADS), EX_STACK, fn);
    fiber_switch(&ex.main, &ex.thread[EX_THREADS].fiber);
}

void ex_warm_up(const struct ex_program *program)
{
    ex.program = program;
    begin();
    ex_world_begin();
    in_turn(set_up);
    if (ex.outcome == EX_PASSED) in_turn(finish);
    ex_library_keep();
}

static void begin_program(void)
{
    ex_snapshot_forget();
    begin();
    ex_library_restore();
    ex_world_begin();
    in_turn(set_up);
    if (ex.outcome != EX_PASSED) return;
    ex_world_again();
    ex_snapshot_take();
    ex.ready = true;
}

enum ex_outcome ex_execute(void)
{
    if (!ex.ready) {
        begin_program();
    } else {
        begin();
        ex_world_again();
        ex_snapshot_restore();
    }
    if (ex.outcome == EX_PASSED) in_turn(run_all);
    ex.live = false;
    if (ex.outcome == EX_PASSED) in_turn(finish);
    return ex.outcome;
}
