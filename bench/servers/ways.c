/* SPDX-License-Identifier: MIT
 *
 * The ways (ways.h): a connection for each thread; keyedpool, served in order, with KP_EVENTUAL,
 * and without waiters; the pool that everybody writes, a stack with a mutex and a condition
 * variable; the smallest pool that keeps the order; the smallest that lets no thread wait for long;
 * apr_reslist; and a connection to PgBouncer for each thread.
 */
#include "ways.h"

#include "../bench.h"

#include <semaphore.h>

#ifdef KP_HAVE_APR
#  include <apr_general.h>
#  include <apr_pools.h>
#  include <apr_reslist.h>
#endif

static PGconn *connect_to(const struct way *way)
{
    char conninfo[256];
    PGconn *conn;

    stage_conninfo(way->by_bouncer, way->name, conninfo, sizeof conninfo);
    conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK) bench_fail(way->name, PQerrorMessage(conn));
    return conn;
}

/* ---- a connection for each thread, to the server or to PgBouncer ----------------------------- */

static void own_open(struct way *way)
{
    for (int i = 0; i < way->threads; i++) way->conn[i] = connect_to(way);
}

static void own_close(struct way *way)
{
    for (int i = 0; i < way->threads; i++) PQfinish(way->conn[i]);
}

static void own_borrow(struct way *way, int thread, struct hold *hold)
{
    hold->conn = way->conn[thread];
}

static void own_give_back(struct way *way, struct hold *hold)
{
    (void)way, (void)hold;
}

/* ---- keyedpool ------------------------------------------------------------------------------- */

static void ours_borrow(struct way *way, int thread, struct hold *hold)
{
    int rc = kp_get(way->pool, kp_str("postgres"), NULL, &hold->lease);

    (void)thread;
    if (rc < 0) bench_fail(way->name, kp_strerror(rc));
    hold->conn = kp_pg_conn(&hold->lease);
}

static void ours_give_back(struct way *way, struct hold *hold)
{
    (void)way;
    kp_release(&hold->lease);
}

static void ours_open(struct way *way)
{
    char conninfo[256];
    struct hold holds[CONNECTIONS];
    kp_options options = { .limits = { .max_live = CONNECTIONS, .wait_order = way->wait_order } };
    kp_pg_options pg = { .conninfo = conninfo, .counts = &way->counts };

    stage_conninfo(way->by_bouncer, way->name, conninfo, sizeof conninfo);
    if (kp_pg_open(&pg, &options, &way->pool) != 0) bench_fail(way->name, "refused");
    for (int i = 0; i < CONNECTIONS; i++) ours_borrow(way, i, &holds[i]);
    for (int i = 0; i < CONNECTIONS; i++) ours_give_back(way, &holds[i]);
}

/* Every connection that was made was closed once, and nothing is lent any more. */
static void ours_close(struct way *way)
{
    kp_pg_counts counts;

    if (kp_pool_close(way->pool, KP_CLOSE_WAIT, 0) != 0) bench_fail(way->name, "leases left");
    counts = kp_pg_counts_read(&way->counts);
    if (counts.opened != CONNECTIONS || counts.closed != counts.opened)
        bench_fail(way->name, "connections were lost, or made in vain");
}

/* ---- by hand --------------------------------------------------------------------------------- */

/* Each of the hand-written ways has one of these, and uses it differently. */
struct stack {
    pthread_mutex_t lock;
    pthread_cond_t  free;
    struct turn    *first, **last;      /* the threads that wait, in order */
    int             count;
    PGconn         *conn[CONNECTIONS];
    struct { PGconn *conn; uint64_t since; } kept[CLIENTS];     /* by each thread */
};

struct turn {
    struct turn *next;
    sem_t        given;
    PGconn      *conn;
};

static void hand_open(struct way *way)
{
    struct stack *s = calloc(1, sizeof *s);

    if (!s || pthread_mutex_init(&s->lock, NULL) != 0 || pthread_cond_init(&s->free, NULL) != 0)
        bench_fail(way->name, "refused");
    while (s->count < CONNECTIONS) s->conn[s->count++] = connect_to(way);
    s->last = &s->first;
    way->stack = s;
}

