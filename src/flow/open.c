/* SPDX-License-Identifier: MIT
 *
 * Opening: read the options, refuse those that cannot work (a key's limits: limits.c), fill in the
 * defaults, put the pool together.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/watch.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/fields.h"
#include "flow/fork.h"
#include "flow/job.h"
#include "flow/key.h"
#include "flow/loop.h"
#include "flow/settings.h"
#include "flow/upkeep.h"

/* ---- refusals -------------------------------------------------------------------------------- */

static const char newer[] = "is not NULL; is the header newer than the library?";

static int check_driver(const kp_options *o, kp_why *why)
{
    const kp_driver *d = &o->driver;

    if (d->create && !d->destroy)
        return kp__refused(why, "driver.destroy", "is NULL: what is created must be destroyed");
    if (d->cancel && !d->create)
        return kp__refused(why, "driver.cancel", "needs driver.create, whose jobs it ends early");
    /* cover: never, because KP__WATCHES is constant on a platform: on Linux they are watched */
    if (d->fd && !KP__WATCHES)
        /* cover: never, because on Linux they are watched */
        return kp__refused(why, "driver.fd", "descriptors are watched on Linux only");
    if ((d->flags & ~(uint32_t)KP_NEVER_BLOCKS) || d->reserved0)
        return kp__refused(why, "driver.flags", "has a bit that this library does not know");
    if (d->is_clean && !d->reset)
        return kp__refused(why, "driver.is_clean", "is asked before driver.reset, which is NULL");
    for (size_t i = 0; i < sizeof d->reserved / sizeof d->reserved[0]; i++)
        if (d->reserved[i]) return kp__refused(why, "driver.reserved", newer);
    return 0;
}

/* What one of a pair has done, only the other one can undo. */
static int check_world(const kp_world *w, kp_why *why)
{
    if (!w) return 0;
    if (!w->alloc != !w->free)
        return kp__refused(why, w->alloc ? "world.free" : "world.alloc",
                           "is NULL: alloc and free belong together");
    if (!w->park != !w->wake)
        return kp__refused(why, w->park ? "world.wake" : "world.park",
                           "is NULL: park and wake belong together");
    for (size_t i = 0; i < sizeof w->reserved / sizeof w->reserved[0]; i++)
        if (w->reserved[i]) return kp__refused(why, "world.reserved", newer);
    return 0;
}

static int check_whole(const kp_options *o, kp_why *why)
{
    const char *sentence, *field = kp__key_type_refused(&o->key_type, &sentence);
    int code = kp__fields_check(kp__pool_fields, o, why);

    if (code != 0) return code;
    if (field) return kp__refused(why, field, sentence);
    if (o->threads > 0 && o->world && (o->world->now_ns || o->world->park || o->world->wake))
        return kp__refused(why, "threads", "follow the real clock, and world has one of its own");
    if (o->loop && o->threads != 0)
        return kp__refused(why, "threads", "contradicts loop: only one of them can run the driver");
    if (o->loop && !(o->driver.flags & KP_NEVER_BLOCKS))
        return kp__refused(why, "loop", "would be blocked by the driver; if that never blocks, set "
                                        "KP_NEVER_BLOCKS in driver.flags");
    bool quick = o->hits == KP_HITS_QUICK || o->hits == KP_HITS_PORTABLE;
    if (o->on_deadlock && quick)
        return kp__refused(why, "on_deadlock", "contradicts hits: who took a resource without the "
                                               "lock is not known; leave hits out");
    if (o->stack && quick)
        return kp__refused(why, "stack", "contradicts hits: without the lock it is not called; "
                                         "leave hits out");
    if (o->on_fork == KP_FORK_FRESH && o->loop)
        return kp__refused(why, "on_fork", "KP_FORK_FRESH contradicts loop: the loop is the "
                                           "parent's, so a child's pool cannot use it");
    return 0;
}

/* What would do nothing: whoever says it counts on something that is not there. Off says that this
 * is meant; and what limits_for makes of the limits is not known yet. */
