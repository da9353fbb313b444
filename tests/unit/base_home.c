/* SPDX-License-Identifier: MIT
 *
 * Tests of base/home.h with the sequences of this processor and this kernel: a word is changed at
 * home and nowhere else, no step is lost when the thread is interrupted, and the word does not
 * change any more once its home was taken away; also where the kernel refuses the calls that this
 * needs. cmocka's assertions are for the main thread only.
 */
#include "base_kit.h"

#include "home_pin.h"

#if KP__SEQUENCES
#include <signal.h>

#include "home_forbid.h"

static kp__home home;
static _Atomic uint64_t word;

static bool swing(uint64_t expected, uint64_t to)
{
    return kp__swing_at_home(&home, &word, expected, to);
}

/* ---- one thread ------------------------------------------------------------------------------ */

static void a_word_must_swing_at_home_if_it_is_as_expected(void **state)
{
    const uint64_t high = UINT64_C(1) << 63, odd = UINT64_C(0x123456789abcdef0);

    (void)state;
    pin_or_skip();
    assert_true(pin_to(0));
    home = kp__home_here();
    assert_int_equal(home, pin_number(0));
    word = 5;
    assert_true(swing(5, 6));
    assert_int_equal(word, 6);
    assert_false(swing(5, 7));
    assert_int_equal(word, 6);
    for (int bit = 0; bit < 64; bit++) {
        assert_false(swing(6 ^ UINT64_C(1) << bit, 7));
        assert_int_equal(word, 6);
    }
    assert_true(swing(6, odd));
    assert_true(word == odd);
    assert_true(swing(odd, high));
    assert_true(word == high);
    assert_true(swing(high, high));
    assert_true(word == high);
    pin_off();
}

static void elsewhere_it_must_not_swing(void **state)
{
    (void)state;
    pin_or_skip();
    assert_true(pin_to(0));
    word = 5;
    for (int bit = 0; bit < 16; bit++) {
        home = (uint16_t)(pin_number(0) ^ 1u << bit);
        assert_false(swing(5, 6));
        }
    home = KP__NO_HOME;
    assert_false(swing(5, 6));
    assert_int_equal(word, 5);
    pin_off();
}

static void who_is_moved_must_be_at_home_where_he_is(void **state)
{
    (void)state;
    pin_two_or_skip();
    word = 0;
    for (uint64_t i = 0; i < 200; i++) {
        home = pin_number(0);
        assert_true(pin_to(i % 2));
        assert_int_equal(kp__home_here(), pin_number(i % 2));
        assert_int_equal(swing(i, i + 1), i % 2 == 0);
        home = pin_number(1);
        assert_int_equal(swing(i, i + 1), i % 2 == 1);
        assert_int_equal(word, i + 1);
    }
    pin_off();
}

/* Takes back what the C library has registered, so that the kernel no longer says where we are. */
static bool become_unknown(void)
{
    struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);

    return syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0;
}

enum { SWINGS = 1, NEVER_SWINGS, STAYS_KNOWN };

static void *swing_unknown(void *arg)
{
    int *result = arg;

    if (!become_unknown()) {
        *result = STAYS_KNOWN;
        return NULL;
    }
    word = 5;
    home = KP__NO_HOME;
    *result = swing(5, 5) ? SWINGS : NEVER_SWINGS;
    for (home = 0; home < KP__HOMES; home++)
        if (swing(5, 5)) *result = SWINGS;
    return NULL;
}

