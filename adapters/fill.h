/* SPDX-License-Identifier: MIT
 *
 * What kp_x_fill and kp_x_open have in common in all adapters: options are refused with a field and
 * a sentence, or copied with their strings for as long as the pool lives; and the counters of what
 * a driver does. All of it is static, so that each adapter is a library of its own and several may
 * be linked into one program.
 */
#ifndef KP_ADAPTERS_FILL_H
#define KP_ADAPTERS_FILL_H

#include "keyedpool.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options --------------------------------------------------------------------------------- */

static inline bool kp__is_time(int64_t ms)
{
    return ms >= 0 || ms == KP_OFF;
}

/* Returns KP_ECONFIG. */
static inline int kp__fill_refused(kp_options *options, const char *field, const char *sentence)
{
    kp_why *why = options->why;

    if (why) {
        memset(why, 0, sizeof *why);
        why->code = KP_ECONFIG;
        (void)snprintf(why->field, sizeof why->field, "%s", field);
        (void)snprintf(why->text, sizeof why->text, "%s: %s", field, sentence);
    }
    return KP_ECONFIG;
}

/* In a struct that was copied, replace a string by a copy of its own, for kp__disown to free. 0, or
 * KP_ENOMEM: it is NULL now. */
static inline int kp__own(const char **string)
{
    if (!*string)
        return 0;
    *string = strdup(*string);
    return *string ? 0 : KP_ENOMEM;
}

/* Cleared before it is freed, since it may be a password. */
static inline void kp__disown(const char **string)
{
    char *own = (char *)(uintptr_t)*string;

    if (own)
        explicit_bzero(own, strlen(own));
    free(own);
}

/* ---- what is the user's ---------------------------------------------------------------------- */

/* The ctx and drop_ctx of a driver that has nothing else yet: the user's own. They are called when
 * the adapter has dropped what it has. A whole driver is none of his: it was filled before, or is
 * replaced. */
struct kp__last {
    void  *ctx;
    void (*drop_ctx)(void *ctx);
};

static inline struct kp__last kp__last_of(const kp_driver *driver)
{
    struct kp__last last = { driver->ctx, driver->create ? NULL : driver->drop_ctx };

    return last;
}

static inline void kp__last_call(struct kp__last last)
{
    if (last.drop_ctx)
        last.drop_ctx(last.ctx);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* driver.fd may be set where the library can watch descriptors. */
#ifdef __linux__
enum { KP__HAS_FD = 1 };
#else
enum { KP__HAS_FD = 0 };
#endif

static inline kp_options kp__options(const kp_options *more)
{
    static const kp_options none;

    return more ? *more : none;
}

/* kp_x_fill of no options: misuse, which the library tells. */
static inline int kp__fill_none(void)
{
    kp_pool *none;

    return kp_pool_open(NULL, &none);
}

/* Open a pool with the options that kp_x_fill has filled in; `filled` is what that returned. If
 * there is no pool, `drop` frees what kp_x_fill made; what is the user's stays his. */
static inline int kp__open_filled(int filled, const kp_options *options, void (*drop)(void *ctx),
                                  kp_pool **out)
{
    int rc;

    if (out)
        *out = NULL;
    if (filled != 0)
        return filled;
    rc = kp_pool_open(options, out);    /* without out, misuse, which it tells */
    if (rc != 0)
        drop(options->driver.ctx);
    return rc;
}

/* ---- counters -------------------------------------------------------------------------------- */

static inline void kp__count(uint64_t *counter, uint64_t more)
{
    (void)__atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

/* Read a struct of counters, and nothing but counters, one by one. Of none: zeros. */
static inline void kp__counts_read(const void *counts, void *out, size_t size)
{
    const uint64_t *from = counts;
    uint64_t *to = out;

    for (size_t i = 0; i < size / sizeof *to; i++)
        to[i] = from ? __atomic_load_n(&from[i], __ATOMIC_RELAXED) : 0;
}

#endif
