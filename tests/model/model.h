/* SPDX-License-Identifier: MIT
 *
 * A model of the pool: what keyedpool does, without threads, locks, lists or heaps. Read it to
 * learn what each call must do and return; agree.c checks that the library agrees with it in every
 * code and every counter.
 *
 * All state is in plain arrays, and everything is found by looking through them. What can be
 * counted is counted when it is needed, never stored. Calls happen one after the other. Running a
 * driver function means to ask `answer` for its result, or KP_PENDING: then model_job_done follows.
 * When a get cannot go on, model_get returns false and leaves a request that waits; model_go_on
 * means that its thread wakes up, with or without a reason. model_start and model_dispatch are the
 * same for an event loop.
 *
 * Read it in this order: model.c (who may have what, who is next), model_room.c (who has to go),
 * model_calls.c (a get), model_back.c (the way back), model_circuit.c, model_lease.c,
 * model_doubt.c, model_loop.c, model_keys.c, model_keep.c, model_limits.c, model_control.c.
 *
 * Not in the model: shares across keys (it has KP_ACROSS_ARRIVAL), shared resources that
 * drain because their room is owed to another key, key types, waiting for warm keys, pools of
 * threads or of a loop, driver.cancel, and calls that wait: for leases to end, or for a key to go.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include "keyedpool.h"

enum { MODEL_KEYS = 4, MODEL_SLOTS = 48, MODEL_SEATS = 3, MODEL_REQUESTS = 12 };
enum { MODEL_OUTCOMES = 512 }; /* more than there are in one play */
enum { NOBODY = -1 };

#define FOREVER UINT64_MAX
#define NO_LIMIT INT64_MAX

/* kp_limits with every value filled in; NO_LIMIT, FOREVER and 0 replace KP_UNLIMITED and so on. */
struct model_rules {
    int64_t min_live, max_live, max_lent, max_idle, min_idle, max_creating, max_waiting, sharing;
    int64_t weight, floor, max_uses, spread_pct, utilization_pct, breaker_failures, reserve;
    int64_t surplus, said_surplus; /* said_surplus: -1 if not given; it follows renew_ahead then */
    uint64_t renew_ahead;          /* 0: off */
    int64_t breaker_rate, breaker_calls, breaker_probes;
    uint64_t idle_ttl, excess_ttl, max_age, validate_after, retry_first, retry_max, cache_failure;
    uint64_t create_timeout, validate_timeout, breaker_open, breaker_window, reserve_after;
    uint64_t shed_target, shed_interval, revoke_after, validate_every;
    bool prefill, eager, wait_lifo, idle_lifo, retry, reuse, drop_oldest, cache_once, fail_fast;
    bool refuse_late, spares_others; /* KP_EGONE is a failure like any other */
    bool tests_others;               /* after it, they are in doubt; else they go at once */
    uint32_t validate_on, respects_min, breaker_counts;
    uint32_t idle_check, excess_check, age_check;
    int64_t group[2]; /* 0: none */
    /* max_waiting and excess_over, if given; if not (-1), they follow max_live and min_live */
    int64_t said_waiting, said_over, excess_over;
};

/* TESTED: the keeper has it validated, which counts as creating. REVOKED: taken from its borrower,
 * who has not given it back yet; RECLAIMED: given back now. */
enum model_state {
    M_FREE, M_CREATING, M_IDLE, M_LENT, M_TESTED, M_CLOSING, M_REVOKED, M_RECLAIMED
};
enum model_job { /* pending */
    J_NONE, J_CREATE, J_CHECK, J_RESET, J_VALIDATE, J_DESTROY, J_REVOKE, J_TEST
};
enum model_reason {
    R_RETURNED, R_DISCARDED, R_INVALID, R_INVALIDATED, R_EXPIRED, R_EVICTED, R_RENEWED,
    R_SURPLUS
};

struct model_seat {
    bool lent, hit, warned, probe;
    bool decided, reuse; /* what kp_lease_reuse said */
    bool heard;          /* its borrower has been told of the lease */
    bool ending;         /* the lease was ended while it is being revoked */
    bool kept;           /* it could not be revoked */
    uint64_t since;
};

