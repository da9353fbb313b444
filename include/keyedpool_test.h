/* SPDX-License-Identifier: MIT
 *
 * The test kit (libkeyedpool-testkit), for programs that use keyedpool and for keyedpool's own
 * tests: a world with a virtual clock, tasks that run one at a time in it, failing memory, and a
 * driver that follows a script.
 *
 * Tasks are real threads, but only one of them runs at any time: a task gives way only where it
 * waits in that world (in a pool call, kp_sim_pass_ms, kp_sim_join, kp_sim_settle). So a test is
 * deterministic without a single sleep. The thread that opened the sim is its first task. When
 * every task waits, the clock jumps to what is due next. When nothing is due either, that is a
 * deadlock: the kit prints who waits for what (kp_explain) and aborts. (While a task sleeps in a
 * get of a pool with on_deadlock, something always is, since it looks again from time to time: give
 * such gets a deadline, or the test runs for ever.) It also aborts, with a sentence, on a call that
 * makes no sense, such as one with NULL; but closing NULL does nothing.
 *
 * An event loop is tested in the same way: a task calls kp_loop_dispatch and lets time pass
 * (kp_sim_pass_ms), until it has its answer. The driver of a cast is KP_NEVER_BLOCKS then, which
 * one without blocks_ms is, and without a gate where there is no takes_ms. kp_options.threads are
 * left out: those follow the real clock.
 */
#ifndef KEYEDPOOL_TEST_H
#define KEYEDPOOL_TEST_H

#include "keyedpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a world with a virtual clock ------------------------------------------------------------ */

typedef struct kp_sim kp_sim;

/* Open a world. `seed` makes its random numbers, and (with shuffle) the order in which ready tasks
 * run; the same seed, the same run.
 * Threads: any thread; it becomes the first task. Blocks: no. Calls: nothing. Owns: yours until
 * kp_sim_close. Errors: KP_ENOMEM. Order: ready tasks run first come, first served. Since: 0.1 */
KP_API int kp_sim_open(uint64_t seed, kp_sim **out) KP_NODISCARD;

/* The world, for kp_options.world. Pools opened in it are kept by a task of the sim (world.upkeep).
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing; lives as long as the sim.
 * Errors: none. Order: none. Since: 0.1 */
KP_API const kp_world *kp_sim_world(kp_sim *sim);

/* The virtual time, in ms since the sim was opened.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API int64_t kp_sim_now_ms(kp_sim *sim);

/* Let ms go by: other tasks run, pools do their upkeep, the clock stops exactly there.
 * Threads: the sim's tasks. Blocks: in virtual time only. Calls: whatever the other tasks do.
 * Owns: nothing. Errors: none. Order: what is due first happens first. Since: 0.1 */
KP_API void kp_sim_pass_ms(kp_sim *sim, int64_t ms);

/* Let every other task run until it waits, without letting time go by. Returns how many tasks are
 * waiting then.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_sim_pass_ms. */
KP_API int kp_sim_settle(kp_sim *sim);

/* Start a task; it runs when the caller next gives way. It ends when fn returns, or its thread ends
 * (pthread_exit, pthread_cancel; waiting in the sim is no cancellation point). It has a stack of
 * 1 MiB, so that there may be thousands. Returns its number, or KP_ENOMEM.
 * Threads: the sim's tasks. Blocks: no. Calls: fn(arg), on the task's own thread. Owns: keeps arg
 * until fn returned. Errors: KP_ENOMEM. Order: as kp_sim_open. Since: 0.1 */
KP_API int kp_sim_spawn(kp_sim *sim, void (*fn)(void *arg), void *arg);

/* Wait for a task to end (0: for all that were started).
 * Threads: the sim's tasks. Blocks: in virtual time only. Calls: whatever the others do.
 * Owns: nothing. Errors: none. Order: none. Since: 0.1 */
KP_API void kp_sim_join(kp_sim *sim, int task);

/* Has a task ended yet (0: have all that were started)?
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_sim_join, without blocking. */
KP_API bool kp_sim_ended(kp_sim *sim, int task);

