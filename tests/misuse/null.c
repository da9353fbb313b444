/* SPDX-License-Identifier: MIT
 *
 * R4, of NULL: every public function that takes a pointer is handed none. What ends something does
 * nothing, what asks is answered as of nothing, everything else says misuse; the test kit ends the
 * test. None is left out: the names are compared with tools/exports.txt. Unchecked by contract, so
 * not here: the `out` of kp_get.
 */
#include "misuse/null.h"

#include "keyedpool_test.h"
#include "kit/dies.h"

static kp_pool *pool;

static void count_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    told += event->kind == KP_EVENT_MISUSE;
}

static int make(kp_job *job, void **out)
{
    static int thing;

    (void)job;
    *out = &thing;
    return 0;
}

static int unmake(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static int open_it(void **state)
{
    kp_options options = { .driver = { .create = make, .destroy = unmake }, .threads = KP_NONE,
                           .on_event = count_event };

    (void)state;
    kp_on_misuse(count_orphan, NULL);
    return kp_pool_open(&options, &pool);
}

static int close_it(void **state)
{
    (void)state;
    kp_on_misuse(NULL, NULL);
    return kp_pool_close(pool, KP_CLOSE_NOW, 0) == 0 ? 0 : -1;
}

/* ---- the library ----------------------------------------------------------------------------- */

static kp_key key = { "k", 1 };

static void whatever_ends_or_decides_must_do_nothing(void **state)
{
    (void)state;
    NOTHING(kp_release, NULL);
    NOTHING(kp_discard, NULL);
    NOTHING(kp_lease_reuse, NULL, true);
    NOTHING(kp_lease_report, NULL, -1);
    NOTHING(kp_unpin, pool, NULL);
    NOTHING(kp_unpin, NULL, NULL);
    NOTHING(kp_scope_close, NULL);
    NOTHING(kp_scope_end, NULL);
    NOTHING(kp_cancel, NULL);
    ANSWER(0, kp_loop_close, NULL);
    NOTHING(kp_on_misuse, NULL, NULL);
    kp_on_misuse(count_orphan, NULL);
}

static void a_question_must_be_answered_as_of_nothing(void **state)
{
    kp_lease_about about;
    kp_lease lease;
    char text[100];

    (void)state;
    ANSWER(false, kp_is_pool, NULL);
    ANSWER(0, kp_now_ns, NULL);
    begin("kp_deadline_in");
    must_be(0, (int64_t)kp_deadline_in(NULL, 1).ns);
    must_have_told(0);
    ANSWER(-1, kp_loop_fd, NULL);
    ANSWER(-1, kp_schedule_pause_ms, NULL, 1, 0, 0);
    ANSWER(true, kp_retry_any, -1, NULL);
    ANSWER(true, kp_retry_helps, KP_EAGAIN, NULL);
    memset(&about, 1, sizeof about);
    ANSWER(false, kp_lease_read, NULL, &about);
    assert_memory_equal(&about, &(kp_lease_about){ 0 }, sizeof about);
    ANSWER(1 + (int64_t)strlen(kp_strerror(KP_EMISUSE)), kp_explain, NULL, key, text, sizeof text);
    ANSWER(1, kp_key_text, NULL, key, text, sizeof text);
    ANSWER(0, kp_invalidate, pool, NULL);
    ANSWER(KP_ENOTFOUND, kp_lease_of, pool, NULL, &lease);
    ANSWER(KP_ENOTFOUND, kp_options_set, &(kp_options){ 0 }, NULL, "1");
    ANSWER(KP_ECONFIG, kp_options_set, &(kp_options){ 0 }, "limits.max_live", NULL);
}

/* As snprintf would. */
static void a_text_without_room_must_say_how_long_it_is(void **state)
{
    char text[1000];

    (void)state;
    size_t length = kp_explain(pool, KP_EVERY_KEY, text, sizeof text);
    assert_in_range(length, 1, sizeof text - 1);
    ANSWER((int64_t)length, kp_explain, pool, KP_EVERY_KEY, NULL, sizeof text);
    ANSWER((int64_t)length, kp_explain, pool, KP_EVERY_KEY, NULL, 0);
    ANSWER(1, kp_key_text, pool, key, NULL, sizeof text);
    ANSWER(1, kp_key_text, NULL, key, NULL, sizeof text);
}

static int nothing(kp_lease *lease, void *arg)
{
    return (void)lease, (void)arg, 0;
}

static int no_key(kp_key k, const kp_stats *stats, void *arg)
{
    return (void)k, (void)stats, (void)arg, 0;
}

static void a_call_without_its_pool_must_be_told(void **state)
{
    kp_lease lease = { .resource = &lease };
    kp_limits limits;
    kp_budget budget;
    kp_stats stats;
    kp_key pinned;
    int thing;

    (void)state;
    MISUSE(kp_pool_close, NULL, KP_CLOSE_NOW, 0);
    MISUSE(kp_get, NULL, key, NULL, &lease);
    assert_null(lease.resource);
    MISUSE(kp_try_get, NULL, key, &lease);
    MISUSE(kp_use, NULL, key, NULL, nothing, NULL);
    MISUSE(kp_scope_get, &(kp_scope){ { 0 } }, NULL, key, NULL, &lease);
    MISUSE(kp_lease_of, NULL, &thing, &lease);
    MISUSE(kp_pin, NULL, key, &pinned);
    MISUSE(kp_warm, NULL, &key, 1, NULL);
    MISUSE(kp_add, NULL, key, &thing);
    MISUSE(kp_invalidate, NULL, &thing);
    MISUSE(kp_invalidate_key, NULL, key);
    MISUSE(kp_retry_now, NULL, key);
    MISUSE(kp_limits_set, NULL, key, &(kp_limits){ 0 }, NULL);
    MISUSE(kp_budget_set, NULL, &(kp_budget){ 0 }, NULL);
    MISUSE(kp_limits_read, NULL, key, &limits);
    MISUSE(kp_budget_read, NULL, &budget);
    MISUSE(kp_drain, NULL, key, 0);
    MISUSE(kp_drop, NULL, key, 0);
    MISUSE(kp_evict, NULL, key, 0);
    MISUSE(kp_rotate, NULL, key, 0);
    MISUSE(kp_stats_read, NULL, key, &stats);
    MISUSE(kp_stats_read_sized, NULL, key, &stats, sizeof stats);
    MISUSE(kp_each_key, NULL, no_key, NULL);
    MISUSE(kp_each_key_sized, NULL, no_key, NULL, sizeof stats);
    TOLD(-1, kp_keep, NULL);
    pinned = key;
    begin("kp_unpin");
    kp_unpin(NULL, &pinned);
    must_have_told(1);
}

static void a_call_that_needs_more_must_be_told(void **state)
{
    kp_options options = { .driver = { .create = make, .destroy = unmake } };
    kp_pool *opened = pool;
    kp_lease lease = { .resource = &lease };
    kp_scope scope = { { 0 } };
    kp_why why = { 0 };
    int thing;

    (void)state;
    MISUSE(kp_pool_open, NULL, &opened);
    assert_null(opened);
    MISUSE(kp_pool_open_sized, NULL, sizeof options, KP_VERSION, &opened);
    MISUSE(kp_pool_open_sized, &options, sizeof options, KP_VERSION, NULL);
    MISUSE(kp_options_set, NULL, "limits.max_live", "1");
    MISUSE(kp_scope_get, NULL, pool, key, KP_ASK(.why = &why), &lease);
    assert_null(lease.resource);
    assert_int_equal(why.code, KP_EMISUSE);
    MISUSE(kp_scope_get, &scope, pool, key, NULL, NULL);
    assert_memory_equal(&scope, &(kp_scope){ { 0 } }, sizeof scope);
    MISUSE(kp_scope_defer, NULL, kp_scope_end, &scope);
    MISUSE(kp_scope_defer, &scope, NULL, NULL);
    MISUSE(kp_use, pool, key, NULL, NULL, NULL);
    MISUSE(kp_lease_of, pool, &thing, NULL);
    TOLD(false, kp_lease_read, &(kp_lease){ 0 }, NULL);
    TOLD(false, kp_lease_read, NULL, NULL);
    MISUSE(kp_pin, pool, key, NULL);
    MISUSE(kp_warm, pool, NULL, 1, NULL);
    ANSWER(0, kp_warm, pool, NULL, 0, NULL);
    MISUSE(kp_add, pool, key, NULL);
    MISUSE(kp_get, pool, kp_bytes(NULL, 1), NULL, &lease);
    MISUSE(kp_limits_set, pool, KP_EVERY_KEY, NULL, &why);
    assert_int_equal(why.code, KP_EMISUSE);
    memset(&why, 0, sizeof why);
    MISUSE(kp_budget_set, pool, NULL, &why);
    assert_int_equal(why.code, KP_EMISUSE);
    MISUSE(kp_limits_read, pool, KP_EVERY_KEY, NULL);
    MISUSE(kp_budget_read, pool, NULL);
    MISUSE(kp_stats_read, pool, KP_EVERY_KEY, NULL);
    MISUSE(kp_stats_read_sized, pool, KP_EVERY_KEY, NULL, 0);
    MISUSE(kp_each_key, pool, NULL, NULL);
    MISUSE(kp_loop_open, NULL);
    MISUSE(kp_loop_dispatch, NULL);
    MISUSE(kp_get_start, pool, key, NULL, NULL);
    TOLD(KP_ECREATE, kp_job_fail, NULL, 1, "no job");
    begin("kp_job_done");
    kp_job_done(NULL, 0, &thing);
    must_have_told(1);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &(kp_stats){ 0 }), 0); /* it goes on */
}

