/* SPDX-License-Identifier: MIT
 *
 * What a typed face must let through, and what it must refuse to compile. Only compiled, once for
 * each KP_CASE, by typed_must_not_compile.sh; a case is marked by its number. Case 0 is right.
 */
#include "keyedpool.h"

struct shard { char host[20]; int number; };
struct tenant { char name[20]; int number; };
struct connection { int fd; };
struct channel { int fd; };

KP_DEFINE(db, struct shard, struct connection);
KP_DEFINE(mq, struct tenant, struct channel);

#if KP_CASE == 1                        /* a create that makes another type of resource */
int make(kp_job *job, const struct shard *key, struct channel **out);
#elif KP_CASE == 2                      /* a create that expects another type of key */
int make(kp_job *job, const struct tenant *key, struct connection **out);
#else
int make(kp_job *job, const struct shard *key, struct connection **out);
#endif

#if KP_CASE == 3                        /* a destroy of another type */
int unmake(kp_job *job, struct channel *c);
#else
int unmake(kp_job *job, struct connection *c);
#endif

#if KP_CASE == 4                        /* a validate of another type */
int look(kp_job *job, struct channel *c);
#else
int look(kp_job *job, struct connection *c);
#endif

extern const db_options options;
const db_options options = { .create = make, .destroy = unmake, .validate = look };

int use(db_pool pool, mq_pool other_pool, mq_lease *other_lease);
int use(db_pool pool, mq_pool other_pool, mq_lease *other_lease)
{
    struct shard       key = { "db1", 3 };
    struct tenant      other_key = { "acme", 3 };
    struct connection *c = NULL;
    struct channel    *other = NULL;
    kp_lease           plain = { 0 };
    db_lease           lease;

    (void)other_pool, (void)other_lease, (void)other_key, (void)other, (void)plain;
#if KP_CASE == 5                        /* a key of another type */
    int rc = db_get(pool, &other_key, NULL, &lease);
#elif KP_CASE == 6                      /* text as a key */
    int rc = db_get(pool, "db1", NULL, &lease);
#elif KP_CASE == 7                      /* a lease of another face */
    int rc = db_get(pool, &key, NULL, other_lease);
#elif KP_CASE == 8                      /* a plain lease */
    int rc = db_get(pool, &key, NULL, &plain);
#elif KP_CASE == 9                      /* a pool of another face */
    int rc = db_get(other_pool, &key, NULL, &lease);
#elif KP_CASE == 10                     /* a plain kp_key */
    int rc = db_get(pool, kp_str("db1"), NULL, &lease);
#elif KP_CASE == 16                     /* as 5, by try_get */
    int rc = db_try_get(pool, &other_key, &lease);
#else
    int rc = db_get(pool, &key, KP_IN_S(1), &lease);
#endif

#if KP_CASE == 11                       /* the resource as another type */
    other = lease.resource;
#else
    c = lease.resource;
#endif

#if KP_CASE == 12                       /* releasing a lease of another face */
    db_release(other_lease);
#elif KP_CASE == 13                     /* discarding one */
    db_discard(other_lease);
#elif KP_CASE == 14                     /* the typed lease where a plain one is wanted */
    kp_release(&lease);
#elif KP_CASE == 15                     /* the result of a get that is not looked at */
    db_get(pool, &key, NULL, &lease);
#else
    db_release(&lease);
#endif
    return c ? rc : -1;
}
