/* SPDX-License-Identifier: MIT
 *
 * The hard cases that are races, each under its number (docs/TESTING.md has the table): what
 * happens at the same time, and what the result must be in every order. Where a test of the
 * catalogue holds a thread at a gate, here the search may stop any thread anywhere, or a create is
 * answered late.
 */
#include "cast_inside.h"
#include "scenarios.h"

/* ---- what came of it ------------------------------------------------------------------------- */

static void must(const char *what, int64_t is, int64_t wanted)
{
    if (is != wanted) ex_fail("%s: %d, and must be %d", what, (int)is, (int)wanted);
}

static int made(void)
{
    return g.made - g.warmed;
}

static int gone(void)
{
    return g.gone - g.warmed;
}

static int there_were(void)
{
    return g.stage.idle + g.stage.held + g.stage.held_b;
}

static kp_stats all_keys(void)
{
    kp_stats all = { 0 };

    if (kp_stats_read(g.pool, KP_EVERY_KEY, &all) != 0) ex_fail("the pool is closed; by whom?");
    return all;
}

/* How often were this thread's calls, or those of all (-1), answered with `code`? */
static int told(int thread, int code)
{
    int n = 0;

    for (int t = 0; t < EX_THREADS; t++)
        for (int i = 0; i < g.says[t] && i < SAYS && (thread < 0 || thread == t); i++)
            n += g.said[t][i] == code;
    return n;
}

static int asked(void)
{
    int n = 0;

    for (int t = 0; t < EX_THREADS; t++) n += g.says[t];
    return n;
}

/* Nothing is under way, and a new get is served. */
static void nothing_is_lost(void)
{
    kp_stats all = all_keys();

    must("waiting", (int64_t)all.waiting, 0);
    must("lent", (int64_t)all.lent, 0);
    must("creating", (int64_t)all.creating, 0);
    must("closing", (int64_t)all.closing, 0);
    must("idle", (int64_t)all.idle, g.made - g.gone);
    for (int k = 0; k < 2; k++) {
        kp_lease lease;
        if (kp_get(g.pool, cast_key(k), KP_IN_S(1), &lease) != 0) ex_fail("room is lost");
        kp_release(&lease);
    }
}

static void all_are_served(void)
{
    must("served", told(-1, 0), asked());
    nothing_is_lost();
}

/* The resource is idle; none was made or destroyed. */
static void it_is_idle(void)
{
    must("made", made(), there_were());
    must("gone", gone(), 0);
    nothing_is_lost();
}

static void the_second_has_it(void)
{
    must("served, of the second", told(1, 0), 1);
    it_is_idle();
}

/* ---- H3 to H6: the close --------------------------------------------------------------------- */

static void closed_to_all(void)
{
    if (ex_is_real()) return; /* there, main gives back at any time */
    must("told that it is closed", told(-1, KP_ECLOSED), 2);
    must("out", g.out, g.helped ? 0 : 2);
    if (g.helped) must("told, before what is lent came back", g.says_when_helped, 2);
}

static void each_is_answered(void)
{
    must("answers", asked(), told(-1, 0) + told(-1, KP_ECLOSED));
}

static void closed_while_it_is_made(void)
{
    must("told that it is closed", told(0, KP_ECLOSED), 1);
    /* one that a loop was to make, but had not begun to, is out at the close, and never made */
    must("out, as it is made or was to be", g.out >= made() && g.out <= 1, true);
}

/* ---- H7, H8: creates ------------------------------------------------------------------------- */

static void each_failure_is_told_once(void)
{
    int sum = 0;

    for (int t = 0; t < EX_THREADS; t++)
        for (int i = 0; i < g.says[t]; i++) sum += g.vendor[t][i];
    must("told of a failure", told(-1, KP_ECREATE), g.stage.bad_creates);
    must("served", told(-1, 0), asked() - g.stage.bad_creates);
    must("sum of the reasons", sum, g.stage.bad_creates == 1 ? 11 : 11 + 12);
    nothing_is_lost();
}

static void a_failed_destroy_made_room(void)
{
    must("destroys that failed", (int64_t)all_keys().destroy_failures, 1);
    must("made", made(), 2);
    all_are_served();
}

static void it_hangs_for_one(void)
{
    must("made", made(), 2);
    all_are_served();
}

static void it_hangs_for_one_at_most(void)
{
    if (told(-1, KP_ETIMEDOUT) > 1) ex_fail("who was not behind it ran out of time");
    must("served, of the second", told(1, 0), 1);
    nothing_is_lost();
}