/* ---- the test kit ---------------------------------------------------------------------------- */

static kp_sim *sim(void)
{
    kp_sim *made = NULL;

    assert_int_equal(kp_sim_open(1, &made), 0);
    return made;
}

static void never(void *arg)
{
    (void)arg;
}

#define KIT(X) /* what it needs, and is not handed */                                              \
    X(kp_sim_open, assert_int_equal(kp_sim_open(1, NULL), 0))                                      \
    X(kp_sim_world, (void)kp_sim_world(NULL))                                                      \
    X(kp_sim_now_ms, (void)kp_sim_now_ms(NULL))                                                    \
    X(kp_sim_pass_ms, kp_sim_pass_ms(NULL, 1))                                                     \
    X(kp_sim_settle, (void)kp_sim_settle(NULL))                                                    \
    X(kp_sim_spawn, (void)kp_sim_spawn(NULL, never, NULL))                                         \
    X(kp_sim_join, kp_sim_join(NULL, 0))                                                           \
    X(kp_sim_ended, (void)kp_sim_ended(NULL, 0))                                                   \
    X(kp_sim_shuffle, kp_sim_shuffle(NULL, true))                                                  \
    X(kp_sim_fail_alloc, kp_sim_fail_alloc(NULL, 1, false))                                        \
    X(kp_sim_memory_read, (void)kp_sim_memory_read(NULL))                                          \
    X(kp_gate_pass, kp_gate_pass(NULL, &(kp_gate){ 0 }))                                           \
    X(kp_gate_open, kp_gate_open(NULL, &(kp_gate){ 0 }))                                           \
    X(kp_cast_open, assert_int_equal(kp_cast_open(NULL, NULL), 0))                                 \
    X(kp_cast_driver, (void)kp_cast_driver(NULL))                                                  \
    X(kp_cast_read, (void)kp_cast_read(NULL))

