/* SPDX-License-Identifier: MIT
 *
 * The smallest program that uses the library: lends one resource and gives it back.
 */
#include <keyedpool.h>
#include <stdio.h>

static int the_resource = 42;

static int create(kp_job *job, void **out)
{
    (void)job;
    *out = &the_resource;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    return (void)job, resource == &the_resource ? 0 : -1;
}

int main(void)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy } };
    kp_pool *pool;
    kp_lease lease;

    if (kp_version() != KP_VERSION || kp_pool_open(&options, &pool) != 0)
        return 1;
    if (kp_get(pool, kp_str("one"), KP_IN_S(5), &lease) != 0)
        return 2;
    int is = *(int *)lease.resource;

    kp_release(&lease);
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 3;
    printf("lent %d\n", is);
    return is == 42 ? 0 : 4;
}
