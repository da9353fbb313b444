/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter: a driver whose resources are connections (PGconn).
 *
 * Connecting, asking and undoing are one state machine, `struct work`, which goes as far as it can
 * without waiting. work.h waits for it: with poll, or through a watcher.
 *
 * What a borrower did to the session is known without asking the server: libpq shows each result to
 * an event procedure, and the result's command tag says SET, or LISTEN.
 */
#include "postgres_parts.h"

#include "fill.h"
#include "work.h"

#include <libpq-events.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_DEFAULT_MS 30000
#define ANSWER_DEFAULT_MS 5000

/* One job under way. */
struct work {
    struct kp__work run;                /* first */
    PGconn      *conn;
    const kp_pg_options *o;
    bool         connecting, asked;     /* asked: the statement before `next` is not answered yet */
    const char  *sql[4];                /* to be run in turn, NULL after the last */
    int          next;
    uint32_t     left;                  /* reset: what the borrower left */
};

/* ---- what a borrower did --------------------------------------------------------------------- */

/* `changed`: what has changed since the last reset, by its results: KP_PG_LEFT_LISTEN, _SETTING.
 * `unsynced`: between the first result in a pipeline and its Sync a transaction is open that libpq
 * does not know of. */
struct session {
    uint32_t changed;
    bool     unsynced;
    bool     anew;                      /* PQreset was called: nothing that create set up is left */
    int      ended;                     /* the SQLSTATE with which the server ended it; 0 */
    PQnoticeProcessor processor;        /* as on_open left them */
    PQnoticeReceiver  receiver;
    PGVerbosity       verbosity;
    PGContextVisibility context;
};

