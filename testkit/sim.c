/* SPDX-License-Identifier: MIT
 *
 * The baton and the clock of a sim: who runs, who waits, what happens next. The rules are in sim.h.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- queues ---- */

void kp__sim_queue_up(kp__queue *queue, kp__task *task)
{
    task->after = NULL;
    task->before = queue->last;
    if (queue->last) {
        queue->last->after = task;
    } else {
        queue->first = task;
    }
    queue->last = task;
    queue->count++;
}

void kp__sim_queue_out(kp__queue *queue, kp__task *task)
{
    if (task->before) {
        task->before->after = task->after;
    } else {
        queue->first = task->after;
    }
    if (task->after) {
        task->after->before = task->before;
    } else {
        queue->last = task->before;
    }
    task->before = task->after = NULL;
    queue->count--;
}

/* ---- the deadlock report ---- */

static int64_t ms_of(uint64_t ns)
{
    return (int64_t)((ns - KP__SIM_START_NS) / KP__SIM_NS_PER_MS);
}

static void say_who(const kp__task *task)
{
    switch (task->role) {
    case KP__ROLE_FIRST:
        fputs("  the first task", stderr);
        break;
    case KP__ROLE_TASK:
        fprintf(stderr, "  task %d", task->number);
        break;
    case KP__ROLE_KEEPER:
        fprintf(stderr, "  the keeper, in kp_keep(%p),", (void *)task->sim->keeping);
        break;
    case KP__ROLE_STAGE:
        fputs("  a scripted answer", stderr);
        break;
    }
}

static void say_what(const kp__task *task)
{
    switch (task->wait) {
    case KP__WAIT_PARK:                 /* its word is alive: the call that parked is under way */
        fprintf(stderr, " is parked on word %p (now %" PRIu32 ")\n", task->word,
                __atomic_load_n((const uint32_t *)task->word, __ATOMIC_ACQUIRE));
        break;
    case KP__WAIT_GATE:
        fprintf(stderr, " waits at the shut gate %p\n", task->word);
        break;
    case KP__WAIT_JOIN:
        if (task->target > 0) {
            fprintf(stderr, " waits for task %d to end\n", task->target);
        } else if (task->target == KP__JOIN_ALL) {
            fputs(" waits for all tasks to end\n", stderr);
        } else {
            fputs(" closes the sim\n", stderr);
        }
        break;
    case KP__WAIT_TIME:
    case KP__WAIT_PASS:
        fprintf(stderr, " lets time pass until %" PRId64 " ms\n", ms_of(task->until_ns));
        break;
    case KP__WAIT_SETTLE:
    case KP__WAIT_IDLE:
        fputs(" waits for the others\n", stderr);
        break;
    }
}

/* Who holds and who waits in the pools of this world, where anything of them is left. They ask for
 * the time, so the lock is given back. */
static void say_pools(kp_sim *sim)
{
    char text[4096];
    kp_stats stats;

    pthread_mutex_unlock(&sim->lock);
    for (int i = 0; i < KP__SIM_POOLS && sim->pools[i]; i++) {
        if (kp_stats_read(sim->pools[i], KP_EVERY_KEY, &stats) == 0) {
            (void)kp_explain(sim->pools[i], KP_EVERY_KEY, text, sizeof text);
            fputs(text, stderr);
        }
    }
}

static _Noreturn void deadlock(kp_sim *sim)
{
    if (sim->telling) {                 /* a pool's own lock is held */
        abort();
    }
    sim->telling = true;
    fflush(stdout);
    fprintf(stderr,
            "keyedpool-testkit: deadlock at %" PRId64 " ms: every task waits and nothing is due\n",
            ms_of(sim->now_ns));
    for (const kp__task *task = sim->waiting.first; task; task = task->after) {
        if (task->wait != KP__WAIT_IDLE) {
            say_who(task);
            say_what(task);
        }
    }
    fflush(stderr);
    say_pools(sim);
    abort();
}

/* ---- what happens next ---- */

/* Of what is due at the same moment, lower ranks happen first, and have come to rest before the
 * next rank begins. So a task that let time pass sees the effect of all that was due by then; and
 * the first task, which is the test itself, goes on last. */
enum { RANK_DEADLINE, RANK_KEEPER, RANK_PASS, RANK_PASS_FIRST, RANK_SETTLE, RANKS };

