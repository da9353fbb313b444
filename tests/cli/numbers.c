/* SPDX-License-Identifier: MIT
 *
 * The numbers that keyedpool bench reports: they must fit what was asked for, and each other.
 */
#include "cli/files.h"

#include <math.h>

static double number_at(const json_t *o, const char *in, const char *name)
{
    const json_t *value = json_object_get(in ? json_object_get(o, in) : o, name);

    if (!json_is_number(value))
        fail_msg("%s.%s is no number in: %s", in ? in : "", name, said.out);
    return json_number_value(value);
}

static void must_be(const json_t *o, const char *in, const char *name, double least, double most)
{
    double n = number_at(o, in, name);

    if (!(n >= least && n <= most))
        fail_msg("%s.%s is %g, not between %g and %g: %s", in, name, n, least, most, said.out);
}

static void what_was_asked_for_must_be_in_the_plan(void **state)
{
    static const struct { const char *name; double value; } plan[] = {
        { "clients", 3 }, { "keys", 5 }, { "zipf", 1.5 }, { "size", 2 }, { "max_live", 9 },
        { "write_pct", 20 }, { "rate", 500 }, { "run_s", 0.1 }, { "timeout_ms", 2000 },
        { "seed", 77 },
    };
    json_t *o;

    (void)state;
    RUN("bench", folder_url, "-c3", "-k5", "--zipf=1.5", "--size=2", "--max-live=9", "--write=20",
        "-r500", "-z100ms", "--timeout=2s", "--seed=77", "-ojson");
    o = said_object("keyedpool-bench-1");
    for (size_t i = 0; i < sizeof plan / sizeof *plan; i++)
        must_be(o, "plan", plan[i].name, plan[i].value, plan[i].value);
    json_decref(o);
    RUN("bench", folder_url, "-z", "10ms", "-o", "json");
    o = said_object("keyedpool-bench-1");
    assert_true(json_is_null(json_object_get(json_object_get(o, "plan"), "max_live")));
    assert_true(json_is_null(json_object_get(json_object_get(o, "plan"), "rate")));
    must_be(o, "result", "unserved", 0, 0); /* none is due where the next waits for the last */
    json_decref(o);
}

/* A wait, or what a client did with a connection, in ascending order. */
static void must_ascend(const json_t *o, const char *what, double count)
{
    static const char *const marks[] = { "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns" };
    double last = 0, sum = 0, edge = 0;
    const json_t *bucket;
    size_t i;

    must_be(o, what, "count", count, count);
    for (i = 0; i < sizeof marks / sizeof *marks; i++) {
        must_be(o, what, marks[i], last, HUGE_VAL);
        last = number_at(o, what, marks[i]);
    }
    must_be(o, what, "mean_ns", 1, last);
    json_array_foreach(json_object_get(json_object_get(o, what), "histogram"), i, bucket)
    {
        assert_true(number_at(bucket, NULL, "below_ns") > edge);
        edge = number_at(bucket, NULL, "below_ns");
        sum += number_at(bucket, NULL, "count");
    }
    assert_true(sum == count);
    assert_true(edge >= last);
}

