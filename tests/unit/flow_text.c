/* SPDX-License-Identifier: MIT
 *
 * Options as text: every field has a name, every unit and word is understood, nothing else is, and
 * each preset sets exactly what it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "unit/options.h"

static int64_t read_field(const kp_options *o, const struct field *f)
{
    int64_t value;
    int32_t small;
    if (f->size == sizeof value) {
        memcpy(&value, (const char *)o + f->offset, sizeof value);
        return value;
    }
    memcpy(&small, (const char *)o + f->offset, sizeof small);
    return small;
}

static void assert_set(const char *name, const char *text, int64_t value)
{
    kp_options o;
    memset(&o, 0x5a, sizeof o);
    o.why = NULL;
    if (kp_options_set(&o, name, text) != 0) fail_msg("%s=%s was refused", name, text);
    for (size_t i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        if (strncmp(f->name, name, strlen(name)) != 0) continue;
        if (read_field(&o, f) == value) return;
    }
    fail_msg("%s=%s did not become %lld", name, text, (long long)value);
}

static void assert_answer(const char *name, const char *text, int code)
{
    kp_options o;
    kp_options before;
    memset(&o, 0x5a, sizeof o);
    o.why = NULL;
    memcpy(&before, &o, sizeof o);
    int rc = kp_options_set(&o, name, text);
    if (rc != code) fail_msg("%s=%s gave %d", name ? name : "NULL", text ? text : "NULL", rc);
    assert_memory_equal(&o, &before, sizeof o);
}

static void refuse(const char *name, const char *text)
{
    assert_answer(name, text, KP_ECONFIG);
}

/* ---- why ------------------------------------------------------------------------------------ */

static void assert_why(const char *name, const char *text, int code, const char *field,
                       const char *sentence)
{
    kp_why why;
    kp_options o = { .why = &why };
    memset(&why, 0x5a, sizeof why);
    assert_int_equal(kp_options_set(&o, name, text), code);
    assert_int_equal(why.code, code);
    assert_string_equal(why.field, field);
    assert_string_equal(why.text, sentence);
}

static void what_is_refused_must_say_what_it_takes(void **state)
{
    (void)state;
    assert_why("limits.max_live", "lots", KP_ECONFIG, "limits.max_live",
               "limits.max_live: takes none, unlimited, or a count like 20 or 10k; not lots");
    assert_why("limits.idle_ttl", "2 min", KP_ECONFIG, "limits.idle_ttl_ms",
               "limits.idle_ttl_ms: takes none, off, or a time like 250ms, 30s, 5min or 1h; not "
               "2 min");
    assert_why("limits.age_spread", "half", KP_ECONFIG, "limits.age_spread_pct",
               "limits.age_spread_pct: takes none, or a percentage from 1 to 100; not half");
    assert_why("limits.group[0]", "eu", KP_ECONFIG, "limits.group[0]",
               "limits.group[0]: takes none, or a number of your own; not eu");
    assert_why("limits.prefill", "yes", KP_ECONFIG, "limits.prefill",
               "limits.prefill: takes none, first_get; not yes");
    assert_why("limits.respects_min", "idle,none", KP_ECONFIG, "limits.respects_min",
               "limits.respects_min: takes idle, excess, age, none; not idle,none");
    assert_why("limits.max_creating", "none", KP_ECONFIG, "limits.max_creating",
               "limits.max_creating: takes unlimited, or a count like 20 or 10k; not none");
    assert_why("limits.max_uses", "0", KP_ECONFIG, "limits.max_uses",
               "limits.max_uses: takes unlimited, or a count like 20 or 10k; not 0");
    assert_why("limits.sharing", "unlimited", KP_ECONFIG, "limits.sharing",
               "limits.sharing: takes a count like 20 or 10k, at most 65536; not unlimited");
    assert_why("limits.shed_interval", "off", KP_ECONFIG, "limits.shed_interval_ms",
               "limits.shed_interval_ms: takes a time like 250ms, 30s, 5min or 1h; not off");
    assert_why("threads", "2000000", KP_ECONFIG, "threads",
               "threads: takes none, or a count like 20 or 10k, at most 1024; not 2000000");
    assert_why("budget.create_rate", "2000000000", KP_ECONFIG, "budget.create_rate",
               "budget.create_rate: takes unlimited, or a count like 20 or 10k, at most "
               "1000000000; not 2000000000");
    assert_why("deadline", NULL, KP_ECONFIG, "deadline_ms",
               "deadline_ms: takes none, off, or a time like 250ms, 30s, 5min or 1h; not NULL");
    assert_why("preset", "hikari", KP_ECONFIG, "preset",
               "preset: takes effect-fixed N, effect-range MIN MAX TTL, zio-fixed N, zio-range MIN "
               "MAX TTL, effectful N, keypool, commons, pgbouncer N, hikari N, apr MIN SMAX HMAX "
               "TTL, dbconnection N");
    assert_why("limits.max_lives", "3", KP_ENOTFOUND, "", "there is no option limits.max_lives");
    assert_why(NULL, "3", KP_ENOTFOUND, "", "there is no option NULL");
    assert_why("limits.max_live", "20\n", KP_ECONFIG, "limits.max_live",
               "limits.max_live: takes none, unlimited, or a count like 20 or 10k; not 20\\x0a");
    assert_why("\t\033[2J", "3", KP_ENOTFOUND, "", "there is no option \\x09\\x1b[2J");
}

