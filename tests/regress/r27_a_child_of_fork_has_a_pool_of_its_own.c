/* SPDX-License-Identifier: MIT
 *
 * Request 27, redis-py#234, #412, #784, sqlalchemy#7815, psycopg2#1205: after fork, parent and
 * child speak through the same sockets and read each other's answers; and what the child closes
 * politely is closed for the parent too. Here a child starts empty: what was the parent's is handed
 * to driver.abandon, never lent and never destroyed there, and the parent notices nothing. More of
 * it is in tests/faults/fork*.c.
 */
#include "contract/house.h"
#include "faults/child.h"

static int let_go;

static int lets_go(kp_job *job, void *resource)
{
    (void)job;
    let_go += resource != NULL;
    return 0;
}

static void hears(struct house *h, const kp_event *event)
{
    (void)h;
    if (event->kind == KP_EVENT_MISUSE) hear_event(event, NULL);
}

static kp_options parent_has_two(struct house *h, int32_t on_fork)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.driver.abandon = lets_go;
    o.on_fork = on_fork;
    let_go = 0;
    told.count = 0;
    return o;
}

/* One is idle, one is lent: numbers 1 and 2 are the parent's. */
static struct {
    struct house h;
    kp_lease lent;
} family;

static void child_uses_it(void *arg)
{
    struct house *h = &family.h;
    kp_lease lease;

    (void)arg;
    MUST(kp_try_get(h->pool, kp_str("redis"), &lease) == KP_EAGAIN); /* nothing of the parent's */
    MUST(let_go == 2);
    MUST(kp_get(h->pool, kp_str("redis"), KP_IN_S(1), &lease) == 0);
    MUST(house_number(&lease) == 3);
    TOLD(kp_release(&family.lent), "before fork");
    kp_release(&lease);
    MUST(kp_pool_close(h->pool, KP_CLOSE_WAIT, KP_SECONDS(1)) == 0);
    MUST(kp_cast_read(h->cast).destroys == 1); /* its own */
}

static void child_is_refused(void *arg)
{
    kp_lease lease;

    (void)arg;
    MUST(kp_get(family.h.pool, kp_str("redis"), KP_IN_S(1), &lease) == KP_EFORKED);
    MUST(let_go == 0);
    MUST(kp_cast_read(family.h.cast).destroys == 0);
}

static void forks(int32_t on_fork, void (*child)(void *arg))
{
    struct house *h = &family.h;
    kp_options o = parent_has_two(h, on_fork);

    house_open(h, &o);
    h->also = hears;
    house_stock(h, "redis", 2);
    family.lent = house_get(h, "redis");
    uint64_t number = house_number(&family.lent);
    child_run(child, NULL);
    HOUSE_IS(h, let_go, 0);
    HOUSE_IS(h, house_cast(h).destroys, 0);
    HOUSE_IS(h, house_number(&family.lent), number);
    kp_lease lease = house_get_within(h, "redis", 1);
    HOUSE_HAS(h, house_reused(&lease) && house_number(&lease) != number);
    house_release(h, &lease);
    house_release(h, &family.lent);
    HOUSE_IS(h, h->seen[KP_EVENT_MISUSE], 0);
    house_close(h);
}

static void a_child_must_start_empty_and_the_parent_not_notice(void **state)
{
    (void)state;
    forks(KP_FORK_FRESH, child_uses_it);
}

static void a_child_must_be_refused_where_that_is_asked_for(void **state)
{
    (void)state;
    forks(KP_FORK_REFUSE, child_is_refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_must_start_empty_and_the_parent_not_notice),
        cmocka_unit_test(a_child_must_be_refused_where_that_is_asked_for),
    };
    return cmocka_run_group_tests_name("request 27", tests, NULL, NULL);
}