static int check_use(const kp_options *o, kp_why *why)
{
    static const char circuit[] =
        "does nothing without limits.breaker_failures or limits.breaker_rate_pct; say how many "
        "failures open the circuit, or that they are KP_OFF";
    static const char rate[] =
        "is about limits.breaker_rate_pct, and does nothing without it; say that, or KP_OFF there";
    const kp_limits *l = &o->limits;
    bool rated = l->breaker_rate_pct != 0, opens = rated || l->breaker_failures != 0;

    if (l->validate_on > KP_CHECK_GET && !o->driver.validate)
        return kp__refused(why, "limits.validate_on", "does nothing without driver.validate");
    if (o->limits_for) return 0;
    if (l->breaker_open_ms && !opens) return kp__refused(why, "limits.breaker_open_ms", circuit);
    if (l->breaker_probes && !opens) return kp__refused(why, "limits.breaker_probes", circuit);
    if (l->breaker_counts && !opens) return kp__refused(why, "limits.breaker_counts", circuit);
    if (l->breaker_window_ms && !rated) return kp__refused(why, "limits.breaker_window_ms", rate);
    if (l->breaker_calls && !rated) return kp__refused(why, "limits.breaker_calls", rate);
    return 0;
}

/* ---- putting it together --------------------------------------------------------------------- */

static struct kp__world world_of(const kp_world *own)
{
    struct kp__world w = kp__life;

    if (!own) return w;
    if (own->now_ns) w.now_ns = own->now_ns;
    if (own->alloc) {
        w.alloc = own->alloc;
        w.dense = w.hollow = NULL; /* these know only the memory of life */
    }
    if (own->free) w.free = own->free;
    if (own->random) w.random = own->random;
    if (own->park) w.park = own->park;
    if (own->wake) w.wake = own->wake;
    w.ctx = own->ctx;
    return w;
}

static void init_core(struct kp__core *core, const kp_options *o, struct kp__rules *rules,
                      const struct kp__world *world)
{
    const struct kp__allowance may = kp__allowance_of(&o->budget);

    kp__core_init(core, &may);
    core->world = world;
    core->can_create = o->driver.create != NULL;
    core->validates = o->driver.validate != NULL;
    core->leak_after = kp__span(o->leak_after_ms);
    core->forget_after = kp__span(o->forget_key_after_ms);
    core->last_first = rules->wait_lifo;
    core->clocked = rules->clocked || core->leak_after != KP__NEVER || o->driver.validate;
    core->resets = o->driver.reset != NULL;
    core->asks = o->driver.is_clean != NULL;
    core->rules = rules;
    rules->refs = 1;
}

static uint64_t hash_of_stored(const struct kp__core *core, const void *key)
{
    const struct kp__pool *pool = KP__OF(core, struct kp__pool, core);

    return kp__key_quick(pool->key_type.fields, core->quick_seed, key);
}

static void init_pool(struct kp__pool *pool, const kp_options *o)
{
    pool->driver = o->driver;
    pool->key_type = o->key_type;
    pool->limits_for = o->limits_for;
    pool->on_event = o->on_event;
    pool->stack = o->stack;
    pool->ctx = o->ctx;
    pool->budgets[0] = o->budget;
    pool->opened = kp__time(pool);
    pool->deadline = kp__span(o->deadline_ms);
    pool->keep_every = kp__span(o->keep_every_ms);
    pool->abort_on_misuse = o->on_misuse_abort == 1;
    pool->watch_every = kp__span(o->watch_every_ms);
    pool->announced = pool->term = pool->watch_at = KP__NEVER;
    kp__list_init(&pool->sleepers);
    pool->seed[0] = pool->world->random(pool->world->ctx);
    pool->seed[1] = pool->world->random(pool->world->ctx);
    kp__slab_init(&pool->jobs, sizeof(struct kp__job));
    if (o->world && (o->world->upkeep || o->world->now_ns)) pool->upkeep = o->world->upkeep;
    else pool->upkeep = kp__life_upkeep;
    if (o->threads == KP_NONE) pool->upkeep = NULL;
    pool->core.quick_seed = pool->seed[0] ^ pool->seed[1];
    pool->core.by_bytes = !o->key_type.size;
    if (pool->door->form) pool->core.by_fields = hash_of_stored;
}

/* May hits do without the lock? Only if the pool uses the process's clock and allows threads, for
 * lanes have to be shut in time, by a thread that is never held up. */