static void a_thread_unknown_to_the_kernel_must_be_at_home_nowhere(void **state)
{
    pthread_t thread;
    int result = 0;

    (void)state;
    pin_or_skip();
    assert_int_equal(pthread_create(&thread, NULL, swing_unknown, &result), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (result == STAYS_KNOWN) skip();
    assert_int_equal(result, NEVER_SWINGS);
}

/* Called each time a pool is opened; errno belongs to the caller. */
static void to_begin_and_to_end_must_leave_the_caller_as_he_was(void **state)
{
    cpu_set_t after;

    (void)state;
    pin_or_skip();
    assert_true(pin_to(0));
    for (int i = 0; i < 3; i++) {
        errno = 4711;
        assert_true(kp__sequences_begin());
        kp__sequences_end();
        assert_int_equal(errno, 4711);
    }
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_int_equal(CPU_COUNT(&after), 1);
    assert_true(CPU_ISSET((size_t)pin_number(0), &after));
    pin_off();
}

/* ---- two on one processor -------------------------------------------------------------------- */

enum { SIGNALS = 2000 };

static atomic_bool go;
static atomic_int ready;
static atomic_ullong heard;

/* Adds one, however often another thread was faster. */
static void count_up(void)
{
    uint64_t was;

    do was = atomic_load_explicit(&word, memory_order_relaxed);
    while (!swing(was, was + 1));
}

static void on_signal(int number)
{
    (void)number;
    count_up(); /* in the middle of a step, maybe */
    atomic_fetch_add(&heard, 1);
}

static void *count(void *arg)
{
    uint64_t *steps = arg;

    if (!pin_to(0)) abort();
    atomic_fetch_add(&ready, 1);
    for (; atomic_load_explicit(&go, memory_order_relaxed); ++*steps) count_up();
    return NULL;
}

static void no_step_must_be_lost_to_whoever_interrupts_it(void **state)
{
    struct sigaction catch = { .sa_handler = on_signal }, before;
    pthread_t thread[2];
    uint64_t steps[2] = { 0 }, sent = 0;

    (void)state;
    pin_or_skip();
    assert_true(pin_to(pin_count() - 1));
    home = pin_number(0);
    word = 0;
    ready = 0;
    heard = 0;
    go = true;
    assert_int_equal(sigaction(SIGUSR1, &catch, &before), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, count, &steps[i]), 0);
    while (atomic_load(&ready) < 2) sched_yield();
    while (sent < SIGNALS) { /* the thread that runs gets it; the other one, when it runs */
        for (int i = 0; i < 2; i++) (void)pthread_kill(thread[i], SIGUSR1);
        while (atomic_load(&heard) == sent) sched_yield();
        sent = atomic_load(&heard);
    }
    atomic_store(&go, false);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    assert_int_equal(word, steps[0] + steps[1] + heard);
    pin_off();
}

/* ---- a home that is taken -------------------------------------------------------------------- */

static atomic_bool stop;

/* Without pause, wherever its home is, if only it is here. */
static void *swing_on(void *arg)
{
    if (!pin_to(*(int *)arg)) abort();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t was = atomic_load_explicit(&word, memory_order_relaxed);
        (void)swing(was, was + 1);
    }
    return NULL;
}

/* Does the word, which moves as long as it has a home, ever move later? Run with a thread on the
 * processor `there`. */
