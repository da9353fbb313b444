/* SPDX-License-Identifier: MIT
 *
 * The sim's own tasks (helpers): the keeper, which calls kp_keep when a pool is due, and the
 * stages, on which scripted answers are given. They are not counted as tasks, and one that has
 * nothing to do is no part of a deadlock.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* The running helper has nothing to do until then. kp_sim_close may be waiting for just that. */
static void idle_until(kp_sim *sim, uint64_t until_ns)
{
    sim->running->state = KP__WAITING;
    sim->running->wait = KP__WAIT_IDLE;
    kp__sim_wake_joiners(sim);
    kp__sim_wait(sim, KP__WAIT_IDLE, NULL, until_ns, 0);
}

/* ---- the keeper ---- */

/* kp_keep runs so often at one moment of virtual time, with the keeper never idle, only if the pool
 * keeps asking for a time that has come, and then does nothing. */
#define MOST_KEEPS_AT_ONCE 100000

static uint64_t earliest_due(const kp_sim *sim)
{
    return sim->kept ? sim->kept->due_ns : UINT64_MAX;
}

/* Take the first pool out of the list: it asks again through world.upkeep when it wants more. */
static kp_pool *take_first(kp_sim *sim)
{
    kp__kept *kept = sim->kept;
    kp_pool *pool = kept->pool;

    sim->kept = kept->next;
    free(kept);
    return pool;
}

static void watch_for_endless_upkeep(kp_sim *sim, kp_pool *pool)
{
    if (sim->keeping_ns != sim->now_ns) {
        sim->keeping_ns = sim->now_ns;
        sim->keeps_at_once = 0;
    }
    if (++sim->keeps_at_once > MOST_KEEPS_AT_ONCE) {
        kp__kit_die("kp_keep ran %d times without time going by: pool %p keeps asking for upkeep "
                    "at a time that has come", MOST_KEEPS_AT_ONCE, (void *)pool);
    }
}

static void keeper_run(void *arg)
{
    kp_sim *sim = arg;

    kp__sim_enter(sim, "the keeper");
    while (!sim->closing) {
        if (earliest_due(sim) > sim->now_ns) {
            sim->keeps_at_once = 0;     /* it did not ask again at once */
            idle_until(sim, earliest_due(sim));
            continue;
        }
        sim->keeping = take_first(sim);
        watch_for_endless_upkeep(sim, sim->keeping);
        kp__sim_leave(sim);
        (void)kp_keep(sim->keeping);    /* world.upkeep is told when it is due again */
        kp__sim_enter(sim, "the keeper");
        sim->keeping = NULL;
    }
    kp__sim_leave(sim);
}

static void forget(kp_sim *sim, const kp_pool *pool)
{
    for (kp__kept **at = &sim->kept; *at; at = &(*at)->next) {
        if ((*at)->pool == pool) {
            kp__kept *kept = *at;

            *at = kept->next;
            free(kept);
            return;
        }
    }
}

static void start_keeper(kp_sim *sim)
{
    sim->keeper = kp__sim_new_task(sim, KP__ROLE_KEEPER, keeper_run, sim);
    if (!sim->keeper) {
        kp__kit_die("no memory for the keeper's thread");
    }
    sim->keeper->state = KP__WAITING;
    sim->keeper->wait = KP__WAIT_IDLE;
    kp__sim_queue_up(&sim->waiting, sim->keeper);
}

static void note(kp_sim *sim, kp_pool *pool)
{
    for (int i = 0; i < KP__SIM_POOLS; i++) {
        if (sim->pools[i] == pool) {
            return;
        }
    }
    memmove(sim->pools + 1, sim->pools, sizeof sim->pools - sizeof *sim->pools);
    sim->pools[0] = pool;
}

void kp__sim_upkeep(kp_sim *sim, kp_pool *pool, uint64_t due_ns)
{
    note(sim, pool);
    forget(sim, pool);
    if (due_ns != UINT64_MAX) {
        kp__kept *kept = malloc(sizeof *kept);
        kp__kept **at = &sim->kept;

        if (!kept) {
            kp__kit_die("no memory to note when a pool is due");
        }
        while (*at && (*at)->due_ns <= due_ns) {
            at = &(*at)->next;
        }
        *kept = (kp__kept){ pool, due_ns, *at };
        *at = kept;
        if (!sim->keeper) {
            start_keeper(sim);
        }
    }
    if (sim->keeper && sim->keeper->state == KP__WAITING && sim->keeper->wait == KP__WAIT_IDLE) {
        sim->keeper->until_ns = earliest_due(sim);      /* one that is busy looks afterwards */
    }
}

void kp__sim_forget_pools(kp_sim *sim)
{
    while (sim->kept) {
        (void)take_first(sim);
    }
}

/* ---- the stages: one for each answer that is still to be given, used again and again ---- */

typedef struct stage {
    kp_sim *sim;
    void  (*fn)(void *arg);             /* NULL: nothing to do */
    void   *arg;
} stage;

static void stage_run(void *arg)
{
    stage *self = arg;
    kp_sim *sim = self->sim;

    kp__sim_enter(sim, "a stage");
    while (!sim->closing) {             /* which happens only when no stage has anything to do */
        if (self->fn) {
            void (*fn)(void *) = self->fn;

            self->fn = NULL;
            kp__sim_leave(sim);
            fn(self->arg);
            kp__sim_enter(sim, "a stage");
            continue;
        }
        idle_until(sim, UINT64_MAX);
    }
    kp__sim_leave(sim);
    free(self);
}

static kp__task *idle_stage(const kp_sim *sim)
{
    for (kp__task *task = sim->waiting.first; task; task = task->after) {
        if (task->role == KP__ROLE_STAGE && task->wait == KP__WAIT_IDLE) {
            return task;
        }
    }
    return NULL;
}

static kp__task *new_stage(kp_sim *sim)
{
    stage *self = calloc(1, sizeof *self);
    kp__task *task = self ? kp__sim_new_task(sim, KP__ROLE_STAGE, stage_run, self) : NULL;

    if (!task) {
        kp__kit_die("no memory for the thread of a scripted answer");
    }
    self->sim = sim;
    return task;
}

void kp__sim_later(kp_sim *sim, int64_t ms, void (*fn)(void *arg), void *arg)
{
    kp__sim_enter(sim, "a scripted answer");

    kp__task *task = idle_stage(sim);

    if (task) {
        kp__sim_queue_out(&sim->waiting, task);
    } else {
        task = new_stage(sim);
    }

    stage *its = task->arg;

    its->fn = fn;
    its->arg = arg;
    task->state = KP__WAITING;
    task->wait = KP__WAIT_TIME;
    task->until_ns = kp__sim_after_ms(sim, ms);
    kp__sim_queue_up(&sim->waiting, task);
    kp__sim_leave(sim);
}

void kp__sim_sleep(kp_sim *sim, int64_t ms)
{
    kp__sim_enter(sim, "a scripted driver that blocks");
    kp__sim_wait(sim, KP__WAIT_TIME, NULL, kp__sim_after_ms(sim, ms), 0);
    kp__sim_leave(sim);
}
