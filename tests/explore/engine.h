/* SPDX-License-Identifier: MIT
 *
 * The inside of the explorer. One thread of the operating system runs the library's real object
 * code in fibers, one fiber for each simulated thread. Before each step that other threads may
 * notice (a point), the search decides which thread goes on.
 *
 *   search.c   which thread goes on: exhaustive with reduction, bounded, random, PCT, starving;
 *              replay
 *   reduce.c   source sets: which other orders are worth trying, from the conflicts of this one
 *   memory.c   C11 memory: views, stale values
 *   plain.c    data races in plain memory, and memory that must not be touched
 *   hooks.c    the functions that -fsanitize=thread makes the compiler call
 *   place.c    addresses and their histories
 *   snapshot.c puts memory back as set-up left it
 *   world.c    the pool's world and lock
 *   processors.c  restartable sequences
 *   ghosts.c   the rest of what explore.h declares
 *   bells.c    descriptors of event loops
 *
 * An EVENT is a point that was executed. Two events conflict if their order matters (reduce.c has
 * the table). Causality is the order of the events of each thread and of conflicting events. It
 * orders more than C11's happens-before, which only synchronisation makes; so each thread has two
 * clocks, one for each relation.
 */
#ifndef KP_EXPLORE_ENGINE_H
#define KP_EXPLORE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "explore.h"
#include "fiber.h"

enum {
    EX_PLACES = 4096,  /* addresses known during a search; a power of two */
    EX_ATOMICS = 96,   /* atomics of one execution */
    EX_STORES = 250,   /* stores to one atomic in one execution */
    EX_EVENTS = 50000, /* of one execution */
    EX_DEPTH = 4000,   /* decisions of an exhaustive search */
    EX_STACK = 1 << 16
};

/* What a step does at its place. */
enum ex_kind {
    EX_LOCAL,   /* nothing that other threads notice */
    EX_LOAD,
    EX_STORE,   /* any write, and read-modify-write */
    EX_PARK,    /* compare and sleep */
    EX_WAKE,
    EX_TAKE,    /* take a simulated lock. Giving it back is not a point: only the holder can */
    EX_UP,      /* ghost counters: ups commute, downs commute */
    EX_DOWN,
    EX_ADVANCE, /* the clock: advances commute */
    EX_AWAIT,   /* sleep until a ghost flag is set */
    EX_KINDS
};

/* C11: what a thread has seen. */
struct ex_view {
    uint16_t clock[EX_THREADS]; /* how many releases of each thread happened before */
    uint8_t seen[EX_ATOMICS];   /* the oldest store of each atomic that it may still read */
};

struct ex_store {
    uint64_t value;
    bool sequential; /* seq_cst */
    struct ex_view view;
};

struct ex_history {
    int stores, last_sequential, number;
    uint8_t size;
    bool spoilt; /* written outside of it: only what is in memory now may be read from here on */
    struct ex_store store[EX_STORES + 1];
};

/* An address that several threads may access. */
struct ex_place {
    uintptr_t address;
    bool shared;  /* two threads do access it, and one of them writes: accesses are points */
    uint32_t run; /* the execution that the fields below belong to */
    uint8_t readers, writers;
    int last; /* the last event here, or -1 */
    struct ex_history *history;
    /* of a lock, or of a ghost flag */
    int holder;
    uint16_t causes[EX_THREADS];
    struct ex_view view;
};

struct ex_op {
    enum ex_kind kind;
    struct ex_place *place;
};

struct ex_event {
    struct ex_op op;
    uint8_t thread;
    int node;     /* the decision that chose it */
    int previous; /* the previous event at this place, or -1 */
    uint16_t clock[EX_THREADS];
};

enum ex_state { EX_READY, EX_PARKED, EX_WOKEN, EX_DONE };

struct ex_thread {
    struct fiber fiber;
    enum ex_state state;
    bool daemon; /* may be left in ex_await at the end */
    struct ex_op next;
    const uint32_t *awaits;
    uintptr_t word; /* that it is parked on */
    uint64_t until;
    bool may_time_out; /* the search chose no short time-out here (world.c, ex_fire_timers) */
    int locks;
    uint64_t result; /* a hash of what its calls answered */
    uint16_t clock[EX_THREADS]; /* causality */
    struct ex_view view;        /* C11 */
};

/* One decision of an exhaustive search: which thread goes on, or (not sched) which of n values. */
struct ex_node {
    bool sched;
    uint8_t pick, n;
    uint8_t enabled, backtrack, done, sleep, preemptions;
};

enum ex_mode { EX_EXHAUST, EX_BOUND, EX_RANDOM, EX_PCT, EX_STARVE, EX_REPLAY };

enum ex_outcome { EX_PASSED, EX_FAILED, EX_REDUNDANT, EX_RESTART };

struct ex_trace {
    uint8_t thread;
    enum ex_kind kind;
    uintptr_t address, pc;
    uint64_t value;
    char note[56];
};

struct ex {
    /* how to search */
    enum ex_mode mode;
    bool weak, plain, reduce, real_lock; /* plain: check plain accesses */
    bool every_point;                    /* private places are points too (place.c) */
    int bound, faults;                   /* preemptions; faults allowed in one execution */
    int pct_depth, pct_length;
    uint64_t seed;
    bool tracing;
    const struct ex_program *program;

