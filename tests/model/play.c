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

__attribute__((format(printf, 1, 2))) static void differ(const char *format, ...)
{
    va_list args;

    if (the.differs) return;
    the.differs = true;
    va_start(args, format);
    vsnprintf(the.said, the.size, format, args);
    va_end(args);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(the.did, sizeof the.did, format, args);
    va_end(args);
}

/* ---- gets ------------------------------------------------------------------------------------ */

static void compare_why(int r, const kp_why *real, const kp_why *model)
{
    if (strcmp(real->limit, model->limit) != 0)
        differ("request %d: the pool says %s binds, the model %s", r, real->limit, model->limit);
#define SAME(field)                                                                                \
    if (real->field != model->field)                                                               \
        differ("request %d: why." #field " of the pool is %" PRId64 ", of the model %" PRId64, r,  \
               (int64_t)real->field, (int64_t)model->field);
    SAME(code) SAME(waited_ms) SAME(ahead) SAME(live) SAME(creating) SAME(idle) SAME(lent)
    SAME(closing) SAME(waiting)
#undef SAME
}

/* A get of both is over, or of neither. */
static void compare_get(int r, bool over)
{
    struct getter *g = &the.getter[r];
    const struct model_request *request = &the.model.request[r];
    kp_lease_about about;

    if (over != !g->active)
        differ("request %d: the pool %s, the model %s", r, g->active ? "waits" : "is done",
               over ? "is done" : "waits");
    if (!over || the.differs) return;
    if (g->code != request->code)
        differ("request %d: the pool returns %s, the model %s", r,
               g->code ? kp_error_find(g->code)->name : "0",
               request->code ? kp_error_find(request->code)->name : "0");
    if (!the.differs && g->code != 0) compare_why(r, &g->why, &request->why);
    if (the.differs || g->code != 0) return;
    const struct model_slot *s = &the.model.slot[request->slot];
    if (serial_of(&g->lease) != s->serial)
        differ("request %d: the pool lends resource %" PRIu64 ", the model %" PRIu64, r,
               serial_of(&g->lease), s->serial);
    if (!kp_lease_read(&g->lease, &about) || about.reused != s->seat[request->seat].hit)
        differ("request %d: the pool says reused = %d, the model %d", r, about.reused,
               s->seat[request->seat].hit);
    int at = 0;
    while (the.lease[at].held) at++;
    the.lease[at] = (struct lease){ true, g->lease, request->slot, request->seat };
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

static void op_get(const struct op *op)
{
    int r = 0, held = 0;

    while (r < MODEL_REQUESTS && the.getter[r].active) r++;
    for (int i = 0; i < LEASES; i++) held += the.lease[i].held;
    if (r == MODEL_REQUESTS || held + r >= LEASES) return;
    struct getter *g = &the.getter[r];
    g->key = op->key;
    g->pin = the.pin[op->key].size && op->fate % 2 ? the.pin[op->key] : name_of(op->key);
    g->ask = (kp_ask){ .within_ms = op->ms, .flags = op->flags, .why = &g->why };
    if (op->ms == KP_NONE)
        g->code = kp_get(the.pool, g->pin, &g->ask, &g->lease);
    else
        getter_start(g);
    say_get(r);
    compare_get(r, model_get(&the.model, op->key, op->flags, op->ms, r));
}

static void op_go_on(const struct op *op)
{
    CHOOSE(op, MODEL_REQUESTS, the.getter[i].active, r);

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
    say("create %" PRIu64 " ends with %d", serial, status);
    the.pending[at] = NULL;
    while (the.model.slot[slot].serial != serial) slot++;
    kp_job_done(job, status, (void *)(uintptr_t)(serial << 4));
    model_job_done(&the.model, slot, status);
}

static void compare_number(const char *what, int64_t real, int64_t model)
{
    if (real != model)
        differ("%s: the pool returns %" PRId64 ", the model %" PRId64, what, real, model);
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

static void op_limits(const struct op *op, int key)
{
    int real =
        kp_limits_set(the.pool, key == NOBODY ? KP_EVERY_KEY : name_of(key), &op->limits, NULL);

    compare_number("kp_limits_set", real, model_limits_set(&the.model, key, &op->limits));
}

static void op_lease(const struct op *op)
{
    CHOOSE(op, LEASES, the.lease[i].held, at);

    if (at == NOBODY) return;
    struct lease *lease = &the.lease[at];
    int status = op->fate % 3 ? -1 : 0;
    say("resource %" PRIu64 ": %d", serial_of(&lease->real), status);
    if (op->kind == OP_REUSE) {
        kp_lease_reuse(&lease->real, status == 0);
        model_lease_reuse(&the.model, lease->slot, lease->seat, status == 0);
    } else {
        kp_lease_report(&lease->real, status);
        model_lease_report(&the.model, lease->slot, status);
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

/* ---- kp_keep, which may do things in any order that are due at the same time ----------------- */

struct books {
    int code[MODEL_KEYS + 1];
    kp_stats stats[MODEL_KEYS + 1];
};

static void read_books(bool model, struct books *b)
{
    memset(b, 0, sizeof *b);
    for (int key = NOBODY; key < the.setup->keys; key++)
        b->code[key + 1] = model ? model_stats(&the.model, key, &b->stats[key + 1])
                                 : kp_stats_read(the.pool, key == NOBODY ? KP_EVERY_KEY
                                                                         : name_of(key),
                                                 &b->stats[key + 1]);
}

/* The next combination of choices, as an odometer counts. False: there are no more. */
static bool choose_otherwise(struct ties *t)
{
    int i = t->n - 1;

    while (i >= 0 && t->choice[i] + 1 >= t->of[i]) i--;
    if (i < 0) return false;
    t->choice[i]++;
    memset(&t->choice[i + 1], 0, (size_t)(TIES - i - 1) * sizeof t->choice[0]);
    return true;
}

static bool same_calls(void)
{
    int n = the.calls[0].n;

    for (int i = 0; i < n; i++)
        if (!same_call(i)) return false;
    return n == the.calls[1].n;
}

static void op_keep(const struct op *op)
{
    static struct model before;
    static struct books real, model;
    int64_t returned = kp_keep(the.pool), other = 0;

    read_books(false, &real);
    before = the.model;
    memset(&the.ties, 0, offsetof(struct ties, reject));
    for (int attempt = 0; attempt < 5000; attempt++) {
        the.model = before;
        the.calls[1] = (struct calls){ .state = op->fate };
        the.ties.n = 0;
        the.ties.in_vain = false;
        other = model_keep(&the.model);
        read_books(true, &model);
        the.ties.forked |= the.ties.n > 0;
        if (other == returned && same_calls() && memcmp(&real, &model, sizeof real) == 0 &&
            the.ties.reject-- == 0)
            return;
        if (!choose_otherwise(&the.ties)) break;
    }
    compare_number("kp_keep", returned, other);
    differ("kp_keep: no order of what is due at the same time explains what the pool did");
}

/* ---- operations, again ----------------------------------------------------------------------- */

static void op_close(void)
{
    int64_t real = kp_pool_close(the.pool, KP_CLOSE_NOW, KP_NONE);

    compare_number("kp_pool_close", real, model_close_now(&the.model));
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
    case OP_REUSE:
    case OP_REPORT: op_lease(op); break;
    case OP_ADD: op_add(op); break;
    case OP_WARM: op_warm(op); break;
    case OP_PIN:
    case OP_UNPIN: op_pin(op); break;
    case OP_KEEP: op_keep(op); break;
    case OP_PASS:
        the.now += (uint64_t)op->ms * 1000000;
        the.model.now = the.now;
        break;
    case OP_CLOSE: op_close(); break;
    case OPS: break;
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

static const char *const kind_name[] = { "", "create", "validate", "reset", "destroy" };

static void compare_calls(void)
{
    const struct calls *real = &the.calls[0], *model = &the.calls[1];

    for (int i = 0; i < real->n || i < model->n; i++) {
        struct call none = { 0, 0, 0 }, r = i < real->n ? real->call[i] : none,
                    m = i < model->n ? model->call[i] : none;
        if (r.kind != m.kind || r.serial != m.serial)
            differ("driver call %d: the pool runs %s %" PRIu64 ", the model %s %" PRIu64, i + 1,
                   kind_name[r.kind], r.serial, kind_name[m.kind], m.serial);
    }
    if (the.now != the.model.now) differ("the clocks differ");
}

static void print_calls(void)
{
    for (int side = 0; side < 2; side++) {
        printf("      the %s ran", side ? "model" : "pool");
        for (int i = 0; i < the.calls[side].n; i++) {
            const struct call *call = &the.calls[side].call[i];
            printf(" %s %c%" PRIu64, kind_name[call->kind], 'a' + call->key, call->serial);
        }
        printf("\n");
    }
}

static void compare_stats(int key)
{
    kp_stats real, model;
    int code = kp_stats_read(the.pool, key == NOBODY ? KP_EVERY_KEY : name_of(key), &real);
    char name[8] = "pool";

    if (key != NOBODY) snprintf(name, sizeof name, "key %c", 'a' + key);
    compare_number("kp_stats_read", code, model_stats(&the.model, key, &model));
#define X(field, sentence)                                                                         \
    if (real.field != model.field)                                                                 \
        differ("%s: " #field " of the pool is %" PRIu64 ", of the model %" PRIu64, name,           \
               real.field, model.field);
    KP_STATS_MAP(X)
#undef X
}

static void step(const struct op *op)
{
    for (int side = 0; side < 2; side++) the.calls[side] = (struct calls){ .state = op->fate };
    the.now += 1 + op->fate % 1000;
    the.model.now = the.now;
    the.did[0] = 0;
    operate(op);
    compare_calls();
    for (int key = NOBODY; key < the.setup->keys && !the.differs; key++) compare_stats(key);
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
#define X(field, sentence) play_totals.field += s.field;
    KP_STATS_MAP(X)
#undef X
}

/* Everything ends: then nothing may be left. */
static void finish(void)
{
    struct op op = { .kind = OP_CLOSE, .fate = 7 };

    add_up();
    step(&op);
    if (!the.differs) step_all(OP_RELEASE);
    if (!the.differs) step_all(OP_JOB_DONE);
    for (int i = 0; i < 3 && !the.differs; i++) { /* one that goes on may create once more */
        step_all(OP_GO_ON);
        if (!the.differs) step_all(OP_JOB_DONE);
    }
    if (!the.differs) step_all(OP_RELEASE);
    if (!the.differs && (!model_is_over(&the.model) || kp_is_pool(the.pool)))
        differ("closed, and everything came back: it is not over");
    if (!the.differs && the.blocks != 0)
        differ("%" PRId64 " blocks of memory are left", the.blocks);
}

/* reject, forked: of the kp_keep at that place, see struct ties. */
static int play_once(const struct setup *setup, const struct op *ops, int n, const bool *skip,
                     bool loud, const int *reject, bool *forked)
{
    char *said = the.said;
    size_t size = the.size;

    stage_open(setup);
    the.said = said;
    the.size = size;
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

    for (int again = 0; again < (loud ? 1 : 200); again++) {
        the.said = again ? unsaid : said;
        the.size = again ? sizeof unsaid : size;
        int failed = play_once(setup, ops, n, skip, loud, reject, forked);
        if (failed < 0) return -1;
        if (again == 0) first = failed;
        int fork = failed - 1;
        while (fork >= 0 && !forked[fork]) fork--;
        if (fork < 0) break;
        reject[fork]++;
        memset(&reject[fork + 1], 0, (size_t)(PLAY_OPS - fork - 1) * sizeof reject[0]);
        memset(&forked[fork + 1], 0, (size_t)(PLAY_OPS - fork - 1) * sizeof forked[0]);
    }
    return first;
}
