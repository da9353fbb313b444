/* SPDX-License-Identifier: MIT
 *
 * The stage: a world of one thread with a clock of its own, a driver whose answers are determined
 * by the operation's `fate`, and gets that wait in coroutines: each runs on a stack of its own,
 * which it leaves when it parks, and an operation resumes it at any time, as park allows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play_inside.h"

/* POSIX removed it in 2008; musl has only the header. */
#if defined __GLIBC__
#include <ucontext.h>
#define HAS_STACKS true
static ucontext_t stack_of[MODEL_REQUESTS], main_stack;
#else
#define HAS_STACKS false
#endif
const bool stage_has_stacks = HAS_STACKS;

struct play the;

/* ---- the world ------------------------------------------------------------------------------- */

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return the.now;
}

static void *take(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    the.blocks++;
    return aligned_alloc(align < 16 ? 16 : align, (size + 63) / 64 * 64);
}

static void give(void *p, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    the.blocks--;
    free(p);
}

static uint64_t luck(void *ctx)
{
    (void)ctx;
    return UINT64_C(0x5eed5eed5eed);
}

static void sleep_until_resumed(void);

static void park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    (void)ctx;
    if (*word != while_it_is || the.now >= until_ns) return;
    if (!the.running) {
        fprintf(stderr, "agree: a call that may not wait parks\n");
        abort();
    }
    sleep_until_resumed();
}

static void wake(uint32_t *word, int how_many, void *ctx)
{
    (void)word;
    (void)how_many;
    (void)ctx;
}

/* ---- the driver ------------------------------------------------------------------------------ */

/* Gives the library and the model the same answers in the same order. */
static int answer(struct calls *calls, const struct call *call, uint64_t *takes_ns)
{
    kp_job_kind kind = call->kind;
    uint64_t bits = draw(&calls->state);

    if (calls->n < CALLS) calls->call[calls->n++] = *call;
    *takes_ns = 1 + bits % 1000; /* every function takes time, so that times differ */
    bits >>= 20;
    bool later = kind == KP_JOB_CREATE || kind == KP_JOB_REVOKE || the.setup->on_loop;
    if (later && bits % 100 < the.setup->pending_pct)
        return KP_PENDING;
    if (bits / 100 % 100 >= the.setup->bad_pct) return 0;
    bits = bits / 10000 % 12;
    if (the.setup->tests && kind != KP_JOB_CREATE && bits > 6) return KP_EGONE;
    return bits == 0 ? KP_EREFUSED : bits == 1 ? KP_EGONE : -5;
}

bool same_call(int i)
{
    const struct call *real = &the.calls[0].call[i], *model = &the.calls[1].call[i];

    return i < the.calls[0].n && i < the.calls[1].n && real->kind == model->kind &&
           real->key == model->key && real->serial == model->serial &&
           real->attempt == model->attempt && real->left_ms == model->left_ms &&
           real->epoch == model->epoch;
}

static int model_answer(void *ctx, kp_job_kind kind, uint64_t serial, uint64_t *takes_ns)
{
    (void)ctx;
    int slot = 0;

    while (slot < MODEL_SLOTS - 1 && the.model.slot[slot].serial != serial) slot++;
    const struct model_slot *s = &the.model.slot[slot];
    bool create = kind == KP_JOB_CREATE, timed = create || kind == KP_JOB_VALIDATE;
    struct call call = { kind, serial, s->key, create ? s->attempt : 0,
                         timed ? s->left_ms : INT64_MAX, create ? s->epoch : 0 };
    int status = answer(&the.calls[1], &call, takes_ns);
    if (!same_call(the.calls[1].n - 1)) the.ties.in_vain = true;
    return status;
}

/* Which of n things that are due at the same time comes first in this attempt (play_due.c). */
static int choose(void *ctx, int n)
{
    struct ties *t = &the.ties;

    (void)ctx;
    if (t->in_vain || t->n == TIES) return 0;
    t->of[t->n] = n;
    return t->choice[t->n++];
}

static int driver_answer(kp_job *job)
{
    uint64_t takes_ns;
    struct call call = { job->kind, job->serial, *(const char *)job->key.data - 'a',
                         job->attempt, job->left_ms, job->epoch };
    int status = answer(&the.calls[0], &call, &takes_ns);

    the.now += takes_ns;
    int at = 0;
    while (the.pending[at]) at++;
    if (status == KP_PENDING) the.pending[at] = job;
    return status;
}

