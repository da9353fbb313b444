/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter: a driver whose resources are connections (PGconn).
 *
 * Connecting, asking and undoing are one machine, `struct work`: step() does what can be done
 * without waiting and says which direction of the socket it waits for. The blocking driver polls
 * in between, the other one has a watcher tell it.
 *
 * What a borrower did to the session is known without asking: libpq shows each result to an event
 * procedure, and its command tag says SET, or LISTEN.
 */
#include "postgres_parts.h"

#include "fill.h"

#include <libpq-events.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_DEFAULT_MS 30000
#define ANSWER_DEFAULT_MS 5000

/* One job under way. */
struct work {
    kp_job      *job;
    PGconn      *conn;
    const kp_pg_options *o;
    uint64_t     until_ns;
    bool         connecting, asked;     /* asked: the last of sql was sent and is not answered */
    const char  *sql[4];                /* to be run in turn, NULL after the last */
    int          next, status;
    uint32_t     left;                  /* reset: what the borrower left */
    kp_watch     watch;
};

/* ---- what a borrower did --------------------------------------------------------------------- */

/* What the results since the last reset said was changed: KP_PG_LEFT_LISTEN, _SETTING. */
struct session { uint32_t changed; };

/* PQreset makes another session of it: as if all had been changed. */
static int watch_session(PGEventId id, void *info, void *arg)
{
    struct session *session = arg;

    if (id == PGEVT_RESULTCREATE) {
        PGresult *result = ((PGEventResultCreate *)info)->result;

        if (PQresultStatus(result) == PGRES_COMMAND_OK)
            session->changed |= kp__pg_change_of(PQcmdStatus(result));
    } else if (id == PGEVT_CONNRESET) {
        session->changed |= KP_PG_LEFT_SETTING;
    } else if (id == PGEVT_REGISTER) {
        (void)PQsetInstanceData(((PGEventRegister *)info)->conn, watch_session, session);
    } else if (id == PGEVT_CONNDESTROY) {
        free(session);
    }
    return 1;
}

static struct session *session_of(const PGconn *conn)
{
    return PQinstanceData(conn, watch_session);
}

static bool session_begin(PGconn *conn)
{
    struct session *session = calloc(1, sizeof *session);

    if (session && PQregisterEventProc(conn, watch_session, "keyedpool", session))
        return true;
    free(session);
    return false;
}

/* ---- the machine ----------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void work_begin(struct work *w, kp_job *job, PGconn *conn)
{
    const kp_pg_options *o = job->ctx;
    bool create = job->kind == KP_JOB_CREATE;
    int64_t ms = create ? o->connect_timeout_ms : o->answer_timeout_ms;

    if (ms == 0)
        ms = create ? CONNECT_DEFAULT_MS : ANSWER_DEFAULT_MS;
    if (job->left_ms < ms)
        ms = job->left_ms;
    memset(w, 0, sizeof *w);
    w->job = job;
    w->conn = conn;
    w->o = o;
    w->until_ns = now_ns() + (uint64_t)ms * UINT64_C(1000000);
}

static void add(struct work *w, const char *sql)
{
    int i = 0;

    while (w->sql[i])
        i++;
    w->sql[i] = sql;
}

static int64_t left_ms(const struct work *w)
{
    uint64_t now = now_ns();

    return now >= w->until_ns ? 0 : (int64_t)((w->until_ns - now + 999999) / 1000000);
}

/* One connection attempt further. */
static int step_connect(struct work *w)
{
    switch (PQconnectPoll(w->conn)) {
    case PGRES_POLLING_READING:
        return KP_WATCH_READ;
    case PGRES_POLLING_WRITING:
        return KP_WATCH_WRITE;
    case PGRES_POLLING_OK:
        w->connecting = false;
        return 0;
    default:
        w->status = kp__pg_fail_connect(w->job, w->conn);
        return 0;
    }
}

