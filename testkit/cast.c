/* SPDX-License-Identifier: MIT
 *
 * The scripted driver. Each run of a driver function takes the next line of its script, lets its
 * time go by, passes its gate and gives its answer. A cast keeps every prop it made until the cast
 * is closed, so that a prop that is used or destroyed after its end is counted, with no harm done.
 *
 * How it counts: a prop is live from the moment it is made (create answers 0) until its destroy has
 * taken its time, whatever destroy answers; destroys counts runs of destroy, once per prop, and
 * destroy_failures those of them that answered no. Resources that the cast did not make (kp_add)
 * are counted in destroys, validates and resets, not in live.
 */
#include "sim.h"

#include <stdlib.h>

typedef struct prop {
    kp_prop      face;                  /* first: the resource is its address */
    bool         ending;                /* its destroy has begun */
    struct prop *next;
} prop;

typedef struct track {                 /* one driver function */
    const kp_line *line;                /* NULL: the script is over */
    int64_t        done;                /* runs of that line so far */
} track;

struct kp_cast {                        /* Guard of all below sim: lock */
    kp_sim         *sim;
    pthread_mutex_t lock;
    track           tracks[KP_JOB_REVOKE + 1];       /* by kp_job_kind */
    kp_cast_count   count;
    kp__kit_map     known;              /* the props by address */
    prop           *props;
    uint64_t        last_number, under_way;     /* runs that are not at their end */
};

typedef struct performance {            /* one run of a driver function, up to its answer */
    kp_cast *cast;
    kp_job  *job;
    void    *resource;
    kp_line  line;
    bool     counted;                   /* in used_after or destroyed_twice */
} performance;

/* ---- the script ---- */

static bool is_last(const kp_line *line)
{
    return !line->takes_ms && !line->blocks_ms && !line->status && !line->vendor_code &&
           !line->text && !line->gate && !line->times;
}

static bool is_for_ever(const kp_line *line)
{
    return line->times == KP_OFF || line->times == KP_UNLIMITED;
}

static kp_line next_line(track *at)
{
    while (at->line && !is_last(at->line)) {
        if (is_for_ever(at->line)) {
            return *at->line;
        }
        if (at->done < (at->line->times ? at->line->times : 1)) {
            at->done++;
            return *at->line;
        }
        at->line++;
        at->done = 0;
    }
    at->line = NULL;
    return (kp_line){ 0 };
}

static void check_script(const kp_line *line, const kp_sim *sim, const char *function)
{
    for (int number = 1; line && !is_last(line); number++, line++) {
        if (line->takes_ms < 0 || line->blocks_ms < 0 || line->status > 0 ||
            (line->times < 0 && !is_for_ever(line))) {
            kp__kit_die("line %d of the script of %s: times must not be negative, status must "
                        "not be positive", number, function);
        }
        if (!sim && (line->takes_ms || line->blocks_ms || line->gate)) {
            kp__kit_die("line %d of the script of %s takes time or has a gate: that needs "
                        "kp_script.sim", number, function);
        }
        if (is_for_ever(line)) {
            return;
        }
    }
}

/* ---- props ---- */

static void write_key(char *to, size_t room, kp_key key)
{
    size_t size = key.size & ~KP_STRUCT_KEY;
    const char *from = key.data;

    if (size > room - 1) {
        size = room - 1;
    }
    for (size_t i = 0; i < size; i++) {
        to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '.';
    }
    to[size] = '\0';
}

static void *make_prop(kp_cast *cast, const kp_job *job)
{
    prop *made = calloc(1, sizeof *made);

    if (!made || !kp__kit_map_put(&cast->known, made, 0)) {
        kp__kit_die("no memory for a prop");
    }
    made->face.number = ++cast->last_number;
    made->face.alive = 1;
    write_key(made->face.key, sizeof made->face.key, job->key);
    made->next = cast->props;
    cast->props = made;
    cast->count.creates++;
    cast->count.live++;
    if (cast->count.live > cast->count.most_live) {
        cast->count.most_live = cast->count.live;
    }
    return made;
}

static prop *find_prop(const kp_cast *cast, void *resource)
{
    return kp__kit_map_has(&cast->known, resource) ? resource : NULL;
}

/* ---- one run: it begins, takes its time, and is answered ---- */

static void begin(performance *run)
{
    kp_cast *cast = run->cast;

    pthread_mutex_lock(&cast->lock);
    cast->under_way++;
    run->line = next_line(&cast->tracks[run->job->kind]);

    prop *its = find_prop(cast, run->resource);

    run->counted = its && its->ending;
    if (run->job->kind == KP_JOB_DESTROY) {
        if (run->counted) {
            cast->count.destroyed_twice++;
        } else {
            cast->count.destroys++;
        }
        if (its) {
            its->ending = true;
        }
    } else if (run->job->kind != KP_JOB_CREATE) {
        if (run->job->kind == KP_JOB_VALIDATE) {
            cast->count.validates++;
        } else if (run->job->kind == KP_JOB_REVOKE) {
            cast->count.revokes++;
        } else {
            cast->count.resets++;
        }
        if (run->counted) {
            cast->count.used_after++;
        }
    }
    pthread_mutex_unlock(&cast->lock);
}

