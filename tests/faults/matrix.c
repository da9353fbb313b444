/* SPDX-License-Identifier: MIT
 *
 * What may happen to a thread that waits in the pool, or to its process: every call that can wait,
 * times everything that can interfere. Each cell is a process of its own: a thread makes the call
 * and sleeps in it, the event happens, the wait is ended in the normal way, and the call must
 * return what its row promises. docs/PROCESS.md has the outcomes in words.
 */
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "faults/matrix.h"

/* AddressSanitizer does not see how a cancelled thread is unwound, and so has wrong marks for that
 * thread's stack. Its own code, which runs there last, must not be reported because of them. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "use_sigaltstack=0";
}

/* ---- the caller ------------------------------------------------------------------------------ */

static const struct row *row;

static void *make_the_call(void *arg)
{
    (void)arg;
    atomic_store(&s.caller_tid, (pid_t)syscall(SYS_gettid));
    s.result = row->call();
    kp_release(&s.got);
    kp_scope_close(&s.scope);
    atomic_store(&s.back, true);
    pthread_testcancel(); /* the thread's next cancellation point */
    return NULL;
}

/* Is the thread asleep? It can only sleep in the pool. */
static bool asleep(pid_t tid)
{
    char path[64], text[200] = "";
    FILE *f;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    if ((f = fopen(path, "r")) == NULL) return false;
    const char *end = fgets(text, sizeof text, f) ? strrchr(text, ')') : NULL;
    fclose(f);
    return end && end[1] && end[2] == 'S';
}

static void let_it_wait(void)
{
    MUST(pthread_create(&s.caller, NULL, make_the_call, NULL) == 0);
    while (s.caller_tid == 0 || later != NOTHING || !asleep(s.caller_tid)) sched_yield();
    MUST(!s.back);
}

static void end_the_wait(void)
{
    MUST(!s.back);
    row->end();
}

/* The call has returned what its row promises, and nothing is lost. */
static void *come_back(void)
{
    kp_stats stats;
    void *ended;

    MUST(pthread_join(s.caller, &ended) == 0);
    MUST(s.back && s.result == row->result);
    if (row->call == call_use) MUST(s.ran == 1);
    if (row->call == call_drain) MUST(pthread_join(queued, NULL) == 0);
    if (kp_stats_read(s.pool, KP_EVERY_KEY, &stats) == 0)
        MUST(stats.lent == 0 && stats.waiting == 0 && stats.creating == 0 && stats.closing == 0);
    MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(all_created == all_destroyed && told.count == 0);
    for (int i = 0; i < all_created; i++) MUST(things[i].destroyed == 1);
    return ended;
}

/* ---- the columns: what comes in between ------------------------------------------------------ */

static void nothing(void)
{
    let_it_wait();
    end_the_wait();
    MUST(come_back() == NULL);
}

/* No call of the pool is a cancellation point: the thread ends at its own next one, after the call
 * has returned. */
static void cancel(void)
{
    let_it_wait();
    MUST(pthread_cancel(s.caller) == 0);
    while (!asleep(s.caller_tid)) sched_yield();
    end_the_wait();
    MUST(come_back() == PTHREAD_CANCELED);
}

static atomic_int signals;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = count_signal }; /* without SA_RESTART: EINTR */

    MUST(sigaction(SIGUSR1, &action, NULL) == 0);
}

static void signal_it(void)
{
    catch_signals();
    let_it_wait();
    for (int i = 1; i <= 20; i++) {
        MUST(pthread_kill(s.caller, SIGUSR1) == 0);
        while (signals < i) sched_yield();
        while (!asleep(s.caller_tid)) sched_yield();
    }
    end_the_wait();
    MUST(come_back() == NULL);
}

static void stop_and_continue(void)
{
    let_it_wait();
    for (int i = 0; i < 3; i++) MUST(kill(getpid(), SIGSTOP) == 0); /* child_end continues it */
    end_the_wait();
    MUST(come_back() == NULL);
}

/* The lease outlives its borrower, and any other thread may give it back. */
static void *borrow_and_end(void *arg)
{
    (void)arg;
    kp_release(&s.held);
    s.held = take_one("k");
    pthread_exit(NULL);
}

static void borrower_ends(void)
{
    pthread_t borrower;

    MUST(pthread_create(&borrower, NULL, borrow_and_end, NULL) == 0);
    MUST(pthread_join(borrower, NULL) == 0);
    nothing();
}

/* Another thread that waits for the same times out, and ends. */
static void *give_up_soon(void *arg)
{
    kp_lease lease;
    kp_key key = kp_str("k");

    (void)arg;
    if (row->call == call_close || row->call == call_drain)
        MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, 1) == 1);
    else if (row->call == call_warm) MUST(kp_warm(s.pool, &key, 1, KP_IN_MS(1)) == 0);
    else MUST(kp_get(s.pool, key, KP_IN_MS(1), &lease) == KP_ETIMEDOUT);
    return NULL;
}

