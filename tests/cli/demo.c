/* SPDX-License-Identifier: MIT
 *
 * The guided tour, and how it ends.
 */
#include "cli/run.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char folder[] = "/tmp/keyedpool-cli-XXXXXX", temporary[96];

static void begin_there(void)
{
    (void)setenv("TMPDIR", temporary, 1);
}

static void begin_without_a_terminal(void)
{
    sigset_t hang_up;

    begin_there();
    (void)sigemptyset(&hang_up);
    (void)sigaddset(&hang_up, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &hang_up, NULL);       /* until demo takes it */
    (void)raise(SIGHUP);
}

/* As nohup does. */
static void begin_for_good(void)
{
    (void)signal(SIGHUP, SIG_IGN);
    begin_without_a_terminal();
}

static void the_tour_must_find_what_its_chapters_promise(void **state)
{
    static const char *const found[] = {
        "\n1. Regions as keys\n", "made for this request\n", "taken from the pool\n",
        "the limit: max_live = 4; the oldest lease: ", "by 'tour'\n",
        "SQLITE_BUSY: 0 times, other errors: 0; writing connections made: 1\n",
        "fine, answered by us-east\n", "fine, answered by ap-south\n",
        "still usable by its borrower, and destroyed when it comes back\n",
        "'careless' left 1 statement open and a transaction, which was rolled back",
        "the next borrower finds no transaction and no statement\n", "lent: 2\n",
        "eu-north goes back next\n", "eu-west goes back next\n", "lent: 0\n",
        "idle readers of eu-west: 1\n", "live: 12; idle ones of other keys evicted",
        "KP_ETIMEDOUT, limited by budget.max_live\n", "a new get is answered KP_ECLOSED: ",
        "closed; still out: 0\n", "before the close:\n", "\n  all keys ",
        " connections were opened, "
    };
    const char *at;

    (void)state;
    run_before = begin_there;
    RUN("demo");
    assert_int_equal(said.status, 0);
    at = said.out;
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {     /* in this order */
        if (!(at = strstr(at, found[i])))
            fail_msg("no '%s' at its place in: %s", found[i], said.out);
    }
}

static rlim_t most_files;

static void begin_with_few_files(void)
{
    struct rlimit limit = { most_files, most_files };

    begin_there();
    (void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  /* that needs some, too */
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        _exit(126);
}

/* Wherever on the way descriptors run out. */
static void a_tour_that_cannot_go_on_must_say_why_and_leave_nothing_behind(void **state)
{
    (void)state;
    for (most_files = 9; most_files < 30; most_files += 3) {
        run_before = begin_with_few_files;
        RUN("demo");
        assert_int_equal(said.status, 3);
        said_must_have(said.err, ": sqlite: unable to open database file (14)");
        if (rmdir(temporary) != 0 || mkdir(temporary, 0700) != 0)
            fail_msg("with %d files, the folder is left", (int)most_files);
    }
}

static void begin_with_small_files(void)
{
    struct rlimit limit = { 4096, 4096 };

    begin_there();
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(126);
}

/* As with a full disk. */
static void a_tour_whose_files_may_not_grow_must_say_why_and_leave_nothing_behind(void **state)
{
    (void)state;
    run_before = begin_with_small_files;
    RUN("demo");
    assert_int_equal(said.status, 3);
    said_must_have(said.err, "eu-west.db: ");
    assert_int_equal(rmdir(temporary), 0);
    assert_int_equal(mkdir(temporary, 0700), 0);
}

/* A file system of its own, which has room for a file but not for a table; or, if the processes
 * there are slow, not for all that comes with a connection. 126: only root may have one. */
static void begin_on_a_small_disk(void)
{
    begin_there();
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", temporary, "tmpfs", 0, "size=40k") != 0)
        _exit(126);
}

static void a_tour_on_a_full_disk_must_say_that_it_is_full(void **state)
{
    (void)state;
    run_before = begin_on_a_small_disk;
    RUN("demo");
    if (said.status == 126)
        skip();
    assert_int_equal(said.status, 3);
    said_must_have(said.err, "eu-west.db: ");
    said_must_have(said.err, "database or disk is full");
}

static int start(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(temporary, sizeof temporary, "%s/whose-name-is-rather-long", folder);
    return mkdir(temporary, 0700);
}

static int stop(void **state)
{
    (void)state;
    return rmdir(temporary) == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void demo_must_leave_nothing_behind(void **state)
{
    char line[400];
    int status;

    (void)state;
    run_before = begin_there;
    RUN("demo");
    assert_int_equal(said.status, 0);
    (void)snprintf(line, sizeof line, ", files in %s/keyedpool-demo-", temporary);
    said_must_have(said.out, line);
    run_before = begin_without_a_terminal;
    RUN("demo");
    assert_int_equal(said.status, 130);
    run_before = begin_for_good;
    RUN("demo");
    assert_int_equal(said.status, 0);
    (void)snprintf(line, sizeof line, "TMPDIR=%s %s demo | true", temporary, KP_COMMAND);
    status = system(line);              /* nobody reads what it says */
    assert_int_equal(status, 0);
    assert_int_equal(rmdir(temporary), 0);
    assert_int_equal(mkdir(temporary, 0700), 0);
}

/* It has begun, and cannot end yet: the pipe has room for less than half of what it says. */
static void a_signal_must_end_the_tour_and_leave_nothing_behind(void **state)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    char said_so_far[512];

    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int out[2], status;
        pid_t pid;

        assert_int_equal(pipe(out), 0);
        assert_true(fcntl(out[1], F_SETPIPE_SZ, 4096) > 0);
        pid = fork();
        if (pid == 0) {
            begin_there();
            if (dup2(out[1], 1) >= 0 && close(out[0]) == 0 && close(out[1]) == 0)
                (void)execl(KP_COMMAND, KP_COMMAND, "demo", (char *)NULL);
            _exit(127);
        }
        (void)close(out[1]);
        assert_int_equal(read(out[0], said_so_far, 1), 1);
        assert_int_equal(kill(pid, signals[i]), 0);
        while (read(out[0], said_so_far, sizeof said_so_far) > 0)
            ;
        (void)close(out[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 130);
        assert_int_equal(rmdir(temporary), 0);
        assert_int_equal(mkdir(temporary, 0700), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tour_must_find_what_its_chapters_promise),
        cmocka_unit_test(demo_must_leave_nothing_behind),
        cmocka_unit_test(a_signal_must_end_the_tour_and_leave_nothing_behind),
        cmocka_unit_test(a_tour_that_cannot_go_on_must_say_why_and_leave_nothing_behind),
        cmocka_unit_test(a_tour_whose_files_may_not_grow_must_say_why_and_leave_nothing_behind),
        cmocka_unit_test(a_tour_on_a_full_disk_must_say_that_it_is_full),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
