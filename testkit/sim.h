/* SPDX-License-Identifier: MIT
 *
 * The inside of a sim, for the kit's own files.
 *
 * Who runs: exactly one task is `running`: it holds the baton. Every field below is guarded by
 * sim->lock, and a task changes them only while it runs, so a task that wakes finds them as the one
 * before it left them. A task gives way only by naming what it waits for (kp__sim_wait) or by
 * queueing up again (kp__sim_yield).
 *
 * What happens next, when a task gives way:
 *   1. a ready task runs: the first in line, or a random one (shuffle);
 *   2. none is ready: what is due by now is made ready, lowest rank first (see rank_of in sim.c);
 *   3. nothing is due by now: the clock jumps to the earliest deadline of any waiting task, then 2;
 *   4. nobody has a deadline: a deadlock. Say who waits for what, and abort.
 */
#ifndef KEYEDPOOL_KIT_SIM_H
#define KEYEDPOOL_KIT_SIM_H

#include "keyedpool_test.h"
#include "parts.h"

#include <pthread.h>

#define KP__SIM_START_NS UINT64_C(1000000000)    /* the clock of a new sim: never 0 */
#define KP__SIM_NS_PER_MS UINT64_C(1000000)
#define KP__SIM_POOLS 8

typedef enum kp__role { KP__ROLE_FIRST, KP__ROLE_TASK, KP__ROLE_KEEPER, KP__ROLE_STAGE } kp__role;

typedef enum kp__state { KP__READY, KP__RUNNING, KP__WAITING, KP__ENDED } kp__state;

typedef enum kp__wait {
    KP__WAIT_PARK,                      /* woken by word, or until_ns: world.park */
    KP__WAIT_GATE,                      /* woken by word */
    KP__WAIT_TIME,                      /* until_ns: a scripted driver takes its time */
    KP__WAIT_PASS,                      /* until_ns: kp_sim_pass_ms; after all else due then */
    KP__WAIT_SETTLE,                    /* until nothing can happen without time going by */
    KP__WAIT_JOIN,                      /* for the end of task `target`, or KP__JOIN_... */
    KP__WAIT_IDLE                       /* a helper with nothing to do; the keeper has until_ns */
} kp__wait;

enum {
    KP__JOIN_ALL = 0,                   /* every task that was started */
    KP__JOIN_HELPERS_IDLE = -1,         /* the keeper and the stages have nothing to do */
    KP__JOIN_HELPERS_ENDED = -2
};

typedef struct kp__task {
    kp_sim      *sim;
    kp__role     role;
    int          number;                /* of a started task: 1, 2, 3, ... */
    kp__state    state;
    pthread_t    thread;
    bool         begun;                 /* its thread sleeps until its turn, or has had it */
    pthread_cond_t turn;                /* signalled when this task is made the running one */
    void       (*fn)(void *arg);
    void        *arg;
    kp__wait     wait;                  /* these four: while it waits */
    const void  *word;
    uint64_t     until_ns;              /* UINT64_MAX: no deadline */
    int          target;
    struct kp__task *before, *after;    /* in the one queue of its state */
    struct kp__task *next_made;         /* all tasks, in the order they were made */
} kp__task;

typedef struct kp__queue {
    kp__task *first, *last;
    size_t    count;
} kp__queue;

typedef struct kp__kept {               /* a pool that wants upkeep */
    kp_pool         *pool;
    uint64_t         due_ns;
    struct kp__kept *next;
} kp__kept;

struct kp_sim {
    pthread_mutex_t lock;
    pthread_cond_t  begun;              /* signalled when the thread of a new task has */
    kp_world        world;
    uint64_t        now_ns;
    kp__task        first;
    kp__task       *running;
    kp__task       *made, *made_last;   /* every task but the first */
    kp__task      **started;            /* started[number - 1] */
    size_t          started_count, started_room;
    size_t          alive;              /* started and not ended */
    kp__queue       ready, waiting, ended;      /* ended: the thread is still to be joined */
    bool            shuffle, closing;
    kp__kit_random  random, shuffler;   /* two, so that shuffling leaves the pool's numbers alone */

    kp__task       *keeper;             /* NULL until a pool first wants upkeep */
    kp__kept       *kept;               /* by due_ns, then in the order of asking */
    kp_pool        *keeping;            /* in kp_keep now; for the deadlock report, as these: */
    kp_pool        *pools[KP__SIM_POOLS];       /* the latest that spoke of upkeep */
    bool            telling;            /* the deadlock report is being written */
    uint64_t        keeping_ns, keeps_at_once;  /* to catch a pool that is always due again */

    kp__kit_map     blocks;             /* of the world's memory: address, size */
    kp_sim_memory   memory;
    int64_t         fail_in;            /* 1: the next allocation fails; 0: none does */
    bool            fail_after, failing;
};

/* sim.c: the baton and the clock. enter takes the lock, and aborts for a thread that does not hold
 * the baton; the others are called by the running task with the lock held. new_task puts the task
 * in no queue yet; NULL: no memory, or no thread. */
kp__task *kp__sim_enter(kp_sim *sim, const char *function);
void kp__sim_leave(kp_sim *sim);
void kp__sim_wait(kp_sim *sim, kp__wait wait, const void *word, uint64_t until_ns, int target);
void kp__sim_yield(kp_sim *sim);
size_t kp__sim_wake(kp_sim *sim, const void *word, int how_many);
void kp__sim_make_ready(kp_sim *sim, kp__task *task);
void kp__sim_wake_joiners(kp_sim *sim);
bool kp__sim_joined(kp_sim *sim, const kp__task *by, int target);
kp__task *kp__sim_new_task(kp_sim *sim, kp__role role, void (*fn)(void *arg), void *arg);
void kp__sim_join_ended(kp_sim *sim);
void kp__sim_queue_up(kp__queue *queue, kp__task *task);
void kp__sim_queue_out(kp__queue *queue, kp__task *task);
uint64_t kp__sim_after_ms(const kp_sim *sim, int64_t ms);

/* helpers.c: the sim's own tasks. later calls fn(arg) ms from now, on a task where it may wait.
 * later and sleep are called without the lock, the others with it. */
void kp__sim_later(kp_sim *sim, int64_t ms, void (*fn)(void *arg), void *arg);
void kp__sim_sleep(kp_sim *sim, int64_t ms);
void kp__sim_upkeep(kp_sim *sim, kp_pool *pool, uint64_t due_ns);
void kp__sim_forget_pools(kp_sim *sim);

/* world.c */
void kp__sim_fill_world(kp_sim *sim);

#endif
