/* SPDX-License-Identifier: MIT
 *
 * A web server on libuv that queries PostgreSQL for each page, on one thread that never blocks: a
 * get, a new connection, a query and the give-back each finish through the loop. Two connections
 * serve all visitors. After SIGTERM or SIGINT it ends once all current visitors have their answer.
 * Without a port (0) it visits itself eight times and ends.
 *
 *     example-http_postgres 8080 'host=/run/postgresql user=me'
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <keyedpool_postgres.h>
#include <keyedpool_uv.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { VISITS = 8 };

typedef struct visit {
    uv_tcp_t   tcp;
    uv_write_t write;
    kp_request request;
    kp_watch   watch;                   /* of the connection, while it is asked */
    kp_lease   lease;
    kp_why     why;
    size_t     read;
    char       in[2048], out[512];
} visit;

static struct {
    kp_uv        glue;
    kp_pool     *pool;
    uv_tcp_t     door;
    uv_signal_t  signals[2];
    uv_prepare_t end;
    int          left, here;            /* visits until the end; visitors just now */
} server = { .left = -1 };              /* for ever */

/* ---- the end --------------------------------------------------------------------------------- */

/* In each turn, until nothing is being made or given back any more: then the loop is empty. */
static void close_pool(uv_prepare_t *end)
{
    if (kp_pool_close(server.pool, KP_CLOSE_NOW, 0) != 0)
        return;
    uv_close((uv_handle_t *)end, NULL);
    kp_uv_close(&server.glue, NULL);
}

/* Accept no more visitors; the pool is closed when the last one has gone. */
static void leave(uv_signal_t *signal, int number)
{
    (void)signal, (void)number;
    if (uv_is_closing((uv_handle_t *)&server.door))
        return;
    server.left = 0;
    uv_close((uv_handle_t *)&server.door, NULL);
    uv_close((uv_handle_t *)&server.signals[0], NULL);
    uv_close((uv_handle_t *)&server.signals[1], NULL);
    if (server.here == 0)
        uv_prepare_start(&server.end, close_pool);
}