/* ---- names ---------------------------------------------------------------------------------- */

static void every_field_must_be_reachable_by_its_name_and_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        kp_options o;
        kp_options wanted;
        int32_t small = (int32_t)f->value;
        const void *from = f->size == sizeof f->value ? (const void *)&f->value : &small;
        memset(&o, 0, sizeof o);
        memset(&wanted, 0, sizeof wanted);
        memcpy((char *)&wanted + f->offset, from, f->size);
        if (kp_options_set(&o, f->name, f->text) != 0) fail_msg("%s=%s", f->name, f->text);
        if (memcmp(&o, &wanted, sizeof o) != 0) fail_msg("%s set something else", f->name);
    }
}

static void the_unit_of_a_name_must_be_optional(void **state)
{
    (void)state;
    size_t tried = 0;
    for (size_t i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        const char *unit = strrchr(f->name, '_');
        char name[40];
        kp_options o;
        if (!unit || (strcmp(unit, "_ms") != 0 && strcmp(unit, "_pct") != 0)) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(unit - f->name), f->name);
        memset(&o, 0, sizeof o);
        if (kp_options_set(&o, name, f->text) != 0) fail_msg("%s=%s", name, f->text);
        assert_true(read_field(&o, f) == f->value);
        tried++;
    }
    assert_int_equal(tried, 25);
}

