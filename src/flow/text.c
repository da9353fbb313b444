/* SPDX-License-Identifier: MIT
 *
 * kp_options_set: which option a name stands for, and which value a text stands for. fields.c says
 * what each option may be.
 */
#include "flow/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "flow/event.h"
#include "flow/fields.h"
#include "flow/key.h"
#include "flow/settings.h"

static const struct kp__spelling special[] = {
    { "none", KP_NONE }, { "unlimited", KP_UNLIMITED }, { "off", KP_OFF }, { "once", KP_ONCE },
    { NULL, 0 }
};

/* ---- reading ------------------------------------------------------------------------------- */

bool kp__text_is(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* Read the digits at the start of s. Returns how many; 0 if the number is above `most`. */
static size_t read_digits(const char *s, size_t n, int64_t most, int64_t *out)
{
    int64_t value = 0;
    size_t i = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
        int digit = s[i] - '0';
        if (value > (most - digit) / 10) return 0;
        value = value * 10 + digit;
    }
    *out = value;
    return i;
}

/* A number and the name of its unit; the first unit has no name. */
static bool read_number(const char *s, size_t n, const struct kp__spelling *units, int64_t most,
                        int64_t *out)
{
    int64_t value = 0;
    size_t digits = read_digits(s, n, most, &value);
    if (digits == 0) return false;
    for (; units->word; units++) {
        if (!kp__text_is(s + digits, n - digits, units->word)) continue;
        if (value > most / units->value) return false;
        *out = value == 0 ? KP_NONE : value * units->value;
        return true;
    }
    return false;
}

bool kp__text_count(const char *s, size_t n, int64_t most, int64_t *out)
{
    static const struct kp__spelling units[] = {
        { "", 1 }, { "k", 1000 }, { "M", 1000000 }, { NULL, 0 }
    };
    return read_number(s, n, units, most, out);
}

