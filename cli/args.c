/* SPDX-License-Identifier: MIT
 *
 * The parser of args.h, on getopt_long.
 */
#include "args.h"

#include "term.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_OPTIONS = 32, HELP_COLUMN = 28 };

_Noreturn void args_fail(const struct args_page *page, const char *format, ...)
{
    const char *name = page ? page->name : "", *space = page ? " " : "";
    char text[3000];
    va_list ap;

    (void)fflush(stdout);
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    term_complain("keyedpool%s%s: %s (see keyedpool%s%s --help)", space, name, text, space, name);
    exit(2);
}

const char *args_shown(const char *text)
{
    return strstr(text, "://") ? "(a URL)" : text;
}

int args_told(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    (void)fprintf(stderr, "keyedpool: cannot write to standard output\n");
    return status ? status : 1;
}

/* ---- help ------------------------------------------------------------------------------------ */

static void help_option(const struct args_option *o)
{
    char left[80];
    const char *line = o->help, *end;
    bool letter = o->id < ARGS_LONG_ONLY;

    (void)snprintf(left, sizeof left, "  %c%c%s --%s%s%s", letter ? '-' : ' ', letter ? o->id : ' ',
                   letter ? "," : " ", o->name, o->value ? " " : "", o->value ? o->value : "");
    for (;; line = end + 1) {
        end = strchr(line, '\n');
        printf("%-*s %.*s\n", HELP_COLUMN, left, end ? (int)(end - line) : (int)strlen(line), line);
        if (!end)
            return;
        left[0] = '\0';
    }
}

static const struct args_option help_itself = { 'h', "help", NULL, "show this help" };

void args_help(const struct args_page *page)
{
    printf("keyedpool %s: %s\n\nUsage: keyedpool %s%s%s\n", page->name, page->summary, page->name,
           *page->usage ? " " : "", page->usage);
    if (page->about)
        printf("\n%s\n", page->about);
    printf("\nOptions:\n");
    for (const struct args_option *o = page->options; o->id; o++)
        help_option(o);
    help_option(&help_itself);
    if (page->more)
        printf("\n%s\n", page->more);
}

/* ---- options --------------------------------------------------------------------------------- */

/* The tables getopt_long wants. A leading ':' lets us tell a missing argument from a wrong
 * option. */
static void tables(const struct args_page *page, char *letters, struct option *longs)
{
    int n = 0;

    *letters++ = ':';
    *letters++ = 'h';
    longs[n++] = (struct option){ "help", no_argument, NULL, 'h' };
    for (const struct args_option *o = page->options; o->id && n < MOST_OPTIONS; o++) {
        longs[n++] = (struct option){ o->name, o->value ? required_argument : no_argument, NULL,
                                      o->id };
        if (o->id >= ARGS_LONG_ONLY)
            continue;
        *letters++ = (char)o->id;
        if (o->value)
            *letters++ = ':';
    }
    *letters = '\0';
    longs[n] = (struct option){ NULL, 0, NULL, 0 };
}

/* getopt leaves a wrong long option at argv[optind - 1], and a wrong letter in optopt. If other
 * letters follow that one, as in -xc, the word at argv[optind - 1] is the one before, and right. */
static _Noreturn void complain(const struct args_page *page, int why, char **argv,
                               const char *letters)
{
    const char *last = argv[optind - 1];
    const char *what = why == ':' ? "needs a value" : "is not an option of this command";
    int meant = 0;

    if (optopt < 0)                     /* a byte beyond ASCII; getopt is in the middle of it */
        args_fail(page, "an option must be an ASCII letter");
    if (optopt > 0 && optopt < ARGS_LONG_ONLY &&
        (strncmp(last, "--", 2) != 0 || (why == '?' && !strchr(letters, optopt))))
        args_fail(page, "-%c %s", optopt, what);
    for (const struct args_option *o = page->options; o->id; o++)
        meant += last[2] && strncmp(o->name, last + 2, strcspn(last + 2, "=")) == 0;
    if (why != ':' && strchr(last, '=') && optopt)
        what = "takes no value";
    else if (why != ':' && meant > 1)
        what = "is ambiguous: several options begin with it";
    last = args_shown(last);
    args_fail(page, "%.*s %s", (int)strcspn(last, "="), last, what);
}

int args_next(const struct args_page *page, int argc, char **argv, const char **value)
{
    char letters[2 * MOST_OPTIONS + 4];
    struct option longs[MOST_OPTIONS + 2];
    int id;

    tables(page, letters, longs);
    opterr = 0;
    id = getopt_long(argc, argv, letters, longs, NULL);
    *value = optarg;
    if (id == ':' || id == '?')
        complain(page, id, argv, letters);
    if (id == 'h') {
        args_help(page);
        exit(args_told(0));
    }
    return id;
}

/* ---- values ---------------------------------------------------------------------------------- */

struct unit { const char *name; double factor; };

/* A number and its unit; false if it is anything else. */
static bool read_number(const char *text, const struct unit *units, double *out)
{
    char *end;

    errno = 0;
    *out = strtod(text, &end);
    if (end == text || errno == ERANGE || !isfinite(*out) || strpbrk(text, "xX"))
        return false;
    for (; units->name; units++) {
        if (strcmp(end, units->name) == 0) {
            *out *= units->factor;
            return true;
        }
    }
    return false;
}

int64_t args_count(const struct args_page *page, const char *what, const char *value, int64_t least,
                   int64_t most)
{
    static const struct unit units[] = { { "", 1 }, { "k", 1e3 }, { "M", 1e6 }, { NULL, 0 } };
    double n;

    /* 16.1k is one, although 16.1 * 1000 is not in binary */
    if (!read_number(value, units, &n) || fabs(n - round(n)) > 1e-12 * fabs(n))
        args_fail(page, "%s: '%s' is not a whole number", what, args_shown(value));
    n = round(n);
    if (n < (double)least || n > (double)most)
        args_fail(page, "%s: %s is not between %lld and %lld", what, value, (long long)least,
                  (long long)most);
    return (int64_t)n;
}

int64_t args_time_ns(const struct args_page *page, const char *what, const char *value)
{
    static const struct unit units[] = { { "", 1e9 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 },
                                         { "min", 60e9 }, { "h", 3600e9 }, { NULL, 0 } };
    double ns;

    if (!read_number(value, units, &ns))
        args_fail(page, "%s: '%s' is not a time such as 500ms, 10s or 2min", what,
                  args_shown(value));
    if (ns < 1e6 || ns > 24 * 3600e9)
        args_fail(page, "%s: %s is not between 1ms and 24h", what, value);
    return (int64_t)ns;
}

double args_number(const struct args_page *page, const char *what, const char *value, double least,
                   double most)
{
    static const struct unit units[] = { { "", 1 }, { "k", 1e3 }, { "M", 1e6 }, { NULL, 0 } };
    double n;

    if (!read_number(value, units, &n))
        args_fail(page, "%s: '%s' is not a number", what, args_shown(value));
    if (n < least || n > most)
        args_fail(page, "%s: %s is not between %g and %g%s", what, value, least,
                  most < 1e6 ? most : most / 1e6, most < 1e6 ? "" : "M");
    return n;
}

int args_word(const struct args_page *page, const char *what, const char *value,
              const char *const *words)
{
    char all[200] = "";

    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], value) == 0)
            return i;
        (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "",
                       words[i]);
    }
    args_fail(page, "%s: '%s' is not one of: %s", what, args_shown(value), all);
}