static void other_names_must_not_be_found(void **state)
{
    (void)state;
    static const char *const names[] = {
        "", "max_live", "limits", "limits.", "limits.max_liv", "limits.max_live_",
        "Limits.max_live", "limits.max_live ", "limits.max_live_ms", "limits.group",
        "limits.group[2]", "limits.reserved0", "budget.reserved", "driver.ctx", "name", "world",
        "presets", "limits.idle",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_answer(names[i], "1", KP_ENOTFOUND);
    assert_answer(NULL, "1", KP_ENOTFOUND);
    assert_int_equal(kp_options_set(NULL, "limits.max_live", "1"), KP_EMISUSE);
}

static void a_later_call_must_win(void **state)
{
    (void)state;
    kp_options o = { 0 };
    assert_int_equal(kp_options_set(&o, "limits.max_live", "20"), 0);
    assert_int_equal(kp_options_set(&o, "limits.max_live", "unlimited"), 0);
    assert_true(o.limits.max_live == KP_UNLIMITED);
    assert_int_equal(kp_options_set(&o, "preset", "hikari 5"), 0);
    assert_true(o.limits.max_live == 5);
    assert_int_equal(kp_options_set(&o, "limits.max_live", "6"), 0);
    assert_true(o.limits.max_live == 6);
}

/* ---- values --------------------------------------------------------------------------------- */

static void every_unit_must_be_understood(void **state)
{
    (void)state;
    assert_set("limits.max_age", "1", 1);
    assert_set("limits.max_age", "1ms", 1);
    assert_set("limits.max_age", "90s", 90000);
    assert_set("limits.max_age", "30min", 1800000);
    assert_set("limits.max_age", "24h", 86400000);
    assert_set("limits.max_age", "4611686018427", INT64_C(4611686018427));
    assert_set("limits.max_live", "2147483646", 2147483646);
    assert_set("limits.max_live", "007", 7);
    assert_set("limits.max_live", "10k", 10000);
    assert_set("limits.max_live", "10M", 10000000);
    assert_set("limits.utilization", "100", 100);
    assert_set("limits.utilization", "1%", 1);
}

static void zero_must_be_the_number_zero(void **state)
{
    (void)state;
    assert_set("limits.min_live", "0", KP_NONE);
    assert_set("limits.retry_first", "0ms", KP_NONE);
    assert_set("limits.age_spread", "0%", KP_NONE);
    assert_set("threads", "0", KP_NONE);
    assert_set("on_misuse_abort", "off", 0);
    refuse("limits.sharing", "0");
    refuse("limits.weight", "0");
    refuse("keep_every", "0");
}

static void special_words_must_be_taken_only_where_they_mean_something(void **state)
{
    (void)state;
    assert_set("limits.max_age", "off", KP_OFF);
    assert_set("limits.max_live", "none", KP_NONE);
    assert_set("limits.breaker_failures", "off", KP_OFF);
    assert_set("budget.evict_other_keys", "on", 1);
    assert_set("deadline", "none", KP_NONE);
    assert_set("limits.validate_on", "none", KP_NONE);
    assert_set("limits.respects_min", "none", KP_KIND_NONE);
    assert_set("on_fork", "refuse", KP_FORK_REFUSE);
    assert_set("hits", "quick", KP_HITS_QUICK);
    assert_set("limits.validate_on", "none", KP_NONE); /* sets that may be empty */
    assert_set("limits.idle_check", "0", KP_NONE);
    assert_set("limits.breaker_counts", "none", KP_NONE);
    refuse("limits.validate_on", "none,get");
    refuse("limits.max_age", "unlimited");
    refuse("limits.max_live", "off");
    refuse("limits.min_live", "unlimited");
    refuse("limits.sharing", "unlimited");
    refuse("limits.max_creating", "none");
    refuse("limits.max_age", "once");
    refuse("limits.max_live", "once");
    refuse("limits.utilization", "off");
    refuse("limits.weight", "unlimited");
    refuse("limits.group[0]", "unlimited");
    refuse("budget.evict_other_keys", "2");
    refuse("budget.evict_other_keys", "none");
}

static void what_is_no_number_must_be_refused(void **state)
{
    (void)state;
    static const char *const counts[] = {
        "", " ", "-1", "+1", "1.5", "1 ", " 1", "0x10", "1K", "1m", "1kk", "k", "1s", "ten",
        "None", "2147483647", "3000M", "99999999999999999999", "1%", "KP_NONE",
    };
    static const char *const times[] = {
        "", "-1", "1.5s", "1 s", "s", "1S", "1m", "1us", "1ns", "1d", "1sec", "1min30s", "1h ",
        "4611686018428", "4611686018427s", "99999999999999999999", "for ever",
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        refuse("limits.max_live", counts[i]);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) refuse("limits.max_age", times[i]);
    refuse("limits.utilization", "101");
    refuse("limits.utilization", "50 %");
    refuse("limits.group[0]", "9223372036854775808");
    refuse("limits.max_live", NULL);
}

static void what_is_no_word_of_an_option_must_be_refused(void **state)
{
    (void)state;
    refuse("limits.prefill", "eager");
    refuse("limits.prefill", "1");
    refuse("limits.idle_order", "eventual");
    refuse("limits.idle_order", "FIFO");
    refuse("limits.wait_order", "");
    refuse("limits.idle_check", "");
    refuse("limits.idle_check", "get,");
    refuse("limits.idle_check", ",get");
    refuse("limits.idle_check", "get, keeper");
    refuse("limits.idle_check", "never");
    refuse("limits.idle_check", "none,get");
    refuse("limits.respects_min", "none,idle");
    refuse("on_fork", "anew");
    refuse("hits", "slow");
    refuse("on_misuse_abort", "2");
}

/* ---- presets -------------------------------------------------------------------------------- */

/* What every preset sets, unless it has a value of its own. */
static const struct field plain[] = {
#define P(name, where, value) { name, NULL, offsetof(kp_options, where), \
                                sizeof(((kp_options *)0)->where), value }
#define PL(field, value) P("limits." #field, limits.field, value)
#define PB(field, value) P("budget." #field, budget.field, value)
    PL(min_live, KP_NONE), PL(max_live, KP_UNLIMITED), PL(max_lent, KP_UNLIMITED),
    PL(max_idle, KP_UNLIMITED), PL(min_idle, KP_NONE), PL(max_creating, KP_UNLIMITED),
    PL(max_waiting, KP_UNLIMITED), PL(idle_ttl_ms, KP_OFF), PL(excess_ttl_ms, KP_OFF),
    PL(max_age_ms, KP_OFF), PL(validate_after_ms, KP_NONE), PL(retry_first_ms, KP_NONE),
    PL(cache_failure_ms, KP_NONE), PL(shed_target_ms, KP_OFF), PL(reserve, KP_NONE),
    PL(prefill, KP_PREFILL_NONE), PL(refill, KP_REFILL_LAZY), PL(wait_order, KP_FIFO),
    PL(idle_order, KP_LIFO), PL(on_create_failure, KP_FAIL_REQUEST),
    PL(over_idle, KP_DROP_RETURNED), PL(idle_check, KP_CHECK_GET | KP_CHECK_KEEPER),
    PL(excess_check, KP_CHECK_GET | KP_CHECK_KEEPER),
    PL(age_check, KP_CHECK_GET | KP_CHECK_KEEPER), PL(respects_min, KP_KIND_IDLE | KP_KIND_EXCESS),
    PB(max_live, KP_UNLIMITED), PB(max_lent, KP_UNLIMITED), PB(max_idle, KP_UNLIMITED),
    PB(max_creating, KP_UNLIMITED), PB(max_waiting, KP_UNLIMITED), PB(max_keys, KP_UNLIMITED),
    PB(evict_other_keys, KP_OFF), PB(across, KP_ACROSS_SHARE),
    P("keep_every_ms", keep_every_ms, KP_OFF),
};