static int rank_of(const kp__task *task)
{
    switch (task->wait) {
    case KP__WAIT_IDLE:
        return RANK_KEEPER;
    case KP__WAIT_PASS:
        return task->role == KP__ROLE_FIRST ? RANK_PASS_FIRST : RANK_PASS;
    case KP__WAIT_SETTLE:
        return RANK_SETTLE;
    default:
        return RANK_DEADLINE;
    }
}

void kp__sim_make_ready(kp_sim *sim, kp__task *task)
{
    kp__sim_queue_out(&sim->waiting, task);
    task->state = KP__READY;
    kp__sim_queue_up(&sim->ready, task);
}

static bool wake_what_is_due(kp_sim *sim)
{
    for (int rank = 0; rank < RANKS; rank++) {
        bool woken = false;

        for (kp__task *task = sim->waiting.first, *after; task; task = after) {
            after = task->after;
            if (task->until_ns > sim->now_ns || rank_of(task) != rank) {
                continue;
            }
            kp__sim_make_ready(sim, task);
            woken = true;
            if (rank == RANK_SETTLE) {
                break;                  /* one at a time: the next waits for this one to rest */
            }
        }
        if (woken) {
            return true;
        }
    }
    return false;
}

static void advance_clock(kp_sim *sim)
{
    uint64_t earliest = UINT64_MAX;

    for (const kp__task *task = sim->waiting.first; task; task = task->after) {
        if (task->until_ns < earliest) {
            earliest = task->until_ns;
        }
    }
    if (earliest == UINT64_MAX) {
        deadlock(sim);
    }
    sim->now_ns = earliest;
}

static kp__task *choose(kp_sim *sim)
{
    while (!sim->ready.count) {
        if (!wake_what_is_due(sim)) {
            advance_clock(sim);
        }
    }

    kp__task *task = sim->ready.first;

    if (sim->shuffle) {
        for (uint64_t n = kp__kit_random_next(&sim->shuffler) % sim->ready.count; n; n--) {
            task = task->after;
        }
    }
    kp__sim_queue_out(&sim->ready, task);
    return task;
}

/* No cancellation point: kp_world promises that, and the thread would end with the lock. */
static void await_turn(kp__task *task)
{
    int cancel;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    while (task->sim->running != task) {
        pthread_cond_wait(&task->turn, &task->sim->lock);
    }
    (void)pthread_setcancelstate(cancel, NULL);
}

/* Pass the baton. `self` is in the queue of its new state. */
static void give_way(kp_sim *sim, kp__task *self)
{
    kp__task *next = choose(sim);

    next->state = KP__RUNNING;
    sim->running = next;
    if (next != self) {
        pthread_cond_signal(&next->turn);
        if (self->state != KP__ENDED) {
            await_turn(self);
        }
    }
}

/* ---- the running task ---- */

kp__task *kp__sim_enter(kp_sim *sim, const char *function)
{
    kp__kit_need(sim, function, "a sim");
    pthread_mutex_lock(&sim->lock);
    if (!pthread_equal(sim->running->thread, pthread_self())) {
        kp__kit_die("%s was called by a thread that is not a task of its sim (start it with "
                    "kp_sim_spawn, or use no sim with real threads)", function);
    }
    return sim->running;
}

void kp__sim_leave(kp_sim *sim)
{
    pthread_mutex_unlock(&sim->lock);
}

void kp__sim_wait(kp_sim *sim, kp__wait wait, const void *word, uint64_t until_ns, int target)
{
    kp__task *self = sim->running;

    self->state = KP__WAITING;
    self->wait = wait;
    self->word = word;
    self->until_ns = until_ns;
    self->target = target;
    kp__sim_queue_up(&sim->waiting, self);
    give_way(sim, self);
}

void kp__sim_yield(kp_sim *sim)
{
    kp__task *self = sim->running;

    self->state = KP__READY;
    kp__sim_queue_up(&sim->ready, self);
    give_way(sim, self);
}

size_t kp__sim_wake(kp_sim *sim, const void *word, int how_many)
{
    size_t woken = 0;

    for (kp__task *task = sim->waiting.first, *after; task && how_many > 0; task = after) {
        after = task->after;
        if ((task->wait == KP__WAIT_PARK || task->wait == KP__WAIT_GATE) && task->word == word) {
            kp__sim_make_ready(sim, task);
            how_many--;
            woken++;
        }
    }
    return woken;
}