static bool stands_still(int there, int rounds)
{
    pthread_t thread;
    bool moved = false;

    stop = false;
    home = KP__NO_HOME;
    if (pthread_create(&thread, NULL, swing_on, &there) != 0) abort();
    for (int i = 0; i < rounds && !moved; i++) {
        uint64_t before = atomic_load(&word);
        atomic_store_explicit(&home, pin_number(there), memory_order_relaxed);
        while (atomic_load_explicit(&word, memory_order_relaxed) == before) sched_yield();
        atomic_store_explicit(&home, KP__NO_HOME, memory_order_relaxed);
        kp__sequences_end();
        uint64_t taken = atomic_load(&word);
        atomic_store(&word, ++taken); /* it is ours */
        for (int look = 0; look < 50; look++) moved |= atomic_load(&word) != taken;
        if (i % 64 == 0) sched_yield(); /* where there is one processor only */
        moved |= atomic_load(&word) != taken;
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    return !moved;
}

static void a_word_whose_home_was_taken_must_not_move_any_more(void **state)
{
    (void)state;
    pin_or_skip();
    assert_true(pin_to(0));
    assert_true(stands_still(pin_count() - 1, 5000));
    assert_true(stands_still(0, 20));
    pin_off();
}

/* ---- a kernel that refuses ------------------------------------------------------------------- */

static int refused_from_the_start(void)
{
    forbid(SYS_membarrier, EPERM);
    errno = 4711;
    if (kp__sequences_begin()) return 1;
    return errno == 4711 ? 0 : 2;
}

static void where_it_is_refused_no_word_must_get_a_home(void **state)
{
    (void)state;
    pin_or_skip();
    child_must_end_well(refused_from_the_start);
}

static bool is_still_allowed(const cpu_set_t *before)
{
    cpu_set_t after;

    return sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(before, &after);
}

static int visits(void)
{
    cpu_set_t first;

    if (!kp__sequences_begin()) return 1;
    forbid(SYS_membarrier, EPERM);
    errno = 4711;
    kp__sequences_end();
    if (errno != 4711) return 2;
    if (!is_still_allowed(pin_all())) return 3;
    if (!stands_still(pin_count() - 1, 30)) return 4;
    if (!is_still_allowed(pin_all())) return 5;
    if (!pin_to(0) || sched_getaffinity(0, sizeof first, &first) != 0) return 6;
    if (!stands_still(pin_count() - 1, 30)) return 7;
    if (!stands_still(0, 10)) return 8;
    return is_still_allowed(&first) ? 0 : 9;
}

static void where_it_is_refused_later_each_processor_must_be_visited(void **state)
{
    (void)state;
    pin_or_skip();
    child_must_end_well(visits);
}

/* No thread of this process is on a processor that it may not use. */
static int visits_nowhere(void)
{
    if (!kp__sequences_begin()) return 1;
    forbid(SYS_membarrier, EPERM);
    forbid(SYS_sched_setaffinity, EINVAL);
    errno = 4711;
    kp__sequences_end();
    return errno == 4711 ? 0 : 2;
}

static void a_processor_that_is_not_ours_must_be_passed_over(void **state)
{
    (void)state;
    pin_or_skip();
    child_must_end_well(visits_nowhere);
}

static void end_where_all_is_refused(int call)
{
    if (!kp__sequences_begin()) return;
    forbid(call, EPERM);
    kp__sequences_end(); /* it can: membarrier is allowed */
    forbid(SYS_membarrier, EPERM);
    kp__sequences_end();
}

static void without_moving(void)
{
    end_where_all_is_refused(SYS_sched_setaffinity);
}

static void without_knowing_where(void)
{
    end_where_all_is_refused(SYS_sched_getaffinity);
}

static void where_all_is_refused_the_program_must_end_with_a_sentence(void **state)
{
    static const char sentence[] =
        "keyedpool: the kernel now refuses membarrier, which it allowed when the pool was opened, "
        "and sched_setaffinity as well: set options.hits to KP_HITS_PORTABLE\n";

    (void)state;
    pin_or_skip();
    child_must_end_well(refused_from_the_start); /* may it be filtered? */
    child_must_abort(without_moving, sentence);
    child_must_abort(without_knowing_where, sentence);
}
#else
static void without_sequences_no_word_must_have_a_home(void **state)
{
    kp__home home = 0;
    _Atomic uint64_t word = 5;

    (void)state;
    assert_false(kp__sequences_begin());
    assert_int_equal(kp__home_here(), KP__NO_HOME);
    kp__sequences_end();
    assert_false(kp__swing_at_home(&home, &word, 5, 6));
    assert_int_equal(word, 5);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if KP__SEQUENCES
        cmocka_unit_test(a_word_must_swing_at_home_if_it_is_as_expected),
        cmocka_unit_test(elsewhere_it_must_not_swing),
        cmocka_unit_test(who_is_moved_must_be_at_home_where_he_is),
        cmocka_unit_test(a_thread_unknown_to_the_kernel_must_be_at_home_nowhere),
        cmocka_unit_test(to_begin_and_to_end_must_leave_the_caller_as_he_was),
        cmocka_unit_test(no_step_must_be_lost_to_whoever_interrupts_it),
        cmocka_unit_test(a_word_whose_home_was_taken_must_not_move_any_more),
        cmocka_unit_test(where_it_is_refused_no_word_must_get_a_home),
        cmocka_unit_test(where_it_is_refused_later_each_processor_must_be_visited),
        cmocka_unit_test(a_processor_that_is_not_ours_must_be_passed_over),
        cmocka_unit_test(where_all_is_refused_the_program_must_end_with_a_sentence),
#else
        cmocka_unit_test(without_sequences_no_word_must_have_a_home),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
