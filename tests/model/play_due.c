/* SPDX-License-Identifier: MIT
 *
 * Upkeep and dispatches, which may do things in any order that are due at the same time, and new
 * budgets, which look at groups in any order: the model tries orders until one explains what the
 * library did.
 */
#include <stdio.h>
#include <string.h>

#include "play_inside.h"

/* ---- what may do things in any order that are due at the same time --------------------------- */

enum { ORDERS = 5000 }; /* tried of one operation, at most */

struct books {
    int code[MODEL_KEYS + 1];
    kp_stats stats[MODEL_KEYS + 1];
};

static void read_books(bool model, struct books *b)
{
    memset(b, 0, sizeof *b);
    for (int key = NOBODY; key < the.setup->keys; key++)
        b->code[key + 1] = model ? model_stats(&the.model, key, &b->stats[key + 1])
                                 : kp_stats_read(the.pool, key == NOBODY ? KP_EVERY_KEY
                                                                         : name_of(key),
                                                 &b->stats[key + 1]);
}

/* The next combination of choices, as an odometer counts. False: there are no more. */
static bool choose_otherwise(struct ties *t)
{
    int i = t->n - 1;

    while (i >= 0 && t->choice[i] + 1 >= t->of[i]) i--;
    if (i < 0) return false;
    t->choice[i]++;
    memset(&t->choice[i + 1], 0, (size_t)(TIES - i - 1) * sizeof t->choice[0]);
    return true;
}

static bool same_calls(void)
{
    int n = the.calls[0].n;

    for (int i = 0; i < n; i++)
        if (!same_call(i)) return false;
    return n == the.calls[1].n;
}

/* The same requests were answered by this dispatch, in the same order and with the same. */
static bool same_done(void)
{
    for (int i = 0; i < the.dones; i++) {
        const struct getter *g = &the.getter[the.done[i]];
        const struct model_request *r = &the.model.request[the.done[i]];
        if (i >= the.model.dones || the.model.done[i] != the.done[i] || g->code != r->code ||
            (g->code == 0 ? serial_of(&g->lease) != the.model.slot[r->slot].serial
                          : other_why(&g->why, &r->why) != NULL))
            return false;
    }
    return the.dones == the.model.dones;
}

/* Orders that leave the same model behind are one: what comes later cannot tell them apart, and to
 * play it again with each of them takes for ever (seed 56868: four looks that find nothing to do,
 * in each of five operations). */
static struct {
    int n;
    uint64_t digest[ORDERS];
} explained;

static bool explained_before(void)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325), word; /* FNV-1a, by words */

    for (size_t at = 0; at + sizeof word <= sizeof the.model; at += sizeof word) {
        memcpy(&word, (const char *)&the.model + at, sizeof word);
        digest = (digest ^ word) * UINT64_C(0x100000001b3);
        digest ^= digest >> 29;
    }
    for (int i = 0; i < explained.n; i++)
        if (explained.digest[i] == digest) return true;
    explained.digest[explained.n++] = digest;
    return false;
}

static int64_t operate(const struct op *op)
{
    return op->kind == OP_KEEP     ? kp_keep(the.pool)
           : op->kind == OP_BUDGET ? kp_budget_set(the.pool, &op->budget, NULL)
                                   : kp_loop_dispatch(the.loop);
}

static int64_t operate_model(const struct op *op)
{
    return op->kind == OP_KEEP     ? model_keep(&the.model)
           : op->kind == OP_BUDGET ? model_budget_set(&the.model, &op->budget)
                                   : model_dispatch(&the.model);
}

/* Upkeep, a dispatch, or new budgets. */
void play_due(const struct op *op)
{
    static struct model before;
    static struct books real, model;
    int reject = the.ties.reject, attempt = 0;

    if (op->kind == OP_DISPATCH && !the.loop) return;
    the.dones = 0;
    int64_t returned = operate(op), other = 0;
    read_books(false, &real);
    before = the.model;
    memset(&the.ties, 0, sizeof the.ties);
    explained.n = 0;
    for (; attempt < ORDERS; attempt++) {
        the.model = before;
        the.model.dones = 0;
        the.calls[1] = (struct calls){ .state = op->fate };
        the.ties.n = 0;
        the.ties.in_vain = false;
        other = operate_model(op);
        bool done_same = same_done();
        read_books(true, &model);
        the.ties.forked |= the.ties.n > 0;
        if (other == returned && same_calls() && done_same &&
            memcmp(&real, &model, sizeof real) == 0 &&
            (the.ties.n == 0 || !explained_before()) && reject-- == 0) {
            for (int i = 0; i < the.dones; i++) compare_get(the.done[i], true);
            return;
        }
        if (!choose_otherwise(&the.ties)) break;
    }
    if (attempt == ORDERS) play_gave_up = true;
    compare_number("what the call returned", returned, other);
    compare_number("the number of requests answered", the.dones, the.model.dones);
    for (int i = 0; i < the.dones; i++) compare_number("the next", the.done[i], the.model.done[i]);
    for (int i = 0; i < the.dones; i++) compare_get(the.done[i], true);
    compare_calls();
    for (int key = NOBODY; key < the.setup->keys; key++) compare_stats(key);
    differ("no order of what is due at the same time explains what the pool did");
}