static void allow_lanes(struct kp__pool *pool, const kp_options *o)
{
    struct kp__core *core = &pool->core;
    bool wanted = KP__LANES_PAY && !o->loop && o->hits != KP_HITS_LOCKED && !o->on_deadlock &&
                  !o->stack;

    core->least_term = KP__LEAST_TERM;
#if (defined KP_VERIFY && KP_VERIFY) || (defined KP_TEST_LANES && KP_TEST_LANES)
    const char *lanes = getenv("KP_LANES"); /* tests: everywhere, even for an instant; or nowhere */
    if (lanes) {
        core->lanes = wanted && (lanes[0] == '2' || (lanes[0] == '1' && pool->upkeep));
        core->least_term = 0;
        return;
    }
#endif
    wanted = wanted && o->threads != KP_NONE && !(o->world && o->world->now_ns);
    core->lanes = core->shuts = wanted && kp__life_shutter_start() == 0;
}

static void allow_hits(struct kp__pool *pool, const kp_options *o)
{
    allow_lanes(pool, o);
    pool->core.homes = pool->core.lanes && o->hits != KP_HITS_PORTABLE && kp__sequences_begin();
    atomic_store(&pool->door->homes, pool->core.homes);
}

static bool copy_name(struct kp__pool *pool, const char *name)
{
    if (!name) return true;
    pool->name_size = strlen(name) + 1;
    if ((pool->name = kp__alloc(pool->world, pool->name_size, 1)) == NULL) return false;
    memcpy(pool->name, name, pool->name_size);
    return true;
}

/* The options, kept to open the pool again in a child of fork, where the caller's may be gone. */
struct kp__reopen {
    kp_options options;
    kp_world world;
};

static bool keep_options(struct kp__pool *pool, const kp_options *o)
{
    if (o->on_fork == KP_FORK_REFUSE || o->loop) return true;
    if ((pool->reopen = kp__alloc(pool->world, sizeof *pool->reopen, 16)) == NULL) return false;
    pool->reopen->options = *o;
    pool->reopen->options.name = pool->name;
    pool->reopen->options.why = NULL;
    if (!o->world) return true;
    pool->reopen->world = *o->world;
    pool->reopen->options.world = &pool->reopen->world;
    return true;
}

static bool open_watch(struct kp__pool *pool, const kp_options *o)
{
    if (!o->driver.fd || o->watch_every_ms == KP_OFF) return true;
    pool->watch = kp__watch_open();
    if (pool->watch < 0)
        kp__say(o->why, KP_ENOMEM, "no descriptor is left, to watch those of driver.fd with");
    return pool->watch >= 0;
}

void kp__reopen_drop(const struct kp__world *world, struct kp__reopen *reopen)
{
    kp__free(world, reopen, sizeof *reopen);
}

/* Join what serves the pool: the loop that it names, its own threads, or the process's keeper. */
static int join_server(struct kp__pool *pool, const kp_options *o)
{
    if (o->loop) {
        int code = kp__loop_join(o->loop, pool);
        if (code != 0)
            kp__refused(o->why, "loop", "is closed, not a loop, or serves pools of another clock");
        return code;
    }
    int code = o->threads > 0                   ? kp__crew_open(pool, o->threads)
               : pool->upkeep == kp__life_upkeep ? kp__life_keeper_start()
                                                 : 0;
    if (code != 0) kp__say(o->why, code, "out of memory, or the system starts no more threads");
    return code;
}

/* Set up all parts of a pool that has a door. Nobody uses it so far. */
static int furnish(struct kp__pool *pool, const kp_options *o, struct kp__rules *rules)
{
    init_core(&pool->core, o, rules, pool->world);
    init_pool(pool, o);
    int code = join_server(pool, o);
    if (code != 0) return code;
    allow_hits(pool, o);
    /* release: pairs with the acquire in lock_all (deadlock.c); the pool is complete by now */
    atomic_store_explicit(&pool->door->on_deadlock, (int16_t)o->on_deadlock, memory_order_release);
    return 0;
}

static int furnish_new(struct kp__pool *pool, const kp_options *o, struct kp__rules *rules)
{
    int code = kp__door_open(pool, pool->world);

    if (code != 0) return code;
    pool->door->form = kp__form_of(&o->key_type);
    if ((code = furnish(pool, o, rules)) != 0) atomic_store(&pool->door->pool, NULL);
    return code;
}

