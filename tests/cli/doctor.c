/* SPDX-License-Identifier: MIT
 *
 * What doctor finds without a server: on this machine, and at files.
 */
#include "cli/files.h"

#include <ctype.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void numbers_must_be_those_that_were_asked_for(void **state)
{
    static const struct { const char *name; int64_t value; } plan[] = {
        { "keys", 3 }, { "size", 7 }, { "max_live", 11 }, { "processes", 2 }, { "clients", 5 },
        { "connections", 22 }, { "idle_ms", 240000 }, { "timeout_ms", 3000 },
    };
    json_t *o;

    (void)state;
    RUN("doctor", "--timeout=3s", "--idle=4min", "--processes=2", "--max-live=11", "--size=7",
        "--json", "-c5", "-k3");
    o = said_object("keyedpool-doctor-1");
    for (size_t i = 0; i < sizeof plan / sizeof *plan; i++)
        assert_int_equal(found_number(o, NULL, plan[i].name), plan[i].value);
    assert_int_equal(found_number(o, "open_files", "need"), 11 + 64);
    assert_true(found_number(o, "open_files", "limit") >= 11 + 64);
    assert_int_equal(found_number(o, "threads", "need"), 5 + 2);
    json_decref(o);
    RUN("doctor", "--json", "-k3", "--size=7", "--max-live=60");
    o = said_object("keyedpool-doctor-1");
    assert_int_equal(found_number(o, NULL, "connections"), 3 * 7);
    json_decref(o);
}

static rlim_t hard_files;

static void few_files(void)
{
    struct rlimit limit = { 100, hard_files };

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        _exit(126);
}

static void open_files_must_be_held_against_the_budget(void **state)
{
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    RUN("doctor", "--json", "--size", "20");
    it_must_have_found("system", "open_files", "ok", "up to 84 are needed");
    hard_files = limit.rlim_max;
    run_before = few_files;
    RUN("doctor", "--json", "-k", "5", "--size", "20");
    it_must_have_found("system", "open_files", "warn", "164 are needed, 100 allowed: use ulimit");
    hard_files = 100;
    run_before = few_files;
    RUN("doctor", "-o", "json", "-k", "5", "--size", "20", "--max-live", "50");
    it_must_have_found("system", "open_files", "fail", "at most 100 can be allowed");
    run_before = few_files;             /* enough: it must not be said that they are not */
    RUN("bench", "redis://127.0.0.1:1", "-k", "1k", "--max-live", "5");
    it_must_fail(3, "Connection refused");
}

static void doctor_must_hold_ports_and_threads_against_the_budget(void **state)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    char half[32];
    long low, high;

    (void)state;
    if (!f)
        skip();
    assert_int_equal(fscanf(f, "%ld %ld", &low, &high), 2);
    (void)fclose(f);
    RUN("doctor", "--json");
    it_must_have_found("system", "ports", "ok", "10 connections to one server");
    it_must_have_found("system", "somaxconn", "ok", "10 may connect at once");
    it_must_have_found("system", "threads", "ok", "10 with upkeep");
    (void)snprintf(half, sizeof half, "%ld", (high - low) / 4 * 3);
    RUN("doctor", "--json", "--size", half);
    it_must_have_found("system", "ports", "warn", "a closed connection keeps its port");
    RUN("doctor", "--json", "--size", "70000", "--processes", "100k", "-c", "100M");
    it_must_have_found("system", "ports", "fail", "widen net.ipv4.ip_local_port_range");
    it_must_have_found("system", "somaxconn", "warn", "raise net.core.somaxconn");
    it_must_have_found("system", "threads", "fail", "): raise that, or use fewer clients");
}

static char group[96];

static bool group_write(const char *file, const char *text)
{
    char path[160];
    bool written;
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", group, file);
    if (!(f = fopen(path, "w")))
        return false;
    written = fputs(text, f) >= 0;
    return fclose(f) == 0 && written;
}

/* A control group of 90 threads, and one in it. Only root may make some, and not in every
 * container. */
