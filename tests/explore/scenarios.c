/* SPDX-License-Identifier: MIT
 *
 * The catalogue of scenarios: every pair of the actions below on each of a few stages, chosen
 * triples, and larger mixes for the searches at random. An action is what one thread does, letter
 * by letter (the verbs); a scenario is named after its actions.
 */
#include "scenarios.h"

#include <stdio.h>
#include <string.h>

/* ---- verbs ----------------------------------------------------------------------------------- */

static void get_a(void) { cast_get(0, KP_OFF, 0); }
static void get_b(void) { cast_get(1, KP_OFF, 0); }
static void try_a(void) { cast_get(0, 0, KP_DONT_WAIT); }
static void get_10ms(void) { cast_get(0, 10, 0); }
static void get_fresh(void) { cast_get(0, KP_OFF, KP_FRESH); }
static void get_returned(void) { cast_get(0, 10, KP_DONT_CREATE); }
static void release_main(void) { cast_release_main(false); }
static void discard_main(void) { cast_release_main(true); }
static void invalidate_a(void) { cast_invalidate_key(0); }
static void invalidate_all(void) { cast_invalidate_key(-1); }
static void resize_1(void) { cast_resize(1); }
static void resize_2(void) { cast_resize(2); }
static void close_now(void) { cast_close(KP_CLOSE_NOW); }
static void close_wait(void) { cast_close(KP_CLOSE_WAIT); }
static void close_drain(void) { cast_close(KP_CLOSE_DRAIN); }
static void warm_a(void) { cast_warm(0); }
static void add_a(void) { cast_add(0); }
static void pin_a(void) { cast_pin(0); }
static void answer(void) { while (cast_answer()) continue; }

static const struct verb {
    char letter;
    const char *name;
    void (*play)(void);
    unsigned may;
} verbs[] = {
    { 'g', "get", get_a, 0 },
    { 'b', "get_b", get_b, 0 },
    { 't', "try", try_a, 0 },
    { 'w', "get_10ms", get_10ms, MAY_TIME_OUT },
    { 'f', "fresh", get_fresh, 0 },
    { 'y', "get_returned_10ms", get_returned, MAY_TIME_OUT | MAY_ONLY_TAKE },
    { 'r', "release", cast_release, 0 },
    { 'd', "discard", cast_discard, 0 },
    { 'R', "return", release_main, 0 },
    { 'D', "break", discard_main, 0 },
    { 'i', "invalidate", cast_invalidate, MAY_INVALIDATE },
    { 'k', "invalidate_key", invalidate_a, MAY_INVALIDATE },
    { 'K', "invalidate_all", invalidate_all, MAY_INVALIDATE },
    { 'x', "expire", cast_expire, MAY_PASS },
    { 'e', "keep", cast_keep, 0 },
    { 'n', "resize_1", resize_1, MAY_RESIZE },
    { 'u', "resize_2", resize_2, MAY_RESIZE },
    { '0', "close_now", close_now, MAY_CLOSE },
    { '1', "close_wait", close_wait, MAY_CLOSE },
    { '2', "close_drain", close_drain, MAY_CLOSE },
    { 'm', "warm", warm_a, 0 },
    { 'M', "add", add_a, 0 },
    { 's', "stats", cast_look, 0 },
    { 'p', "pin", pin_a, 0 },
    { 'J', "answer", answer, 0 },
};

static const struct verb *verb_of(char letter)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (verbs[i].letter == letter) return &verbs[i];
    return NULL;
}

/* ---- the catalogue --------------------------------------------------------------------------- */

static const struct named_stage {
    const char *name;
    struct stage stage;
    const char *actions; /* separated by blanks */
} stages[] = {
    { "1 held of 1", { .max_live = 1, .held = 1 },
      "gr tr wr fr yr gd R D i k x n 0 1 2 m M s p" },
    { "1 idle of 1", { .max_live = 1, .idle = 1 }, "gr tr wr fr gd i k x u 0 1 2 m M" },
    { "none of 1", { .max_live = 1 }, "gr tr wr gd k u 0 1 2 m M" },
    { "1 idle of 2", { .max_live = 2, .idle = 1 }, "gr fr gd k x n 2 m" },
    { "two keys, 1 idle of 1 in all", { .max_live = 1, .budget = 1, .idle = 1 },
      "gr br bd wr K x 2 0" },
    { "two keys, 1 held of 1 in all", { .max_live = 1, .budget = 1, .held = 1 },
      "gr br bd R D K 2 0" },
    { "shared by 2", { .max_live = 1, .sharing = 2, .idle = 1 }, "gr gd wr k x 2 0" },
    { "validated, 1 idle of 1", { .max_live = 1, .validates = true, .resets = true, .idle = 1 },
      "gr gd wr k x 2 0" },
};

enum { MOST = 1200 };
static struct scenario list[MOST];
static int count;

static void name_it(struct scenario *s, const char *where)
{
    size_t at = 0, size = sizeof s->name;

    for (int t = 0; t < s->threads; t++) {
        if (t) at += (size_t)snprintf(s->name + at, size - at, " | ");
        for (const char *c = s->body[t]; *c && at < size; c++)
            at += (size_t)snprintf(s->name + at, size - at, "%s%s", c == s->body[t] ? "" : "+",
                                   verb_of(*c)->name);
    }
    if (at < size) (void)snprintf(s->name + at, size - at, " (%s)", where);
}

static void add(enum group group, const struct named_stage *stage, int threads,
                const char *const *bodies)
{
    struct scenario *s = &list[count++];

    s->group = group;
    s->stage = stage->stage;
    for (int t = 0; t < threads; t++) {
        snprintf(s->body[t], sizeof s->body[t], "%s", bodies[t]);
        for (const char *c = bodies[t]; *c; c++) s->stage.may |= verb_of(*c)->may;
        if (strchr(bodies[t], 'J')) s->daemons++;
    }
    s->threads = threads;
    name_it(s, stage->name);
}

static int split(const char *text, char words[][24])
{
    int n = 0, used;

    while (sscanf(text, "%23s%n", words[n], &used) == 1) {
        text += used;
        n++;
    }
    return n;
}

static void add_pairs(const struct named_stage *stage)
{
    char word[32][24];
    int n = split(stage->actions, word);

    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            add(PAIRS, stage, 2, (const char *const[]){ word[i], word[j] });
}

static void build(void)
{
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) add_pairs(&stages[i]);
}

int scenario_count(void)
{
    if (count == 0) build();
    return count;
}

const struct scenario *scenario_at(int i)
{
    return &list[i];
}

/* ---- playing --------------------------------------------------------------------------------- */

static const struct scenario *current;

static void play_setup(void)
{
    stage_set(&current->stage);
}

static void play_thread(int self)
{
    for (const char *c = current->body[self]; *c; c++) verb_of(*c)->play();
    cast_end();
}

const struct ex_program *scenario_play(const struct scenario *s)
{
    static struct ex_program program = {
        .setup = play_setup, .thread = play_thread, .stuck = stage_stuck, .finish = stage_clear
    };

    current = s;
    program.name = s->name;
    program.threads = s->threads;
    program.daemons = s->daemons;
    return &program;
}