static void hand_close(struct way *way)
{
    struct stack *s = way->stack;

    if (s->count != CONNECTIONS) bench_fail(way->name, "connections left");
    while (s->count > 0) PQfinish(s->conn[--s->count]);
    pthread_cond_destroy(&s->free);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void hand_borrow(struct way *way, int thread, struct hold *hold)
{
    struct stack *s = way->stack;

    (void)thread;
    pthread_mutex_lock(&s->lock);
    while (s->count == 0) pthread_cond_wait(&s->free, &s->lock);
    hold->conn = s->conn[--s->count];
    pthread_mutex_unlock(&s->lock);
}

static void hand_give_back(struct way *way, struct hold *hold)
{
    struct stack *s = way->stack;

    pthread_mutex_lock(&s->lock);
    s->conn[s->count++] = hold->conn;
    pthread_cond_signal(&s->free);
    pthread_mutex_unlock(&s->lock);
}

/* ---- by hand, in order ----------------------------------------------------------------------- */

/* A connection is handed from thread to thread: nothing simpler keeps the order. */
static void line_borrow(struct way *way, int thread, struct hold *hold)
{
    struct stack *s = way->stack;
    struct turn mine = { .next = NULL };
    bool waits;

    (void)thread;
    pthread_mutex_lock(&s->lock);
    waits = s->count == 0;
    if (waits) {
        if (sem_init(&mine.given, 0, 0) != 0) bench_fail(way->name, "refused");
        *s->last = &mine;
        s->last = &mine.next;
    } else {
        mine.conn = s->conn[--s->count];
    }
    pthread_mutex_unlock(&s->lock);
    while (waits && sem_wait(&mine.given) != 0) continue;
    hold->conn = mine.conn;
}

static void line_give_back(struct way *way, struct hold *hold)
{
    struct stack *s = way->stack;
    struct turn *first;

    pthread_mutex_lock(&s->lock);
    first = s->first;
    if (first) {
        s->first = first->next;
        if (!s->first) s->last = &s->first;
        first->conn = hold->conn;
    } else {
        s->conn[s->count++] = hold->conn;
    }
    pthread_mutex_unlock(&s->lock);
    if (first) sem_post(&first->given);
}

/* ---- by hand, in turns ----------------------------------------------------------------------- */

/* The same line, but the first thread keeps the connection for as long as a turn of KP_EVENTUAL
 * lasts here. During that, to borrow and to give back costs nothing: no pool that lets others wait
 * no longer could cost less. */
static const uint64_t TURN_NS = 12000000 * CONNECTIONS / CLIENTS;

static void turns_borrow(struct way *way, int thread, struct hold *hold)
{
    struct stack *s = way->stack;

    if (!s->kept[thread].conn) {
        line_borrow(way, thread, hold);
        s->kept[thread].conn = hold->conn;
        s->kept[thread].since = bench_now();
    }
    hold->conn = s->kept[thread].conn;
    hold->thread = thread;
}

static void turns_leave(struct way *way, int thread)
{
    struct hold hold = { .conn = way->stack->kept[thread].conn };

    way->stack->kept[thread].conn = NULL;
    if (hold.conn) line_give_back(way, &hold);
}

static void turns_give_back(struct way *way, struct hold *hold)
{
    if (bench_now() - way->stack->kept[hold->thread].since >= TURN_NS)
        turns_leave(way, hold->thread);
}

/* ---- apr_reslist ----------------------------------------------------------------------------- */

#ifdef KP_HAVE_APR
static apr_reslist_t *list;

static apr_status_t list_connect(void **out, void *way, apr_pool_t *pool)
{
    (void)pool;
    *out = connect_to(way);
    return APR_SUCCESS;
}

static apr_status_t list_finish(void *conn, void *way, apr_pool_t *pool)
{
    (void)way, (void)pool;
    PQfinish(conn);
    return APR_SUCCESS;
}

static void list_open(struct way *way)
{
    apr_pool_t *pool = NULL;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS ||
        apr_reslist_create(&list, CONNECTIONS, CONNECTIONS, CONNECTIONS, 0, list_connect,
                           list_finish, way, pool) != APR_SUCCESS)
        bench_fail(way->name, "refused");
}

static void list_close(struct way *way)
{
    if (apr_reslist_destroy(list) != APR_SUCCESS) bench_fail(way->name, "connections left");
}

static void list_borrow(struct way *way, int thread, struct hold *hold)
{
    void *conn = NULL;

    (void)thread;
    if (apr_reslist_acquire(list, &conn) != APR_SUCCESS) bench_fail(way->name, "refused");
    hold->conn = conn;
}

static void list_give_back(struct way *way, struct hold *hold)
{
    if (apr_reslist_release(list, hold->conn) != APR_SUCCESS) bench_fail(way->name, "refused");
}
#endif

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct way known[] = {
    { .name = "dedicated", .threads = CONNECTIONS, .open = own_open, .close = own_close,
      .borrow = own_borrow, .give_back = own_give_back },
    { .name = "keyedpool", .threads = CLIENTS, .open = ours_open, .close = ours_close,
      .borrow = ours_borrow, .give_back = ours_give_back, .wait_order = KP_FIFO },
    { .name = "eventual", .threads = CLIENTS, .open = ours_open, .close = ours_close,
      .borrow = ours_borrow, .give_back = ours_give_back, .wait_order = KP_EVENTUAL },
    { .name = "keyedpool_8", .threads = CONNECTIONS, .open = ours_open, .close = ours_close,
      .borrow = ours_borrow, .give_back = ours_give_back, .wait_order = KP_FIFO },
    { .name = "by_hand", .threads = CLIENTS, .open = hand_open, .close = hand_close,
      .borrow = hand_borrow, .give_back = hand_give_back },
    { .name = "by_hand_fifo", .threads = CLIENTS, .open = hand_open, .close = hand_close,
      .borrow = line_borrow, .give_back = line_give_back },
    { .name = "by_turns", .threads = CLIENTS, .open = hand_open, .close = hand_close,
      .borrow = turns_borrow, .give_back = turns_give_back, .leave = turns_leave },
#ifdef KP_HAVE_APR
    { .name = "apr_reslist", .threads = CLIENTS, .open = list_open, .close = list_close,
      .borrow = list_borrow, .give_back = list_give_back },
#endif
    { .name = "pgbouncer", .threads = CLIENTS, .open = own_open, .close = own_close,
      .borrow = own_borrow, .give_back = own_give_back, .by_bouncer = true },
};

int ways_open(struct way *ways)
{
    int count = 0;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].by_bouncer && !stage_has_bouncer()) continue;
        ways[count] = known[i];
        ways[count].open(&ways[count]);
        count++;
    }
    return count;
}

void ways_close(struct way *ways, int count)
{
    for (int i = 0; i < count; i++) ways[i].close(&ways[i]);
}
