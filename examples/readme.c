/* SPDX-License-Identifier: MIT
 *
 * The example of README.md, word for word after this comment: tests/build/readme.sh compares them.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>

static int connect_to(kp_job *job, void **out)
{
    printf("connecting to %s\n", (const char *)job->key.data);
    *out = malloc(64);                  /* stands for your connection, client, handle, ... */
    return *out ? 0 : kp_job_fail(job, 0, "no memory for a connection");
}

static int disconnect(kp_job *job, void *connection)
{
    printf("closing the connection to %s\n", (const char *)job->key.data);
    free(connection);
    return 0;
}

int main(void)
{
    kp_options options = { .driver = { .create = connect_to, .destroy = disconnect },
                           .limits = { .max_live = 4 } };           /* of each key */
    kp_why     why = { 0 };
    kp_pool   *pool;
    int        rc;

    if (kp_pool_open(&options, &pool) != 0)
        return 1;
    for (int i = 0; i < 3; i++) {       /* connects once, lends three times */
        kp_lease lease;

        rc = kp_get(pool, kp_str("eu-west"), KP_ASK(.within_ms = 5000, .why = &why), &lease);
        if (rc != 0) {
            fprintf(stderr, "%s: %s\n", kp_strerror(rc), why.text);
            break;
        }
        /* ... use lease.resource ... */
        kp_release(&lease);             /* or kp_discard(&lease), if it is broken */
    }
    return kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0 || rc != 0;
}