static bool group_make(void)
{
    static const char *const roots[] = { "/sys/fs/cgroup/pids", "/sys/fs/cgroup" };
    char inner[160];

    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        (void)snprintf(group, sizeof group, "%s/keyedpool-test-%d", roots[i], (int)getpid());
        (void)snprintf(inner, sizeof inner, "%s/inner", group);
        if (mkdir(group, 0700) != 0)
            continue;
        if (group_write("pids.max", "90") && mkdir(inner, 0700) == 0)
            return true;
        (void)rmdir(group);
    }
    return false;
}

/* In a container a group may go by its path outside, which leads nowhere inside. */
static bool group_has_its_path(void)
{
    FILE *f = fopen("/proc/self/cgroup", "r");
    char path[128], line[1024];
    bool found = false;

    (void)snprintf(path, sizeof path, ":%s/inner\n", strrchr(group, '/'));
    while (f && !found && fgets(line, sizeof line, f))
        found = strstr(line, path) != NULL;
    if (f)
        (void)fclose(f);
    return found;
}

enum { NO_GROUP = 126 };

static void begin_in_the_inner_group(void)
{
    if (!group_write("inner/cgroup.procs", "0") || !group_has_its_path())
        _exit(NO_GROUP);
}

static void the_limits_of_control_groups_must_be_known(void **state)
{
    char inner[160];

    (void)state;
    if (!group_make())
        skip();
    run_before = begin_in_the_inner_group;
    RUN("doctor", "--json", "-c", "89");
    (void)snprintf(inner, sizeof inner, "%s/inner", group);
    assert_int_equal(rmdir(inner), 0);
    assert_int_equal(rmdir(group), 0);
    if (said.status == NO_GROUP)
        skip();
    it_must_have_found("system", "threads", "fail", "91 with upkeep, 90 allowed in all in this "
                       "control group (pids.max): raise that, or use fewer clients");
}

static void what_only_servers_need_must_not_be_asked_of_files(void **state)
{
    (void)state;
    RUN("doctor", "--json", "--size", "70000", "sqlite:x.db");
    said_must_have(said.out, "open files: up to 140065 are needed");      /* two each, and one */
    assert_null(strstr(said.out, "\"ports\""));
    assert_null(strstr(said.out, "\"somaxconn\""));
    RUN("doctor", "--json", "-k", "10", "--size", "100", "--max-live", "200", "sqlite:x.db");
    said_must_have(said.out, "open files: up to 1274 are needed");  /* 10 with 100 places, 200 */
    RUN("doctor", "--json", "-k", "1k", "--size", "100", "--max-live", "20", "sqlite:x.db");
    said_must_have(said.out, "open files: up to 2104 are needed");  /* 20 at the same time */
    RUN("doctor", "--json", "--size", "70000", "sqlite:x.db", "redis://127.0.0.1:1");
    it_must_have_found("system", "ports", "fail", "70000 connections to one server");
    said_must_have(said.out, "open files: up to 140065 are needed");
}

static void no_large_pages(void)
{
    if (prctl(PR_SET_THP_DISABLE, 1UL, 0UL, 0UL, 0UL) != 0)
        _exit(126);
}

static void doctor_must_tell_large_pages_of_pools_that_would_use_them(void **state)
{
    (void)state;
    run_before = no_large_pages;
    RUN("doctor", "--json");
    it_must_have_found("system", "large_pages", "ok", "large pages: off");
    run_before = no_large_pages;
    RUN("doctor", "--json", "-k", "70k", "--size", "1");
    it_must_have_found("system", "large_pages", "warn", "set transparent_hugepage to madvise");
}

static void doctor_must_say_what_is_installed(void **state)
{
    (void)state;
    RUN("doctor", "--json");
    it_must_have_found("installed", "keyedpool", "ok", "keyedpool 0.");
    it_must_have_found("installed", "sqlite", "ok", "sqlite: sqlite 3.");
    it_must_have_found("installed", "libc", "ok", "glibc");
    RUN_BARE("doctor", "--json");
    it_must_have_found("installed", "postgres", "ok", "postgres: not in this build");
}