static void what_was_measured_must_fit_together(void **state)
{
    double done, seconds, rate;
    json_t *o;

    (void)state;
    RUN("bench", folder_url, "-c3", "-k2", "--write=20", "-z300ms", "--seed=1", "-ojson");
    o = said_object("keyedpool-bench-1");
    done = number_at(o, "result", "operations");
    seconds = number_at(o, "result", "seconds");
    rate = number_at(o, "result", "per_second");
    must_be(o, "result", "reads", 0.6 * done, done - 1);
    must_be(o, "result", "writes", done - number_at(o, "result", "reads"),
            done - number_at(o, "result", "reads"));
    must_be(o, "result", "seconds", 0.3, 30);
    assert_true(fabs(rate * seconds - done) < 1e-3 * done);
    must_be(o, "result", "hit_rate", 0, 1);
    must_be(o, "stats", "gets", done, HUGE_VAL);
    must_ascend(o, "wait", done);
    must_ascend(o, "hold", done);
    must_be(o, "fairness", "longest_wait_ns", number_at(o, "wait", "max_ns"),
            number_at(o, "wait", "max_ns"));
    assert_non_null(strstr(text_at(json_object_get(o, "fairness"), "longest_wait_key"), "key-00"));
    must_be(o, "fairness", "jain_clients", 1. / 3, 1);
    must_be(o, "fairness", "jain_keys_served", 0.5, 1);
    must_be(o, "fairness", "jain_keys_wait", 0.5, 1);
    must_be(o, "client_time", "hold",
            0.5 * number_at(o, "hold", "mean_ns") * done / 3e9 / seconds, 1);
    must_be(o, "client_time", "wait", 0.5 * number_at(o, "wait", "mean_ns") * done / 3e9 / seconds,
            1);
    must_be(o, "client_time", "give_back", 1e-9, 1);
    must_be(o, "stats", "lent", 0, 0);
    json_decref(o);
}

static void one_client_with_one_key_must_be_served_fairly(void **state)
{
    json_t *o;

    (void)state;
    RUN("bench", folder_url, "-c", "1", "-z", "50ms", "-o", "json");
    o = said_object("keyedpool-bench-1");
    must_be(o, "fairness", "jain_clients", 1 - 1e-9, 1 + 1e-9);
    must_be(o, "fairness", "jain_keys_served", 1 - 1e-9, 1 + 1e-9);
    must_be(o, "fairness", "jain_keys_wait", 1 - 1e-9, 1 + 1e-9);
    json_decref(o);
}

/* Few enough to be drawn one by one, and more than that. What is due by chance is within 5 %. The
 * seconds may be more than the 0.2 in which requests were due: clients end what they have begun. */
static void whatever_was_due_must_have_been_served_or_not(void **state)
{
    static const struct { const char *text; double rate; } rates[] = { { "100k", 1e5 },
                                                                       { "10M", 1e7 } };

    (void)state;
    for (int i = 0; i < 2; i++) {
        RUN("bench", folder_url, "-c", "1", "-r", rates[i].text, "-z", "200ms", "-o", "json");
        json_t *o = said_object("keyedpool-bench-1");
        double seconds = number_at(o, "result", "seconds");
        double done = number_at(o, "result", "operations");

        must_be(o, "result", "unserved", 0.95 * rates[i].rate * 0.2 - done,
                1.05 * rates[i].rate * seconds - done);
        json_decref(o);
    }
}

/* About 100 requests come, more if the run ends late. None can wait for longer than the run. */
static void an_open_loop_must_keep_to_its_rate(void **state)
{
    double done, seconds;
    json_t *o;

    (void)state;
    RUN("bench", folder_url, "-c", "2", "-r", "200", "-z", "500ms", "--seed", "7", "-o", "json");
    assert_int_equal(said.status, 0);
    o = said_object("keyedpool-bench-1");
    done = number_at(o, "result", "operations");
    seconds = number_at(o, "result", "seconds");
    must_be(o, "result", "operations", 1, 400 * seconds);
    must_be(o, "result", "unserved", 50 - done, 400 * seconds - done);
    must_be(o, "wait", "max_ns", 1, 1e9 * seconds);
    json_decref(o);
}

/* With this seed the second request would be due after 89 s. */
static void clients_that_wait_for_a_request_must_end_with_the_run(void **state)
{
    json_t *o;

    (void)state;
    RUN("bench", folder_url, "-c", "3", "-r", "0.01", "-z", "50ms", "--seed", "2", "-o", "json");
    assert_int_equal(said.status, 0);
    o = said_object("keyedpool-bench-1");
    must_be(o, "result", "operations", 1, 1);
    must_be(o, "result", "seconds", 0.05, 80);
    json_decref(o);
}

/* With this seed one client asks for all of them in its first 13 requests; with zipf 10 for the
 * first one only, 400 times. Here it has about 100. */
