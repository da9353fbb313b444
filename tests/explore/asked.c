/* SPDX-License-Identifier: MIT
 *
 * A resource that comes back is asked whether it is clean (driver.is_clean), in every order with
 * threads that borrow, invalidate, close, or shut its lane for any other reason: nobody uses it
 * meanwhile, and its lease ends once.
 */
#include "scenarios.h"

static const struct asked {
    enum group group;
    const char *where;
    struct stage stage;
    const char *bodies[20];
} asked[] = {
    { PAIRS, "asked, 1 idle of 1", { .max_live = 1, .asks = true, .idle = 1 },
      { "gr gr", "gr tr", "gr gd", "gr k", "gr x", "gr 2", "gr 0", "tr tr", "tr gd", "tr k",
        "tr 2", "gd k", "gd 0" } },
    { LONG_PAIRS, "asked, 1 idle of 1", { .max_live = 1, .asks = true, .idle = 1 },
      { "grgr grgr", "trtr grgr", "arar gr", "arar arar", "arar k", "arar x", "ar0 arar", "arar 2",
        "arar gd", "arar p" } },
    { LONG_PAIRS, "asked, 2 idle of 2", { .max_live = 2, .asks = true, .idle = 2 },
      { "ggrr gr", "ggrr tr", "araarr gr", "ggrr k" } },
    { TRIPLES, "asked, 1 idle of 1", { .max_live = 1, .asks = true, .idle = 1 },
      { "gr gr tr", "gr gr wr", "arar gr k", "trtr trtr 0" } },
    { EVENTUAL, "eventual, asked, 1 held of 1",
      { .max_live = 1, .asks = true, .held = 1, .eventual = true },
      { "grgr gr R", "wr grgr R", "gr gr 2", "grgr gr R 0" } },
    { LOOPS, "asked, 1 idle of 1", { .max_live = 1, .asks = true, .idle = 1 },
      { "gr N", "gd N", "gr SXN", "SX N" } },
    { FAULTS, "asked, 1 idle of 1, one fault", { .max_live = 1, .asks = true, .idle = 1 },
      { "gr gr", "grgr gd", "gr k", "trtr gr" } },
    { CANARY, "asked, 1 idle of 1", { .max_live = 1, .asks = true, .idle = 1 }, { "gZr gr" } },
};

void add_asked(void)
{
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        for (const char *const *b = asked[i].bodies; *b; b++)
            (void)scenario_add(asked[i].group, NULL, asked[i].where, &asked[i].stage, *b);
}
