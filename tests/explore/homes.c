/* SPDX-License-Identifier: MIT
 *
 * Cells that have a home (core/home.c), in every order with threads that come from another
 * processor, end copies of a lease, wait, invalidate, close, or shut the lane for any other reason.
 * Unless they are moved, the first and the third thread are on the processor that is home, the
 * second is not.
 */
#include "cast_inside.h"
#include "scenarios.h"

/* Of all copies of a lease one ends it; the end of each other one is reported as misuse. */
static void all_are_told(void)
{
    int copies = g.copies ? g.copies - 1 : 0;

    if (!g.closed && g.misuses != copies + g.again)
        ex_fail("%d times too often a lease was ended, and %d times somebody was told",
                copies + g.again, g.misuses);
}

/* The cell has a home; it has one and is lent there; it is lent, and its release gives the cell a
 * home; it gets a home later. */
#define AT_HOME .max_live = 1, .idle = 1, .homes = 2, .uses = 3
#define LENT_THERE .max_live = 1, .held = 1, .homes = 2, .uses = 3
#define GETS_HOME .max_live = 1, .held = 1, .homes = 2, .uses = 2
#define SOON .max_live = 1, .idle = 1, .homes = 2, .uses = 1

static const struct homes {
    enum group group;
    const char *where;
    struct stage stage;
    const char *bodies[32];
} homes[] = {
    { HOMES, "1 idle of 1, at home", { AT_HOME },
      { "gr gr", "gr grgr", "gr tr", "gr wr", "wr gr", "gr gd", "gd gr", "gr fr", "gr k", "gr x",
        "gr s", "grgr s", "gr 0", "gr 1", "gr 2", "gr m", "gr M", "gr n", "gr 4", "gr G", "gr V",
        "arar gr", "gr arar", "arar ar", "arar s", "gr gz", "gz gr", "gr gq" } },
    { HOMES, "1 idle of 1, at home", { AT_HOME },
      { "gr gr gr", "gr gr tr", "gr gr s", "gr wr k", "gr s gr", "wr tr wr", "gr k gr", "gr 2 gr",
        "ar gr ar" } },
    { HOMES, "1 lent of 1, at home", { LENT_THERE },
      { "E E", "gr R", "R gr", "E F", "F E", "R s", "R k", "R D", "R wr", "wr R", "R 0", "R 2",
        "R x", "R V", "R 4", "E Egr", "E E E", "E gr E", "E s E", "gr E E", "E E gr",
        "E k E", "R s gr", "wr gr R", "gr 0 R", "E s gr", "R wr s" } },
    { HOMES, "1 lent of 1, gets a home", { GETS_HOME },
      { "E E", "E gr", "gr E", "R gr", "gr R", "R s", "E Egr", "R k", "R 2", "E F", "R wr",
        "E E E", "E gr E", "E gr gr", "gr E E", "R gr gr", "Egr E gr", "R grgr s", "E grs E" } },
    { HOMES, "1 idle of 1, soon at home", { SOON },
      { "grgr gr", "gr grgr", "grgr grgr", "grgr gz", "grgr s", "grgr tr", "gr gr gr", "trtr trtr",
        "arar arar" } },
    { HOMES, "1 idle of 1, all at home", { .max_live = 1, .idle = 1, .homes = 1, .uses = 3 },
      { "gr gr", "grgr gr", "gr tr", "wr gr", "gr s", "gr k", "gr 2", "gr gd", "gz gr", "gzgr gr",
        "gr gr gr", "gr s gr", "arar gr" } },
    { HOMES, "1 lent of 1, all at home", { .max_live = 1, .held = 1, .homes = 1, .uses = 3 },
      { "E E", "gr R", "R s", "E F", "E gr E", "R wr" } },
    { HOMES, "1 idle of 1, gets a home twice", { .max_live = 1, .idle = 1, .homes = 1, .uses = 2 },
      { "sgrgz gr" } },
    { HOMES, "1 idle of 1, at home, one moves", { AT_HOME, .moves = 1 },
      { "gr gr", "gr tr", "grgr tr", "gr s", "gr k", "gz gr", "gr wr", "gr 2" } },
    { HOMES, "1 lent of 1, at home, one moves", { LENT_THERE, .moves = 1 },
      { "E E", "R s", "gr R", "E E E" } },
    { HOMES, "1 lent of 1, at home for the second time, one moves",
      { .max_live = 1, .held = 1, .homes = 2, .uses = 4, .moves = 1 }, { "E E", "E Egr" } },
    { HOMES, "1 lent of 1, gets a home, one moves", { GETS_HOME, .moves = 1 },
      { "E E", "R gr", "E gr", "R s" } },
    { HOMES, "2 idle of 2, at home", { .max_live = 2, .idle = 2, .homes = 2, .uses = 3 },
      { "ggrr gr", "grgr gr", "ggrr s", "ggrr k", "gr ggrr", "araarr ar", "ggrr tr", "gr gr gr",
        "gr s gr", "gr l" } },
    { HOMES, "two keys, 1 idle of 1 in all, at home", { AT_HOME, .budget = 1 },
      { "gr br", "arar br", "gr brgr", "gr br gr", "gr K", "tr br" } },
    { HOMES, "two keys, at most 1 lent, at home", { AT_HOME, .max_lent = 1 },
      { "gr br", "gr br gr", "arar br" } },
    { HOMES, "shared by 2, at home", { AT_HOME, .sharing = 2 }, { "gr gr" } },
    { HOMES, "eventual, 1 lent of 1, at home", { LENT_THERE, .eventual = true },
      { "gr R", "grgr gr R", "wr grgr R", "gr R s" } },
    { HOMES, "asked, 1 idle of 1", { AT_HOME, .asks = true }, { "grgr gr" } },
    { MIXES, "mix, at home", { .max_live = 2, .idle = 2, .homes = 2, .uses = 3, .moves = 2 },
      { "grgrgr grgrgr grgdgr trtrtr", "ggrrgr arargr grgrs grwrtr", "grgz grgrgr grgrk arar",
        "grgrgrgr grgrgr wrwrwr 2" } },
    { MIXES, "mix, one at home", { AT_HOME, .moves = 2 },
      { "grgrgr grgrgr wrwrwr", "grgrgz grgrgz trgrgz s", "grgrgrgr grgd wrwrs grk" } },
};

void add_homes(void)
{
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++)
        for (const char *const *b = homes[i].bodies; *b; b++)
            scenario_add(homes[i].group, NULL, homes[i].where, &homes[i].stage, *b)->after =
                all_are_told;
}
