/* SPDX-License-Identifier: MIT
 *
 * What the PostgreSQL adapter refuses before it asks a server, and that no secret is told then.
 */
#include "adapters/postgres_stage.h"

static void impossible_options_must_be_refused_by_name(void **state)
{
    static const char conninfo[] = "must be a conninfo string or URI";
    static const struct { kp_pg_options options; const char *field, *sentence; } bad[] = {
        { { .conninfo = "password='" PG_SECRET }, "postgres.conninfo", conninfo },
        { { .conninfo = "postgresql://app:a@" PG_SECRET "@db/app" }, "postgres.conninfo",
          conninfo },
        { { .conninfo = "postgresql://app:" PG_SECRET "/a@db/app" }, "postgres.conninfo",
          conninfo },
        { { .conninfo = "postgresql://app:a@" PG_SECRET "/b@db/app" }, "postgres.conninfo",
          conninfo },
        { { .conninfo = "postgresql://app:1/" PG_SECRET "@db/app" }, "postgres.conninfo",
          conninfo },
        { { .reset = 9 }, "postgres.reset", "must be KP_PG_TIDY" },
        { { .reset = -1 }, "postgres.reset", "must be KP_PG_TIDY" },
        { { .reset = KP_PG_TIDY, .reset_sql = "x" }, "postgres.reset_sql", "only one of them" },
        { { .reserved = { 1 } }, "postgres.reserved", "header newer" },
        { { .reserved0 = 1 }, "postgres.reserved", "header newer" },
        { { .connect_timeout_ms = -1 }, "postgres.connect_timeout_ms", "must be a time" },
        { { .answer_timeout_ms = KP_OFF }, "postgres.answer_timeout_ms", "must be a time" },
    };
    kp_options more = { .why = &stage.why };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(kp_pg_open(&bad[i].options, &more, &stage.pool), KP_ECONFIG);
        assert_null(stage.pool);
        assert_string_equal(stage.why.field, bad[i].field);
        if (!strstr(stage.why.text, bad[i].sentence))
            fail_msg("\"%s\" is not in \"%s\"", bad[i].sentence, stage.why.text);
        assert_null(strstr(stage.why.text, PG_SECRET));
    }
    more.limits.min_live = 5;           /* this one the pool refuses, not the adapter */
    more.limits.max_live = 3;
    assert_int_equal(kp_pg_open(NULL, &more, &stage.pool), KP_ECONFIG);
    assert_null(stage.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_options_must_be_refused_by_name),
    };

    return cmocka_run_group_tests_name("postgres_refused", tests, NULL, NULL);
}
