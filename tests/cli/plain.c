/* SPDX-License-Identifier: MIT
 *
 * The command without a server: files, wrong URLs, what is not in a build, and its manual.
 */
#include "cli/run.h"

#include <ctype.h>

static char folder[] = "/tmp/keyedpool-cli-XXXXXX";

static int start(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int stop(void **state)
{
    char command[64];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* ---- bench ----------------------------------------------------------------------------------- */

static void bench_must_load_files_and_report_them(void **state)
{
    char url[64];

    (void)state;
    (void)snprintf(url, sizeof url, "sqlite:%s", folder);
    RUN("bench", url, "-k", "3", "--write", "20", "-z", "100ms", "-o", "json");
    it_must_have_measured("sqlite", url, "read");
    RUN("bench", "sqlite:/no/such/folder/file.db", "-z", "100ms");
    it_must_fail(3, "/no/such/folder/file.db: ");
}

static void a_url_that_means_nothing_must_be_told(void **state)
{
    (void)state;
    RUN("bench", "mongodb://me:secret@somewhere/", "-z", "100ms");
    it_must_fail(2, "'mongodb:' is none of: sqlite:, postgres://, redis://, http://");
    nothing_must_show("secret");
    RUN("bench", "me:secret@somewhere", "-z", "100ms");
    it_must_fail(2, "must begin with one of: sqlite:, postgres://, redis://, http://");
    nothing_must_show("secret");
    RUN("bench", "redis://");
    it_must_fail(2, "redis:// needs something behind it");
    RUN("bench");
    it_must_fail(2, "say a URL");
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_must_load_files_and_report_them),
        cmocka_unit_test(a_url_that_means_nothing_must_be_told),
        cmocka_unit_test(an_adapter_that_was_not_built_must_be_told),
        cmocka_unit_test(version_and_help_must_say_what_is_in_the_build),
        cmocka_unit_test(every_option_must_be_in_the_manual),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
