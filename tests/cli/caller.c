/* SPDX-License-Identifier: MIT
 *
 * The command and whoever calls it: signals, and streams that cannot be written.
 */
#include "cli/files.h"

#include <signal.h>

/* As control-Z and fg do, while another run takes 300 ms. */
static void suspend_for_another_run(void)
{
    char line[400];
    siginfo_t info;

    (void)snprintf(line, sizeof line, "%s bench %s -c 1 -z 300ms > /dev/null", KP_COMMAND,
                   folder_url);
    assert_int_equal(kill(run_child, SIGSTOP), 0);
    assert_int_equal(waitid(P_PID, (id_t)run_child, &info, WSTOPPED), 0);
    assert_int_equal(system(line), 0);
    assert_int_equal(kill(run_child, SIGCONT), 0);
}

static void lines_of_progress_that_were_missed_must_not_be_made_up_for(void **state)
{
    int lines = 0;

    (void)state;
    run_meanwhile = suspend_for_another_run;
    RUN("bench", folder_url, "-c", "1", "-z", "600ms", "-P", "10ms");
    assert_int_equal(said.status, 0);
    for (const char *at = said.err; (at = strstr(at, "progress: ")) != NULL; at++)
        lines++;
    assert_in_range(lines, 1, 32);
}

static void interrupt(void)
{
    assert_int_equal(kill(run_child, SIGINT), 0);
}

/* As a shell without job control does for what it runs in the background. */
static void ignore_interrupts(void)
{
    (void)signal(SIGINT, SIG_IGN);
}

static void an_interrupted_bench_must_show_what_it_has(void **state)
{
    (void)state;
    run_meanwhile = interrupt;
    RUN("bench", folder_url, "-c", "1", "-z", "1h", "-P", "50ms");
    assert_int_equal(said.status, 130);
    said_must_have(said.out, ", interrupted\n  operations");
}

static void a_signal_that_is_ignored_must_not_end_a_bench(void **state)
{
    (void)state;
    run_before = ignore_interrupts;
    run_meanwhile = interrupt;
    RUN("bench", folder_url, "-c", "1", "-z", "200ms", "-P", "50ms");
    assert_int_equal(said.status, 0);
    assert_null(strstr(said.out, "interrupted"));
}

static void help_that_cannot_be_written_must_fail(void **state)
{
    static const char *const lines[] = { "--help", "help bench", "bench --help", "--version" };
    char line[400];

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        (void)snprintf(line, sizeof line, "%s %s > /dev/full 2> %s/said", KP_COMMAND, lines[i],
                       folder);
        int status = system(line);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
    }
}

static void help_must_fit_into_a_terminal_of_80_columns(void **state)
{
    static const char *const pages[] = { "--help", "demo", "bench", "doctor" };

    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (i == 0)
            RUN(pages[i]);
        else
            RUN("help", pages[i]);
        assert_int_equal(said.status, 0);
        for (char *at = strtok(said.out, "\n"); at; at = strtok(NULL, "\n")) {
            if (strlen(at) > 80)
                fail_msg("%s: %zu columns: %s", pages[i], strlen(at), at);
        }
    }
}

/* "Each line is marked": a name must not make one of its own, nor control a terminal. */
static void what_others_named_must_stay_in_its_line(void **state)
{
    char name[96];
    FILE *f;

    (void)state;
    assert_int_equal(setenv("LC_ALL", "C.UTF-8", 1), 0);
    (void)snprintf(name, sizeof name, "%s/.\xc3\xa4\x1b[2J\n  ok    b.db", folder);
    f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    RUN("doctor", folder_url);
    said_must_have(said.out, "looked at: .\xc3\xa4?[2J?  ok    b.db\n");
    assert_int_equal(remove(name), 0);
    (void)snprintf(name, sizeof name, "%s/.\xc3\xa4\xc2\x9b" "2J.db", folder);    /* CSI in one */
    f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    RUN("doctor", folder_url);
    said_must_have(said.out, "looked at: .\xc3\xa4??2J.db\n");
    assert_int_equal(remove(name), 0);
}

/* So must what the caller typed, wherever it does not belong. */
static void what_was_typed_must_stay_in_the_line_of_the_complaint(void **state)
{
    static const char *const lines[][3] = {
        { "be\x1b[31mnch\n\x7f" }, { "help", "\n\x1b[31m" }, { "demo", "\n\x1b[31m" },
        { "--\n\x1b[31m" }, { "bench", "--\n\x1b[31m" }, { "bench", "-\x1b" },
        { "bench", "-c", "\n\x1b[31m" }, { "bench", "-c", "\n999999" },
        { "bench", "-z", "\n\x1b[31m" }, { "bench", "-o", "\n\x1b[31m" },
        { "bench", "\n\x1b[31m:/x" }, { "doctor", "redis://\n\x1b[31m:0" },
    };
    char name[96];

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        RUN(lines[i][0], lines[i][1], lines[i][2]);
        it_must_fail(2, " (see keyedpool");
        assert_null(strpbrk(said.err, "\x1b\x7f"));
    }
    RUN("bench", "sqlite:/no/such\n\x1b[31m/file.db", "-z", "1ms");
    it_must_fail(3, "/no/such??[31m/file.db: sqlite: unable");
    assert_int_equal(setenv("TMPDIR", "/no/such\n\x1b[31m", 1), 0);
    RUN("demo");
    it_must_fail(3, "/no/such??[31m: cannot make a folder in it: No such file or directory\n");
    assert_int_equal(unsetenv("TMPDIR"), 0);
    RUN("doctor", "sqlite:/no/such\n\x1b[31m/file.db");
    assert_int_equal(said.status, 1);
    said_must_have(said.out, "\nsqlite:/no/such??[31m/file.db\n");
    (void)snprintf(name, sizeof name, "%s/a\n\x1b[31m.db", folder_url);
    RUN("bench", name, "-z", "200ms");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, "(a??[31m.db)\n");
    assert_null(strchr(said.out, '\x1b'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_progress_that_were_missed_must_not_be_made_up_for),
        cmocka_unit_test(an_interrupted_bench_must_show_what_it_has),
        cmocka_unit_test(a_signal_that_is_ignored_must_not_end_a_bench),
        cmocka_unit_test(help_that_cannot_be_written_must_fail),
        cmocka_unit_test(help_must_fit_into_a_terminal_of_80_columns),
        cmocka_unit_test(what_others_named_must_stay_in_its_line),
        cmocka_unit_test(what_was_typed_must_stay_in_the_line_of_the_complaint),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