/* The answer to the last question, as far as it is there. */
static int step_answer(struct work *w)
{
    int unsent = PQflush(w->conn);
    PGresult *result;

    if (unsent < 0 || !PQconsumeInput(w->conn)) {
        w->status = kp__pg_fail_lost(w->job, w->conn);
        return 0;
    }
    while (!PQisBusy(w->conn)) {
        result = PQgetResult(w->conn);
        if (!result) {
            w->asked = false;
            return 0;
        }
        if (w->status == 0)
            w->status = kp__pg_fail_result(w->job, w->conn, result);
        PQclear(result);
        if (w->status != 0)
            return 0;                   /* whatever else comes: it is closed */
    }
    return unsent ? KP_WATCH_READ | KP_WATCH_WRITE : KP_WATCH_READ;
}

/* As far as it goes without waiting. What to wait for; 0: it is over, w->status says how. */
static int step(struct work *w)
{
    for (;;) {
        int wanted = w->connecting ? step_connect(w) : w->asked ? step_answer(w) : 0;

        if (wanted || w->status != 0 || !w->sql[w->next])
            return wanted;
        if (!PQsendQuery(w->conn, w->sql[w->next])) {
            w->status = kp__pg_fail_lost(w->job, w->conn);
            return 0;
        }
        w->next++;
        w->asked = true;
    }
}

/* Were there any? */
static bool forget_notifications(PGconn *conn)
{
    PGnotify *note = PQnotifies(conn);
    bool any = note != NULL;

    for (; note; note = PQnotifies(conn))
        PQfreemem(note);
    return any;
}

/* ---- how jobs end ---------------------------------------------------------------------------- */

static int finish_create(struct work *w, void **resource)
{
    const kp_pg_options *o = w->o;
    int code;

    if (w->status == 0) {
        (void)PQsetErrorVerbosity(w->conn, PQERRORS_DEFAULT);
        if (o->watcher && PQsetnonblocking(w->conn, 1) != 0)
            w->status = kp__pg_fail_lost(w->job, w->conn);
    }
    if (w->status == 0 && o->on_open) {
        code = o->on_open(w->conn, w->job->key, o->ctx);
        if (code != 0)
            w->status = kp_job_fail(w->job, code, "postgres: on_open refused the connection");
    }
    if (w->status != 0) {
        PQfinish(w->conn);
        return w->status;
    }
    session_of(w->conn)->changed = 0;
    if (o->counts)
        kp__count(&o->counts->opened, 1);
    *resource = w->conn;
    return 0;
}

static int finish_reset(struct work *w)
{
    const uint32_t unread = KP_PG_LEFT_RESULT | KP_PG_LEFT_PIPELINE;
    const kp_pg_options *o = w->o;
    kp_pg_leftover what = { w->job->key, w->conn, w->job->tag, w->left, w->status != 0 };

    session_of(w->conn)->changed = 0;
    (void)forget_notifications(w->conn);        /* they came while it was undone */
    if (o->counts) {
        kp__count(&o->counts->resets, w->next > 0);
        kp__count(&o->counts->transactions, (w->left & KP_PG_LEFT_TRANSACTION) != 0);
        kp__count(&o->counts->results, (w->left & unread) != 0);
    }
    if (o->on_leftover && (w->left & ~(uint32_t)KP_PG_LEFT_SETTING))
        o->on_leftover(&what, o->ctx);
    return w->status;
}

static int finish(struct work *w, void **resource)
{
    if (w->job->kind == KP_JOB_CREATE)
        return finish_create(w, resource);
    return w->job->kind == KP_JOB_RESET ? finish_reset(w) : w->status;
}

/* ---- driven by poll, or by a watcher --------------------------------------------------------- */

