/* SPDX-License-Identifier: MIT
 *
 * What a test does with a sim: open and close it, start tasks and join them, let time pass, shut
 * and open gates.
 */
#include "sim.h"

#include <stdlib.h>

/* ---- open and close ---- */

int kp_sim_open(uint64_t seed, kp_sim **out)
{
    kp__kit_need(out, "kp_sim_open", "a place for its sim");

    kp_sim *sim = calloc(1, sizeof *sim);

    *out = sim;
    if (!sim) {
        return KP_ENOMEM;
    }
    pthread_mutex_init(&sim->lock, NULL);
    pthread_cond_init(&sim->begun, NULL);
    sim->now_ns = KP__SIM_START_NS;
    kp__kit_random_seed(&sim->random, seed);
    kp__kit_random_seed(&sim->shuffler, ~seed);
    sim->first.sim = sim;
    sim->first.role = KP__ROLE_FIRST;
    sim->first.state = KP__RUNNING;
    sim->first.thread = pthread_self();
    pthread_cond_init(&sim->first.turn, NULL);
    sim->running = &sim->first;
    kp__sim_fill_world(sim);
    return 0;
}

static void join(kp_sim *sim, int target)
{
    while (!kp__sim_joined(sim, sim->running, target)) {
        kp__sim_wait(sim, KP__WAIT_JOIN, NULL, UINT64_MAX, target);
    }
}

/* Let all tasks end, all scripted answers be given and the keeper come to rest; then have the
 * helpers end. */
static void end_everything(kp_sim *sim)
{
    sim->shuffle = false;
    join(sim, KP__JOIN_ALL);
    join(sim, KP__JOIN_HELPERS_IDLE);
    sim->closing = true;
    for (kp__task *task = sim->made; task; task = task->next_made) {
        if (task->state == KP__WAITING) {
            kp__sim_make_ready(sim, task);
        }
    }
    join(sim, KP__JOIN_HELPERS_ENDED);
}

uint64_t kp_sim_close(kp_sim *sim)
{
    if (!sim) {
        return 0;
    }
    if (kp__sim_enter(sim, "kp_sim_close")->role != KP__ROLE_FIRST) {
        kp__kit_die("kp_sim_close must be called by the task that opened the sim");
    }
    end_everything(sim);
    kp__sim_join_ended(sim);
    kp__sim_forget_pools(sim);
    kp__sim_leave(sim);
    while (sim->made) {
        kp__task *task = sim->made;

        sim->made = task->next_made;
        free(task);
    }

    uint64_t left = sim->memory.blocks;

    pthread_cond_destroy(&sim->first.turn);
    pthread_cond_destroy(&sim->begun);
    pthread_mutex_destroy(&sim->lock);
    kp__kit_map_drop(&sim->blocks);
    free(sim->started);
    free(sim);
    return left;
}

const kp_world *kp_sim_world(kp_sim *sim)
{
    kp__kit_need(sim, "kp_sim_world", "a sim");
    return &sim->world;
}

/* ---- time ---- */

int64_t kp_sim_now_ms(kp_sim *sim)
{
    kp__kit_need(sim, "kp_sim_now_ms", "a sim");
    pthread_mutex_lock(&sim->lock);

    uint64_t ns = sim->now_ns - KP__SIM_START_NS;

    pthread_mutex_unlock(&sim->lock);
    return (int64_t)(ns / KP__SIM_NS_PER_MS);
}

void kp_sim_pass_ms(kp_sim *sim, int64_t ms)
{
    kp__sim_enter(sim, "kp_sim_pass_ms");
    if (ms < 0) {
        kp__kit_die("kp_sim_pass_ms cannot go back by %lld ms", -(long long)ms);
    }
    kp__sim_wait(sim, KP__WAIT_PASS, NULL, kp__sim_after_ms(sim, ms), 0);
    kp__sim_leave(sim);
}

int kp_sim_settle(kp_sim *sim)
{
    const kp__task *self = kp__sim_enter(sim, "kp_sim_settle");
    int waiting = 0;

    kp__sim_wait(sim, KP__WAIT_SETTLE, NULL, 0, 0);
    for (const kp__task *task = sim->waiting.first; task; task = task->after) {
        bool helper = task->role == KP__ROLE_KEEPER || task->role == KP__ROLE_STAGE;

        if (task != self && !helper) {
            waiting++;
        }
    }
    kp__sim_leave(sim);
    return waiting;
}

/* ---- tasks ---- */

static bool make_room(kp_sim *sim)
{
    if (sim->started_count < sim->started_room) {
        return true;
    }

    size_t room = sim->started_room ? sim->started_room * 2 : 16;
    kp__task **larger = realloc(sim->started, room * sizeof *larger);

    if (!larger) {
        return false;
    }
    sim->started = larger;
    sim->started_room = room;
    return true;
}

int kp_sim_spawn(kp_sim *sim, void (*fn)(void *arg), void *arg)
{
    kp__sim_enter(sim, "kp_sim_spawn");
    kp__kit_need((const void *)(uintptr_t)fn, "kp_sim_spawn", "a function");

    kp__task *task = make_room(sim) ? kp__sim_new_task(sim, KP__ROLE_TASK, fn, arg) : NULL;
    int number = KP_ENOMEM;

    if (task) {
        sim->started[sim->started_count++] = task;
        sim->alive++;
        task->number = number = (int)sim->started_count;
        task->state = KP__READY;
        kp__sim_queue_up(&sim->ready, task);
    }
    kp__sim_leave(sim);
    return number;
}

static void must_be_known(const kp_sim *sim, int task, const char *function)
{
    if (task < 0 || (size_t)task > sim->started_count) {
        kp__kit_die("%s was given %d, which is no task of this sim", function, task);
    }
}

void kp_sim_join(kp_sim *sim, int task)
{
    kp__sim_enter(sim, "kp_sim_join");
    must_be_known(sim, task, "kp_sim_join");
    join(sim, task);
    kp__sim_leave(sim);
}

bool kp_sim_ended(kp_sim *sim, int task)
{
    const kp__task *self = kp__sim_enter(sim, "kp_sim_ended");

    must_be_known(sim, task, "kp_sim_ended");

    bool ended = kp__sim_joined(sim, self, task);

    kp__sim_leave(sim);
    return ended;
}

void kp_sim_shuffle(kp_sim *sim, bool on)
{
    kp__sim_enter(sim, "kp_sim_shuffle");
    sim->shuffle = on;
    kp__sim_leave(sim);
}

/* ---- gates ---- */

void kp_gate_pass(kp_sim *sim, kp_gate *gate)
{
    kp__sim_enter(sim, "kp_gate_pass");
    kp__kit_need(gate, "kp_gate_pass", "a gate");
    gate->entered++;
    while (!gate->open) {
        kp__sim_wait(sim, KP__WAIT_GATE, gate, UINT64_MAX, 0);
    }
    kp__sim_leave(sim);
}

void kp_gate_open(kp_sim *sim, kp_gate *gate)
{
    kp__sim_enter(sim, "kp_gate_open");
    kp__kit_need(gate, "kp_gate_open", "a gate");
    gate->open = 1;
    if (kp__sim_wake(sim, gate, INT32_MAX) && sim->shuffle) {
        kp__sim_yield(sim);
    }
    kp__sim_leave(sim);
}
