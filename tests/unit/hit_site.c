/* SPDX-License-Identifier: MIT
 *
 * The place of a get in leak reports and in kp_explain is where the program called kp_get,
 * kp_scope_get or kp_use. For each kind of key, with a hit and with the lock.
 */
#include "hit_stage.h"

static bool quick;
static uint64_t moves;  /* when it was about to be asked */
static _Atomic(const void *) told;

static void listen(const kp_event *event, void *ctx)
{
    hit_event(event, ctx);
    if (event->kind == KP_EVENT_LEAK) atomic_store(&told, event->site);
}

/* ---- those who ask, and where they lie ------------------------------------------------------- */

#define BORROWER __attribute__((noinline, section("borrowers")))
extern const char __start_borrowers[], __stop_borrowers[]; /* by the linker */

static bool lies_there(const void *site)
{
    uintptr_t at = (uintptr_t)site;

    return at > (uintptr_t)__start_borrowers && at <= (uintptr_t)__stop_borrowers;
}

/* Reports what a lease has as leaked, at once, with its place. */
static int look(kp_lease *lease, void *unused)
{
    char text[1000], wanted[40];
    struct kp__core *core = hit_core(hit.pool);

    (void)unused;
    assert_non_null(lease->resource);
    assert_true(quick ? hit_moves() == moves : hit_moves() > moves);
    kp__lock_take(&hit.pool->lock, &kp__life);
    core->leak_after = 1;
    kp__lock_give(&hit.pool->lock, &kp__life);
    assert_int_equal(kp_limits_set(hit.pool, KP_EVERY_KEY, &(kp_limits){ .weight = 1 }, NULL), 0);
    while (!atomic_load(&told)) (void)kp_keep(hit.pool);
    if (!lies_there(atomic_load(&told))) fail_msg("told of %p", atomic_load(&told));
    (void)kp_explain(hit.pool, KP_EVERY_KEY, text, sizeof text);
    (void)snprintf(wanted, sizeof wanted, ", got at %p", atomic_load(&told));
    assert_non_null(strstr(text, wanted));
    return 0;
}

BORROWER static void get(kp_key key)
{
    kp_lease lease;

    assert_int_equal(kp_get(hit.pool, key, NULL, &lease), 0);
    (void)look(&lease, NULL);
    kp_release(&lease);
}

BORROWER static void get_asking(kp_key key)
{
    kp_lease lease;

    assert_int_equal(kp_get(hit.pool, key, KP_IN_S(5), &lease), 0);
    (void)look(&lease, NULL);
    kp_release(&lease);
}

BORROWER static void get_in_a_scope(kp_key key)
{
    kp_scope scope = { { 0 } };
    kp_lease lease;

    assert_int_equal(kp_scope_get(&scope, hit.pool, key, NULL, &lease), 0);
    (void)look(&lease, NULL);
    kp_scope_close(&scope);
}

BORROWER static void use(kp_key key)
{
    assert_int_equal(kp_use(hit.pool, key, NULL, look, NULL), 0);
}

BORROWER static void use_by_a_plan(kp_key key)
{
    kp_plan plan = { .schedule.times = 1 };

    assert_int_equal(kp_use(hit.pool, key, &plan, look, NULL), 0);
}

/* ---- by each kind of key --------------------------------------------------------------------- */

static void ask(void (*borrow)(kp_key key), const char *name, bool pinned)
{
    hit_open((kp_options){ .hits = quick ? KP_HITS_QUICK : KP_HITS_LOCKED, .on_event = listen });
    kp_key key = kp_str(name), pin;
    hit_use(key);
    if (pinned) {
        assert_int_equal(kp_pin(hit.pool, key, &pin), 0);
        key = pin;
    }
    if (quick) hit_warm(key);
    atomic_store(&told, NULL);
    moves = hit_moves();
    borrow(key);
    if (pinned) kp_unpin(hit.pool, &pin);
    hit_again();
}

static void ask_by_each(void (*borrow)(kp_key key), bool may_hit)
{
    for (int i = 0; i <= may_hit; i++) {
        quick = i == 1;
        ask(borrow, "k", false);
        ask(borrow, "sixteen bytes...", false);
        ask(borrow, "this one is longer than a word, or two", false);
        ask(borrow, "k", true);
    }
}

static void the_place_of_a_get_must_be_its_callers(void)
{
    ask_by_each(get, true);
    ask_by_each(get_asking, true);
}

static void the_place_of_a_scopes_lease_must_be_its_callers(void)
{
    ask_by_each(get_in_a_scope, true);
}

static void the_place_of_a_use_must_be_its_callers(void)
{
    ask_by_each(use, true);
    ask_by_each(use_by_a_plan, false); /* its gets share a deadline */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(the_place_of_a_get_must_be_its_callers),
        HIT_TEST(the_place_of_a_scopes_lease_must_be_its_callers),
        HIT_TEST(the_place_of_a_use_must_be_its_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