/* What the answer changes; for create, *made is the new prop. */
static void end(performance *run, void **made)
{
    kp_cast *cast = run->cast;
    bool failed = run->line.status < 0;

    pthread_mutex_lock(&cast->lock);

    prop *its = find_prop(cast, run->resource);

    if (run->job->kind == KP_JOB_CREATE) {
        if (failed) {
            cast->count.create_failures++;
        } else {
            *made = make_prop(cast, run->job);
        }
    } else if (run->job->kind != KP_JOB_DESTROY) {
        if (its && its->ending && !run->counted) {      /* its destroy began during this run */
            cast->count.used_after++;
        }
    } else if (!run->counted) {
        cast->count.destroy_failures += failed;
        if (its) {
            __atomic_store_n(&its->face.alive, 0, __ATOMIC_RELEASE);
            cast->count.live--;
        }
    }
    cast->under_way--;
    pthread_mutex_unlock(&cast->lock);
}

/* The end of every run: pass the gate, count, and return the scripted answer. */
static int finish(performance *run, void **made)
{
    const kp_line *line = &run->line;

    if (line->gate) {
        kp_gate_pass(run->cast->sim, line->gate);
    }
    end(run, made);
    if (line->status < 0 && (line->text || line->vendor_code)) {
        (void)kp_job_fail(run->job, line->vendor_code ? line->vendor_code : line->status,
                          line->text ? line->text : "the script says so");
    }
    return line->status;
}

static void answer(void *arg)
{
    performance *run = arg;
    void *made = NULL;
    int status = finish(run, &made);
    kp_job *job = run->job;

    free(run);
    kp_job_done(job, status, made);
}

static int answer_later(const performance *now)
{
    performance *later = malloc(sizeof *later);

    if (!later) {
        kp__kit_die("no memory for a scripted answer");
    }
    *later = *now;
    kp__sim_later(now->cast->sim, now->line.takes_ms, answer, later);
    return KP_PENDING;
}

static int perform(kp_job *job, void *resource, void **made)
{
    performance run = { .cast = job->ctx, .job = job, .resource = resource };

    begin(&run);
    if (run.line.blocks_ms > 0) {
        kp__sim_sleep(run.cast->sim, run.line.blocks_ms);
    }
    if (run.line.takes_ms > 0) {
        return answer_later(&run);
    }
    return finish(&run, made);
}

/* ---- the driver ---- */

static int cast_create(kp_job *job, void **resource)
{
    return perform(job, NULL, resource);
}

static int cast_use(kp_job *job, void *resource)
{
    return perform(job, resource, NULL);
}

kp_driver kp_cast_driver(kp_cast *cast)
{
    kp__kit_need(cast, "kp_cast_driver", "a cast");
    return (kp_driver){
        .create = cast_create,
        .destroy = cast_use,
        .validate = cast_use,
        .reset = cast_use,
        .revoke = cast->tracks[KP_JOB_REVOKE].line ? cast_use : NULL,
        .ctx = cast,
    };
}

/* ---- open, read, close ---- */

int kp_cast_open(const kp_script *script, kp_cast **out)
{
    static const kp_script nothing;

    kp__kit_need(out, "kp_cast_open", "a place for its cast");

    kp_cast *cast = calloc(1, sizeof *cast);

    *out = cast;
    if (!cast) {
        return KP_ENOMEM;
    }
    if (!script) {
        script = &nothing;
    }
    check_script(script->create, script->sim, "create");
    check_script(script->validate, script->sim, "validate");
    check_script(script->reset, script->sim, "reset");
    check_script(script->destroy, script->sim, "destroy");
    check_script(script->revoke, script->sim, "revoke");
    pthread_mutex_init(&cast->lock, NULL);
    cast->sim = script->sim;
    cast->tracks[KP_JOB_CREATE].line = script->create;
    cast->tracks[KP_JOB_VALIDATE].line = script->validate;
    cast->tracks[KP_JOB_RESET].line = script->reset;
    cast->tracks[KP_JOB_DESTROY].line = script->destroy;
    cast->tracks[KP_JOB_REVOKE].line = script->revoke;
    return 0;
}

kp_cast_count kp_cast_read(kp_cast *cast)
{
    kp__kit_need(cast, "kp_cast_read", "a cast");
    pthread_mutex_lock(&cast->lock);

    kp_cast_count count = cast->count;

    pthread_mutex_unlock(&cast->lock);
    return count;
}

void kp_cast_close(kp_cast *cast)
{
    if (!cast) {
        return;
    }
    if (cast->under_way) {
        kp__kit_die("kp_cast_close: %llu runs of its driver are under way: let time pass, or open "
                    "the gate", (unsigned long long)cast->under_way);
    }
    while (cast->props) {
        prop *gone = cast->props;

        cast->props = gone->next;
        free(gone);
    }
    kp__kit_map_drop(&cast->known);
    pthread_mutex_destroy(&cast->lock);
    free(cast);
}