struct said {
    const char *name;
    int64_t     value;
};

static bool says(const struct said *own, const char *name, int64_t *value)
{
    for (; own->name; own++) {
        if (strcmp(own->name, name) != 0) continue;
        *value = own->value;
        return true;
    }
    return false;
}

/* Field by field: its own value, else that of every preset, else untouched. */
static void assert_preset(const char *text, const struct said *own)
{
    kp_options o;
    memset(&o, 0, sizeof o);
    assert_int_equal(kp_options_set(&o, "preset", "pgbouncer 3"), 0);  /* nothing of it may stay */
    o.limits.sharing = 2;
    if (kp_options_set(&o, "preset", text) != 0) fail_msg("%s was refused", text);
    for (size_t i = 0; i < FIELDS; i++) {
        int64_t wanted = strcmp(fields[i].name, "limits.sharing") == 0 ? 2 : 0;
        for (size_t j = 0; j < sizeof plain / sizeof *plain; j++)
            if (plain[j].offset == fields[i].offset) wanted = plain[j].value;
        (void)says(own, fields[i].name, &wanted);
        if (read_field(&o, &fields[i]) != wanted)
            fail_msg("%s: %s is %lld, not %lld", text, fields[i].name,
                     (long long)read_field(&o, &fields[i]), (long long)wanted);
    }
}

