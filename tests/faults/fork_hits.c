/* SPDX-License-Identifier: MIT
 *
 * fork with open lanes: in the parent they go on as if there had been no fork; a child never looks
 * at the parent's lines, whether a key, a pin or a lease leads to them.
 */
#include "faults/child.h"

#include "core/core.h"
#include "flow/flow.h"

static struct {
    kp_pool *pool;
    kp_lease lent; /* by a hit */
    kp_key pin;
} at;

static uint64_t moves(void)
{
    const struct kp__core *core = &atomic_load(&at.pool->pool)->core;

    kp__lock_take(&at.pool->lock, &kp__life);
    uint64_t moves = core->stamps + core->returns;
    kp__lock_give(&at.pool->lock, &kp__life);
    return moves;
}

/* Uses the key until its hits need no lock. 0, or the line of what is wrong. */
static int warm(kp_key key)
{
    kp_lease lease;

    for (int i = 0; i < 5000; i++) {
        uint64_t before = moves();
        if (kp_get(at.pool, key, NULL, &lease) != 0) return __LINE__;
        if (((struct thing *)lease.resource)->made_in != getpid()) return __LINE__;
        kp_release(&lease);
        if (moves() == before) return 0;
    }
    return __LINE__;
}

static void begin(int32_t on_fork)
{
    const kp_options options = { .on_fork = on_fork,
                                 .limits = { .idle_ttl_ms = KP_OFF, .max_age_ms = KP_OFF } };

    if (NO_THREADS_IN_CHILDREN) (void)setenv("KP_LANES", "2", 1); /* without a keeper, too */
    at.pool = pool_of_things(options); /* that there are lines which were given back */
    stock(at.pool, "k", 4);
    assert_int_equal(warm(kp_str("k")), 0);
    for (const char *key = "abc"; *key; key++) assert_int_equal(warm(kp_bytes(key, 1)), 0);
    assert_int_equal(kp_pool_close(at.pool, KP_CLOSE_WAIT, 0), 0);
    things_forget();
    at.pool = pool_of_things(options);
    stock(at.pool, "k", 3);
    assert_int_equal(warm(kp_str("one")), 0); /* has one resource, to which its guide leads */
    assert_int_equal(kp_pin(at.pool, kp_str("k"), &at.pin), 0);
    assert_int_equal(warm(at.pin), 0);
    assert_int_equal(warm(kp_str("k")), 0);
    uint64_t before = moves();
    at.lent = take(at.pool, "k");
    assert_int_equal(moves(), before);
    assert_int_equal(warm(at.pin), 0); /* this thread now remembers another cell, which is idle */
}

