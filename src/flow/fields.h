/* SPDX-License-Identifier: MIT
 *
 * The options that are a number or a choice: what each is called, where it lies, what it may be,
 * and its default, one line each (fields.c). kp_pool_open checks its options against these lines
 * and takes defaults from them; kp_options_set finds an option and reads its value by them.
 */
#ifndef KP__FLOW_FIELDS_H
#define KP__FLOW_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "keyedpool/options.h"

enum kp__field_kind {
    KP__A_COUNT,
    KP__A_GROUP, /* any positive number */
    KP__A_TIME,  /* in ms */
    KP__A_PERCENT,
    KP__A_CHOICE, /* one of its words */
    KP__A_MASK    /* any of its words together */
};

/* The special values that a number may have: KP_NONE (really zero), KP_UNLIMITED, ... */
enum { KP__TAKES_NONE = 1, KP__TAKES_UNLIMITED = 2, KP__TAKES_OFF = 4, KP__TAKES_ONCE = 8 };

/* The largest count, unless the field has one of its own; and the largest time in ms. */
#define KP__COUNT_MOST INT64_C(2147483646)
#define KP__TIME_MOST  (INT64_MAX / 2000000)

/* The default of a number that follows from others, and is worked out when these are known
 * (kp__limits_given). */
#define KP__FOLLOWS (-2147483610)

/* A word, and what it stands for. (kp__word is the word of a lane's cell.) */
struct kp__spelling {
    const char *word;
    int32_t value;
};

struct kp__field {
    const char *name; /* as in kp_options; NULL: the end of the list */
    uint16_t offset;  /* in the struct that the list is of */
    uint8_t size;     /* in bytes: it is an int64_t or an int32_t */
    uint8_t kind, takes;
    const struct kp__spelling *words; /* of choices and masks, up to one that is NULL */
    int64_t unsaid;                   /* its default; 0: it stays 0, which its reader understands */
    int64_t most;                     /* the largest count that it may be; 0: any */
};

/* Of kp_limits, of kp_budget, and of kp_options itself. */
extern const struct kp__field kp__limit_fields[], kp__budget_fields[], kp__pool_fields[];

/* The words of respects_min, of which "none" stands alone. */
extern const struct kp__spelling kp__expiries[];

/* The largest count that this one may be. */
int64_t kp__field_most(const struct kp__field *field);

int64_t kp__field_get(const void *of, const struct kp__field *field);
void kp__field_put(void *of, const struct kp__field *field, int64_t value);

/* May it have this special value (KP_NONE, ...)? */
bool kp__field_takes(const struct kp__field *field, int64_t special);

/* May this field have this value? Zero is to be given as KP_NONE. 0, or KP_ECONFIG with *why. */
int kp__field_check(const struct kp__field *field, int64_t value, kp_why *why);

/* The same for all fields of a struct in which 0 is "not said" (R2), and passes. */
int kp__fields_check(const struct kp__field *fields, const void *of, kp_why *why);

/* Are the words zero that a later version may use? 0, or KP_ECONFIG with *why. */
int kp__reserved_check(const int64_t *words, size_t count, const char *field, kp_why *why);

/* Give each field that was not said its default. */
void kp__fields_fill(const struct kp__field *fields, void *of);

#endif