#define OWN(...) ((const struct said[]){ __VA_ARGS__, { NULL, 0 } })
#define L(field, value) { "limits." #field, value }
#define B(field, value) { "budget." #field, value }
#define STRUCTURED                                                                           \
    L(prefill, KP_PREFILL_FIRST_GET), L(refill, KP_REFILL_EAGER), L(idle_order, KP_FIFO),   \
    L(cache_failure_ms, KP_ONCE), { "forget_key_after_ms", KP_OFF }

static void effect_and_zio_must_be_as_their_pools_are(void **state)
{
    (void)state;
    const struct said *fixed = OWN(STRUCTURED, L(min_live, 10), L(max_live, 10));
    const struct said *range = OWN(STRUCTURED, L(min_live, 10), L(max_live, 15),
                                   L(excess_ttl_ms, 60000));
    const struct said *zero = OWN(STRUCTURED, L(min_live, KP_NONE), L(max_live, 10),
                                  L(excess_ttl_ms, KP_OFF));
    assert_preset("effect-fixed 10", fixed);
    assert_preset("zio-fixed 10", fixed);
    assert_preset("effect-range 10 15 60s", range);
    assert_preset("zio-range 10 15 1min", range);
    assert_preset("effect-range 0 10 off", zero);
}

static void effectful_and_keypool_must_bound_leases_over_all_keys(void **state)
{
    (void)state;
    assert_preset("effectful 4", OWN(B(max_lent, 4), B(across, KP_ACROSS_ARRIVAL),
                                     L(idle_order, KP_FIFO), L(idle_check, KP_CHECK_GET)));
    assert_preset("keypool", OWN(B(max_lent, 100), B(max_idle, 100), L(max_idle, 100),
                                 B(across, KP_ACROSS_ARRIVAL), L(idle_ttl_ms, 30000),
                                 L(idle_check, KP_CHECK_KEEPER), L(respects_min, KP_KIND_NONE),
                                 { "keep_every_ms", 5000 }));
}

static void commons_must_have_its_own_defaults(void **state)
{
    (void)state;
    assert_preset("commons", OWN(B(evict_other_keys, 1), L(max_live, 8), L(max_idle, 8),
                                 L(respects_min, KP_KIND_EXCESS)));
}

static void presets_that_keep_trying_must_pause_in_between(void **state)
{
    (void)state;
    assert_preset("pgbouncer 20",
                  OWN(B(evict_other_keys, 1), L(max_live, 20), L(max_creating, 1),
                      L(reserve_after_ms, 5000), L(max_age_ms, 3600000), L(idle_ttl_ms, 600000),
                      L(validate_after_ms, 30000), L(on_create_failure, KP_FAIL_RETRY),
                      L(retry_first_ms, 15000), L(retry_max_ms, 15000),
                      L(cache_failure_ms, 15000), { "forget_key_after_ms", 3600000 }));
    assert_preset("hikari 10",
                  OWN(L(max_live, 10), L(min_idle, 10), L(refill, KP_REFILL_EAGER),
                      L(max_age_ms, 1800000), L(age_spread_pct, 3), L(idle_ttl_ms, 600000),
                      L(validate_after_ms, 500), L(wait_order, KP_EVENTUAL),
                      L(on_create_failure, KP_FAIL_RETRY), L(retry_first_ms, 10),
                      L(retry_max_ms, 5000)));
    assert_preset("dbconnection 5",
                  OWN(L(min_live, 5), L(max_live, 5), L(prefill, KP_PREFILL_FIRST_GET),
                      L(refill, KP_REFILL_EAGER), L(idle_order, KP_FIFO), L(shed_target_ms, 50),
                      L(shed_interval_ms, 2000), L(on_create_failure, KP_FAIL_RETRY),
                      L(retry_first_ms, 1000), L(retry_max_ms, 30000)));
}

