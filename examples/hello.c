/* SPDX-License-Identifier: MIT
 *
 * The first sixty seconds: lend database handles by file name. The first get opens the file, the
 * second one borrows what the first gave back.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>

struct database {                       /* stands for sqlite3 */
    char file[64];
};

/* job->key is the pool's own copy and ends in a NUL byte, so that a text key can be read as a
 * string. */
static int open_database(kp_job *job, void **out)
{
    struct database *db = calloc(1, sizeof *db);

    if (!db)
        return kp_job_fail(job, 12, "no memory for a handle");
    snprintf(db->file, sizeof db->file, "%s", (const char *)job->key.data);
    printf("opened %s\n", db->file);
    *out = db;
    return 0;
}

static int close_database(kp_job *job, void *db)
{
    (void)job;
    printf("closed %s\n", ((struct database *)db)->file);
    free(db);
    return 0;
}

int main(void)
{
    kp_options options = { .driver = { .create = open_database, .destroy = close_database } };
    kp_stats   stats = { 0 };
    kp_pool   *pool;
    int        rc = kp_pool_open(&options, &pool);

    if (rc < 0) {
        fprintf(stderr, "%s\n", kp_strerror(rc));
        return 1;
    }
    for (int i = 0; i < 2 && rc == 0; i++) {
        kp_lease db;

        rc = kp_get(pool, kp_str("users.db"), KP_IN_S(5), &db);
        if (rc == 0) {
            printf("using %s\n", ((struct database *)db.resource)->file);
            kp_release(&db);
        }
    }
    if (rc < 0)
        fprintf(stderr, "%s\n", kp_strerror(rc));
    kp_stats_read(pool, KP_EVERY_KEY, &stats);
    printf("%d gets, %d open\n", (int)stats.gets, (int)stats.creates);
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    return !(rc == 0 && stats.gets == 2 && stats.creates == 1);
}
