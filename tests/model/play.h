/* SPDX-License-Identifier: MIT
 *
 * One sequence of operations, played on the library and on the model side by side. A seed draws the
 * options, the mix of operations and the operations themselves; each carries its own fate, so that
 * leaving one out changes no other.
 */
#ifndef TESTS_MODEL_PLAY_H
#define TESTS_MODEL_PLAY_H

#include "model.h"

#define OP_MAP(X)                                                                                  \
    X(GET) X(GO_ON) X(START) X(CANCEL) X(DISPATCH) X(RELEASE) X(DISCARD) X(RELEASE_TWICE)          \
    X(JOB_DONE) X(INVALIDATE) X(INVALIDATE_KEY) X(REUSE) X(REPORT) X(ADD) X(WARM) X(PIN) X(UNPIN)  \
    X(LIMITS) X(LIMITS_ALL) X(RETRY) X(KEEP) X(PASS) X(CLOSE) X(BUDGET) X(EVICT) X(DROP) X(ROTATE)

enum op_kind {
#define X(name) OP_##name,
    OP_MAP(X)
#undef X
    OPS
};

enum { PLAY_OPS = 250 }; /* at most */

struct op {
    enum op_kind kind;
    int key;
    uint32_t which; /* of the leases, requests or creations there are, modulo how many */
    uint32_t flags;
    int64_t ms;
    uint64_t fate; /* of the driver functions that it runs; what else there is to draw */
    kp_limits limits;
    kp_budget budget;
};

/* What a seed decides before any operation. */
struct setup {
    uint64_t seed;
    kp_options options;
    int keys;
    bool groups;  /* of keys */
    bool tests;   /* by the keeper, and peers that are gone */
    bool by_key;  /* limits_for says for each key: */
    kp_limits own[MODEL_KEYS];
    bool on_loop; /* an event loop on the thread that plays */
    bool seldom;  /* compare counters and leases after some operations only: to look shuts lanes */
    kp_close_mode close_mode;
    uint32_t weight[OPS];
    uint32_t bad_pct, pending_pct; /* of the driver's answers */
};

uint64_t draw(uint64_t *state); /* splitmix64 */
uint64_t draw_below(uint64_t *state, uint64_t n);

void setup_draw(uint64_t seed, struct setup *setup);
void op_draw(const struct setup *setup, uint64_t *state, struct op *op);
void op_print(int number, const struct op *op, const char *did);

/* What the pools did in all plays: a counter that never moved was not compared. */
extern kp_stats play_totals;

/* The last play differs, but not all orders of what is due at the same time were tried. */
extern bool play_gave_up;

/* Play n operations; skip[i]: leave that one out (NULL: none). Returns -1 if library and model
 * agree throughout, else the number of the operation after which they did not (n: at the end), with
 * the reason in `said`. `loud`: print each operation, of one order. */
int play(const struct setup *setup, const struct op *ops, int n, const bool *skip, bool loud,
         char *said, size_t size);

#endif