#define APR(min, smax, hmax, ttl)                                                           \
    OWN(L(min_idle, min), L(excess_over, smax), L(max_live, hmax), L(excess_ttl_ms, ttl),   \
        L(idle_ttl_ms, ttl), L(excess_check, KP_CHECK_RETURN), L(idle_check, KP_CHECK_GET), \
        L(respects_min, KP_KIND_EXCESS))

static void apr_must_have_a_soft_and_a_hard_maximum(void **state)
{
    (void)state;
    assert_preset("apr 5 10 20 350ms", APR(5, 10, 20, 350));
    assert_preset("apr 0 0 1 0", APR(KP_NONE, KP_NONE, 1, KP_OFF));
    assert_preset("apr 3 3 3 off", APR(3, 3, 3, KP_OFF));
}

static void what_is_no_preset_must_change_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "effect", "effect-fixed", "effect-fixed 0", "effect-fixed -1", "effect-fixed 10 1",
        "effect-fixed ten", "effect-fixed10", "effect-fixed unlimited", "effect-range 1 2",
        "effect-range 3 2 1s", "effect-range 0 0 1s", "effect-range 1 2 1s 1", "zio-range 1 2 x",
        "effectful", "keypool 100", "commons 8", "hikari 0", "Hikari 5", "apr 1 2 3",
        "apr 2 1 3 1s", "apr 1 4 3 1s", "apr 0 0 0 1s", "apr 1 0 1 1s", "dbconnection 0",
        "default",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) refuse("preset", texts[i]);
    refuse("preset", NULL);
}

static void blanks_between_the_numbers_of_a_preset_must_not_matter(void **state)
{
    (void)state;
    assert_preset("  apr\t5  10 20\t350 ", APR(5, 10, 20, 350));
}

static void every_preset_must_open_a_pool(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "effect-fixed 10", "effect-range 0 10 60s", "zio-fixed 1", "zio-range 2 3 off",
        "effectful 4", "keypool", "commons", "pgbouncer 20", "hikari 10", "apr 0 0 1 0",
        "apr 5 10 20 350ms", "dbconnection 5",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        kp_why why;
        kp_options o = { .why = &why };
        kp_pool *pool;
        assert_int_equal(kp_options_set(&o, "preset", texts[i]), 0);
        if (kp_pool_open(&o, &pool) != 0) fail_msg("%s: %s", texts[i], why.text);
        assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused_must_say_what_it_takes),
        cmocka_unit_test(every_field_must_be_reachable_by_its_name_and_alone),
        cmocka_unit_test(the_unit_of_a_name_must_be_optional),
        cmocka_unit_test(other_names_must_not_be_found),
        cmocka_unit_test(a_later_call_must_win),
        cmocka_unit_test(every_unit_must_be_understood),
        cmocka_unit_test(zero_must_be_the_number_zero),
        cmocka_unit_test(special_words_must_be_taken_only_where_they_mean_something),
        cmocka_unit_test(what_is_no_number_must_be_refused),
        cmocka_unit_test(what_is_no_word_of_an_option_must_be_refused),
        cmocka_unit_test(effect_and_zio_must_be_as_their_pools_are),
        cmocka_unit_test(effectful_and_keypool_must_bound_leases_over_all_keys),
        cmocka_unit_test(commons_must_have_its_own_defaults),
        cmocka_unit_test(presets_that_keep_trying_must_pause_in_between),
        cmocka_unit_test(apr_must_have_a_soft_and_a_hard_maximum),
        cmocka_unit_test(every_preset_must_open_a_pool),
        cmocka_unit_test(what_is_no_preset_must_change_nothing),
        cmocka_unit_test(blanks_between_the_numbers_of_a_preset_must_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
