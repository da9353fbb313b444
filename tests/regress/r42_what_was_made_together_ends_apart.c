/* SPDX-License-Identifier: MIT
 *
 * Request 42, pgx#1437 (PR #1443), sqlx PR #3292, pgdog#962, go-redis PR #3666, vertx-sql-client
 * PR #1496: what was made in one moment reaches its maximum age in one moment, too, and again after
 * each lifetime: a wave of connects. A random part of the age helps only if it is drawn once for
 * each: drawn anew at each look, under load all end at the first look that may. Here each age is
 * drawn when the resource is made, by default from the last fifth, and none outlives the maximum.
 */
#include "contract/house.h"

#include <stdlib.h>

enum { MANY = 50, GENERATIONS = 3, ROOM = 4 * MANY };

static struct {
    int64_t born_ms[ROOM + 1], age_ms[ROOM], ended_ms[ROOM];
    int ended;
} lives;

static void hears(struct house *h, const kp_event *event)
{
    const kp_prop *prop = event->resource;

    if (event->kind == KP_EVENT_CREATED && prop->number <= ROOM)
        lives.born_ms[prop->number] = kp_sim_now_ms(h->sim);
    if (event->kind != KP_EVENT_DESTROYED || event->cause != KP_CAUSE_AGE) return;
    if (lives.ended == ROOM) return;
    lives.ended_ms[lives.ended] = kp_sim_now_ms(h->sim);
    lives.age_ms[lives.ended++] = kp_sim_now_ms(h->sim) - lives.born_ms[prop->number];
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void begins(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    memset(&lives, 0, sizeof lives);
    h->also = hears;
    o.limits.max_live = MANY;
    o.limits.max_creating = MANY;
    o.limits.idle_ttl_ms = KP_OFF;
    o.limits.max_age_ms = KP_MINUTES(30);
    house_open(h, &o);
    house_stock(h, "db", MANY);
    HOUSE_IS(h, kp_sim_now_ms(h->sim), 0); /* all in one moment */
}

/* The first generation: between 24 and 30 minutes, evenly, and never many at once. */
static void must_have_ended_apart(struct house *h)
{
    HOUSE_HAS(h, lives.ended >= MANY);
    for (int i = 0; i < MANY; i++) {
        int together = 0;
        for (int k = 0; k < MANY; k++)
            together += lives.ended_ms[k] >= lives.ended_ms[i] &&
                        lives.ended_ms[k] < lives.ended_ms[i] + KP_SECONDS(10);
        HOUSE_HAS(h, together <= MANY / 5);
    }
    qsort(lives.age_ms, MANY, sizeof lives.age_ms[0], by_size);
    HOUSE_HAS(h, lives.age_ms[0] >= KP_MINUTES(24) && lives.age_ms[0] < KP_MINUTES(25));
    HOUSE_HAS(h, lives.age_ms[MANY / 4] >= KP_MINUTES(25) &&
                     lives.age_ms[MANY / 4] < KP_MINUTES(27));
    HOUSE_HAS(h, lives.age_ms[3 * MANY / 4] >= KP_MINUTES(27) &&
                     lives.age_ms[3 * MANY / 4] < KP_MINUTES(29));
    HOUSE_HAS(h, lives.age_ms[MANY - 1] >= KP_MINUTES(29));
    HOUSE_HAS(h, lives.age_ms[MANY - 1] <= KP_MINUTES(30));
}

static void those_that_are_idle_must_end_apart(void **state)
{
    struct house h;

    (void)state;
    begins(&h);
    house_pass(&h, KP_MINUTES(30));
    HOUSE_IS(&h, lives.ended, MANY);
    must_have_ended_apart(&h);
    house_close(&h);
}

/* Each is looked at every two seconds. */
static void those_that_are_busy_must_end_apart(void **state)
{
    static const char *const db[] = { "db" };
    static struct worker w[MANY];
    struct house h;

    (void)state;
    begins(&h);
    w[0] = (struct worker){ .keys = db, .key_count = 1, .rounds = 30 * 31, .hold_ms = 2000 };
    workers_work(&h, w, MANY);
    must_have_ended_apart(&h);
    for (int i = 0; i < MANY; i++) HOUSE_IS(&h, w[i].failed, 0);
    house_close(&h);
}

/* What replaces them has an age of its own: after some lifetimes they are further apart. */
static void they_must_not_come_together_again(void **state)
{
    struct house h;

    (void)state;
    begins(&h);
    for (int minute = 0; minute < 30 * GENERATIONS; minute++) {
        house_pass(&h, KP_MINUTES(1));
        house_stock(&h, "db", MANY); /* all are wanted */
    }
    HOUSE_HAS(&h, lives.ended > (GENERATIONS - 1) * MANY);
    const int64_t *last = &lives.ended_ms[(GENERATIONS - 2) * MANY];
    HOUSE_HAS(&h, last[MANY - 1] - last[0] >= KP_MINUTES(7));
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_are_idle_must_end_apart),
        cmocka_unit_test(those_that_are_busy_must_end_apart),
        cmocka_unit_test(they_must_not_come_together_again),
    };
    return cmocka_run_group_tests_name("request 42", tests, NULL, NULL);
}