/* A place for a resource, or a permit to make one (creating, and no serial yet). */
struct model_slot {
    enum model_state state;
    enum model_reason reason; /* doomed or closing: why */
    enum model_job job;
    uint64_t posted; /* the number of the job's letter to the loop, or 0: it has begun */
    int job_seat, key, seats;
    int sponsor;            /* the request for which it is made, checked or evicted, or NOBODY */
    int heir;               /* a victim: the key that gets its place, or NOBODY */
    int next;               /* a victim: another one that goes for the same request, or NOBODY */
    int promised;           /* a victim: the key that was promised a permit for its place (the one
                               of two victims that goes first), or NOBODY */
    uint64_t waived;        /* a victim that nobody waits for: the larger, the later; or 0 */
    bool probe;             /* its creation is a probe, or the permit that its heir gets is one */
    bool doomed, owes_lent; /* owes_lent: max_lent counts its lease until it is destroyed */
    bool then_validate;     /* J_RESET: validate afterwards */
    bool doubted;           /* a peer of its key is gone: to be validated before it is lent */
    bool old, ageing;       /* made before the last kp_rotate; to be replaced */
    bool due_to_key;        /* being made for a request, or just made: its key has its turn */
    bool renews;            /* it is made to replace another */
    uint64_t epoch;         /* in which its creation began */
    int64_t attempt, left_ms;       /* what its creation or check is told */
    uint64_t until;                 /* when that has taken as long as it may */
    uint64_t lent_at;       /* the larger, the later it was lent */
    uint64_t serial, lends;
    uint64_t began, made, since, age_end; /* creation; idle since; when it is too old */
    uint64_t order;                 /* idle: the larger, the more recently used */
    uint64_t tested;                /* the larger, the later its test began */
    uint64_t proven;                /* idle: when the keeper found it good, or 0 */
    uint64_t open;                  /* lent with a seat left: the larger, the more recently */
    uint64_t look_at;               /* when upkeep looks at it */
    struct model_seat seat[MODEL_SEATS];
};

enum model_grant { G_WAIT, G_SLOT, G_PERMIT, G_NO };
enum model_budget { B_NONE, B_LENT, B_CREATING, B_TOKEN, B_GROUP_0, B_GROUP_1, B_LIVE, BUDGETS };

struct model_request {
    bool active, waiting, waited, holds_lent, at_once;
    bool probe;               /* its permit is one */
    bool first;               /* the circuit half-opened with it, which on_event was not told yet */
    bool boxed, good;         /* of an event loop; its resource has been checked */
    uint64_t mail, at;        /* its letter's number, or 0; when the loop looks without a letter */
    int key;
    uint32_t flags;
    uint64_t stamp, began, deadline, again; /* again: when it wakes by itself to look once more */
    int making; /* the slot that is made, checked or evicted for it, or NOBODY */
    enum model_grant grant;
    int slot, seat, victim, code;
    uint64_t idle_ns;
    enum model_budget short_of; /* the budget, if that is all it lacks */
    const char *limit, *bound;  /* what limited it at its last look; in the answer, if that is no */
    kp_why why;                 /* if it was answered no: limit, waited_ms and the counts */
};

struct model_key {
    bool in_use, refill, warm, leaving;
    bool dropped; /* forgotten as soon as nobody uses it */
    uint64_t place, used_at, look_at;
    uint64_t token_look;           /* when the background looks for a token, until that is over */
    uint64_t held_up;              /* its place among those that budget.max_creating holds up; 0 */
    uint64_t unused, unused_since; /* its place among the unused keys, or 0; since when */
    int interest, pins;
    int promised; /* permits that requests wait for until their victims are destroyed */
    enum model_budget lacks;
    uint64_t served_at; /* LIFO: the latest stamp when it was served last */

    int64_t failures, use_failures; /* in a row */
    uint64_t back_off;              /* no creation before this time */
    bool tripped, probing, by_use;  /* the circuit is open; half-open; a use opened it */
    const char *opened_by;
    int64_t passed;                 /* probes in a row that succeeded */
    uint64_t probed_at, window;     /* the latest probe; the breaker_window of the outcomes */
    struct {
        uint64_t at;
        bool ok;
    } outcome[MODEL_OUTCOMES];      /* since it closed */
    int outcomes;
    bool refused;                   /* the driver refused: no creation until kp_retry_now */
    uint64_t open_until;
    int last_code, kept_code[MODEL_SLOTS], kept; /* failures that other requests are told ... */
    uint64_t last_until;                         /* ... the last code until this time */
    uint64_t gap, grant_at, grants; /* while requests wait: time between grants; last one; count */
    uint64_t interval_end, least_wait;           /* CoDel on the time that requests wait */
    bool slow;
    struct model_rules rules;
    uint64_t epoch, retire_by, overdue; /* of kp_rotate */
    int64_t spare;             /* replacements that are there together with what they replace */
    kp_stats tally;
};

struct model_frame {
    int base, first, end;
};

/* A moment between two nanoseconds: so many parts after ns. create_rate parts are one ns. */
struct model_moment {
    uint64_t ns, part;
};

/* What the line of creations (model_rate.c) has saved up, in parts of a creation. */
struct model_bucket {
    bool full; /* there was no create_rate so far */
    uint64_t parts;
};