static int work_wait(struct work *w, int wanted, void **resource)
{
    while (wanted) {
        struct pollfd p = { .fd = PQsocket(w->conn) };
        int64_t ms = left_ms(w);

        p.events = (short)((wanted & KP_WATCH_READ ? POLLIN : 0) |
                           (wanted & KP_WATCH_WRITE ? POLLOUT : 0));
        if (ms > 0 && poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms) != 0) {
            wanted = step(w);           /* a signal does no harm */
        } else if (left_ms(w) == 0) {
            w->status = kp__pg_fail_late(w->job, w->conn, w->connecting);
            wanted = 0;
        }
    }
    return finish(w, resource);
}

static void answer(struct work *w)
{
    void *resource = NULL;
    int status = finish(w, &resource);

    kp_job_done(w->job, status, resource);
    free(w);
}

static void go_on(struct work *w, int wanted)
{
    kp_watcher *watcher = w->o->watcher;

    if (wanted && watcher->start(watcher, &w->watch, PQsocket(w->conn), wanted, left_ms(w)) != 0) {
        w->status = kp__pg_fail_memory(w->job);
        wanted = 0;
    }
    if (!wanted)
        answer(w);
}

static void told(kp_watch *watch, int events)
{
    struct work *w = watch->arg;

    if (events != 0) {
        go_on(w, step(w));
        return;
    }
    w->status = kp__pg_fail_late(w->job, w->conn, w->connecting);
    answer(w);
}

/* Nobody waits for it any more. */
static void cancel(kp_job *job)
{
    struct work *w = job->scratch;

    if (!w || !w->watch.next)
        return;
    w->o->watcher->stop(w->o->watcher, &w->watch);
    w->status = kp_job_fail(job, PG_CANCELED, "postgres: nobody waited for it any more (57014)");
    answer(w);
}