static void visit_closed(uv_handle_t *tcp)
{
    free(tcp->data);
    server.here--;
    if (server.left > 0 && --server.left == 0)
        leave(NULL, 0);
    else if (server.left == 0 && server.here == 0)
        uv_prepare_start(&server.end, close_pool);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void written(uv_write_t *write, int status)
{
    visit *v = write->data;

    (void)status;
    uv_close((uv_handle_t *)&v->tcp, visit_closed);
}

static void reply(visit *v, const char *status, const char *text)
{
    int n = snprintf(v->out, sizeof v->out, "HTTP/1.0 %s\r\nContent-Type: text/plain\r\n\r\n%s\n",
                     status, text);
    uv_buf_t buf = uv_buf_init(v->out, n < (int)sizeof v->out ? (unsigned)n : sizeof v->out - 1);

    v->write.data = v;
    if (uv_write(&v->write, (uv_stream_t *)&v->tcp, &buf, 1, written) != 0)
        uv_close((uv_handle_t *)&v->tcp, visit_closed);
}

/* ---- the question ---------------------------------------------------------------------------- */

static void told(kp_watch *watch, int events);

/* The answer, or wait for it; five seconds at most. */
static void look(visit *v)
{
    PGconn   *conn = kp_pg_conn(&v->lease);
    int       unsent = PQflush(conn);
    PGresult *result, *more;

    if (unsent == 1 || (PQconsumeInput(conn) && PQisBusy(conn))) {
        v->watch.told = told;
        v->watch.arg = v;
        if (server.glue.watcher.start(&server.glue.watcher, &v->watch, PQsocket(conn),
                                      KP_WATCH_READ | (unsent ? KP_WATCH_WRITE : 0), 5000) == 0)
            return;
    }
    result = PQgetResult(conn);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        reply(v, "200 OK", PQgetvalue(result, 0, 0));
    else
        reply(v, "502 Bad Gateway", PQerrorMessage(conn));
    PQclear(result);
    while (!PQisBusy(conn) && (more = PQgetResult(conn)) != NULL)
        PQclear(more);                  /* what has not come is the pool's to end */
    kp_release(&v->lease);
}

static void told(kp_watch *watch, int events)
{
    visit *v = watch->arg;

    if (events != 0) {
        look(v);
        return;
    }
    kp_discard(&v->lease);              /* it is still at work on it */
    reply(v, "504 Gateway Timeout", "the database does not answer");
}

static void lent(kp_request *request, int status, kp_lease lease)
{
    visit *v = request->arg;

    v->lease = lease;
    if (status != 0) {
        reply(v, "503 Service Unavailable", v->why.text);
    } else if (!PQsendQuery(kp_pg_conn(&lease), "SELECT 'page by backend ' || pg_backend_pid()")) {
        kp_discard(&v->lease);
        reply(v, "502 Bad Gateway", "the connection is gone");
    } else {
        look(v);
    }
}

/* ---- visitors -------------------------------------------------------------------------------- */

static void room(uv_handle_t *tcp, size_t size, uv_buf_t *buf)
{
    visit *v = tcp->data;

    (void)size;
    *buf = uv_buf_init(v->in + v->read, (unsigned)(sizeof v->in - 1 - v->read));
}

static void heard(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
    visit *v = tcp->data;

    (void)buf;
    if (n < 0) {
        uv_close((uv_handle_t *)tcp, visit_closed);
        return;
    }
    v->read += (size_t)n;
    if (!strstr(v->in, "\r\n\r\n"))
        return;
    uv_read_stop(tcp);
    v->request.loop = server.glue.loop;
    v->request.done = lent;
    v->request.arg = v;
    if (kp_get_start(server.pool, kp_str(""), KP_ASK(.within_ms = 2000, .why = &v->why),
                     &v->request) != 0)
        reply(v, "503 Service Unavailable", v->why.text);
}

static void came(uv_stream_t *door, int status)
{
    visit *v = status == 0 ? calloc(1, sizeof *v) : NULL;

    if (!v || uv_tcp_init(door->loop, &v->tcp) != 0) {
        free(v);
        return;
    }
    v->tcp.data = v;
    server.here++;
    if (uv_accept(door, (uv_stream_t *)&v->tcp) == 0)
        uv_read_start((uv_stream_t *)&v->tcp, room, heard);
    else
        uv_close((uv_handle_t *)&v->tcp, visit_closed);
}

/* Visitors of our own, on another thread: all send their request before the first one reads. */
static void *ask_ourselves(void *address)
{
    int fd[VISITS], good = 0;

    for (int i = 0; i < VISITS; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd[i], address, sizeof(struct sockaddr_in)) != 0 ||
            write(fd[i], "GET / HTTP/1.0\r\n\r\n", 18) != 18)
            printf("visitor %d was not let in\n", i);
    }
    for (int i = 0; i < VISITS; i++) {
        char    text[512] = "";
        size_t  size = 0;
        ssize_t n;

        while ((n = read(fd[i], text + size, sizeof text - 1 - size)) > 0)
            size += (size_t)n;
        close(fd[i]);
        good += strstr(text, "200 OK") != NULL;
        printf("%s", strstr(text, "\r\n\r\n") ? strstr(text, "\r\n\r\n") + 4 : "no answer\n");
    }
    if (good == VISITS)
        return address;
    printf("A server: apt-get install postgresql && service postgresql start;\n"
           "su postgres -c 'createuser me && createdb me'; and again with\n"
           "0 'host=/run/postgresql user=me'\n");
    return NULL;
}

static int open_server(uv_loop_t *loop, int port, const char *conninfo, struct sockaddr_in *at)
{
    static const int   ends[] = { SIGTERM, SIGINT };
    int                size = sizeof *at;
    kp_pg_options      pg = { .conninfo = conninfo, .watcher = &server.glue.watcher };
    kp_options         more = { .limits.max_live = 2 };

    signal(SIGPIPE, SIG_IGN);                   /* of visitors who did not wait */
    if (uv_ip4_addr("127.0.0.1", port, at) != 0 || uv_tcp_init(loop, &server.door) != 0 ||
        uv_prepare_init(loop, &server.end) != 0 || kp_uv_open(&server.glue, loop) != 0 ||
        uv_tcp_bind(&server.door, (struct sockaddr *)at, 0) != 0 ||
        uv_listen((uv_stream_t *)&server.door, 128, came) != 0 ||
        uv_tcp_getsockname(&server.door, (struct sockaddr *)at, &size) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        if (uv_signal_init(loop, &server.signals[i]) != 0 ||
            uv_signal_start(&server.signals[i], leave, ends[i]) != 0)
            return -1;
    }
    more.loop = server.glue.loop;
    return kp_pg_open(&pg, &more, &server.pool);
}

int main(int argc, char **argv)
{
    uv_loop_t         *loop = uv_default_loop();
    int                port = argc > 1 ? atoi(argv[1]) : 0;
    struct sockaddr_in at;
    pthread_t          visitors;
    void              *well = loop;

    if (open_server(loop, port, argc > 2 ? argv[2] : NULL, &at) != 0)
        return 1;
    if (port == 0) {
        server.left = VISITS;
        if (pthread_create(&visitors, NULL, ask_ourselves, &at) != 0)
            return 1;
    } else {
        printf("http://127.0.0.1:%d\n", ntohs(at.sin_port));
        fflush(stdout);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    if (port == 0)
        pthread_join(visitors, &well);
    return well && uv_loop_close(loop) == 0 ? 0 : 1;
}
