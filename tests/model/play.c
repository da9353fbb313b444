/* SPDX-License-Identifier: MIT
 *
 * Playing: each operation is done to the library, then to the model, and everything is compared.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "play_inside.h"

kp_stats play_totals;
bool play_gave_up;

enum { PLAYS = 200 }; /* of one sequence, at most */

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(the.did, sizeof the.did, format, args);
    va_end(args);
}

static void say_get(int r)
{
    const struct getter *g = &the.getter[r];

    if (g->active)
        say("request %d waits", r);
    else if (g->code == 0)
        say("request %d gets resource %" PRIu64, r, serial_of(&g->lease));
    else
        say("request %d: %s", r, kp_error_find(g->code)->name);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Which one an operation means: the first that is there from the place it names on. So leaving out
 * another operation seldom changes it. */
#define CHOOSE(op, n, is_there, chosen)                                                            \
    int chosen = NOBODY;                                                                           \
    for (int k_ = 0, i = (int)((op)->which % (n)); k_ < (int)(n); k_++, i = (i + 1) % (int)(n))    \
        if (chosen == NOBODY && (is_there)) chosen = i

/* A place for a get, and for its lease. */
static int free_getter(const struct op *op)
{
    int r = 0, held = 0;

    while (r < MODEL_REQUESTS && the.getter[r].active) r++;
    for (int i = 0; i < LEASES; i++) held += the.lease[i].held;
    if (r == MODEL_REQUESTS || held + MODEL_REQUESTS >= LEASES) return NOBODY;
    struct getter *g = &the.getter[r];
    g->key = op->key;
    g->pin = the.pin[op->key].size && op->fate % 2 ? the.pin[op->key] : name_of(op->key);
    g->ask = (kp_ask){ .within_ms = op->ms, .flags = op->flags, .why = &g->why };
    g->boxed = op->kind == OP_START;
    return r;
}

static void op_get(const struct op *op)
{
    int64_t within_ms = stage_has_stacks ? op->ms : KP_NONE;
    int r = free_getter(op);

    if (r == NOBODY) return;
    struct getter *g = &the.getter[r];
    g->ask.within_ms = within_ms;
    if (within_ms == KP_NONE) g->code = kp_get(the.pool, g->pin, &g->ask, &g->lease);
    else getter_start(g);
    say_get(r);
    compare_get(r, model_get(&the.model, op->key, op->flags, within_ms, r));
}

static void op_start(const struct op *op)
{
    int r = the.loop ? free_getter(op) : NOBODY;

    if (r == NOBODY) return;
    struct getter *g = &the.getter[r];
    g->request.loop = the.loop;
    g->request.done = done;
    g->request.arg = g;
    g->code = kp_get_start(the.pool, g->pin, &g->ask, &g->request);
    g->active = g->code == 0;
    say_get(r);
    int code = model_start(&the.model, op->key, op->flags, op->ms, r);
    compare_get(r, code != 0);
}

static void op_cancel(const struct op *op)
{
    CHOOSE(op, MODEL_REQUESTS, the.getter[i].active && the.getter[i].boxed, r);

    if (r == NOBODY) return;
    struct getter *g = &the.getter[r];
    kp_cancel(&g->request);
    g->active = false;
    g->code = KP_ECANCELED;
    say_get(r);
    model_cancel(&the.model, r);
    compare_get(r, true);
}

static void op_go_on(const struct op *op)
{
    CHOOSE(op, MODEL_REQUESTS, the.getter[i].active && !the.getter[i].boxed, r);

    if (r == NOBODY) return;
    getter_run(&the.getter[r]);
    say_get(r);
    compare_get(r, model_go_on(&the.model, r));
}

static void op_end(const struct op *op)
{
    CHOOSE(op, LEASES, the.lease[i].held, at);

    if (at == NOBODY) return;
    struct lease *lease = &the.lease[at];
    say("resource %" PRIu64, serial_of(&lease->real));
    the.ended = lease->real;
    lease->held = false;
    if (op->kind == OP_DISCARD)
        kp_discard(&lease->real);
    else
        kp_release(&lease->real);
    model_release(&the.model, lease->slot, lease->seat, op->kind == OP_DISCARD);
}

static void op_twice(void)
{
    if (!the.ended.resource) return;
    kp_lease copy = the.ended;
    kp_release(&copy);
    model_misuse(&the.model);
}

static void op_job_done(const struct op *op)
{
    CHOOSE(op, MODEL_SLOTS, the.pending[i], at);

    if (at == NOBODY) return;
    kp_job *job = the.pending[at];
    uint64_t fate = op->fate, serial = job->serial;
    int slot = 0, status = draw_below(&fate, 100) < the.setup->bad_pct ? -7 : 0;
    if (status < 0 && op->fate % 5 == 0) status = KP_EGONE;
    say("create %" PRIu64 " ends with %d", serial, status);
    the.pending[at] = NULL;
    while (the.model.slot[slot].serial != serial) slot++;
    kp_job_done(job, status, (void *)(uintptr_t)(serial << 4));
    model_job_done(&the.model, slot, status);
}

static void op_invalidate(const struct op *op)
{
    uint64_t serial = the.model.serials ? 1 + op->which % the.model.serials : 1;

    CHOOSE(op, LEASES, the.lease[i].held, at);
    if (at != NOBODY && op->fate % 2) serial = serial_of(&the.lease[at].real);
    say("resource %" PRIu64, serial);
    int64_t real = kp_invalidate(the.pool, (void *)(uintptr_t)(serial << 4));
    compare_number("kp_invalidate", real, model_invalidate(&the.model, serial));
}

static void op_invalidate_key(const struct op *op)
{
    bool every = op->fate % 4 == 0;
    int64_t real = kp_invalidate_key(the.pool, every ? KP_EVERY_KEY : name_of(op->key));

    compare_number("kp_invalidate_key", real,
                   model_invalidate_key(&the.model, every ? NOBODY : op->key));
}

static void op_retry(const struct op *op)
{
    bool every = op->fate % 4 == 0;
    int real = kp_retry_now(the.pool, every ? KP_EVERY_KEY : name_of(op->key));

    compare_number("kp_retry_now", real, model_retry_now(&the.model, every ? NOBODY : op->key));
}

static int64_t number_read(int64_t read)
{
    return read == KP_UNLIMITED ? NO_LIMIT : read == KP_NONE ? 0 : read;
}

static void op_budget(const struct op *op)
{
    kp_budget now;

    play_due(op);
    if (kp_budget_read(the.pool, &now) != 0) return;
    compare_number("max_live as it is read", number_read(now.max_live), the.model.budget_live);
    compare_number("max_lent as it is read", number_read(now.max_lent), the.model.budget_lent);
    compare_number("create_rate as it is read", number_read(now.create_rate),
                   the.model.create_rate);
    compare_number("create_burst as it is read", now.create_burst ? now.create_burst : NO_LIMIT,
                   the.model.create_burst);
}

static void op_run_down(const struct op *op)
{
    int key = op->fate % 4 == 0 ? NOBODY : op->key;
    kp_key name = key == NOBODY ? KP_EVERY_KEY : name_of(key);

    if (op->kind == OP_EVICT)
        compare_number("kp_evict", kp_evict(the.pool, name, op->ms),
                       model_evict(&the.model, key, op->ms));
    else
        compare_number("kp_drop", kp_drop(the.pool, name, KP_NONE), model_drop(&the.model, key));
}

static void op_rotate(const struct op *op)
{
    bool every = op->fate % 4 == 0;
    int64_t real = kp_rotate(the.pool, every ? KP_EVERY_KEY : name_of(op->key), op->ms);

    compare_number("kp_rotate", real, model_rotate(&the.model, every ? NOBODY : op->key, op->ms));
}

static void op_limits(const struct op *op, int key)
{
    const struct model_rules *rules = key == NOBODY ? &the.model.rules : &the.model.key[key].rules;
    kp_key name = key == NOBODY ? KP_EVERY_KEY : name_of(key);
    int real = kp_limits_set(the.pool, name, &op->limits, NULL);
    kp_limits now;

    compare_number("kp_limits_set", real, model_limits_set(&the.model, key, &op->limits));
    if (kp_limits_read(the.pool, name, &now) != 0) return;
    compare_number("max_live as it is read", number_read(now.max_live), rules->max_live);
    compare_number("max_waiting as it is read", number_read(now.max_waiting), rules->max_waiting);
    compare_number("excess_over as it is read", number_read(now.excess_over), rules->excess_over);
    compare_number("surplus as it is read", number_read(now.surplus), rules->surplus);
}

static void op_lease(const struct op *op)
{
    CHOOSE(op, LEASES, the.lease[i].held, at);

    if (at == NOBODY) return;
    struct lease *lease = &the.lease[at];
    int status = op->fate % 3 == 0 ? 0 : op->fate % 5 == 0 ? KP_EGONE : -1;
    say("resource %" PRIu64 ": %d", serial_of(&lease->real), status);
    if (op->kind == OP_REUSE) {
        kp_lease_reuse(&lease->real, status == 0);
        model_lease_reuse(&the.model, lease->slot, lease->seat, status == 0);
    } else {
        kp_lease_report(&lease->real, status);
        model_lease_report(&the.model, lease->slot, lease->seat, status);
    }
}

/* A new resource, or one that the pool has. */
static void op_add(const struct op *op)
{
    CHOOSE(op, MODEL_SLOTS, the.model.slot[i].state == M_IDLE || the.model.slot[i].state == M_LENT,
           there);
    uint64_t serial = the.model.serials + 1;
    if (there != NOBODY && op->fate % 4 == 0) serial = the.model.slot[there].serial;
    int real = kp_add(the.pool, name_of(op->key), (void *)(uintptr_t)(serial << 4));

    say("resource %" PRIu64 ": %d", serial, real);
    compare_number("kp_add", real, model_add(&the.model, op->key, serial));
}

static void op_warm(const struct op *op)
{
    kp_key key = name_of(op->key);
    int64_t real = kp_warm(the.pool, &key, 1, NULL);

    compare_number("kp_warm", real, model_warm(&the.model, op->key));
}

static void op_pin(const struct op *op)
{
    kp_key *pin = &the.pin[op->key];

    if (op->kind == OP_PIN && pin->size == 0) {
        int real = kp_pin(the.pool, name_of(op->key), pin);
        compare_number("kp_pin", real, model_pin(&the.model, op->key));
    } else if (op->kind == OP_UNPIN && pin->size != 0) {
        kp_unpin(the.pool, pin);
        model_unpin(&the.model, op->key);
    }
}

static void op_close(void)
{
    kp_close_mode mode = the.setup->close_mode;
    int64_t real = kp_pool_close(the.pool, mode, KP_NONE);

    compare_number("kp_pool_close", real, model_close(&the.model, mode));
}

/* The library first: where nothing says what comes first, the model takes its choice. */
static void operate(const struct op *op)
{
    switch (op->kind) {
    case OP_GET: op_get(op); break;
    case OP_GO_ON: op_go_on(op); break;
    case OP_RELEASE:
    case OP_DISCARD: op_end(op); break;
    case OP_RELEASE_TWICE: op_twice(); break;
    case OP_JOB_DONE: op_job_done(op); break;
    case OP_INVALIDATE: op_invalidate(op); break;
    case OP_INVALIDATE_KEY: op_invalidate_key(op); break;
    case OP_LIMITS: op_limits(op, op->key); break;
    case OP_LIMITS_ALL: op_limits(op, NOBODY); break;
    case OP_RETRY: op_retry(op); break;
    case OP_ROTATE: op_rotate(op); break;
    case OP_REUSE:
    case OP_REPORT: op_lease(op); break;
    case OP_ADD: op_add(op); break;
    case OP_WARM: op_warm(op); break;
    case OP_PIN:
    case OP_UNPIN: op_pin(op); break;
    case OP_KEEP:
    case OP_DISPATCH:
    case OP_BUDGET: op_budget(op); break;
    case OP_START: op_start(op); break;
    case OP_CANCEL: op_cancel(op); break;
    case OP_PASS:
        the.now += (uint64_t)op->ms * 1000000;
        the.model.now = the.now;
        break;
    case OP_CLOSE: op_close(); break;
    case OP_EVICT:
    case OP_DROP: op_run_down(op); break;
    case OPS: break;
    }
}

static void step(const struct op *op)
{
    for (int side = 0; side < 2; side++) the.calls[side] = (struct calls){ .state = op->fate };
    the.now += 1 + op->fate % 1000;
    the.model.now = the.model.latest = the.now;
    the.did[0] = 0;
    operate(op);
    compare_calls();
    if (!the.setup->seldom || op->fate % 8 == 0) {
        compare_leases();
        for (int key = NOBODY; key < the.setup->keys && !the.differs; key++) compare_stats(key);
    }
    const char *broken = the.differs ? NULL : model_broken(&the.model);
    if (broken) differ("both are wrong: %s", broken);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The same operation until it finds nothing to do any more. */
static void step_all(enum op_kind kind)
{
    struct op op = { .kind = kind, .fate = 7 };

    do {
        op.fate++;
        step(&op);
    } while (the.did[0] && !the.differs);
}

static void add_up(void)
{
    kp_stats s;

    if (kp_stats_read(the.pool, KP_EVERY_KEY, &s) != 0) return;
#define X(field, kind, sentence) play_totals.field += s.field;
    KP_STATS_MAP(X)
#undef X
}

/* Everything ends: then nothing may be left. */
static void finish(void)
{
    static const enum op_kind kinds[] = { OP_RELEASE, OP_JOB_DONE, OP_GO_ON, OP_CANCEL };
    struct op op = { .kind = OP_CLOSE, .fate = 7 };

    add_up();
    step(&op);
    for (op.kind = OP_DISPATCH; op.fate < 13 && !the.differs; op.fate++) {
        if (op.fate > 7) step(&op);
        for (size_t i = 0; i < (op.fate < 11 ? 3 : 4) && !the.differs; i++) step_all(kinds[i]);
    }
    if (!the.differs && (!model_is_over(&the.model) || kp_is_pool(the.pool)))
        differ("closed, and everything came back: it is not over");
    if (the.blocks != 0) differ("%" PRId64 " blocks of memory are left", the.blocks);
    if (!the.differs && the.loop) compare_number("kp_loop_close", kp_loop_close(the.loop), 0);
}

/* reject, forked: of the kp_keep at that place, see struct ties. */
static int play_once(const struct setup *setup, const struct op *ops, int n, const bool *skip,
                     bool loud, const int *reject, bool *forked)
{
    if (!stage_open(setup, the.said, the.size)) {
        if (the.loop) (void)kp_loop_close(the.loop);
        return the.differs ? 0 : -1;
    }
    for (int i = 0; i < n; i++) {
        if (skip && skip[i]) continue;
        the.ties.reject = reject[i];
        the.ties.forked = false;
        step(&ops[i]);
        forked[i] = the.ties.forked;
        if (loud) op_print(i, &ops[i], the.did);
        if (loud && the.differs) print_calls();
        if (the.differs) return i;
    }
    finish();
    return the.differs ? n : -1;
}

/* Which of two orders the library took in a kp_keep may show much later: then it is played again
 * with another one, the latest first. */
int play(const struct setup *setup, const struct op *ops, int n, const bool *skip, bool loud,
         char *said, size_t size)
{
    int reject[PLAY_OPS] = { 0 }, first = -1;
    bool forked[PLAY_OPS] = { false };
    char unsaid[16];

    play_gave_up = false;
    for (int again = 0; again < (loud ? 1 : PLAYS); again++) {
        the.said = again ? unsaid : said;
        the.size = again ? sizeof unsaid : size;
        int failed = play_once(setup, ops, n, skip, loud, reject, forked);
        if (failed < 0) return -1;
        if (again == 0) first = failed;
        int fork = failed - 1;
        while (fork >= 0 && !forked[fork]) fork--;
        if (fork < 0) return first;
        reject[fork]++;
        memset(&reject[fork + 1], 0, (size_t)(PLAY_OPS - fork - 1) * sizeof reject[0]);
        memset(&forked[fork + 1], 0, (size_t)(PLAY_OPS - fork - 1) * sizeof forked[0]);
    }
    play_gave_up = true;
    return first;
}
