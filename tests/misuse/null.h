/* SPDX-License-Identifier: MIT
 *
 * For tests that hand NULL to every public function of a library (R4): what may become of a call,
 * and that no function is left out, of those that tools/exports.txt lists and of those that a
 * header defines.
 */
#ifndef TESTS_MISUSE_NULL_H
#define TESTS_MISUSE_NULL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool.h"

/* Unless the build says where: a test that is run at the top of the repository. */
#ifndef KP_EXPORTS
#  define KP_EXPORTS "tools/exports.txt"
#endif
#ifndef KP_INCLUDE
#  define KP_INCLUDE "include"
#endif

static int told;                        /* misuses of the call at hand, wherever they went */
static const char *called[256];
static int calls;

static void count_orphan(const kp_why *why, void *arg)
{
    (void)arg;
    told += why->code == KP_EMISUSE && why->text[0] != '\0';
}

/* ---- what may become of a call --------------------------------------------------------------- */

static void begin(const char *name)
{
    assert_in_range(calls, 0, sizeof called / sizeof *called - 1);
    called[calls++] = name;
    told = 0;
}

static void must_have_told(int times)
{
    if (told != times)
        fail_msg("%s told of %d misuses, not of %d", called[calls - 1], told, times);
}

static void must_be(int64_t wanted, int64_t answer)
{
    if (answer != wanted)
        fail_msg("%s answered %lld, not %lld", called[calls - 1], (long long)answer,
                 (long long)wanted);
}

/* It does nothing. It answers so, and nobody is told. It answers so, and somebody is. The answer
 * says so, too. */
#define NOTHING(fn, ...)       (begin(#fn), fn(__VA_ARGS__), must_have_told(0))
#define ANSWER(value, fn, ...) \
    (begin(#fn), must_be(value, (int64_t)fn(__VA_ARGS__)), must_have_told(0))
#define TOLD(value, fn, ...) \
    (begin(#fn), must_be(value, (int64_t)fn(__VA_ARGS__)), must_have_told(1))
#define MISUSE(fn, ...)        TOLD(KP_EMISUSE, fn, __VA_ARGS__)

/* ---- none is left out ------------------------------------------------------------------------ */

/* It takes no pointer. */
static inline void takes_none(const char *name)
{
    begin(name);
}

static inline void must_have_been_called(const char *name)
{
    for (int i = 0; i < calls; i++)
        if (strcmp(called[i], name) == 0) return;
    fail_msg("%s was not handed NULL here", name);
}

/* How many there are. */
static inline int all_exports_were_called(const char *library)
{
    FILE *exports = fopen(KP_EXPORTS, "r");
    char line[200], name[100];
    bool ours = false;
    int seen = 0;

    assert_non_null(exports);
    while (fgets(line, sizeof line, exports)) {
        if (sscanf(line, "[%99s", name) == 1) ours = strcmp(name, library) == 0;
        if (!ours || sscanf(line, "%99[a-z0-9_]", name) != 1) continue;
        seen++;
        must_have_been_called(name);
    }
    assert_int_equal(fclose(exports), 0);
    return seen;
}

/* Of the functions that a header defines, those that begin with kp__ are its own. */
static inline int all_inlines_were_called(const char *header)
{
    char path[300], line[200], name[100];
    int seen = 0;

    (void)snprintf(path, sizeof path, "%s/%s", KP_INCLUDE, header);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    while (fgets(line, sizeof line, in)) {
        const char *at = strncmp(line, "static inline ", 14) == 0 ? strstr(line, "kp_") : NULL;

        while (at && strchr(at, '(') && strcspn(at, " *(") != strcspn(at, "("))
            at = strstr(at + 3, "kp_"); /* it was the name of a type */
        if (!at || at[3] == '_' || sscanf(at, "%99[a-z0-9_]", name) != 1) continue;
        seen++;
        must_have_been_called(name);
    }
    assert_int_equal(fclose(in), 0);
    return seen;
}

#endif