static int create(kp_job *job, void **out)
{
    *out = (void *)(uintptr_t)(job->serial << 4);
    return driver_answer(job);
}

static int on_resource(kp_job *job, void *resource)
{
    (void)resource;
    return driver_answer(job);
}

static bool is_clean(void *resource, void *ctx)
{
    (void)ctx;
    return model_is_clean((uint64_t)(uintptr_t)resource >> 4);
}

static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    const kp_limits *own = &the.setup->own[*(const char *)key.data - 'a'];

    (void)ctx;
#define SAY(field)                                                                                 \
    if (own->field) limits->field = own->field;
    SAY(group[0]) SAY(group[1]) SAY(max_live) SAY(min_live) SAY(max_idle) SAY(floor)
#undef SAY
}

static void hear(const kp_event *event, void *ctx)
{
    (void)event;
    (void)ctx;
}

/* ---- gets that may wait ---------------------------------------------------------------------- */

kp_key name_of(int key)
{
    static const char *const names[MODEL_KEYS] = { "a", "b", "c", "d" };

    return kp_str(names[key]);
}

#if defined __GLIBC__
static void sleep_until_resumed(void)
{
    struct getter *self = the.running;

    the.running = NULL;
    swapcontext(&stack_of[self - the.getter], &main_stack);
    the.running = self;
}

static void getter_body(void)
{
    struct getter *self = the.running;

    self->code = kp_get(the.pool, self->pin, &self->ask, &self->lease);
    self->active = false;
    the.running = NULL;
    setcontext(&main_stack);
}

void getter_run(struct getter *g)
{
    the.running = g;
    swapcontext(&main_stack, &stack_of[g - the.getter]);
}

void getter_start(struct getter *g)
{
    ucontext_t *c = &stack_of[g - the.getter];

    if (!g->stack && (g->stack = malloc(STACK)) == NULL) abort();
    getcontext(c);
    c->uc_stack.ss_sp = g->stack;
    c->uc_stack.ss_size = STACK;
    c->uc_link = NULL;
    makecontext(c, getter_body, 0);
    g->active = true;
    getter_run(g);
}
#else
static void sleep_until_resumed(void)
{
}

void getter_run(struct getter *g)
{
    (void)g;
}

void getter_start(struct getter *g)
{
    (void)g;
}
#endif

void done(kp_request *request, int status, kp_lease lease)
{
    struct getter *g = request->arg;

    g->active = false;
    g->code = status;
    g->lease = lease;
    the.done[the.dones++] = (int)(g - the.getter);
}

uint64_t serial_of(const kp_lease *lease)
{
    return (uint64_t)(uintptr_t)lease->resource >> 4;
}

/* ---- opening --------------------------------------------------------------------------------- */

bool stage_open(const struct setup *setup, char *said, size_t size)
{
    char *stack[MODEL_REQUESTS];
    kp_options options = setup->options;

    for (int r = 0; r < MODEL_REQUESTS; r++) stack[r] = the.getter[r].stack;
    memset(&the, 0, sizeof the);
    for (int r = 0; r < MODEL_REQUESTS; r++) the.getter[r].stack = stack[r];
    the.setup = setup;
    the.said = said;
    the.size = size;
    the.now = UINT64_C(1000000000);
    the.world = (kp_world){ now_ns, take, give, luck, park, wake, NULL, NULL, { NULL } };
    options.world = &the.world;
    options.threads = KP_NONE;
    options.on_event = hear;
    options.driver.create = create;
    options.driver.destroy = on_resource;
    options.driver.revoke = on_resource;
    if (setup->on_loop) {
        options.driver.flags = KP_NEVER_BLOCKS;
        if (kp_loop_open(&the.loop) != 0 || kp_loop_dispatch(the.loop) != -1) abort();
    }
    if (setup->by_key) options.limits_for = limits_for;
    if (setup->options.limits.validate_on) options.driver.validate = on_resource;
    if (setup->seed % 3 == 0) options.driver.reset = on_resource;
    if (setup->seed % 6 == 0) options.driver.is_clean = is_clean;
    int code = kp_pool_open(&options, &the.pool);
    int other = model_open(&the.model, &options, setup->by_key ? setup->own : NULL, the.now);
    if (code != other) differ("kp_pool_open: the pool returns %d, the model %d", code, other);
    if (code != 0) return false;
    the.model.luck = luck(NULL);
    the.model.on_loop = setup->on_loop;
    the.model.answer = model_answer;
    the.model.choose = choose;
    return true;
}
