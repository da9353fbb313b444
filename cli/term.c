/* SPDX-License-Identifier: MIT
 *
 * The terminal of term.h.
 */
#include "term.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_colours, has_utf8;

void term_init(void)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

    (void)setlocale(LC_CTYPE, "");      /* not LC_NUMERIC: numbers stay readable for machines */
    has_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    has_colours = isatty(STDOUT_FILENO) && !(no_color && *no_color) && term &&
                  strcmp(term, "dumb") != 0;
}

void term_take(sigset_t *signals, int number)
{
    struct sigaction now;

    if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        (void)sigaddset(signals, number);
}

const char *term_colour(enum term_colour colour)
{
    static const char *const start[] = { "\033[0m",  "\033[1m",  "\033[2m", "\033[32m",
                                         "\033[33m", "\033[31m", "\033[36m" };

    return has_colours ? start[colour] : "";
}

const char *term_utf8(const char *yes, const char *no)
{
    return has_utf8 ? yes : no;
}

void term_tame(char *text)
{
    for (; *text; text++) {
        unsigned char at = (unsigned char)text[0], next = (unsigned char)text[1];

        if (at < ' ' || at == 0x7f)
            text[0] = '?';
        else if (at == 0xc2 && next >= 0x80 && next < 0xa0)     /* U+0080 to U+009F */
            text[0] = text[1] = '?';
    }
}

void term_complain(const char *format, ...)
{
    char text[4096];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    term_tame(text);
    (void)fprintf(stderr, "%s\n", text);
}

void term_bar(char *buf, size_t size, double share, int width)
{
    const char *cell = term_utf8("█", "#");
    size_t step = strlen(cell), at = 0;
    int cells = (int)(share * width + 0.5);

    if (cells == 0 && share > 0)
        cells = 1;                      /* a little must not look like nothing */
    while (cells-- > 0 && at + step < size) {
        memcpy(buf + at, cell, step);
        at += step;
    }
    buf[at] = '\0';
}

int term_columns(const char *text)
{
    int columns = 0;

    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

void term_pad(const char *text, int width)
{
    int blanks = abs(width) - term_columns(text);

    printf("%*s%s%*s", width < 0 && blanks > 0 ? blanks : 0, "", text,
           width > 0 && blanks > 0 ? blanks : 0, "");
}

const char *term_time(char *buf, size_t size, double ns)
{
    static const struct { double one; const char *utf8, *ascii; } units[] = {
        { 60e9, "min", "min" }, { 1e9, "s", "s" }, { 1e6, "ms", "ms" }, { 1e3, "µs", "us" },
        { 1, "ns", "ns" }
    };
    size_t i = 0;
    double v;

    while (i < 4 && ns < units[i].one * (i == 0 ? 2 : 0.9995))
        i++;
    v = ns / units[i].one;
    (void)snprintf(buf, size, "%.*f %s", i == 4 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v,
                   term_utf8(units[i].utf8, units[i].ascii));
    return buf;
}

const char *term_count(char *buf, size_t size, uint64_t n)
{
    char digits[32];
    size_t at = 0, length = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);

    for (size_t i = 0; i < length && at + 2 < size; i++) {
        if (i && (length - i) % 3 == 0)
            buf[at++] = ' ';
        buf[at++] = digits[i];
    }
    buf[at] = '\0';
    return buf;
}

const char *term_rate(char *buf, size_t size, double per_second)
{
    if (per_second >= 999.5)
        return term_count(buf, size, (uint64_t)(per_second + 0.5));
    (void)snprintf(buf, size, "%.3g", per_second);
    return buf;
}
