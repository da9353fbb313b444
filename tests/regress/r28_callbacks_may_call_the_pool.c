/* SPDX-License-Identifier: MIT
 *
 * Request 28, redis-py#2883, #3289, PR #3000: the garbage collector ends an object in the middle of
 * a pool's call, its destructor gives a connection back to the same pool, and waits for the lock
 * that its own thread holds. Here no function of the user's runs under the pool's lock, and each
 * may call the pool.
 */
#include "contract/house.h"

/* The driver of the house, with something before each call. One task at a time runs. */
static struct {
    kp_driver real;
    kp_pool *pool;
    kp_lease held;      /* what the object that is destroyed had borrowed itself */
    int deep, calls;    /* once in each other */
    bool event_too;
} gc;

static void ends_what_it_had(void)
{
    house_exit(&gc.held);
    kp_release(&gc.held);
}

static int destroy_and_end(kp_job *job, void *resource)
{
    if (gc.held.resource) ends_what_it_had();
    return gc.real.destroy(job, resource);
}

static void a_destructor_must_be_free_to_give_back_another(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    memset(&gc, 0, sizeof gc);
    gc.real = o.driver;
    o.driver.destroy = destroy_and_end;
    o.limits.max_live = 2;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "redis");
    gc.held = house_get(&h, "redis");
    visitor_send(&h, &v, "redis", 1000);
    uint64_t number = house_number(&gc.held);
    house_discard(&h, &lease); /* destroys it, which gives the other back */
    house_settle(&h);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.number, number);
    HOUSE_IS(&h, v.answered_ms, 0);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* Borrow and look, from wherever it is called. */
static void uses_the_pool(const char *key)
{
    kp_stats s;
    kp_lease lease;
    char text[200];

    if (!gc.pool || gc.deep) return;
    gc.deep++;
    gc.calls++;
    (void)kp_stats_read(gc.pool, KP_EVERY_KEY, &s);
    (void)kp_explain(gc.pool, kp_str(key), text, sizeof text);
    if (kp_get(gc.pool, kp_str(key), KP_IN_MS(10), &lease) == 0) kp_release(&lease);
    (void)kp_invalidate(gc.pool, &s);
    gc.deep--;
}

static int create_and_use(kp_job *job, void **resource)
{
    uses_the_pool("log");
    return gc.real.create(job, resource);
}

static int validate_and_use(kp_job *job, void *resource)
{
    uses_the_pool("log");
    return gc.real.validate(job, resource);
}

static int reset_and_use(kp_job *job, void *resource)
{
    uses_the_pool("log");
    return gc.real.reset(job, resource);
}

static int destroy_and_use(kp_job *job, void *resource)
{
    uses_the_pool("log");
    return gc.real.destroy(job, resource);
}

static void tell_and_use(struct house *h, const kp_event *event)
{
    (void)h;
    (void)event;
    if (gc.event_too) uses_the_pool("log");
}

static void every_callback_must_be_free_to_borrow(bool event_too)
{
    static const kp_line fine[] = { { .blocks_ms = 1, .times = KP_OFF }, { 0 } };
    const kp_script script = { fine, fine, fine, fine, NULL, NULL };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    memset(&gc, 0, sizeof gc);
    gc.real = o.driver;
    gc.event_too = event_too;
    o.driver.create = create_and_use;
    o.driver.validate = validate_and_use;
    o.driver.reset = reset_and_use;
    o.driver.destroy = destroy_and_use;
    o.limits.validate_after_ms = KP_NONE;
    house_open(&h, &o);
    h.also = tell_and_use;
    gc.pool = h.pool;
    for (int i = 0; i < 3; i++) {
        kp_lease lease = house_get(&h, "redis");
        house_release(&h, &lease);
        lease = house_get(&h, "redis");
        house_discard(&h, &lease);
    }
    HOUSE_HAS(&h, gc.calls >= 12); /* each of the four, each time */
    HOUSE_IS(&h, h.seen[KP_EVENT_MISUSE], 0);
    house_close(&h);
}

static void the_drivers_functions_must_be_free_to_borrow(void **state)
{
    (void)state;
    every_callback_must_be_free_to_borrow(false);
}

static void the_listener_must_be_free_to_borrow(void **state)
{
    (void)state;
    every_callback_must_be_free_to_borrow(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_destructor_must_be_free_to_give_back_another),
        cmocka_unit_test(the_drivers_functions_must_be_free_to_borrow),
        cmocka_unit_test(the_listener_must_be_free_to_borrow),
    };
    return cmocka_run_group_tests_name("request 28", tests, NULL, NULL);
}
