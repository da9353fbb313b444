/* SPDX-License-Identifier: MIT
 *
 * Hits during a turn (KP_EVENTUAL): a borrower gets its resource again without the lock while
 * another thread waits, but one release of 32 reads the clock; and the words of another lane do no
 * harm.
 */
#include "hit_stage.h"

#include "core/serve.h"
#include "core/table.h"
#include "core/todo.h"

/* A request that waits for K, was told that something came back, and never takes it. */
static struct kp__request other;

static struct kp__core *lock(void)
{
    kp__lock_take(&hit.pool->lock, &kp__life);
    return hit_core(hit.pool);
}

static void unlock(void)
{
    kp__lock_give(&hit.pool->lock, &kp__life);
}

static struct kp__subpool *only(const struct kp__core *core)
{
    return kp__next_sub(core, NULL);
}

/* With the lock held. The turn has its usual length, plus the time until it begins. */
static void begin_turn(struct kp__core *core, uint64_t at)
{
    other.arrived = kp__rare(core, other.sub)->turn_began = at;
}

/* So many resources, all lent to us, while the other one waits, in a turn so long that even a slow
 * machine does not reach its end. */
static void wait_for(int n, kp_lease *lease)
{
    for (int i = 0; i < n; i++) lease[i] = hit_take(K);
    struct kp__core *core = lock();
    struct kp__subpool *sub = only(core);
    uint64_t now = kp__now(core->world);
    if (sub->open) kp__lane_shut(core, sub, now);
    other = (struct kp__request){
        .sub = sub, .arrived = now, .deadline = KP__NEVER, .offered = true
    };
    kp__list_init(&other.link);
    core->latest = now;
    sub->interest++;
    kp__enqueue(core, &other);
    begin_turn(core, kp__later(now, UINT64_C(60000000000)));
    unlock();
}

static void stand(int n, kp_lease *lease)
{
    hit_stand(n, (kp_options){ .limits = { .max_live = n, .wait_order = KP_EVENTUAL } });
    wait_for(n, lease);
}

/* The other one leaves, with what it was given. */
static void leave(void)
{
    struct kp__todo todo;
    struct kp__core *core = lock();
    uint64_t now = kp__now(core->world);

    kp__todo_init(&todo, core->world);
    if (!kp__withdraw(core, &other, now, &todo)) kp__decline(core, &other, now, &todo);
    other.sub->interest--;
    unlock();
}

/* The lane is open, beside the other one. */
static bool is_beside(void)
{
    const struct kp__subpool *sub = only(lock());
    bool beside = sub->open && sub->waiting == 1;

    unlock();
    return beside;
}

static bool pair_is_short(void)
{
    uint64_t moves = hit_moves();

    hit_use(K);
    return hit_moves() == moves;
}

static void one_pair_of_so_many_must_look_at_the_clock(void)
{
    kp_lease lease;
    int longs = 0, first = -1;

    stand(1, &lease);
    hit_give(&lease);
    assert_true(is_beside());
    for (int i = 0; i < 4 * KP__LOOKS; i++) {
        if (pair_is_short()) continue;
        if (first < 0) first = i;
        assert_int_equal((i - first) % KP__LOOKS, 0);
        longs++;
        assert_true(is_beside());
    }
    assert_int_equal(longs, 4);
    leave();
}

static void the_turn_must_end_though_nobody_takes_the_lock(void)
{
    kp_lease lease;

    stand(1, &lease);
    begin_turn(lock(), kp__now(&kp__life));
    unlock();
    hit_give(&lease);
    while (kp_try_get(hit.pool, K, &lease) == 0) kp_release(&lease);
    assert_int_equal(other.grant.kind, KP__GRANT_SLOT);
    assert_true(kp__now(&kp__life) - other.arrived >= KP__ROUND / 2);
    leave();
    hit_warm(K);
}

