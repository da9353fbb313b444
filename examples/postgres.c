/* SPDX-License-Identifier: MIT
 *
 * PostgreSQL by database: a pool where a borrower need not clean up. What it leaves, here a
 * transaction and a setting, is undone before the next one; a failed connect says why.
 *
 *     example-postgres 'host=/run/postgresql user=me'
 */
#include <keyedpool_postgres.h>
#include <stdio.h>

static const char how[] =
    "No server there. On Debian:\n"
    "    apt-get install postgresql && service postgresql start\n"
    "    su postgres -c 'createuser --superuser me && createdb me'\n"
    "and again with: 'host=/run/postgresql user=me'\n";

static void left(const kp_pg_leftover *what, void *ctx)
{
    (void)ctx;
    printf("%s left %s%s; it is undone\n", what->tag,
           what->what & KP_PG_LEFT_TRANSACTION ? "a transaction" : "",
           what->what & KP_PG_LEFT_SETTING ? " and a setting" : "");
}

/* The first value of a query. */
static void show(const kp_lease *lease, const char *sql)
{
    PGresult *result = PQexec(kp_pg_conn(lease), sql);

    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        printf("%s: %s\n", sql, PQgetvalue(result, 0, 0));
    PQclear(result);
}

int main(int argc, char **argv)
{
    kp_pg_options pg = { .conninfo = argc > 1 ? argv[1] : NULL, /* else libpq's environment */
                         .set_up = "SET statement_timeout = '5s'", .on_leftover = left };
    kp_options    more = { .limits.max_live = 4 };
    kp_why        why = { 0 };
    kp_pool      *pool;
    kp_lease      lease;

    if (kp_pg_open(&pg, &more, &pool) != 0)
        return 1;
    if (kp_get(pool, kp_str("postgres"), KP_ASK(.within_ms = 5000, .why = &why, .tag = "first"),
               &lease) != 0) {
        printf("%s\n%s", why.text, how);
        kp_pool_close(pool, KP_CLOSE_NOW, 0);
        return 1;
    }
    PQclear(PQexec(kp_pg_conn(&lease), "SET statement_timeout = '1h'"));
    PQclear(PQexec(kp_pg_conn(&lease), "BEGIN"));
    kp_release(&lease);

    if (kp_get(pool, kp_str("postgres"), KP_IN_S(5), &lease) == 0) {
        show(&lease, "SELECT current_setting('statement_timeout')");
        show(&lease, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keyedpool'");
        kp_release(&lease);
    }
    if (kp_get(pool, kp_str("nowhere"), KP_ASK(.within_ms = 5000, .why = &why), &lease) != 0)
        printf("%s: %s\n", kp_error_find(why.code)->name, why.text);
    return kp_pool_close(pool, KP_CLOSE_WAIT, 0) == 0 ? 0 : 1;
}