bool kp__text_time(const char *s, size_t n, int64_t *out)
{
    static const struct kp__spelling units[] = {
        { "", 1 }, { "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 }, { NULL, 0 }
    };
    return read_number(s, n, units, KP__TIME_MOST, out);
}

static bool read_percent(const char *s, size_t n, int64_t *out)
{
    static const struct kp__spelling units[] = { { "", 1 }, { "%", 1 }, { NULL, 0 } };
    return read_number(s, n, units, 100, out);
}

static bool read_word(const struct kp__spelling *words, const char *s, size_t n, int64_t *out)
{
    for (; words->word; words++) {
        if (!kp__text_is(s, n, words->word)) continue;
        *out = words->value;
        return true;
    }
    return false;
}

/* Words between commas or bars. Of the kinds of expiry "none" is one, which stands alone. */
static bool read_mask(const struct kp__spelling *words, const char *s, int64_t *out)
{
    int64_t all = 0;
    int64_t one = 0;
    for (;; s++) {
        size_t n = strcspn(s, ",|");
        if (!read_word(words, s, n, &one)) return false;
        all |= one;
        s += n;
        if (!*s) break;
    }
    if (words == kp__expiries && (all & KP_KIND_NONE) && all != KP_KIND_NONE) return false;
    *out = all;
    return true;
}

/* A set that is empty is really zero; where "none" is one of its words, it is that word. */
static bool read_set(const struct kp__spelling *words, const char *s, int64_t *out)
{
    bool empty = strcmp(s, "0") == 0 || (strcmp(s, "none") == 0 && words != kp__expiries);

    if (empty) *out = KP_NONE;
    return empty || read_mask(words, s, out);
}

static bool read_number_of(const struct kp__field *f, const char *s, size_t n, int64_t *out)
{
    if (read_word(special, s, n, out)) return true;
    switch (f->kind) {
    case KP__A_COUNT: return kp__text_count(s, n, kp__field_most(f), out);
    case KP__A_GROUP: return kp__text_count(s, n, INT64_MAX, out);
    case KP__A_TIME: return kp__text_time(s, n, out);
    default: return read_percent(s, n, out);
    }
}

static bool read_value(const struct kp__field *f, const char *s, int64_t *out)
{
    if (f->kind == KP__A_CHOICE) return read_word(f->words, s, strlen(s), out);
    if (f->kind == KP__A_MASK) return read_set(f->words, s, out);
    return read_number_of(f, s, strlen(s), out);
}

/* ---- setting ------------------------------------------------------------------------------- */

/* Is this its name, with or without the unit? */
static bool is_called(const struct kp__field *f, const char *name)
{
    size_t full = strlen(f->name);
    size_t unit = f->kind == KP__A_TIME      ? strlen("_ms")
                  : f->kind == KP__A_PERCENT ? strlen("_pct")
                                             : 0;

    return strcmp(f->name, name) == 0 || kp__text_is(f->name, full - unit, name);
}

/* The field of a list that has this name, or NULL. */
static const struct kp__field *named(const struct kp__field *f, const char *name)
{
    while (f->name && !is_called(f, name)) f++;
    return f->name ? f : NULL;
}

/* What was written, in the manner of a key: a kp_why has one line, and the end of one that somebody
 * forgot to take away is to be seen. */
static const char *shown(const char *text, char *buf, size_t size)
{
    static const kp_key_type bytes;

    (void)kp__key_print(&bytes, kp_str(text ? text : "NULL"), buf, size);
    return buf;
}

/* What a number may be in words: "none, unlimited, or a count like 20 or 10k". */
static size_t say_number(const struct kp__field *f, char *buf, size_t size)
{
    static const char *const taken[] = {
        [KP__A_COUNT] = "a count like 20 or 10k",
        [KP__A_GROUP] = "a number of your own",
        [KP__A_TIME] = "a time like 250ms, 30s, 5min or 1h",
        [KP__A_PERCENT] = "a percentage from 1 to 100",
    };
    size_t length = 0;

    for (const struct kp__spelling *w = special; w->word; w++)
        if (kp__field_takes(f, w->value))
            length += (size_t)snprintf(buf + length, size - length, " %s,", w->word);
    length += (size_t)snprintf(buf + length, size - length, "%s %s", length ? " or" : "",
                               taken[f->kind]);
    if (f->most) snprintf(buf + length, size - length, ", at most %" PRId64, f->most);
    return strlen(buf);
}

/* "limits.prefill: takes none, first_get; not yes", in the words of text, not of C */
static int refuse_text(const struct kp__field *f, const char *value, kp_why *why)
{
    char sentence[160] = "takes";
    char text[41];
    size_t length = strlen(sentence);

    if (!f->words) length += say_number(f, sentence + length, sizeof sentence - length);
    for (const struct kp__spelling *w = f->words; w && w->word; w++)
        length += (size_t)snprintf(sentence + length, sizeof sentence - length, "%s %s",
                                   w == f->words ? "" : ",", w->word);
    snprintf(sentence + length, sizeof sentence - length, "; not %s",
             shown(value, text, sizeof text));
    return kp__refused(why, f->name, sentence);
}

static int set(void *of, const struct kp__field *f, const char *value, kp_why *why)
{
    int64_t number;

    if (!value || !read_value(f, value, &number) || kp__field_check(f, number, NULL) != 0)
        return refuse_text(f, value, why);
    kp__field_put(of, f, number);
    return 0;
}

static int set_preset(kp_options *options, const char *value)
{
    if (value && kp__preset_set(options, value) == 0) return 0;
    return kp__refused(options->why, "preset",
                       "takes effect-fixed N, effect-range MIN MAX TTL, zio-fixed N, zio-range MIN "
                       "MAX TTL, effectful N, keypool, commons, pgbouncer N, hikari N, apr MIN "
                       "SMAX HMAX TTL, dbconnection N");
}

static int no_option(kp_why *why, const char *name)
{
    char text[101];

    kp__say(why, KP_ENOTFOUND, "there is no option ");
    if (why) kp__say_more(why, "%s", shown(name, text, sizeof text));
    return KP_ENOTFOUND;
}

int kp_options_set(kp_options *options, const char *name, const char *value)
{
    const struct kp__field *f;

    if (!options) return kp__misuse(NULL, NULL, "kp_options_set: options is NULL");
    kp_why *why = options->why;
    if (!name) return no_option(why, name);
    if (strcmp(name, "preset") == 0) return set_preset(options, value);
    if ((f = named(kp__limit_fields, name)) != NULL) return set(&options->limits, f, value, why);
    if ((f = named(kp__budget_fields, name)) != NULL) return set(&options->budget, f, value, why);
    if ((f = named(kp__pool_fields, name)) != NULL) return set(options, f, value, why);
    return no_option(why, name);
}
