/* SPDX-License-Identifier: MIT
 *
 * Text and kp_pool_open agree: no option accepts a word, a zero or a count in text that
 * kp_pool_open refuses for that option alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/options.h"

static int make(kp_job *job, void **out)
{
    return (void)job, (void)out, -1;
}

static int end(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

/* With all that an option may need besides. */
static kp_options plain(kp_why *why)
{
    return (kp_options){ .driver = { .create = make, .destroy = end, .validate = end,
                                     .revoke = end },
                         .limits = { .breaker_failures = 5, .breaker_rate_pct = KP_OFF },
                         .budget = { .create_rate = 10 }, .why = why };
}

/* True: the text takes it, and so does the pool. */
static bool takes(const char *name, const char *text)
{
    kp_why why = { .code = 0 };
    kp_options options = plain(&why);
    kp_pool *pool;

    if (kp_options_set(&options, name, text) != 0) return false;
    int rc = kp_pool_open(&options, &pool);
    if (rc == KP_ECONFIG && strcmp(why.field, name) == 0)
        fail_msg("%s is set by text, and refused: %s", text, why.text);
    if (rc == 0) assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    return true;
}

static void what_text_takes_must_be_able_to_be_meant(void **state)
{
    static const char *const words[] = { "none", "unlimited", "off", "once", "0", "1", "on" };

    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        assert_true(takes(fields[i].name, fields[i].text));
        for (size_t k = 0; k < sizeof words / sizeof *words; k++)
            (void)takes(fields[i].name, words[k]);
    }
}

/* And what the text refuses, the pool does, too, with its name. */
static void a_zero_that_cannot_be_meant_must_be_refused_at_both_doors(void **state)
{
    static const char *const names[] = {
        "limits.max_creating", "limits.sharing", "limits.weight", "limits.max_uses",
        "limits.create_timeout_ms", "limits.validate_timeout_ms", "limits.validate_every_ms",
        "limits.utilization_pct", "limits.breaker_failures", "limits.shed_target_ms",
        "limits.shed_interval_ms", "limits.renew_ahead_ms", "limits.breaker_rate_pct",
        "limits.breaker_window_ms", "limits.breaker_calls", "limits.breaker_probes",
        "limits.revoke_after_ms", "budget.max_creating", "budget.create_rate",
        "budget.create_burst", "keep_every_ms", "watch_every_ms", "leak_after_ms",
    };
    kp_pool *pool;

    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        int64_t none = KP_NONE;
        kp_why why = { .code = 0 };
        kp_options options = plain(&why);
        size_t k = 0;
        while (k < sizeof names / sizeof *names && strcmp(names[k], fields[i].name) != 0) k++;
        if (k == sizeof names / sizeof *names) continue;
        assert_false(takes(fields[i].name, "none"));
        assert_false(takes(fields[i].name, "0"));
        memcpy((char *)&options + fields[i].offset, &none, sizeof none);
        if (kp_pool_open(&options, &pool) != KP_ECONFIG) fail_msg("%s", fields[i].name);
        assert_string_equal(why.field, fields[i].name);
    }
}

static void a_count_that_is_too_large_must_be_refused_at_both_doors(void **state)
{
    static const struct {
        const char *name, *most, *more;
    } counts[] = {
        { "threads", "1024", "1025" },
        { "limits.sharing", "65536", "65537" },
        { "limits.weight", "65536", "65537" },
        { "limits.max_uses", "2147483646", "2147483647" },
        { "budget.create_rate", "1000M", "1000000001" },
    };
    kp_pool *pool;

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        kp_why why = { .code = 0 };
        kp_options options = plain(&why);
        int64_t more = strtoll(counts[i].more, NULL, 10);
        size_t k = 0;
        while (strcmp(counts[i].name, fields[k].name) != 0) k++;
        assert_int_equal(kp_options_set(&options, counts[i].name, counts[i].most), 0);
        assert_int_equal(kp_options_set(&options, counts[i].name, counts[i].more), KP_ECONFIG);
        memcpy((char *)&options + fields[k].offset, &more, fields[k].size);
        assert_int_equal(kp_pool_open(&options, &pool), KP_ECONFIG);
        assert_string_equal(why.field, counts[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_text_takes_must_be_able_to_be_meant),
        cmocka_unit_test(a_zero_that_cannot_be_meant_must_be_refused_at_both_doors),
        cmocka_unit_test(a_count_that_is_too_large_must_be_refused_at_both_doors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