/* In the parent, after the child has ended: the lane is unchanged. */
static void end(void)
{
    kp_lease lease;
    kp_stats s;
    uint64_t before = moves();

    assert_int_equal(kp_get(at.pool, at.pin, NULL, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_get(at.pool, kp_str("k"), NULL, &lease), 0);
    kp_release(&lease);
    kp_release(&at.lent);
    assert_int_equal(moves(), before);
    assert_int_equal(kp_stats_read(at.pool, kp_str("k"), &s), 0);
    assert_int_equal(s.idle, 3);
    assert_int_equal(s.gets, s.hits + 3);
    assert_int_equal(told.count, 0);
    kp_unpin(at.pool, &at.pin);
    assert_int_equal(kp_pool_close(at.pool, KP_CLOSE_WAIT, 0), 0);
    assert_int_equal(all_destroyed, 4);
}

static void meet_lanes(void *arg)
{
    kp_lease lease, copy = at.lent;
    kp_lease_about about;
    kp_stats s;

    (void)arg;
    TOLD(kp_release(&copy), "before fork");
    copy = at.lent;
    TOLD(kp_discard(&copy), "before fork");
    TOLD(MUST(kp_get(at.pool, at.pin, NULL, &lease) == KP_EMISUSE), "before fork");
    MUST(!kp_lease_read(&at.lent, &about));
    MUST(kp_stats_read(at.pool, KP_EVERY_KEY, &s) == 0 && s.live == 0 && s.gets == 0);
    MUST(kp_get(at.pool, kp_str("k"), NULL, &lease) == 0);
    MUST(((struct thing *)lease.resource)->made_in == getpid());
    kp_release(&lease);
    MUST(all_destroyed == 0);
    /* a lane of the child's own, and the parent's numbers still lead nowhere */
    MUST(warm(kp_str("k")) == 0);
    copy = at.lent;
    TOLD(kp_release(&copy), "before fork");
    TOLD(MUST(kp_get(at.pool, at.pin, NULL, &lease) == KP_EMISUSE), "before fork");
    TOLD(kp_unpin(at.pool, &at.pin), "pin");
    MUST(kp_pool_close(at.pool, KP_CLOSE_WAIT, 0) == 0);
    MUST(all_destroyed == 1);
}

static void a_child_must_not_be_lent_what_lies_on_the_parents_lanes(void **state)
{
    (void)state;
    begin(KP_FORK_FRESH);
    child_run(meet_lanes, NULL);
    end();
}

/* The child's first call is a get by a key whose hits took no lock before; the second, a
 * release. */
static void hit_at_once(void *arg)
{
    kp_lease lease;

    (void)arg;
    MUST(kp_get(at.pool, kp_str("one"), NULL, &lease) == 0);
    MUST(((struct thing *)lease.resource)->made_in == getpid());
    kp_release(&lease);
    MUST(kp_try_get(at.pool, kp_str("k"), &lease) == KP_EAGAIN);
    MUST(kp_get(at.pool, kp_str("k"), NULL, &lease) == 0);
    MUST(((struct thing *)lease.resource)->made_in == getpid());
    kp_lease mine = lease;
    mine.opaque[2] = at.lent.opaque[2]; /* the same numbers, except that of the process */
    TOLD(kp_release(&mine), "fork");
    kp_release(&lease);
    MUST(told.count == 1);
}

static void a_childs_first_hit_must_find_nothing_of_the_parents(void **state)
{
    (void)state;
    begin(KP_FORK_FRESH);
    child_run(hit_at_once, NULL);
    end();
}

static void be_refused(void *arg)
{
    kp_lease lease;

    (void)arg;
    MUST(kp_get(at.pool, kp_str("k"), NULL, &lease) == KP_EFORKED && !lease.resource);
    MUST(kp_get(at.pool, at.pin, NULL, &lease) == KP_EFORKED && !lease.resource);
    MUST(kp_try_get(at.pool, kp_str("k"), &lease) == KP_EFORKED && !lease.resource);
    kp_on_misuse(hear, NULL);
    kp_lease copy = at.lent;
    TOLD(kp_release(&copy), "before fork");
    copy = at.lent;
    TOLD(kp_discard(&copy), "before fork");
    MUST(all_abandoned + all_destroyed == 0);
}

static void a_child_that_is_refused_must_be_so_on_open_lanes_too(void **state)
{
    (void)state;
    begin(KP_FORK_REFUSE);
    child_run(be_refused, NULL);
    end();
}

/* A pool that the child opens gets lines that were never the parent's. */
static void use_another_pool(void *arg)
{
    kp_pool *parents = at.pool;
    kp_lease copy = at.lent, lease;

    (void)arg;
    at.pool = NULL;
    kp_options options = { .driver = thing_driver, .on_event = hear_event,
                           .limits = { .idle_ttl_ms = KP_OFF, .max_age_ms = KP_OFF } };
    if (NO_THREADS_IN_CHILDREN) options.threads = KP_NONE;
    MUST(kp_pool_open(&options, &at.pool) == 0);
    MUST(warm(kp_str("k")) == 0);
    MUST(kp_get(at.pool, kp_str("k"), NULL, &lease) == 0);
    MUST((uint32_t)lease.opaque[2] != (uint32_t)copy.opaque[2]);
    TOLD(MUST(kp_get(at.pool, at.pin, NULL, &copy) == KP_EMISUSE), "");
    kp_release(&lease);
    MUST(kp_pool_close(at.pool, KP_CLOSE_WAIT, 0) == 0);
    MUST(kp_pool_close(parents, KP_CLOSE_WAIT, 0) == 0);
    MUST(all_destroyed == 1);
}

static void a_childs_own_pool_must_not_use_the_parents_lines(void **state)
{
    (void)state;
    begin(KP_FORK_FRESH);
    child_run(use_another_pool, NULL);
    end();
}

static void have_a_child(void *arg)
{
    kp_lease lease;

    (void)arg;
    MUST(warm(kp_str("k")) == 0);
    MUST(kp_get(at.pool, kp_str("k"), NULL, &at.lent) == 0);
    MUST(kp_pin(at.pool, kp_str("k"), &at.pin) == 0);
    MUST(warm(at.pin) == 0);
    const char *failed = child_end(child_start(meet_lanes, NULL));
    MUST(!failed);
    kp_release(&at.lent);
    MUST(kp_get(at.pool, at.pin, NULL, &lease) == 0);
    kp_release(&lease);
    MUST(told.count == 0);
}

static void a_childs_child_must_not_be_lent_what_lies_on_its_lanes(void **state)
{
    (void)state;
    begin(KP_FORK_FRESH);
    child_run(have_a_child, NULL);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_child_must_not_be_lent_what_lies_on_the_parents_lanes,
                               things_begin),
        cmocka_unit_test_setup(a_childs_first_hit_must_find_nothing_of_the_parents, things_begin),
        cmocka_unit_test_setup(a_child_that_is_refused_must_be_so_on_open_lanes_too, things_begin),
        cmocka_unit_test_setup(a_childs_own_pool_must_not_use_the_parents_lines, things_begin),
        cmocka_unit_test_setup(a_childs_child_must_not_be_lent_what_lies_on_its_lanes,
                               things_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