    /* this execution */
    uint32_t run;
    bool ready; /* set-up has run, and a snapshot of what it left was taken */
    bool live; /* the threads are running; else set-up, finish, or stuck while all are stopped */
    int cur, threads;
    struct ex_thread thread[EX_THREADS + 1]; /* the last one: set-up and finish */
    struct fiber main, *give_back;           /* give_back: to be returned to at the next point */
    enum ex_outcome outcome;
    char why[512];
    uint64_t hash, rng;
    int faults_left, preemptions, switches;
    uint64_t steps; /* of all executions */
    struct ex_event *event;
    int events;
    uint8_t sleep;
    int last_run;
    uint8_t victim;
    int priority[EX_THREADS], change_at[8];

    /* the exhaustive search */
    struct ex_node *node;
    int depth, path, at_node;

    /* the script: what was chosen where there was more than one option; 0 is the plain choice */
    uint8_t *script;
    int script_length;
    const uint8_t *give; /* EX_REPLAY: the script to follow */
    int given;
    struct ex_trace *trace;
    int traces;
};

extern struct ex ex;

/* ---- search.c ---- */

/* A point: the search decides which thread goes on. Returns when it chooses the caller. */
void ex_point(enum ex_kind kind, void *address);
void ex_block(void); /* the caller is parked: others go on */
void ex_run_woken(void);
unsigned ex_choose(unsigned n, unsigned odds); /* random searches: not 0 with odds / 256 */
uint64_t ex_random(void);
/* The first pool of a process makes some things that stay for all later pools. Let it always be the
 * pool of this program, so that the number from which leases of a cell are counted does not depend
 * on which scenarios are played. */
void ex_warm_up(const struct ex_program *program);
enum ex_outcome ex_execute(void); /* one execution of ex.program */
bool ex_next_path(void);          /* exhaustive: false when all are done */
void ex_forget_paths(void);
bool ex_enabled(int t);

/* ---- reduce.c ---- */

bool ex_conflict(struct ex_op a, struct ex_op b);
void ex_happened(struct ex_op op); /* the running thread executes this point */
void ex_join(uint16_t *into, const uint16_t *from);

/* ---- place.c ---- */

struct ex_place *ex_place(void *address);
void ex_places_clear(void);     /* a new scenario */
uintptr_t ex_shared_at(int i);  /* the i-th place if it is shared, or 0 */
void ex_places_begin(void);     /* a new execution */
bool ex_meet(struct ex_place *place, enum ex_kind kind); /* is this access a point? */
void ex_always(struct ex_place *place); /* from now on accesses here are points */
struct ex_history *ex_history(struct ex_place *place, unsigned size);
void ex_wrote_alone(void *address);
uint64_t ex_raw_read(const void *p, unsigned size);
void ex_raw_write(void *p, unsigned size, uint64_t value);

/* ---- memory.c ---- */

void ex_view_join(struct ex_view *into, const struct ex_view *from);
void ex_release(struct ex_view *into); /* add what the running thread has seen */
uint64_t ex_atomic_load(void *p, unsigned size, int order, void *pc);
void ex_atomic_store(void *p, unsigned size, uint64_t value, int order, void *pc);
enum ex_rmw { EX_EXCHANGE, EX_ADD, EX_SUB, EX_AND, EX_OR, EX_XOR, EX_NAND };
uint64_t ex_atomic_rmw(void *p, unsigned size, enum ex_rmw what, uint64_t value, int order,
                       void *pc);
bool ex_atomic_cas(void *p, unsigned size, uint64_t *expected, uint64_t value, int order,
                   int order_failed, void *pc);

/* ---- plain.c ---- */

bool ex_is_looked_after(const void *p);
void ex_plain(const void *p, size_t size, bool write, void *pc);
void ex_atomic_touch(const void *p, bool write, void *pc);
void ex_memory_init(void);
void ex_poison(const void *p, size_t size, bool poisoned);
char *ex_stack_of(int t);
void *ex_arena_of(int t, size_t *size);
void *ex_lasting(size_t *size);     /* all that ex_room has given so far */
void ex_lasting_cut(size_t size);
uint8_t *ex_poison_of(const void *p);

/* ---- snapshot.c ---- */

void ex_library_keep(void);
void ex_library_restore(void);
void ex_snapshot_take(void); /* set-up has ended */
void ex_snapshot_restore(void);
void ex_snapshot_forget(void);

/* ---- world.c ---- */

void ex_world_begin(void); /* empty, before set-up */
void ex_world_again(void); /* as set-up left it, except what ex_keep was told of (snapshot.c) */
size_t ex_arena_used(void); /* by set-up */
void ex_hold(void *what);   /* take a lock: a point, taken when it is free. The holder sees ... */
void ex_let_go(void *what); /* ... what earlier holders saw. Not a point: only the holder can */
/* No thread can go on: the earliest deadline expires. False: there is none within so many ns. */
bool ex_fire_timers(uint64_t within);

/* ---- bells.c ---- */

void ex_current(int thread); /* another thread runs from here on */
void ex_current_begin(void);
int ex_bells_left(void);

/* ---- trace.c ---- */

void ex_traced(enum ex_kind kind, const void *address, uint64_t value, const void *pc);
void ex_trace_print(void);

#endif
