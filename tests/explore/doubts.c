/* SPDX-License-Identifier: MIT
 *
 * Resources in doubt after their peer is gone, and checks by the keeper, in every order with
 * threads that borrow, give back, invalidate and close. One that is in doubt must not be lent
 * before it was validated (cast_keys.c).
 */
#include "scenarios.h"

static const struct doubts {
    enum group group;
    const char *where;
    struct stage stage;
    const char *bodies[20];
} doubts[] = {
    { LONG_PAIRS, "2 idle of 2, one is gone", { .max_live = 2, .idle = 2 },
      { "gYr gr", "gYr ggrr", "gYrgr gr", "gYr gYr", "gYd gr", "gYr k", "gYr x", "gYr 0",
        "gYr fr", "gYr tr", "gYgrr gr", "gYr arar" } },
    { LONG_PAIRS, "2 idle of 2, suspect", { .max_live = 2, .validates = true, .idle = 2 },
      { "gYr gr", "gYr egr", "gYre gr", "gYr gYr", "gYr e", "gYre 0", "gYr ek", "gYre wr",
        "gYr M", "gYr fr", "gYgre tr", "gYe gr" } },
    { LONG_PAIRS, "2 idle of 2, both are gone",
      { .max_live = 2, .validates = true, .idle = 2, .bad_checks = 2, .fails_over = true },
      { "gr gr", "gr egr", "gre gr", "gr k", "gr 0", "wr gr", "gr fr" } },
    { LONG_PAIRS, "1 idle of 1, tested",
      { .max_live = 1, .validates = true, .checks_idle = true, .idle = 1 },
      { "Te gr", "Te gd", "Te tr", "Te wr", "Te k", "Te i", "Te 0", "Te 1", "Te 2", "Te fr",
        "Te m", "Te M", "Te e", "Te grgr", "Tegr gr", "Te s", "Te SLr", "Te arar" } },
    { LONG_PAIRS, "2 idle of 2, tested, one is gone",
      { .max_live = 2, .validates = true, .checks_idle = true, .idle = 2, .bad_checks = 1,
        .fails_over = true },
      { "Te gr", "Te ggrr", "Tee gr", "Te e", "Te k", "Te 0" } },
    /* a lane that opens again with one that was tested and not lent since: its word is as before */
    { LONG_PAIRS, "2 idle of 2, tested",
      { .max_live = 2, .validates = true, .checks_idle = true, .idle = 2 },
      { "Tegr gr", "gTegr gr", "Tegrgr gr", "Tegr grgr" } },
    { LONG_PAIRS, "two keys, 1 idle of 1 in all, tested",
      { .max_live = 1, .budget = 1, .validates = true, .checks_idle = true, .idle = 1 },
      { "Te br", "Te gr", "Te bd", "Te 2br" } },
    { TRIPLES, "2 idle of 2, suspect", { .max_live = 2, .validates = true, .idle = 2 },
      { "gYr gr e", "gYr e k", "gYr gr 0" } },
    { TRIPLES, "1 idle of 1, tested",
      { .max_live = 1, .validates = true, .checks_idle = true, .idle = 1 },
      { "Te gr gr", "Te gr k", "Te gr 0", "Te i k" } },
    { TRIPLES, "two keys, 1 idle of 1 in all, tested",
      { .max_live = 1, .budget = 1, .validates = true, .checks_idle = true, .idle = 1 },
      { "Te br gr", "Te br k" } },
};

void add_doubts(void)
{
    for (size_t i = 0; i < sizeof doubts / sizeof *doubts; i++)
        for (const char *const *b = doubts[i].bodies; *b; b++)
            (void)scenario_add(doubts[i].group, NULL, doubts[i].where, &doubts[i].stage, *b);
}