static void doctor_must_tell_the_journal_mode_of_a_file_and_make_none(void **state)
{
    char url[96], command[200];

    (void)state;
    (void)snprintf(url, sizeof url, "sqlite:%s/none.db", folder);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connect", "fail", "unable to open database file");
    (void)snprintf(command, sizeof command, "test ! -e %s/none.db", folder);
    assert_int_equal(system(command), 0);
    (void)snprintf(command, sizeof command, ": > %s/old.db", folder);
    assert_int_equal(system(command), 0);
    (void)snprintf(url, sizeof url, "sqlite:%s/old.db", folder);
    RUN("doctor", "--json", url); /* an empty one, and nothing of ours in it */
    it_must_have_found(NULL, "connect", "ok", "connected in ");
    assert_true(isdigit((unsigned char)strstr(said.out, "connected in ")[13]));
    assert_true(isdigit((unsigned char)strstr(said.out, ", read took ")[12]));
    it_must_have_found(NULL, "journal", "warn", "journal mode delete");
    (void)snprintf(url, sizeof url, "sqlite:%s/own.db", folder);
    RUN("bench", url, "-z", "200ms");
    assert_int_equal(said.status, 0);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connect", "ok", "connected in");
    it_must_have_found(NULL, "journal", "ok", "journal mode wal");
}

static void doctor_must_look_into_a_folder(void **state)
{
    char url[96];

    (void)state;
    (void)snprintf(url, sizeof url, "sqlite:%s/empty", folder);
    assert_int_equal(mkdir(strchr(url, '/'), 0700), 0);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "folder", "ok", "files can be created in it; .db files: 0");
    assert_null(strstr(said.out, "\"connect\""));
    (void)snprintf(url, sizeof url, "sqlite:%s/all/", folder);
    RUN("doctor", "--json", url);
    assert_int_equal(said.status, 1);
    it_must_have_found(NULL, "folder", "fail", "files cannot be created in it: No such file");
    RUN("bench", url, "-k", "2", "-z", "200ms");
    assert_int_equal(said.status, 0);
    RUN("doctor", "--json", url);
    assert_int_equal(said.status, 0);
    it_must_have_found(NULL, "folder", "ok", ".db files: 2, looked at: key-");
    it_must_have_found(NULL, "journal", "ok", "journal mode wal");
}

static void doctor_must_end_with_what_it_all_comes_to(void **state)
{
    (void)state;
    RUN("doctor", "--size", "1");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, "\nsystem\n  ok    open files: ");
    said_must_have(said.out, "\nall is well\n");
    RUN("doctor", "-c", "100M", "--size", "1");
    assert_int_equal(said.status, 1);
    said_must_have(said.out, "\n  fail  threads: ");
    said_must_have(said.out, "\n0 warnings, 1 failure\n");
    RUN("doctor", "gopher://me:secret@x/");
    it_must_fail(2, "'gopher:' is not one of");
    nothing_must_show("secret");
}

/* The folders and files have names that no report has room for, or that are no text; they need not
 * be there. */
static void a_report_must_tell_what_is_left_of_a_text(void **state)
{
    char name[201], url[500];

    (void)state;
    (void)snprintf(url, sizeof url, "sqlite:%s/caf\xe9 \xc3\xa4", folder);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connect", "fail", "/caf? \xc3\xa4");
    for (size_t i = 0; i < 200; i += 2)
        memcpy(name + i, "\xc3\xa4", 3);
    for (int more = 0; more < 2; more++) {      /* a cut is in the middle of a character, or not */
        (void)snprintf(url, sizeof url, "sqlite:%s/%s%s/%s", folder, more ? "x" : "", name, name);
        RUN("doctor", "--json", url);
        it_must_have_found(NULL, "connect", "fail", "the file does not exist yet");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_must_be_those_that_were_asked_for),
        cmocka_unit_test(open_files_must_be_held_against_the_budget),
        cmocka_unit_test(doctor_must_hold_ports_and_threads_against_the_budget),
        cmocka_unit_test(the_limits_of_control_groups_must_be_known),
        cmocka_unit_test(what_only_servers_need_must_not_be_asked_of_files),
        cmocka_unit_test(doctor_must_tell_large_pages_of_pools_that_would_use_them),
        cmocka_unit_test(doctor_must_say_what_is_installed),
        cmocka_unit_test(doctor_must_tell_the_journal_mode_of_a_file_and_make_none),
        cmocka_unit_test(doctor_must_look_into_a_folder),
        cmocka_unit_test(doctor_must_end_with_what_it_all_comes_to),
        cmocka_unit_test(a_report_must_tell_what_is_left_of_a_text),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
