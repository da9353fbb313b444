/* SPDX-License-Identifier: MIT
 *
 * A typed interface: a struct as the key, PGconn as the resource, and no void pointer in the
 * program's own code. A wrong key or a wrong resource does not compile. And a whole driver: besides
 * create and destroy it checks what is still good, undoes what a borrower left, and knows when
 * there is nothing to undo, so that a clean one comes back without the pool's lock.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct PGconn { int ok, in_transaction; } PGconn;       /* stands for libpq */

static PGconn *PQconnectdb(const char *info)
{
    PGconn *c = calloc(1, sizeof *c);

    printf("connecting: %s\n", info);
    return c ? c->ok = 1, c : NULL;
}

static int PQstatus(const PGconn *c)
{
    return c && c->ok ? 0 : 1;
}

/* has padding: harmless, since only the fields below are compared */
struct db_key {
    char host[40];
    char role;
    int  shard;
};
static const kp_field db_fields[] = {
    KP_TEXT(struct db_key, host), KP_INT(struct db_key, role), KP_INT(struct db_key, shard), KP_END,
};

/* db_pool, db_lease, db_options, db_open, db_get, db_release, ... */
KP_DEFINE(db, struct db_key, PGconn);

static int connect_db(kp_job *job, const struct db_key *key, PGconn **out)
{
    char    info[160];
    PGconn *c;
    int64_t left_s = job->left_ms / 1000 + 1;

    if (left_s > 30)
        left_s = 30;                            /* what is made in the background has no deadline */
    snprintf(info, sizeof info, "host=%s dbname=shard%d connect_timeout=%d", key->host, key->shard,
             (int)left_s);
    c = PQconnectdb(info);
    if (PQstatus(c) != 0) {
        free(c);
        return kp_job_fail(job, 1, "libpq says no");
    }
    *out = c;
    return 0;
}

static int finish(kp_job *job, PGconn *c)
{
    free(c);
    return (void)job, 0;
}

static int still_alive(kp_job *job, PGconn *c)
{
    return PQstatus(c) == 0 ? 0 : kp_job_fail(job, 1, "the server went away");
}

static int roll_back(kp_job *job, PGconn *c)
{
    c->in_transaction = 0;
    return (void)job, 0;
}

static bool is_clean(PGconn *c, void *ctx)
{
    return (void)ctx, !c->in_transaction;
}

int main(void)
{
    /* static: the pool calls the functions through it */
    static const db_options options = {
        .create = connect_db,
        .destroy = finish,
        .validate = still_alive,
        .reset = roll_back,
        .is_clean = is_clean,
        .fields = db_fields,
        .more = { .name = "pg", .limits = { .max_live = 20, .validate_after_ms = KP_NONE } },
    };
    struct db_key key = { .host = "db1", .role = 'w', .shard = 3 };
    db_lease      lease;
    db_pool       pool;
    kp_stats      stats = { 0 };
    int           rc, second;

    if (db_open(&options, &pool) < 0)
        return 1;
    rc = db_get(pool, &key, KP_IN_S(2), &lease);
    if (rc == 0) {
        lease.resource->in_transaction = 1;     /* left open: it is rolled back */
        db_release(&lease);
        rc = db_get(pool, &key, KP_IN_S(2), &lease);
    }
    if (rc == 0) {
        rc = lease.resource->in_transaction;
        /* the server went away: validate notices before anybody else borrows it */
        lease.resource->ok = 0;
        db_release(&lease);
    }
    second = db_get(pool, &key, KP_IN_S(2), &lease);
    if (second == 0) {
        printf("status %d\n", PQstatus(lease.resource));
        second = PQstatus(lease.resource);
        db_release(&lease);
    }
    kp_stats_read(pool.pool, KP_EVERY_KEY, &stats);
    if (db_close(pool, KP_CLOSE_WAIT, KP_SECONDS(2)) != 0)
        return 1;
    return !(rc == 0 && second == 0 && stats.invalid == 1 && stats.creates == 2);
}