static void it_hangs_for_its_key(void)
{
    must("out of time, of its key", told(0, KP_ETIMEDOUT), 1);
    must("served, of the other", told(1, 0), 1);
    nothing_is_lost();
}

static void it_counts_as_one(void)
{
    must("out of time, of its key", told(0, KP_ETIMEDOUT), 1);
    must("answers, of the other", told(1, 0) + told(1, KP_ETIMEDOUT), 1);
    nothing_is_lost();
}

/* ---- H10 to H14: ends ------------------------------------------------------------------------ */

static void all_have_gone(void)
{
    must("destroys that failed", (int64_t)g.bad_destroys[0], 1);
    must("gone", gone(), made());
}

static void each_discard_made_room(void)
{
    must("gone", gone(), told(-1, 0) / 2);
    all_are_served();
}

static void who_holds_a_marked_one_is_answered(void)
{
    must("served, of the first", told(0, 0), 1);
    must("out of time, of the first", told(0, KP_ETIMEDOUT), 1);
    must("gone", gone(), 1);
    nothing_is_lost();
}

static void one_has_gone(void)
{
    must("gone", gone(), 1);
    all_are_served();
}

static void one_end_counted(void)
{
    must("misuse", g.misuses, 1);
    must("idle or gone", (int64_t)all_keys().idle + gone(), made());
    all_are_served();
}

static void each_ended_once(void)
{
    must("gone", gone(), there_were());
    must("misuse", g.misuses, there_were());
    nothing_is_lost();
}

static void the_bad_one_is_replaced(void)
{
    must("found bad", (int64_t)all_keys().invalid, 1);
    must("gone", gone(), 1);
    nothing_is_lost();
}

/* ---- H15 to H17: several keys ---------------------------------------------------------------- */

static void one_made_room(void)
{
    must("evicted", (int64_t)all_keys().evicted, 1);
    one_has_gone();
}

static void none_made_room(void)
{
    must("gone", gone(), 0);
    all_are_served();
}

static void the_other_key_is_served(void)
{
    must("served, of the second", told(1, 0), 1);
    nothing_is_lost();
}

/* ---- H20 to H24 ------------------------------------------------------------------------------ */

static void it_came_in_time(void)
{
    if (g.late_ms != 0) ex_fail("a time-out came %d ms late", (int)g.late_ms);
    nothing_is_lost();
}

static void stale_ends_end_nothing(void)
{
    must("misuse", g.misuses, 2);
    all_are_served();
}

static void no_key_is_left(void)
{
    all_are_served();
    for (int i = 0; i < 2; i++) { /* what is idle expires, and then the key is unused */
        ex_pass_ms(11000);
        (void)kp_keep(g.pool);
    }
    if (!ex_is_real()) must("keys", (int64_t)all_keys().keys, 0);
}

static void sized_once(void)
{
    must("limits_for, of key a", g.sized, 1);
    nothing_is_lost();
}

static void at_most_one_stays(void)
{
    if (g.made - g.gone > 1) ex_fail("%d are there, and 1 may be", g.made - g.gone);
    all_are_served();
}

static void nobody_waited_for_main(void)
{
    if (!ex_is_real()) must("times that main had to give back", g.helped, 0);
    all_are_served();
}

static void no_more_than_needed(void)
{
    if (made() > 2) ex_fail("%d were made, and 2 are enough", made());
    all_are_served();
}

/* ---- the cases ------------------------------------------------------------------------------- */

