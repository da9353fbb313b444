/* SPDX-License-Identifier: MIT
 *
 * The command without a server: files, wrong URLs, what is not in a build, and its manual.
 */
#include "cli/files.h"

#include <ctype.h>

/* ---- bench ----------------------------------------------------------------------------------- */

static void bench_must_load_files_and_report_them(void **state)
{
    (void)state;
    RUN("bench", folder_url, "-k", "3", "--write", "20", "-z", "100ms", "-o", "json");
    it_must_have_measured("sqlite", folder_url, "read");
    RUN("bench", "sqlite:/no/such/folder/file.db", "-z", "100ms");
    it_must_fail(3, "/no/such/folder/file.db: ");
    RUN("bench", "sqlite::memory:", "-z", "100ms");
    it_must_fail(3, ":memory:: it is in memory: each connection would have a database of its own");
    RUN("doctor", "--json", "sqlite::memory:");
    it_must_have_found("sqlite::memory:", "journal", "fail", "it is in memory");
}

/* The figure behind this word, of a line that begins with `from`, in tenths. */
static long tenths_behind(const char *from, const char *word)
{
    const char *at = strstr(from, word);
    char *end;
    long whole;

    if (!at)
        fail_msg("no '%s' in:\n%s", word, said.out);
    whole = strtol(at + strlen(word), &end, 10);
    assert_int_equal(*end, '.');
    return whole * 10 + (end[1] - '0');
}

static void the_time_of_clients_must_add_up_to_the_last_tenth(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *line;
        long wait;

        RUN("bench", folder_url, "-k", "9", "--max-live", "2", "-c", "3", "-z", "40ms");
        assert_int_equal(said.status, 0);
        line = strstr(said.out, "client time");
        assert_non_null(line);
        wait = tenths_behind(line, "wait ");
        assert_int_equal(wait + tenths_behind(line, "hold ") + tenths_behind(line, "give back ") +
                         tenths_behind(line, "rest "), 1000);
        assert_int_equal(tenths_behind(line, "in a queue ") + tenths_behind(line, "creating ") +
                         tenths_behind(line, "other "), wait);
    }
}

/* Many clients that queue for a connection and then make it. */
static void the_parts_of_a_wait_must_not_be_more_than_the_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        RUN("bench", folder_url, "-c", "64", "--size", "64", "-z", "5ms", "-o", "json");
        json_t *o = said_object("keyedpool-bench-1"), *time = json_object_get(o, "client_time");
        double wait = json_number_value(json_object_get(time, "wait")),
               queued = json_number_value(json_object_get(time, "wait_in_queue")),
               creating = json_number_value(json_object_get(time, "wait_creating"));

        if (queued + creating > wait + 1e-8)
            fail_msg("%f in a queue and %f creating, of %f", queued, creating, wait);
        json_decref(o);
    }
}