/* `door`: the one that the pool is to stand behind; NULL: make a new one. */
static int build(const kp_options *o, struct kp__rules *rules, const struct kp__world *world,
                 kp_pool *door, struct kp__pool **out)
{
    struct kp__pool *pool = kp__alloc(world, sizeof *pool, 64);
    int code = KP_ENOMEM;

    if (!pool) return code;
    pool->world = world;
    pool->watch = -1;
    pool->door = door;
    if (door) pool->core.id = door->id;
    if (copy_name(pool, o->name) && keep_options(pool, o) && open_watch(pool, o))
        code = door ? furnish(pool, o, rules) : furnish_new(pool, o, rules);
    if (code == 0) {
        *out = pool;
        return 0;
    }
    kp__watch_close(pool->watch);
    kp__reopen_drop(world, pool->reopen);
    kp__free(world, pool->name, pool->name_size);
    kp__free(world, pool, sizeof *pool);
    return code;
}

int kp__pool_reopen(kp_pool *door, const struct kp__pool *old, struct kp__pool **out)
{
    struct kp__rules *rules;
    int code = kp__rules_make(&door->world, &old->core.rules->said, &rules, NULL);

    if (code != 0) return code;
    kp_options options = old->reopen->options;
    options.budget = *kp__said_budget(old); /* as last set; so are the limits, above */
    if ((code = build(&options, rules, &door->world, door, out)) != 0)
        kp__rules_drop(&door->world, rules);
    return code;
}

/* Where a struct of another header has its `why` is not known: the process is told. */
static int refuse_header(size_t size, int version)
{
    char sentence[sizeof((kp_why *)0)->text];

    snprintf(sentence, sizeof sentence, "kp_pool_open: a header of %d.%d.%d (%zu bytes of options) "
             "and a library of %d.%d.%d (%zu) do not fit together; nothing was opened",
             version / 1000000, version / 1000 % 1000, version % 1000, size, KP_VERSION_MAJOR,
             KP_VERSION_MINOR, KP_VERSION_PATCH, sizeof(kp_options));
    (void)kp__misuse(NULL, NULL, sentence);
    return KP_ECONFIG;
}

/* The caller's struct may be longer than ours (a newer header), if the part that we do not know is
 * zero. */
static int read_options(const kp_options *given, size_t size, int version, kp_options *o)
{
    if (size < sizeof *o || version / 1000 != KP_VERSION / 1000)
        return refuse_header(size, version);
    memcpy(o, given, sizeof *o);
    for (size_t i = sizeof *o; i < size; i++)
        if (((const char *)given)[i])
            return kp__refused(o->why, "version", "an option is set that this library does not "
                                                  "know; is the header newer?");
    return 0;
}

int kp_pool_open_sized(const kp_options *given, size_t size, int version, kp_pool **out)
{
    struct kp__rules *rules = NULL;
    struct kp__pool *pool;
    kp_options o;
    int code;

    if (out) *out = NULL;
    if (!given || !out)
        return kp__misuse(NULL, given && size >= sizeof o ? given->why : NULL,
                          "kp_pool_open: options or out is NULL; nothing was opened");
    if ((code = read_options(given, size, version, &o)) != 0) return code;
    if (o.why) memset(o.why, 0, sizeof *o.why);
    struct kp__world world = world_of(o.world);
    kp_limits limits = kp__limits_merge(&o.limits, NULL);
    code = check_driver(&o, o.why);
    if (code == 0) code = check_whole(&o, o.why);
    if (code == 0) code = check_world(o.world, o.why);
    kp__fields_fill(kp__pool_fields, &o);
    if (code == 0) code = kp__budget_check(&o.budget, o.why);
    if (code == 0) code = kp__rules_make(&world, &limits, &rules, o.why);
    if (code == 0) code = kp__rules_fit_driver(rules, &o.driver, o.why);
    if (code == 0) code = check_use(&o, o.why);
    if (code == 0) code = kp__budget_holds(&o.budget, rules, !o.limits_for, o.why);
    if (code == 0) code = build(&o, rules, &world, NULL, &pool);
    if (code == KP_ENOMEM && o.why && o.why->code == 0) kp__say(o.why, code, NULL);
    if (code == 0) *out = pool->door;
    else kp__rules_drop(&world, rules);
    return code;
}