#define X(name, call) \
    static void misuse_##name(void) { call; }
KIT(X)
#undef X

static void spawn_nothing(void)
{
    (void)kp_sim_spawn(sim(), NULL, NULL);
}

static void pass_no_gate(void)
{
    kp_gate_pass(sim(), NULL);
}

static void open_no_gate(void)
{
    kp_gate_open(sim(), NULL);
}

static void the_kit_must_end_the_test(void **state)
{
    static const struct { const char *name; void (*misuse)(void); } kit[] = {
#define X(name, call) { #name, misuse_##name },
        KIT(X)
#undef X
        { "kp_sim_spawn", spawn_nothing },
        { "kp_gate_pass", pass_no_gate },
        { "kp_gate_open", open_no_gate },
    };

    (void)state;
    for (size_t i = 0; i < sizeof kit / sizeof *kit; i++) {
        char sentence[80];
        begin(kit[i].name);
        (void)snprintf(sentence, sizeof sentence, "%s needs ", kit[i].name);
        must_die(kit[i].misuse, sentence);
    }
    ANSWER(0, kp_sim_close, NULL);
    NOTHING(kp_cast_close, NULL);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* After all the others. */
static void no_public_function_must_be_left_out(void **state)
{
    (void)state;
    takes_none("kp_build_info");
    takes_none("kp_error_find");
    takes_none("kp_version");
    assert_in_range(all_exports_were_called("keyedpool"), 45, 1000);
    assert_in_range(all_exports_were_called("keyedpool-testkit"), 15, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_ends_or_decides_must_do_nothing),
        cmocka_unit_test(a_question_must_be_answered_as_of_nothing),
        cmocka_unit_test(a_text_without_room_must_say_how_long_it_is),
        cmocka_unit_test(a_call_without_its_pool_must_be_told),
        cmocka_unit_test(a_call_that_needs_more_must_be_told),
        cmocka_unit_test(the_kit_must_end_the_test),
        cmocka_unit_test(no_public_function_must_be_left_out),
    };

    return cmocka_run_group_tests(tests, open_it, close_it);
}