static void a_report_that_cannot_be_written_must_fail(void **state)
{
    int status = system(KP_COMMAND " doctor -o json > /dev/full 2> /dev/null");

    (void)state;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

#define SCHEMES "sqlite:, postgres://, postgresql://, redis://, http://, https:// ("

static void a_url_that_means_nothing_must_be_told(void **state)
{
    (void)state;
    RUN("bench", "mongodb://me:secret@somewhere/", "-z", "100ms");
    it_must_fail(2, "'mongodb:' is not one of: " SCHEMES);
    nothing_must_show("secret");
    RUN("bench", "me:secret@somewhere", "-z", "100ms");
    it_must_fail(2, "must begin with one of: " SCHEMES);
    nothing_must_show("secret");
    RUN("bench", "sqlite:");
    it_must_fail(2, "nothing follows sqlite:");
    RUN("bench", "https://");
    it_must_fail(2, ": nothing follows https://");
    RUN("doctor", "postgresql://");
    it_must_fail(2, ": nothing follows postgresql://");
    RUN("bench");
    it_must_fail(2, "a URL is missing");
}

/* As soon as it is seen, by whoever sees it, of both commands. */
static void a_url_that_is_no_place_must_be_a_wrong_command_line(void **state)
{
    static const struct { const char *url, *words; } cases[] = {
        { "postgres://h:bad/db", "postgres://h:bad/db: a port is a number from 1 to 65535" },
        { "postgres://me@a,[::1]:70000/db", "a port is a number from 1 to 65535" },
        { "postgres://h/db?options=-cx=hush", "a =, @ or / in a URI not written %3D, %40 or %2F?" },
        { "redis://:hush@h:0", "redis://h:0: a port is a number from 1 to 65535" },
        { "postgres://%zz/db", "it must be a conninfo string or URI" },
        { "postgres://h/db?hush=hush", "it must be a conninfo string or URI" },
        { "redis://h/first", "its database is not a number" },
        { "redis://:hush@h:1?db=2", "redis://h:1: redis: it has a ? or #, and what follows" },
        { "redis://h/1?timeout=5", "it has a ? or #, and what follows" },
        { "redis://%zz@h", "badly encoded" },
        { "rediss://h", "does not support TLS" },
        { "http:///x", "http:///x: http: a key must be http://host:port" },
        { "http://127.0.0.1:1/a b?hush", "http://127.0.0.1:1/a b: in a URL a blank is written" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN("bench", cases[i].url, "-z", "1ms");
        it_must_fail(2, cases[i].words);
        nothing_must_show("hush");
        RUN("doctor", cases[i].url);
        it_must_fail(2, cases[i].words);
        nothing_must_show("hush");
    }
}

static void words_that_mean_nothing_must_be_told(void **state)
{
    (void)state;
    RUN("bench", "--s", "8", "sqlite:x");
    it_must_fail(2, "--s is ambiguous: several options begin with it");
    RUN("bench", "-\xc3\xa9", "sqlite:x");
    it_must_fail(2, "an option must be an ASCII letter");
    RUN("bench", "--zipf=1", "-xq", "sqlite:x");
    it_must_fail(2, "bench: -x is not an option");
    RUN("doctor", "--json", "-xc", "1");
    it_must_fail(2, "doctor: -x is not an option");
    RUN("bench", "-r", "0", "sqlite:x");
    it_must_fail(2, "0 is not between 0.01 and 10M");
    RUN("doctor", "-k", "0.5", "sqlite:x");
    it_must_fail(2, "-k: '0.5' is not a whole number");
    RUN("doctor", "--json", "-k", "16.1k");     /* 16.1 * 1000 is a little less in binary */
    said_must_have(said.out, "\"keys\": 16100,");
    RUN("help", "help");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, "help CMD");
    RUN("help", "bench", "now");
    it_must_fail(2, "help: 'now' is one argument too many");
    RUN("--version", "bench");
    it_must_fail(2, "--version: 'bench' is one argument too many");
}

/* Where no URL belongs, there may be one all the same. */
static void a_url_out_of_its_place_must_not_be_shown(void **state)
{
    static const char *const lines[][3] = {
        { "redis://:hush@h" }, { "demo", "redis://:hush@h" }, { "help", "redis://:hush@h" },
        { "help", "bench", "redis://:hush@h" }, { "bench", "-c", "redis://:hush@h" },
        { "bench", "-z", "redis://:hush@h" }, { "bench", "-r", "redis://:hush@h" },
        { "bench", "-o", "redis://:hush@h" }, { "bench", "--redis://:hush@h" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        RUN(lines[i][0], lines[i][1], lines[i][2]);
        it_must_fail(2, i == 0 ? "a command is missing before the URL" : "");
        nothing_must_show("hush");
    }
}

static void an_adapter_that_was_not_built_must_be_told(void **state)
{
    static const struct { const char *url, *words; } cases[] = {
        { "sqlite:x", "built without its adapter for sqlite" },
        { "postgresql://me:secret@x/", "built without its adapter for postgres" },
        { "rediss://:secret@x", "built without its adapter for redis" },
        { "https://x", "built without its adapter for http" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN_BARE("bench", cases[i].url);
        it_must_fail(2, cases[i].words);
        nothing_must_show("secret");
    }
    RUN_BARE("demo");
    it_must_fail(2, "there is no command 'demo'");
    RUN_BARE("--help");
    assert_null(strstr(said.out, "demo"));
}

/* ---- what it says of itself ------------------------------------------------------------------ */

static void version_and_help_must_say_what_is_in_the_build(void **state)
{
    static const char *const names[] = { "sqlite", "postgres", "redis", "http" };
    char line[64];

    (void)state;
    for (int i = 0; i < 4; i++) {
        (void)snprintf(line, sizeof line, "%s: not in this build\n", names[i]);
        RUN_BARE("--version");
        said_must_have(said.out, line);
        RUN_BARE("--help");
        said_must_have(said.out, line);
        RUN("--version");
        assert_int_equal(said.status, 0);
        (void)snprintf(line, sizeof line, "\n%s: ", names[i]);
        said_must_have(said.out, line);
    }
    said_must_have(said.out, "\nsqlite: sqlite 3.");
}

/* Every --option of the help that is printed now, as the manual writes it: *--option* */
static void options_must_be_in(const char *manual)
{
    char name[48];
    int found = 0;

    for (char *at = said.out; (at = strstr(at, " --")) != NULL; at += 3) {
        int n = 3;

        while (isalnum((unsigned char)at[n]) || at[n] == '-')
            n++;
        (void)snprintf(name, sizeof name, "*%.*s*", n - 1, at + 1);
        if (n > 3 && strcmp(name, "*--help*") != 0) {
            said_must_have(manual, name);
            found++;
        }
    }
    assert_true(found >= 5);
}

static void every_option_must_be_in_the_manual(void **state)
{
    static char manual[65536];
    FILE *f = fopen(KP_MANUAL, "r");

    (void)state;
    assert_non_null(f);
    run_read(f, manual, sizeof manual);
    RUN("bench", "--help");
    options_must_be_in(manual);
    RUN("doctor", "--help");
    options_must_be_in(manual);
}

static int times(const char *text, const char *words)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        n++;
    return n;
}

/* What a line of a doctor's begins with is explained in the manual, at one place. */
static void what_doctor_prints_must_be_in_the_manual_once(void **state)
{
    static char manual[65536];
    FILE *f = fopen(KP_MANUAL, "r");
    char name[64];
    int found = 0;

    (void)state;
    assert_non_null(f);
    run_read(f, manual, sizeof manual);
    RUN("doctor");
    for (char *at = strstr(said.out, "\nsystem\n"); at && (at = strstr(at, "\n  ")); at++) {
        (void)snprintf(name, sizeof name, "_%.*s_:", (int)strcspn(at + 9, ":"), at + 9);
        if (times(manual, name) != 1)
            fail_msg("%s is in the manual %d times", name, times(manual, name));
        found++;
    }
    assert_true(found >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_must_load_files_and_report_them),
        cmocka_unit_test(the_time_of_clients_must_add_up_to_the_last_tenth),
        cmocka_unit_test(the_parts_of_a_wait_must_not_be_more_than_the_wait),
        cmocka_unit_test(a_report_that_cannot_be_written_must_fail),
        cmocka_unit_test(a_url_that_means_nothing_must_be_told),
        cmocka_unit_test(a_url_that_is_no_place_must_be_a_wrong_command_line),
        cmocka_unit_test(words_that_mean_nothing_must_be_told),
        cmocka_unit_test(a_url_out_of_its_place_must_not_be_shown),
        cmocka_unit_test(an_adapter_that_was_not_built_must_be_told),
        cmocka_unit_test(version_and_help_must_say_what_is_in_the_build),
        cmocka_unit_test(every_option_must_be_in_the_manual),
        cmocka_unit_test(what_doctor_prints_must_be_in_the_manual_once),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