static void another_gives_up(void)
{
    pthread_t other;

    let_it_wait();
    if (row->call != call_drain) { /* its close, which is no drain, would end the drain */
        MUST(pthread_create(&other, NULL, give_up_soon, NULL) == 0);
        MUST(pthread_join(other, NULL) == 0);
    }
    end_the_wait();
    MUST(come_back() == NULL);
}

static void use_it_in_a_child(void *arg)
{
    kp_lease lease;
    int rc = kp_get(s.pool, kp_str("k"), KP_IN_S(30), &lease);

    (void)arg;
    if (row->call == call_close || row->call == call_drain) {
        MUST(rc == KP_ECLOSED); /* it was closing */
        return;
    }
    MUST(rc == (row->begin == fail_once ? KP_ECREATE : 0)); /* here, too, the first create fails */
    if (rc == 0) MUST(((struct thing *)lease.resource)->made_in == getpid());
    kp_release(&lease);
    MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

static void fork_meanwhile(void)
{
    int up = child_pipe[1];

    let_it_wait();
    const char *failed = child_end(child_start(use_it_in_a_child, NULL));
    child_pipe[1] = up;
    if (failed) child_fail(__LINE__, failed);
    end_the_wait();
    MUST(come_back() == NULL);
}

static int destroyed_before;

static void look_at_exit(void)
{
    if (s.back || all_destroyed != destroyed_before) child_fail(__LINE__, "exit woke somebody");
}

static void exit_meanwhile(void)
{
    let_it_wait();
    destroyed_before = all_destroyed;
    atexit(look_at_exit);
    exit(0);
}

static const struct column {
    const char *name, *outcome;
    void (*happens)(void);
} columns[] = {
    { "nothing", "comes back when it is served", nothing },
    { "pthread_cancel", "the same, and ends at its next point", cancel },
    { "signals", "the same: sleeps on", signal_it },
    { "SIGSTOP, SIGCONT", "the same", stop_and_continue },
    { "borrower's thread ends", "the same: any thread gives back", borrower_ends },
    { "another gives up", "the same", another_gives_up },
    { "fork", "the same; the child starts anew", fork_meanwhile },
    { "exit", "is not woken, and nothing destroyed", exit_meanwhile },
};

enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* ---- all of them ----------------------------------------------------------------------------- */

static bool applies(const struct row *r, const struct column *c)
{
    return c->happens != borrower_ends || (r->lends && r->begin != lend_with_a_queue);
}

static void play(void *arg)
{
    s.within_ms = KP_SECONDS(50);
    row->begin();
    ((const struct column *)arg)->happens();
}

static void whatever_comes_in_between_every_call_must_come_back_with_what_it_promised(void **state)
{
    int cells = 0;

    (void)state;
    for (int c = 0; c < COLUMNS; c++)
        print_message("%-24s %s\n", columns[c].name, columns[c].outcome);
    for (int r = 0; r < ROWS; r++) {
        row = &rows[r];
        for (int c = 0; c < COLUMNS; c++) {
            if (!applies(row, &columns[c])) continue;
            const char *failed = child_end(child_start(play, (void *)(uintptr_t)&columns[c]));
            if (failed) fail_msg("%s / %s: %s", row->name, columns[c].name, failed);
            cells++;
        }
        print_message("%-38s as said\n", row->name);
    }
    print_message("%d cells\n", cells);
    assert_int_equal(cells, ROWS * COLUMNS - 8);
}

/* ---- deadlines under signals ----------------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void signal_until_the_deadline(void *arg)
{
    int64_t began = now_ms();

    (void)arg;
    s.within_ms = 150;
    row->begin();
    catch_signals();
    MUST(pthread_create(&s.caller, NULL, make_the_call, NULL) == 0);
    while (s.caller_tid == 0) sched_yield();
    while (!s.back) { /* if signals restarted its deadline, the wait would never end */
        (void)pthread_kill(s.caller, SIGUSR1);
        sched_yield();
    }
    MUST(now_ms() - began >= 150);
    MUST(pthread_join(s.caller, NULL) == 0);
    MUST(s.result == row->late && signals > 0);
    if (s.job || row->lends || row->begin == fail_once) row->end();
    MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(all_created == all_destroyed);
}

/* L4 */
static void signals_must_neither_end_a_wait_early_nor_move_its_deadline(void **state)
{
    (void)state;
    for (int r = 0; r < ROWS; r++) {
        row = &rows[r];
        if (row->late == 1) continue;
        const char *failed = child_end(child_start(signal_until_the_deadline, NULL));
        if (failed) fail_msg("%s: %s", row->name, failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            whatever_comes_in_between_every_call_must_come_back_with_what_it_promised),
        cmocka_unit_test(signals_must_neither_end_a_wait_early_nor_move_its_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
