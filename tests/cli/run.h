/* SPDX-License-Identifier: MIT
 *
 * Runs the command as its users do, and looks at what it says.
 */
#ifndef TESTS_CLI_RUN_H
#define TESTS_CLI_RUN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct said {
    int  status;                /* of exit; -1: it was killed */
    char out[65536], err[8192];
} said;

/* Called in the child, before it becomes the command; and here, when it first says something on
 * standard error. Both are taken back by the next run. */
static void (*run_before)(void), (*run_meanwhile)(void);

static pid_t run_child;         /* meanwhile */

static inline void run_read(FILE *f, char *buf, size_t size)
{
    rewind(f);
    buf[fread(buf, 1, size - 1, f)] = '\0';
    (void)fclose(f);
}

/* What the child says on standard error, to its end. */
static inline void run_listen(int fd)
{
    size_t had = 0;
    ssize_t n;

    while ((n = read(fd, said.err + had, sizeof said.err - 1 - had)) > 0) {
        had += (size_t)n;
        if (run_meanwhile)
            run_meanwhile();
        run_meanwhile = NULL;
    }
    said.err[had] = '\0';
    (void)close(fd);
}

/* Run `program` with up to twelve arguments, ending with NULL, into `said`. */
static inline void run_program(const char *program, const char *const *arguments)
{
    char *argv[16] = { (char *)(uintptr_t)program };
    int status = -1, err[2];
    FILE *out = tmpfile();
    pid_t pid;

    assert_non_null(out);
    assert_int_equal(pipe(err), 0);
    for (int i = 0; arguments[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    pid = fork();
    if (pid == 0) {
        (void)close(err[0]);
        if (run_before)
            run_before();
        if (dup2(fileno(out), 1) >= 0 && dup2(err[1], 2) >= 0 && close(err[1]) == 0)
            (void)execv(program, argv);
        _exit(127);
    }
    assert_true(pid > 0);
    run_child = pid;
    (void)close(err[1]);
    run_listen(err[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    run_before = run_meanwhile = NULL;
    said.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    run_read(out, said.out, sizeof said.out);
}

#define RUN(...) run_program(KP_COMMAND, (const char *const[]){ __VA_ARGS__, NULL })
#define RUN_BARE(...) run_program(KP_COMMAND_BARE, (const char *const[]){ __VA_ARGS__, NULL })

static inline void said_must_have(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("no '%s' in:\n%s", words, text);
}

/* It ended so, with one line on standard error that has these words, and shows no secret. */
static inline void it_must_fail(int status, const char *words)
{
    if (said.status != status)
        fail_msg("status %d, not %d: %s", said.status, status, said.err);
    said_must_have(said.err, words);
    assert_ptr_equal(strchr(said.err, '\n'), said.err + strlen(said.err) - 1);
    assert_string_equal(said.out, "");
}

static inline void nothing_must_show(const char *secret)
{
    assert_null(strstr(said.out, secret));
    assert_null(strstr(said.err, secret));
}

/* The object that was printed; decref it. */
static inline json_t *said_object(const char *schema)
{
    json_error_t error;
    json_t *o = json_loads(said.out, 0, &error);

    if (!o)
        fail_msg("%s in: %s%s", error.text, said.out, said.err);
    assert_string_equal(json_string_value(json_object_get(o, "schema")), schema);
    return o;
}

static inline const char *text_at(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text ? text : "";
}

/* A report of a bench of this server: operations and no errors. */
static inline void it_must_have_measured(const char *backend, const char *url,
                                         const char *operation)
{
    json_t *o, *result;

    if (said.status != 0)
        fail_msg("status %d: %s%s", said.status, said.err, said.out);
    o = said_object("keyedpool-bench-1");
    result = json_object_get(o, "result");
    assert_string_equal(text_at(o, "backend"), backend);
    assert_string_equal(text_at(json_object_get(o, "plan"), "url"), url);
    assert_string_equal(text_at(json_object_get(o, "plan"), "operation"), operation);
    assert_true(json_integer_value(json_object_get(result, "operations")) > 0);
    assert_int_equal(json_integer_value(json_object_get(result, "errors")), 0);
    assert_int_equal(json_integer_value(json_object_get(result, "timeouts")), 0);
    json_decref(o);
}

/* A doctor's report in JSON has a finding of this check about this place (NULL: the URL), marked so
 * and with these words. */
static inline void it_must_have_found(const char *about, const char *check, const char *mark,
                                      const char *words)
{
    json_t *o = said_object("keyedpool-doctor-1"), *f;
    bool found = false;
    size_t i;

    json_array_foreach(json_object_get(o, "findings"), i, f)
    {
        if (strcmp(text_at(f, "check"), check) != 0 ||
            (about ? strcmp(text_at(f, "about"), about) != 0 : !strchr(text_at(f, "about"), ':')))
            continue;
        found = true;
        if (strcmp(text_at(f, "mark"), mark) != 0)
            fail_msg("%s is %s, not %s: %s", check, text_at(f, "mark"), mark, text_at(f, "text"));
        said_must_have(text_at(f, "text"), words);
    }
    if (!found)
        fail_msg("no finding %s in %s", check, said.out);
    assert_int_equal(said.status, strcmp(text_at(o, "mark"), "fail") == 0);
    json_decref(o);
}

/* A number in a doctor's report: of the finding of this check, or (NULL) of the plan. */
static inline int64_t found_number(const json_t *o, const char *check, const char *name)
{
    const json_t *in = json_object_get(o, "plan"), *f;
    size_t i;

    json_array_foreach(json_object_get(o, "findings"), i, f)
    {
        if (check && strcmp(text_at(f, "check"), check) == 0)
            in = f;
    }
    in = json_object_get(in, name);
    if (!json_is_integer(in))
        fail_msg("%s of %s is no number in: %s", name, check ? check : "the plan", said.out);
    return json_integer_value(in);
}

#endif