static void a_lease_of_a_turn_must_end_after_it(void)
{
    kp_lease lease;

    stand(1, &lease);
    hit_give(&lease);
    while (lease = hit_take(K), !is_beside()) hit_give(&lease);
    assert_true(lease.opaque[1] & KP__TURN);
    leave(); /* which shuts the lane */
    kp_lease copy = lease, other_mark = lease;
    other_mark.opaque[1] ^= KP__TURN;
    kp_release(&other_mark);
    hit_assert_told(1, "lease");
    assert_int_equal(hit_stats(K).lent, 1);
    hit_give(&lease);
    kp_release(&copy);
    hit_assert_told(2, "ended already");
    hit_warm(K);
    lease = hit_take(K);
    assert_false(lease.opaque[1] & KP__TURN);
    hit_give(&lease);
    kp_release(&copy);
    hit_assert_told(3, "stale");
}

static void a_lease_from_before_a_turn_must_end_in_it(void)
{
    kp_lease lease[2];

    stand(2, lease);
    hit_give(&lease[0]);
    assert_true(is_beside());
    HIT_LONG(hit_give(&lease[1])); /* its number knows nothing of a turn */
    assert_int_equal(hit_stats(K).idle, 2);
    leave();
}

/* The lane is open: this number is another one than its word. */
static void assert_wrong_mark_told(const kp_lease *lease, int lent)
{
    kp_lease other_mark = *lease;

    assert_true(hit_is_open());
    other_mark.opaque[1] ^= KP__TURN;
    kp_release(&other_mark);
    hit_assert_told(1, "lease");
    assert_int_equal(hit_stats(K).lent, lent);
}

static void a_wrong_mark_must_be_told_when_a_lane_opens_after_a_turn(void)
{
    kp_lease lease[2];

    stand(2, lease);
    hit_give(&lease[0]);
    while (lease[0] = hit_take(K), !is_beside()) hit_give(&lease[0]);
    assert_true(lease[0].opaque[1] & KP__TURN);
    leave();
    hit_give(&lease[1]);
    hit_warm(K);
    assert_wrong_mark_told(&lease[0], 1);
    hit_warm(K);
    HIT_LONG(hit_give(&lease[0])); /* its number says more than the lane's words */
    assert_int_equal(hit_stats(K).idle, 2);
    hit_warm(K);
    HIT_SHORT(hit_use(K));
}

static void a_wrong_mark_must_be_told_when_a_lane_opens_in_a_turn(void)
{
    kp_lease lease[2];

    stand(2, lease);
    hit_give(&lease[0]);
    assert_true(is_beside());
    assert_false(lease[1].opaque[1] & KP__TURN);
    assert_wrong_mark_told(&lease[1], 1);
    hit_give(&lease[1]);
    assert_int_equal(hit_stats(K).idle, 2);
    leave();
}

/* Not even by the lease that may get one elsewhere (core/home.c). */
static void in_a_turn_no_cell_must_get_a_home(void)
{
    const uint64_t before = KP__SEEKS - KP__LOOKS / 2;
    kp_lease lease;
    uint64_t number;

    hit_stand(1, (kp_options){ .limits = { .max_live = 1, .wait_order = KP_EVENTUAL } });
    do {
        lease = hit_take(K);
        number = lease.opaque[1] >> KP__WORD_BITS;
        hit_give(&lease);
    } while (number % KP__SEEKS != before);
    wait_for(1, &lease);
    hit_give(&lease);
    assert_true(is_beside());
    for (int i = 0; i < KP__LOOKS; i++) {
        lease = hit_take(K);
        assert_false(lease.opaque[1] & KP__HOMED);
        hit_give(&lease);
        assert_true(is_beside());
    }
    leave();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(one_pair_of_so_many_must_look_at_the_clock),
        HIT_TEST(the_turn_must_end_though_nobody_takes_the_lock),
        HIT_TEST(a_lease_of_a_turn_must_end_after_it),
        HIT_TEST(a_lease_from_before_a_turn_must_end_in_it),
        HIT_TEST(a_wrong_mark_must_be_told_when_a_lane_opens_after_a_turn),
        HIT_TEST(a_wrong_mark_must_be_told_when_a_lane_opens_in_a_turn),
        HIT_TEST(in_a_turn_no_cell_must_get_a_home),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
