/* SPDX-License-Identifier: MIT
 *
 * Races of revoking: driver.revoke runs together with waiters, with the end of the lease that is
 * being revoked, and with the close. The ghosts check that no get is lent a resource that was
 * revoked before the get began.
 */
#include "cast_inside.h"
#include "scenarios.h"

/* ---- the driver ------------------------------------------------------------------------------ */

static int drive_revoke(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job;
    cast_called("revoke");
    if (t->phase != LIVE) ex_fail("I1: revoke of a resource that is gone");
    if (__atomic_load_n(&t->revoked, __ATOMIC_RELAXED)) ex_fail("I5: one is revoked twice");
    for (int i = 0; i < g.stage.bad_revokes; i++)
        if (ex_claim(&g.bad_revokes[i])) return -10;
    if (!ex_is_real()) cast_have_ended(&t, 1); /* on real threads there is no order to check */
    __atomic_store_n(&t->revoked, true, __ATOMIC_RELAXED);
    cast_counted(t->key, -1);
    return 0;
}

void cast_can_revoke(kp_options *o)
{
    o->driver.revoke = drive_revoke;
    if (g.stage.revokes == 1) o->limits.revoke_after_ms = KP_SECONDS(10);
}

/* ---- what came of it ------------------------------------------------------------------------- */

static kp_stats all_keys(void)
{
    kp_stats all = { 0 };

    if (kp_stats_read(g.pool, KP_EVERY_KEY, &all) != 0) ex_fail("the pool is closed; by whom?");
    return all;
}

/* Nothing is under way any more, and a new get of each key is served. */
static void nothing_is_lost(void)
{
    kp_stats all = all_keys();
    uint64_t under_way = all.waiting + all.leases + all.creating + all.closing + all.revoked;

    if (under_way != 0) ex_fail("%d are waiting, lent, creating or closing", (int)under_way);
    for (int k = 0; k < 2; k++) {
        kp_lease lease;
        if (kp_get(g.pool, cast_key(k), KP_IN_S(1), &lease) != 0) ex_fail("room is lost");
        kp_release(&lease);
    }
}

/* Waiters were served by time and the keeper alone (L1). */
static void nobody_waited_for_main(void)
{
    if (!ex_is_real() && g.helped != 0) ex_fail("main had to give back %d times", g.helped);
    nothing_is_lost();
}

/* ---- the catalogue --------------------------------------------------------------------------- */

static const struct raced {
    const char *where;
    struct stage stage;
    void (*after)(void);
    const char *bodies[24];
} raced[] = {
    { "revoked, 1 held of 1", { .max_live = 1, .held = 1, .revokes = 1 }, nobody_waited_for_main,
      { "gr x", "wr x", "fr x", "SLr x", "gr x R", "gr x D", "gr gr x", "gr x s", "gr x k" } },
    { "revoked, 1 held of 1", { .max_live = 1, .held = 1, .revokes = 1 }, nothing_is_lost,
      { "x R", "x D", "x x R", "x xR", "xR x", "x R s", "x R k", "x R i", "x E F", "x R n",
        "wr x R", "gxr gr", "grxgr R", "gr xgr R", "arar x R", "gr Rx R" } },
    { "revoked, 2 held of 2", { .max_live = 2, .held = 2, .revokes = 1 }, nobody_waited_for_main,
      { "gr gr x", "grgr x R" } },
    { "revoked, two keys, 1 held of 1 in all",
      { .max_live = 1, .budget = 1, .held = 1, .revokes = 1 }, nobody_waited_for_main,
      { "br x", "br x R", "br x D", "gr br x" } },
    { "revoked, two keys, 1 lent of 1 in all",
      { .max_live = 2, .max_lent = 1, .held = 1, .revokes = 1 }, nobody_waited_for_main,
      { "br x", "br x R" } },
    { "revoked in vain, 1 held of 1",
      { .max_live = 1, .held = 1, .revokes = 1, .bad_revokes = 1 }, nothing_is_lost,
      { "x R", "x D", "gr x R", "x x R", "gr xR", "gr xRx" } },
    { "revoked by its loop, 1 held of 1", { .max_live = 1, .held = 1, .revokes = 1 }, NULL,
      { "T N", "T R N", "T D N", "gr T N", "gr T R N", "R 0 N", "R 3N", "T R 3N" } },
    { "revoked at the close, 1 held of 1", { .max_live = 1, .held = 1, .revokes = 1 }, NULL,
      { "3", "R 3", "D 3", "gr R 3", "gr 3", "3 3 R", "3 1 R", "x R 3", "E F 3", "SX3 R" } },
    { "revoked at the close, 1 idle of 1", { .max_live = 1, .idle = 1, .revokes = 1 }, NULL,
      { "gr 3", "arar 3", "gd 3", "gr gr 3", "gr 3 3" } },
    { "revoked at the close, 1 shared by 2", /* without revoke_after_ms */
      { .max_live = 1, .sharing = 2, .held = 2, .revokes = 2 }, NULL,
      { "R 3", "E 3", "E F 3", "H 3", "R 3 3" } },
};

void add_revokes(void)
{
    for (size_t i = 0; i < sizeof raced / sizeof *raced; i++)
        for (const char *const *b = raced[i].bodies; *b; b++)
            scenario_add(REVOKE, NULL, raced[i].where, &raced[i].stage, *b)->after =
                raced[i].after;
}