static int watch_session(PGEventId id, void *info, void *arg)
{
    struct session *session = arg;

    if (id == PGEVT_RESULTCREATE) {
        const PGEventResultCreate *came = info;
        PGresult *result = came->result;

        if (PQpipelineStatus(came->conn) != PQ_PIPELINE_OFF)
            session->unsynced = PQresultStatus(result) != PGRES_PIPELINE_SYNC;
        session->changed |= kp__pg_change_of(result);
        session->ended |= kp__pg_end_of(result);
    } else if (id == PGEVT_CONNRESET) {
        session->anew = true;
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

/* Note the settings that libpq tells only through its setters. */
static void session_note(PGconn *conn)
{
    struct session *session = session_of(conn);

    session->changed = 0;
    session->processor = PQsetNoticeProcessor(conn, NULL, NULL);
    session->receiver = PQsetNoticeReceiver(conn, NULL, NULL);
    session->verbosity = PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
    (void)PQsetErrorVerbosity(conn, session->verbosity);
    session->context = PQsetErrorContextVisibility(conn, PQSHOW_CONTEXT_ERRORS);
    (void)PQsetErrorContextVisibility(conn, session->context);
}

static void hear_nothing(void *arg, const PGresult *notice)
{
    (void)arg;
    (void)notice;
}

/* Are the notice functions still those of on_open? A borrower's function, with its pointer to the
 * borrower's data, must not be called for the next one, nor by what the server still says until the
 * connection is closed; and the borrower's trace file must not be written to. */
static bool unhook(PGconn *conn)
{
    const struct session *session = session_of(conn);
    bool own = PQsetNoticeProcessor(conn, NULL, NULL) == session->processor &&
               PQsetNoticeReceiver(conn, NULL, NULL) == session->receiver;

    PQuntrace(conn);
    (void)PQsetErrorVerbosity(conn, session->verbosity);
    (void)PQsetErrorContextVisibility(conn, session->context);
    if (!own)
        (void)PQsetNoticeReceiver(conn, hear_nothing, NULL);
    return own;
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void add(struct work *w, const char *sql)
{
    int i = 0;

    while (w->sql[i])
        i++;
    w->sql[i] = sql;
}

/* Carry the connection attempt on. */
static int step_connect(struct work *w)
{
    switch (PQconnectPoll(w->conn)) {
    case PGRES_POLLING_READING:
        return POLLIN;
    case PGRES_POLLING_WRITING:
        return POLLOUT;
    case PGRES_POLLING_OK:
        w->connecting = false;
        return 0;
    default:
        w->run.status = kp__pg_fail_connect(w->run.job, w->conn);
        return 0;
    }
}

/* Read the answer to the last statement, as far as it has come. */
static int step_answer(struct work *w)
{
    int unsent = PQflush(w->conn);
    PGresult *result;

    if (unsent < 0 || !PQconsumeInput(w->conn)) {
        w->run.status = kp__pg_fail_lost(w->run.job, w->conn, session_of(w->conn)->ended);
        return 0;
    }
    while (!PQisBusy(w->conn)) {
        result = PQgetResult(w->conn);
        if (!result) {
            w->asked = false;
            return 0;
        }
        w->run.status = kp__pg_fail_result(w->run.job, w->conn, result);
        PQclear(result);
        if (w->run.status != 0)
            return 0;                   /* the rest is not read: the connection is closed */
    }
    return unsent ? POLLIN | POLLOUT : POLLIN;
}

/* Go as far as possible without waiting, even for room to send. Returns what to wait for; 0: it is
 * over. */
static int advance(struct work *w)
{
    for (;;) {
        int wanted = w->connecting ? step_connect(w) : w->asked ? step_answer(w) : 0;

        if (wanted || w->run.status != 0 || !w->sql[w->next])
            return wanted;
        if (PQsetnonblocking(w->conn, 1) != 0 || !PQsendQuery(w->conn, w->sql[w->next])) {
            w->run.status = kp__pg_fail_lost(w->run.job, w->conn, session_of(w->conn)->ended);
            return 0;
        }
        w->next++;
        w->asked = true;
    }
}

static int step(struct kp__work *run, int ready)
{
    struct work *w = (struct work *)run;

    if (ready)
        return advance(w);
    run->status = kp__pg_fail_late(run->job, w->conn, w->connecting);
    return 0;
}

/* Asked each time: libpq opens and closes descriptors as it goes through a host's addresses. */
static struct kp__wait wait_of(const struct kp__work *run)
{
    return (struct kp__wait){ PQsocket(((const struct work *)run)->conn), run->until_ns };
}

/* Drop the notifications that have come. Were there any? */
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
    int status = w->run.status, code;
    const kp_pg_options *o = w->o;
    kp_job *job = w->run.job;

    if (status == 0)
        (void)PQsetErrorVerbosity(w->conn, PQERRORS_DEFAULT);
    if (status == 0 && o->on_open) {
        code = o->on_open(w->conn, job->key, o->ctx);
        if (code != 0)
            status = kp_job_fail(job, code, "postgres: on_open refused the connection");
    }
    if (status != 0) {
        PQfinish(w->conn);
        return status;
    }
    session_note(w->conn);
    if (o->counts)
        kp__count(&o->counts->opened, 1);
    *resource = w->conn;
    return 0;
}

static int finish_reset(struct work *w)
{
    const uint32_t unread = KP_PG_LEFT_RESULT | KP_PG_LEFT_PIPELINE;
    const kp_pg_options *o = w->o;
    const kp_job *job = w->run.job;
    int status = w->run.status;
    kp_pg_leftover what = { job->key, w->conn, job->tag, w->left, status != 0 };

    session_of(w->conn)->changed = 0;
    (void)forget_notifications(w->conn);        /* those that came during the reset */
    if (o->counts) {
        kp__count(&o->counts->resets, w->next > 0);
        kp__count(&o->counts->transactions, (w->left & KP_PG_LEFT_TRANSACTION) != 0);
        kp__count(&o->counts->results, (w->left & unread) != 0);
    }
    if (o->on_leftover && (w->left & ~(uint32_t)KP_PG_LEFT_SETTING))
        o->on_leftover(&what, o->ctx);
    return status;
}

static int finish(struct kp__work *run, void **resource)
{
    struct work *w = (struct work *)run;

    if (run->status == 0 && PQsetnonblocking(w->conn, w->o->watcher != NULL) != 0)
        run->status = kp__pg_fail_lost(run->job, w->conn, session_of(w->conn)->ended);
    if (run->job->kind == KP_JOB_CREATE)
        return finish_create(w, resource);
    return run->job->kind == KP_JOB_RESET ? finish_reset(w) : run->status;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void work_begin(struct work *w, kp_job *job, PGconn *conn)
{
    static const struct kp__work_kind kind = {
        .size = sizeof *w, .step = step, .wait = wait_of, .finish = finish,
        .unwatched = kp__pg_fail_unwatched, .unwanted = kp__pg_fail_unwanted,
    };
    const kp_pg_options *o = job->ctx;
    bool create = job->kind == KP_JOB_CREATE;
    int64_t most_ms = create ? o->connect_timeout_ms : o->answer_timeout_ms;

    if (most_ms == 0)
        most_ms = create ? CONNECT_DEFAULT_MS : ANSWER_DEFAULT_MS;
    kp__work_begin(&w->run, &kind, job, o->watcher, most_ms);
    w->conn = conn;
    w->o = o;
}

static int create(kp_job *job, void **resource)
{
    const kp_pg_options *o = job->ctx;
    struct work w;
    PGconn *conn;
    int rc = kp__pg_connect_begin(o, job, &conn);

    if (rc != 0)
        return rc;
    work_begin(&w, job, conn);
    if (PQstatus(conn) == CONNECTION_BAD)
        w.run.status = kp__pg_fail_connect(job, conn);
    else if (!session_begin(conn))
        w.run.status = kp__pg_fail_memory(job);
    else
        w.connecting = true;
    (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);  /* else no SQLSTATE if connecting fails */
    add(&w, o->set_up);
    return kp__work_run(&w.run, w.connecting ? POLLOUT : 0, resource);
}

/* An empty query: the server answers it with nothing to plan or to write. */
static int validate(kp_job *job, void *resource)
{
    struct work w;

    work_begin(&w, job, resource);
    if (PQstatus(w.conn) != CONNECTION_OK)
        return kp__pg_fail_lost(job, w.conn, session_of(w.conn)->ended);
    add(&w, "-- ping");
    return kp__work_run(&w.run, advance(&w), NULL);
}

/* Read what a borrower left unread, as far as it has come. True: that was all. A COPY comes first,
 * as nothing of it is waited for, not even to be sent: a connection that blocks would wait. */
static bool drain(PGconn *conn)
{
    PGresult *result;
    ExecStatusType status;

    for (bool looked = false;; looked = true) {
        while (!PQisBusy(conn)) {
            result = PQgetResult(conn);
            if (!result)
                return true;
            status = PQresultStatus(result);
            PQclear(result);
            if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
                return false;
        }
        if (looked || PQflush(conn) != 0 || !PQconsumeInput(conn))
            return false;
    }
}

/* Put right what needs no question to the server. NULL, or why the connection is of no more use. */
static const char *take_back(struct work *w)
{
    PGconn *conn = w->conn;

    if (!unhook(conn))
        return "the borrower left its own notice processor or receiver set";
    if (session_of(conn)->anew)
        return "its borrower had reset the connection with PQreset";
    if (PQpipelineStatus(conn) != PQ_PIPELINE_OFF) {
        w->left |= KP_PG_LEFT_PIPELINE;
        if (!PQexitPipelineMode(conn))
            return "a pipeline was left with results in it";
    }
    if (session_of(conn)->unsynced) {
        w->left |= KP_PG_LEFT_PIPELINE;
        return "a pipeline was left without its final sync";
    }
    if (PQtransactionStatus(conn) == PQTRANS_ACTIVE) {
        w->left |= KP_PG_LEFT_RESULT;
        if (!drain(conn))
            return "a result was not read to its end";
    }
    if (forget_notifications(conn))
        w->left |= KP_PG_LEFT_LISTEN;
    return PQsetnonblocking(conn, w->o->watcher != NULL) == 0
               ? NULL : "what was left to be sent could not be sent";
}

/* Did something come unasked? While idle, a server sends notifications, and the news of its end. */
static bool has_news(const PGconn *conn)
{
    struct pollfd p = { .fd = PQsocket(conn), .events = POLLIN };

    return poll(&p, 1, 0) != 0;
}

/* Is all undone, whatever the borrower did? */
static bool undoes_all(const kp_pg_options *o)
{
    return o->reset_sql || o->reset == KP_PG_DISCARD_ALL;
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
        add(w, "UNLISTEN *");           /* a server that is gone shows here: it does not answer */
        add(w, o->set_up);
    }
}

/* Most that come back are: then the server is not asked. Notifications are noted for reset. */
static bool is_clean(void *resource, void *ctx)
{
    const kp_pg_options *o = ctx;
    PGconn *conn = resource;
    struct session *session = session_of(conn);

    if (PQstatus(conn) != CONNECTION_OK || PQtransactionStatus(conn) != PQTRANS_IDLE ||
        PQpipelineStatus(conn) != PQ_PIPELINE_OFF || !unhook(conn) || session->anew ||
        session->unsynced || PQisnonblocking(conn) != (o->watcher != NULL))
        return false;
    if (forget_notifications(conn))
        session->changed |= KP_PG_LEFT_LISTEN;
    if ((session->changed & (o->reset == KP_PG_ROLLBACK ? KP_PG_LEFT_LISTEN : ~0u)) != 0 ||
        has_news(conn))
        return false;
    session->changed = 0;               /* settings that may stay are not the next borrower's */
    return true;
}

static int reset(kp_job *job, void *resource)
{
    PGTransactionStatusType transaction;
    const char *hopeless;
    struct work w;

    work_begin(&w, job, resource);
    if (PQstatus(w.conn) != CONNECTION_OK)
        return kp__pg_fail_lost(job, w.conn, session_of(w.conn)->ended);
    hopeless = take_back(&w);
    transaction = PQtransactionStatus(w.conn);
    if (transaction == PQTRANS_INTRANS || transaction == PQTRANS_INERROR)
        w.left |= KP_PG_LEFT_TRANSACTION;
    w.left |= session_of(w.conn)->changed;
    if (!hopeless)
        plan_undoing(&w);
    else if (PQstatus(w.conn) == CONNECTION_OK)
        w.run.status = kp__pg_fail_left(job, hopeless);
    else
        w.run.status = kp__pg_fail_lost(job, w.conn, session_of(w.conn)->ended);
    return kp__work_run(&w.run, advance(&w), NULL);
}

/* In the middle of something there may be more left to send than the peer will ever read: then even
 * the goodbye would block. So such a connection is shut down first. */
static int destroy(kp_job *job, void *resource)
{
    const kp_pg_options *o = job->ctx;
    PGconn *conn = resource;

    (void)unhook(conn);
    if (o->on_close)
        o->on_close(conn, job->key, o->ctx);
    if (PQtransactionStatus(conn) == PQTRANS_ACTIVE && PQsocket(conn) >= 0)
        (void)shutdown(PQsocket(conn), SHUT_RDWR);
    PQfinish(conn);
    if (o->counts)
        kp__count(&o->counts->closed, 1);
    return 0;
}

/* PQfinish would end the parent's session. So only the descriptor is closed. */
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
        .is_clean = undoes_all(o) ? NULL : is_clean,
        .abandon = abandon, .cancel = o->watcher ? kp__work_cancel : NULL,
        .flags = o->watcher ? KP_NEVER_BLOCKS : 0, .ctx = o,
        .fd = KP__HAS_FD ? descriptor : NULL,
    };
}