uint64_t kp__sim_after_ms(const kp_sim *sim, int64_t ms)
{
    uint64_t most = (UINT64_MAX - 1 - sim->now_ns) / KP__SIM_NS_PER_MS;

    return (uint64_t)ms < most ? sim->now_ns + (uint64_t)ms * KP__SIM_NS_PER_MS : UINT64_MAX - 1;
}

/* ---- the life of a task ---- */

bool kp__sim_joined(kp_sim *sim, const kp__task *by, int target)
{
    if (target > 0) {
        return sim->started[target - 1]->state == KP__ENDED;
    }
    if (target == KP__JOIN_ALL) {       /* a task does not wait for itself */
        return sim->alive == (by->role == KP__ROLE_TASK ? 1 : 0);
    }
    for (const kp__task *task = sim->made; task; task = task->next_made) {
        bool idle = task->state == KP__WAITING && task->wait == KP__WAIT_IDLE;

        if (task->role != KP__ROLE_TASK && task->state != KP__ENDED &&
            !(idle && target == KP__JOIN_HELPERS_IDLE)) {
            return false;
        }
    }
    return true;
}

void kp__sim_wake_joiners(kp_sim *sim)
{
    for (kp__task *task = sim->waiting.first, *after; task; task = after) {
        after = task->after;
        if (task->wait == KP__WAIT_JOIN && kp__sim_joined(sim, task, task->target)) {
            kp__sim_make_ready(sim, task);
        }
    }
}

static void end(void *arg)
{
    kp__task *self = arg;
    kp_sim *sim = self->sim;

    kp__sim_enter(sim, "the end of a task");
    self->state = KP__ENDED;
    kp__sim_queue_up(&sim->ended, self);
    if (self->role == KP__ROLE_TASK) {
        sim->alive--;
    }
    kp__sim_wake_joiners(sim);
    give_way(sim, self);
    pthread_mutex_unlock(&sim->lock);
}

/* However its thread ends, the task ends, too: others wait for the baton. */
static void *live(void *arg)
{
    kp__task *self = arg;

    pthread_mutex_lock(&self->sim->lock);
    self->begun = true;
    pthread_cond_signal(&self->sim->begun);
    await_turn(self);
    pthread_mutex_unlock(&self->sim->lock);
    pthread_cleanup_push(end, self);
    self->fn(self->arg);
    pthread_cleanup_pop(1);
    return NULL;
}

/* Threads of ended tasks are joined as new ones start, so that thousands of tasks can come and go.
 * The caller holds the lock, so they have left it for the last time: joining waits for nothing but
 * their exit. */
void kp__sim_join_ended(kp_sim *sim)
{
    while (sim->ended.first) {
        kp__task *task = sim->ended.first;

        kp__sim_queue_out(&sim->ended, task);
        pthread_join(task->thread, NULL);
        pthread_cond_destroy(&task->turn);
    }
}

/* A task's thread. There may be thousands: with the usual stack they have no room in 32 bits. It
 * sleeps until its turn when this returns, and does not have the lock: if the running task forks,
 * the child has nobody else to give it back. */
static bool start_thread(kp__task *task)
{
    pthread_attr_t attr;
    int cancel;

    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    (void)pthread_attr_setstacksize(&attr, (size_t)1 << 20);
    bool started = pthread_create(&task->thread, &attr, live, task) == 0;
    (void)pthread_attr_destroy(&attr);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    while (started && !task->begun) {
        pthread_cond_wait(&task->sim->begun, &task->sim->lock);
    }
    (void)pthread_setcancelstate(cancel, NULL);
    return started;
}

kp__task *kp__sim_new_task(kp_sim *sim, kp__role role, void (*fn)(void *arg), void *arg)
{
    kp__task *task = calloc(1, sizeof *task);

    kp__sim_join_ended(sim);
    if (!task) {
        return NULL;
    }
    task->sim = sim;
    task->role = role;
    task->fn = fn;
    task->arg = arg;
    task->until_ns = UINT64_MAX;
    pthread_cond_init(&task->turn, NULL);
    if (!start_thread(task)) {
        pthread_cond_destroy(&task->turn);
        free(task);
        return NULL;
    }
    if (sim->made_last) {
        sim->made_last->next_made = task;
    } else {
        sim->made = task;
    }
    sim->made_last = task;
    return task;
}