static void keys_must_be_asked_for_as_zipf_says(void **state)
{
    static const struct { const char *zipf; double keys; } cases[] = { { "0", 5 }, { "10", 1 } };

    (void)state;
    for (int i = 0; i < 2; i++) {
        RUN("bench", folder_url, "-k5", "-c1", "-r200", "-z500ms", "--seed=1", "--zipf",
            cases[i].zipf, "-ojson");
        json_t *o = said_object("keyedpool-bench-1");

        must_be(o, "stats", "keys_made", cases[i].keys, cases[i].keys);
        json_decref(o);
    }
}

/* ---- the same as text ------------------------------------------------------------------------ */

/* The number from here to `end`, whatever stands between its digits. */
static long whole_number(const char *from, const char *end)
{
    long n = 0;

    for (; from < end; from++)
        if (*from >= '0' && *from <= '9')
            n = n * 10 + *from - '0';
    return n;
}

/* The line that begins so; what comes after that. */
static const char *line_of(const char *begin)
{
    const char *at = strstr(said.out, begin);

    if (!at)
        fail_msg("no '%s' in: %s", begin, said.out);
    return at + strlen(begin);
}

static int words_of(const char *at)
{
    int words = 0;

    for (; *at && *at != '\n'; at++)
        words += *at != ' ' && (at[1] == ' ' || at[1] == '\n');
    return words;
}

static void the_report_must_have_each_percentile_and_a_histogram_of_all(void **state)
{
    const char *operations, *at;
    long done, seen = 0;

    (void)state;
    RUN("bench", folder_url, "-c2", "-k2", "--zipf=1", "-z100ms");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, ", 2 keys (zipf 1), size 4, 2 clients, closed loop, ");
    operations = line_of("\n  operations ");
    operations += strspn(operations, " ");
    done = whole_number(operations, strstr(operations, "   "));
    assert_true(done > 0);
    assert_int_equal(words_of(line_of("\n  wait  ")), 2 * 6);   /* numbers with their units */
    assert_int_equal(words_of(line_of("\n  hold  ")), 2 * 6);
    for (at = line_of("\n  wait histogram\n"); (at = strchr(at, '[')) != NULL; at++)
        seen += whole_number(at, strchr(at, ']'));
    assert_int_equal(seen, done);
    line_of("\n  fairness ");
    line_of("\n  longest wait ");
    assert_null(strstr(said.out, "first error"));
    assert_null(strstr(said.out, "not sustained"));
}

/* With this seed there is one, and the second would be due after 89 s. */
static void fewer_than_one_per_second_must_not_look_like_none(void **state)
{
    (void)state;
    RUN("bench", folder_url, "-c1", "-r0.01", "-z1100ms", "--seed=2");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, "open loop 0.01/s, ");
    line_of("\n  operations     1   0.");
}

static void the_report_must_say_that_a_load_was_too_much(void **state)
{
    (void)state;
    RUN("bench", folder_url, "-c1", "-r10M", "-z50ms");
    said_must_have(said.out, ", 1 key, size 4, 1 client, open loop 10000000/s, ");
    said_must_have(said.out, "the load was not sustained: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_for_must_be_in_the_plan),
        cmocka_unit_test(what_was_measured_must_fit_together),
        cmocka_unit_test(one_client_with_one_key_must_be_served_fairly),
        cmocka_unit_test(whatever_was_due_must_have_been_served_or_not),
        cmocka_unit_test(an_open_loop_must_keep_to_its_rate),
        cmocka_unit_test(clients_that_wait_for_a_request_must_end_with_the_run),
        cmocka_unit_test(keys_must_be_asked_for_as_zipf_says),
        cmocka_unit_test(the_report_must_have_each_percentile_and_a_histogram_of_all),
        cmocka_unit_test(fewer_than_one_per_second_must_not_look_like_none),
        cmocka_unit_test(the_report_must_say_that_a_load_was_too_much),
    };

    return cmocka_run_group_tests_name("numbers", tests, folder_make, folder_remove);
}