/* Choose ready tasks at random (by the seed) instead of in order, and give way at more places: at
 * every wake and unlock too.
 * Threads: the sim's tasks. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API void kp_sim_shuffle(kp_sim *sim, bool on);

/* The nth allocation from now on fails (1: the next), and all after it if asked. 0: none fails any
 * more.
 * Threads: the sim's tasks. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API void kp_sim_fail_alloc(kp_sim *sim, int64_t nth, bool and_all_after);

typedef struct kp_sim_memory { uint64_t bytes, blocks, allocations, refused; } kp_sim_memory;

/* What the world's memory looks like: bytes and blocks that are allocated now, allocations ever,
 * and how many were refused.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API kp_sim_memory kp_sim_memory_read(kp_sim *sim);

/* Close the world: joins all tasks. Pools in it must be closed before. Returns how many blocks of
 * memory were left allocated (0, or something leaked).
 * Threads: the first task. Blocks: in virtual time only. Calls: whatever the tasks do. Owns: takes
 * the sim. Errors: none. Order: none. Since: 0.1 */
KP_API uint64_t kp_sim_close(kp_sim *sim);

/* ---- gates: a callback that waits until the test lets it go ---------------------------------- */

/* A gate, shut when it is {0}. `entered` counts the tasks that have come to it. */
typedef struct kp_gate { uint32_t open, entered; } kp_gate;

/* Pass a gate, waiting (in virtual time) until it is open.
 * Threads: the sim's tasks. Blocks: until open. Calls: nothing. Owns: nothing. Errors: none.
 * Order: none. Since: 0.1 */
KP_API void kp_gate_pass(kp_sim *sim, kp_gate *gate);

/* Open a gate: all tasks that wait, or come later, get through.
 * Threads: the sim's tasks. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
KP_API void kp_gate_open(kp_sim *sim, kp_gate *gate);

/* ---- a driver that follows a script ---------------------------------------------------------- */

/* What the runs of a driver function do: this line for `times` runs (0: once; KP_OFF: for ever),
 * then the next line. A line with times = 0 and everything else zero ends the script; after it all
 * succeed at once. */
typedef struct kp_line {
    int64_t     takes_ms;               /* in virtual time, asynchronously: the function returns
                                           KP_PENDING, and the sim answers */
    int64_t     blocks_ms;              /* the same, but the function itself blocks */
    int         status;                 /* 0, or negative: the answer */
    int         vendor_code;            /* for kp_job_fail; 0: status */
    const char *text;
    kp_gate    *gate;                   /* passed before answering */
    int64_t     times;
} kp_line;

typedef struct kp_script {
    const kp_line *create, *validate, *reset, *destroy;     /* NULL: succeeds at once; else ends
                                                               as kp_line says */
    kp_sim        *sim;                                     /* on whose clock it goes; NULL: no
                                                               line may take time */
    const kp_line *revoke;                                  /* NULL: the driver has none */
} kp_script;

/* The resource of a scripted driver: what was made, for whom, and what became of it. */
typedef struct kp_prop {
    uint64_t number;                    /* 1, 2, 3, ... in the order of creation */
    char     key[64];                   /* the key it was made for, as text, cut to fit */
    uint32_t alive;                     /* 1 until destroyed */
    uint32_t users;                     /* the test's own: count borrowers to see double lending */
} kp_prop;

typedef struct kp_cast kp_cast;         /* the driver's memory of what happened */

typedef struct kp_cast_count {
    uint64_t creates, create_failures, destroys, destroy_failures, validates, resets;
    uint64_t live, most_live;           /* now; at most at once (creating ones count when made) */
    uint64_t destroyed_twice, used_after;       /* must be 0: destroyed or used after it was
                                                   destroyed */
    uint64_t revokes;
} kp_cast_count;

/* Open a cast. The script's lines must live as long.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: yours until kp_cast_close.
 * Errors: KP_ENOMEM. Order: none. Since: 0.1 */
KP_API int kp_cast_open(const kp_script *script, kp_cast **out) KP_NODISCARD;

/* The driver of a cast, for kp_options.driver.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing; lives as long as the cast.
 * Errors: none. Order: none. Since: 0.1 */
KP_API kp_driver kp_cast_driver(kp_cast *cast);

/* What happened so far in a cast.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_sim_now_ms. */
KP_API kp_cast_count kp_cast_read(kp_cast *cast);

/* Free the cast and all its props: when the pools that use it are gone, and so no function of its
 * driver is under way.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: takes the cast. Errors: none. Order: none.
 * Since: 0.1 */
KP_API void kp_cast_close(kp_cast *cast);

#ifdef __cplusplus
}
#endif
#endif