static const struct hard {
    const char *title, *where;
    struct stage stage;
    void (*after)(void);
    const char *bodies[8];
} cases[] = {
    { "H1 cancel, hand-off", "1 held of 1", { .max_live = 1, .held = 1 }, it_is_idle,
      { "SX R", "SPX R", "SQ R" } },
    { "H1 cancel, hand-off", "1 held of 1", { .max_live = 1, .held = 1 }, the_second_has_it,
      { "SX gr R", "SQ gr R", "SX SLr R" } },
    { "H1 cancel, permit", "none of 1", { .max_live = 1 }, nothing_is_lost, { "SX gr", "SX SX" } },
    { "H2 time-out, hand-off", "1 held of 1", { .max_live = 1, .held = 1 }, it_is_idle,
      { "wr R", "WLr R" } },
    { "H2 time-out, hand-off", "1 held of 1", { .max_live = 1, .held = 1 }, the_second_has_it,
      { "wr gr R", "WLr gr R" } },
    { "H3 close, waiters, borrowers", "1 held of 1, of 2 keys",
      { .max_live = 1, .held = 1, .held_b = 1 }, closed_to_all, { "gr br 0", "gr br 1" } },
    { "H3 close, waiters, borrowers", "1 held of 1, of 2 keys",
      { .max_live = 1, .held = 1, .held_b = 1 }, each_is_answered, { "gr 2" } },
    { "H3 close, waiters, borrowers", "1 held of 1", { .max_live = 1, .held = 1 },
      each_is_answered, { "gr R 0", "SLr R 0", "gr 1", "SLr 1", "SLr 2" } },
    { "H4 get, close", "1 idle of 1", { .max_live = 1, .idle = 1 }, each_is_answered,
      { "grgr 0", "gr gr 0", "grgr 1", "grgr 2", "SLr gr 0" } },
    { "H4 close of many", "3 idle of 3", { .max_live = 3, .idle = 3 }, each_is_answered,
      { "gr 0", "0 0", "0 1" } },
    { "H5 release, close, waiter of another key", "two keys, 1 held of 1 in all",
      { .max_live = 1, .budget = 1, .held = 1 }, each_is_answered,
      { "br R 0", "BLr R 0", "br 1" } },
    { "H6 close, create", "none of 1", { .max_live = 1 }, each_is_answered,
      { "gr 0", "gr 1", "gr 2", "gr 0 0", "SLr 0" } },
    { "H6 close, create", "created later, 1 of 1", { .max_live = 1, .pends = true },
      each_is_answered, { "gr 0 J", "SLr 0 J" } },
    { "H6 close, create that hangs", "none of 1", { .max_live = 1, .hangs = true },
      closed_while_it_is_made, { "gr 0", "gr 1", "SLr 0" } },
    { "H7 failing creates", "none of 1, 2 fail", { .max_live = 1, .bad_creates = 2 },
      each_failure_is_told_once, { "gr gr gr" } },
    { "H7 failing creates", "none of 1, 1 fails", { .max_live = 1, .bad_creates = 1 },
      each_failure_is_told_once, { "gr gr", "SLr gr" } },
    { "H7 failing creates", "none of 2, 2 fail", { .max_live = 2, .bad_creates = 2 },
      each_failure_is_told_once, { "gr gr gr" } },
    { "H7 failing destroy", "1 held of 1, 1 fails",
      { .max_live = 1, .held = 1, .bad_destroys = 1 }, a_failed_destroy_made_room,
      { "gr D", "gr gr D", "SLr D" } },
    { "H8 create that hangs", "none of 2", { .max_live = 2, .hangs = true }, it_hangs_for_one,
      { "gr gr", "SLr gr" } },
    { "H8 create that hangs", "none of 2", { .max_live = 2, .hangs = true },
      it_hangs_for_one_at_most, { "wr gr", "WLr gr" } },
    { "H8 create that hangs", "two keys, none of 2 in all",
      { .max_live = 1, .budget = 2, .hangs = true }, it_hangs_for_its_key, { "wr vr" } },
    { "H8 create that hangs", "two keys, none of 1 in all",
      { .max_live = 1, .budget = 1, .hangs = true }, it_counts_as_one, { "wr vr" } },
    { "H9 keeper, get", "1 idle of 1", { .max_live = 1, .idle = 1 }, all_are_served,
      { "gr x", "gr gr x", "SLr x" } },
    { "H9 keeper, get", "1 idle of 1", { .max_live = 1, .idle = 1 }, nothing_is_lost,
      { "wr x" } },
    { "H10 keeper, close", "2 idle of 2, 1 destroy fails",
      { .max_live = 2, .idle = 2, .bad_destroys = 1 }, all_have_gone, { "x 0", "x 1" } },
    { "H11 discard, get again", "1 idle of 1", { .max_live = 1, .idle = 1 },
      each_discard_made_room, { "gdgr" } },
    { "H11 discard, get again", "1 idle of 1", { .max_live = 1, .idle = 1 }, one_has_gone,
      { "gdgr gr" } },
    { "H11 mark, get again", "1 idle of 1", { .max_live = 1, .idle = 1 },
      who_holds_a_marked_one_is_answered, { "gIwr gr" } },
    { "H11 mark, get again", "1 idle of 2", { .max_live = 2, .idle = 1 }, one_has_gone,
      { "gIgrr gr" } },
    { "H12 release, discard of one lease", "1 held of 1", { .max_live = 1, .held = 1 },
      one_end_counted, { "E F", "E F s", "E F gr" } },
    { "H13 all end the same leases", "2 held of 2", { .max_live = 2, .held = 2 },
      each_ended_once, { "H h" } },
    { "H13 all end the same leases", "1 held of 1", { .max_live = 1, .held = 1 },
      each_ended_once, { "H h", "H h i" } },
    { "H14 broken return, waiter", "1 held of 1, bad",
      { .max_live = 1, .held = 1, .checks_returns = true, .bad_checks = 1 },
      the_bad_one_is_replaced, { "gr R", "wr R", "br R", "SLr R" } },
    { "H15 release, waiter of another key", "two keys, 2 held of 2 in all",
      { .max_live = 2, .budget = 2, .held = 2 }, one_made_room, { "br R", "BLr R" } },
    { "H15 discard, waiter of another key", "two keys, 2 held of 2 in all",
      { .max_live = 2, .budget = 2, .held = 2 }, all_are_served, { "br D", "gr br R" } },
    { "H15 release, waiter of another key", "two keys, 2 lent of 2 in all",
      { .max_live = 2, .max_lent = 2, .held = 2 }, none_made_room, { "br R", "gr br R" } },
    { "H16 eviction, get", "two keys, 2 idle of 2 in all",
      { .max_live = 2, .budget = 2, .idle = 2 }, one_made_room, { "gr br", "SLr br" } },
    { "H16 eviction, get", "two keys, 2 idle of 2 in all",
      { .max_live = 2, .budget = 2, .idle = 2 }, all_are_served, { "gr gr br" } },
    { "H17 cancel behind another's create", "two keys, none of 2 in all",
      { .max_live = 1, .budget = 2, .hangs = true }, the_other_key_is_served,
      { "SX SXBLr", "wr SXBLr", "SX wrbr" } },
    { "H19 callbacks call the pool", "1 idle of 1",
      { .max_live = 1, .idle = 1, .calls_back = true }, all_are_served, { "gdgr", "gd gr" } },
    { "H19 callbacks close the pool", "1 idle of 1",
      { .max_live = 1, .idle = 1, .closes_back = true, .may = MAY_CLOSE }, each_is_answered,
      { "gdgr", "gd gr", "SLr gd" } },
    { "H20 deadline among wake-ups", "1 idle of 1, one for no reason",
      { .max_live = 1, .idle = 1, .faults = 1 }, it_came_in_time, { "wr grgr", "WLr grgr" } },
    { "H21 stale ends", "1 idle of 1", { .max_live = 1, .idle = 1 }, stale_ends_end_nothing,
      { "gz gr", "gq gr", "gz gr gr" } },
    { "H22 key forgotten, get", "1 idle of 1",
      { .max_live = 1, .idle = 1, .forgets = true }, no_key_is_left,
      { "gr x", "grgr x", "gd x", "SLr x" } },
    { "H22 first gets", "keys that were forgotten", { .max_live = 2, .renewed = true }, sized_once,
      { "gr gr", "gr p", "t p p" } },
    { "H23 limit raised from 0, get", "1 idle of 1", { .max_live = 1, .idle = 1 },
      all_are_served, { "gr ou", "SLr ou" } },
    { "H23 limit raised, waiter", "1 held of 1", { .max_live = 1, .held = 1 },
      nobody_waited_for_main, { "gr u", "gr gr u", "SLr u" } },
    { "H23 limit lowered, return", "2 held of 2", { .max_live = 2, .held = 2 },
      at_most_one_stays, { "n R", "on R", "gr n R" } },
    { "H23 limit lowered, creates", "none of 2", { .max_live = 2 }, at_most_one_stays,
      { "gr gr n", "gr nu" } },
    { "H24 two returns, two gets", "2 held of 2", { .max_live = 2, .held = 2 }, it_is_idle,
      { "gr gr R", "gr gr R R", "SLr gr R" } },
    { "H24 return, slow create", "1 held of 2", { .max_live = 2, .held = 1, .hangs = true },
      no_more_than_needed, { "gr R", "gr gr R", "SLr R" } },
};

void add_hard_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (const char *const *b = cases[i].bodies; *b; b++) {
            struct scenario *s =
                scenario_add(HARD, cases[i].title, cases[i].where, &cases[i].stage, *b);
            s->after = cases[i].after;
        }
}
