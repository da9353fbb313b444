/* SPDX-License-Identifier: MIT
 *
 * The guided tour, and how it ends.
 */
#include "cli/run.h"

#include <signal.h>
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

static void demo_must_leave_nothing_behind(void **state)
{
    char line[400];
    int status;

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(temporary, sizeof temporary, "%s/whose-name-is-rather-long", folder);
    assert_int_equal(mkdir(temporary, 0700), 0);
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
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_must_leave_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
