/* SPDX-License-Identifier: MIT
 *
 * The guided tour, and how it ends.
 */
#include "cli/run.h"

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

/* A file system of its own, which has room for a database but not for a table. 126: only root may
 * have one. */
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
    said_must_have(said.err, "eu-west.db: database or disk is full");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_must_leave_nothing_behind),
        cmocka_unit_test(a_tour_that_cannot_go_on_must_say_why_and_leave_nothing_behind),
        cmocka_unit_test(a_tour_whose_files_may_not_grow_must_say_why_and_leave_nothing_behind),
        cmocka_unit_test(a_tour_on_a_full_disk_must_say_that_it_is_full),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