/* Run what has begun with `wanted`: here, or from now on by the watcher. */
static int work_run(struct work *here, int wanted, void **resource)
{
    struct work *w;

    if (!wanted || !here->o->watcher)
        return work_wait(here, wanted, resource);
    w = malloc(sizeof *w);
    if (!w) {
        here->status = kp__pg_fail_memory(here->job);
        return finish(here, resource);
    }
    *w = *here;
    w->watch.told = told;
    w->watch.arg = w;
    w->job->scratch = w;
    go_on(w, wanted);
    return KP_PENDING;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int create(kp_job *job, void **resource)
{
    const kp_pg_options *o = job->ctx;
    struct work w;
    PGconn *conn;
    int rc = kp__pg_connect_begin(o, job, &conn);

    if (rc != 0)
        return rc;
    work_begin(&w, job, conn);
    if (PQstatus(conn) == CONNECTION_BAD) {
        w.status = kp__pg_fail_connect(job, conn);
        return finish(&w, resource);
    }
    if (!session_begin(conn)) {
        w.status = kp__pg_fail_memory(job);
        return finish(&w, resource);
    }
    (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);  /* its only way to tell a SQLSTATE here */
    w.connecting = true;
    add(&w, o->set_up);
    return work_run(&w, KP_WATCH_WRITE, resource);
}

/* An empty question: answered by the server itself, with nothing to plan or to write down. */
static int validate(kp_job *job, void *resource)
{
    struct work w;

    work_begin(&w, job, resource);
    if (PQstatus(w.conn) != CONNECTION_OK)
        return kp__pg_fail_lost(job, w.conn);
    add(&w, "-- ping");
    return work_run(&w, step(&w), NULL);
}

/* Read what lies there unread, as far as it has come. True: that was all. */
static bool drain(PGconn *conn)
{
    PGresult *result;
    ExecStatusType status;

    if (PQflush(conn) != 0 || !PQconsumeInput(conn))
        return false;
    while (!PQisBusy(conn)) {
        result = PQgetResult(conn);
        if (!result)
            return true;
        status = PQresultStatus(result);
        PQclear(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
            return false;
    }
    return false;
}

/* What needs no question to be put right. NULL, or why the connection is of no more use. */
static const char *take_back(struct work *w)
{
    PGconn *conn = w->conn;

    if (PQpipelineStatus(conn) != PQ_PIPELINE_OFF) {
        w->left |= KP_PG_LEFT_PIPELINE;
        if (!PQexitPipelineMode(conn))
            return "a pipeline was left with results in it";
    }
    if (PQtransactionStatus(conn) == PQTRANS_ACTIVE) {
        w->left |= KP_PG_LEFT_RESULT;
        if (!drain(conn))
            return "a result was not read to its end";
    }
    if (forget_notifications(conn))
        w->left |= KP_PG_LEFT_LISTEN;
    return PQsetnonblocking(conn, w->o->watcher != NULL) == 0
               ? NULL : "what was to be sent could not be";
}

/* Idle, a server speaks of its own accord of two things: notifications, and its end. */
static bool has_news(const PGconn *conn)
{
    struct pollfd p = { .fd = PQsocket(conn), .events = POLLIN };

    return poll(&p, 1, 0) != 0;
}

static void plan_undoing(struct work *w)
{
    const kp_pg_options *o = w->o;

    if (w->left & KP_PG_LEFT_TRANSACTION)
        add(w, "ROLLBACK");
    if (o->reset_sql) {
        add(w, o->reset_sql);
    } else if (o->reset == KP_PG_DISCARD_ALL) {
        add(w, "DISCARD ALL");
        add(w, o->set_up);
    } else if (o->reset != KP_PG_ROLLBACK && (w->left & KP_PG_LEFT_SETTING)) {
        add(w, "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *; CLOSE ALL");
        add(w, o->set_up);
    } else if ((w->left & KP_PG_LEFT_LISTEN) || has_news(w->conn)) {
        add(w, "UNLISTEN *");           /* if it is gone, it does not answer */
    }
}

static int reset(kp_job *job, void *resource)
{
    PGTransactionStatusType transaction;
    const char *hopeless;
    struct work w;

    work_begin(&w, job, resource);
    if (PQstatus(w.conn) != CONNECTION_OK)
        return kp__pg_fail_lost(job, w.conn);
    hopeless = take_back(&w);
    transaction = PQtransactionStatus(w.conn);
    if (transaction == PQTRANS_INTRANS || transaction == PQTRANS_INERROR)
        w.left |= KP_PG_LEFT_TRANSACTION;
    w.left |= session_of(w.conn)->changed;
    if (hopeless) {
        w.status = PQstatus(w.conn) == CONNECTION_OK ? kp__pg_fail_left(job, hopeless)
                                                     : kp__pg_fail_lost(job, w.conn);
        return finish(&w, NULL);
    }
    plan_undoing(&w);
    return work_run(&w, step(&w), NULL);
}

/* One that is in the middle of something may have more to say than its peer will ever read: then
 * even the goodbye would wait. */
static int destroy(kp_job *job, void *resource)
{
    const kp_pg_options *o = job->ctx;
    PGconn *conn = resource;

    if (o->on_close)
        o->on_close(conn, job->key, o->ctx);
    if (PQtransactionStatus(conn) == PQTRANS_ACTIVE && PQsocket(conn) >= 0)
        (void)shutdown(PQsocket(conn), SHUT_RDWR);
    PQfinish(conn);
    if (o->counts)
        kp__count(&o->counts->closed, 1);
    return 0;
}

/* PQfinish would end the parent's session. So all but the descriptor stays as it is. */
static int abandon(kp_job *job, void *resource)
{
    (void)job;
    return PQsocket(resource) < 0 ? 0 : close(PQsocket(resource));
}

static int descriptor(void *resource, void *ctx)
{
    (void)ctx;
    return PQsocket(resource);
}

kp_driver kp__pg_driver(kp_pg_options *o)
{
    return (kp_driver){
        .create = create, .destroy = destroy, .validate = validate, .reset = reset,
        .abandon = abandon, .cancel = o->watcher ? cancel : NULL,
        .flags = o->watcher ? KP_NEVER_BLOCKS : 0, .ctx = o,
        .fd = KP__HAS_FD ? descriptor : NULL,
    };
}