struct model {
    /* the options, from open and from later calls */
    kp_budget said;
    struct model_rules rules;
    int64_t budget_live, budget_lent, budget_idle, budget_creating, budget_waiting, budget_keys;
    const kp_limits *own; /* limits_for: what it says of each key; or NULL */
    int64_t group_live[2];
    bool counts_groups[2]; /* they had a limit when the pool was opened */
    int64_t create_rate, create_burst; /* NO_LIMIT: creations may begin at any time */
    bool evicts, by_arrival, last_first, has_validate, has_reset, asks;
    bool on_loop;  /* the thread runs an event loop: no request runs a driver function itself */
    bool stepping; /* the loop is looking at a request: driver functions are posted, not run */
    uint64_t forget_after, leak_after, deadline, luck; /* luck: what world.random says */
    int (*answer)(void *ctx, kp_job_kind kind, uint64_t serial, uint64_t *takes_ns);
    /* Which of n things that are due at the same time comes first? Unspecified: stage.c chooses. */
    int (*choose)(void *ctx, int n);
    void *ctx;

    int64_t peak_live, peak_lent, peak_creating; /* what there was when the budget changed */
    struct model_moment arrival; /* when the next creation is due, if they are evenly spaced */
    uint64_t took, look;         /* when the latest began; when upkeep looks for the next one */
    uint64_t now, stamps, returns, opens, serials, unused, held_up, epoch;
    int tests;       /* begun by this call of kp_keep */
    uint64_t latest; /* when something was decided last; a driver function may have begun since */
    bool closed, late_told, overpromised;
    struct model_key key[MODEL_KEYS];
    uint64_t places, free_place[MODEL_KEYS]; /* of keys; free places, the last freed one last */
    int free_places;
    struct model_slot slot[MODEL_SLOTS];
    struct model_request request[MODEL_REQUESTS];
    struct {
        int slot[2 * MODEL_SLOTS], base, first, end;
    } todo; /* slots to destroy: those of the innermost call from `base` on */
    kp_stats tally;
    uint64_t mails;
    int done[2 * MODEL_REQUESTS], dones; /* requests answered by this dispatch, in order */
};

/* 0, or KP_ECONFIG. own: what limits_for says of each key, or NULL. */
int model_open(struct model *m, const kp_options *options, const kp_limits *own, uint64_t now);

/* Keys are numbers. `r` is the number of a request that is not in use. True: the get is over, and
 * its code and lease (slot, seat) are in the request; false: it waits. */
bool model_get(struct model *m, int key, uint32_t flags, int64_t within_ms, int r);
bool model_go_on(struct model *m, int r);

/* The same for event loops: 0, or the code with which it is over at once. */
int model_start(struct model *m, int key, uint32_t flags, int64_t within_ms, int r);
void model_cancel(struct model *m, int r);
int64_t model_dispatch(struct model *m);

/* What driver.is_clean says, where there is one. */
static inline bool model_is_clean(uint64_t serial)
{
    return serial % 2 == 0;
}

void model_release(struct model *m, int slot, int seat, bool discard);
void model_job_done(struct model *m, int slot, int status); /* of a pending job */
int64_t model_invalidate(struct model *m, uint64_t serial);
int64_t model_invalidate_key(struct model *m, int key); /* NOBODY: every key */
int model_limits_set(struct model *m, int key, const kp_limits *limits); /* NOBODY: every key */
int model_budget_set(struct model *m, const kp_budget *said);
int64_t model_evict(struct model *m, int key, int64_t keep); /* NOBODY: every key */
int64_t model_drop(struct model *m, int key); /* NOBODY: every key; it does not wait */
int model_retry_now(struct model *m, int key); /* NOBODY: every key */
int64_t model_rotate(struct model *m, int key, int64_t over_ms); /* NOBODY: every key */
int64_t model_keep(struct model *m);
int64_t model_close(struct model *m, kp_close_mode mode); /* at once: it does not wait */
void model_misuse(struct model *m);
/* Will it be destroyed when it comes back, as far as is known? */
bool model_is_doomed(const struct model *m, int slot, int seat);
void model_lease_reuse(struct model *m, int slot, int seat, bool reuse);
void model_lease_report(struct model *m, int slot, int seat, int status);
int model_add(struct model *m, int key, uint64_t serial); /* the next serial, or one it has had */
int model_warm(struct model *m, int key);                 /* in the background */
int model_pin(struct model *m, int key);
void model_unpin(struct model *m, int key);
bool model_is_over(const struct model *m);

/* KP_ENOTFOUND, KP_ECLOSED or 0; NOBODY: the whole pool. */
int model_stats(struct model *m, int key, kp_stats *out);

/* NULL: the laws hold; else says which one does not. */
const char *model_broken(const struct model *m);

/* Applies limits to rules; a limit of zero was not given and leaves the rule as it is. */
void model_rules(const kp_limits *said, struct model_rules *rules);

#endif
