/* SPDX-License-Identifier: MIT
 *
 * web_postgres SERVER: runs that web server (examples/http_postgres.c) beside a PostgreSQL of its
 * own, with visitors who ask all the time and some who do not wait for the answer, while its
 * connections are ended, and then the whole database is killed and comes again. Each visitor has
 * one whole answer in time; once the database is there, all have a page; and when the web server
 * is told to end, it leaves no connection and nothing on its loop.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/postgres_server.h"

enum { VISITORS = 8, ROUNDS = 20, PATIENCE_S = 20 };

enum answer { PAGE, REFUSED, NO_ANSWER, ANSWERS };      /* 200; 502, 503, 504; nothing of these */

static struct {
    pid_t              pid;
    struct sockaddr_in at;
} web;
static _Atomic int answers[ANSWERS];
static atomic_bool over;

#define CHECK(cond)                                                            \
    ((cond) ? (void)0                                                          \
            : (void)(fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond), \
                     pg_tear_down(), _exit(1)))

/* ---- the web server -------------------------------------------------------------------------- */

/* It says where it listens. */
static void start_web(const char *program)
{
    char    port[16], said[80] = "";
    int     out[2], number = server_free_port();
    pid_t   parent = getpid();
    ssize_t n;

    (void)snprintf(port, sizeof port, "%d", number);
    CHECK(pipe(out) == 0 && (web.pid = fork()) >= 0);
    if (web.pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && dup2(out[1], 1) == 1)
            (void)execl(program, program, port, pg.conninfo, (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
    n = read(out[0], said, sizeof said - 1);
    (void)close(out[0]);
    CHECK(n > 0 && strstr(said, port));
    web.at.sin_family = AF_INET;
    web.at.sin_port = htons((uint16_t)number);
    web.at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

/* ---- visitors -------------------------------------------------------------------------------- */

static int ask(void)
{
    static const char    get[] = "GET / HTTP/1.0\r\n\r\n";
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    int                  fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(connect(fd, (struct sockaddr *)&web.at, sizeof web.at) == 0);
    CHECK(send(fd, get, sizeof get - 1, MSG_NOSIGNAL) == sizeof get - 1);
    return fd;
}

/* One answer to its end. */
static enum answer visit(void)
{
    char         text[1024] = "", ends = 0;
    const char  *body;
    unsigned int backend;
    int          status = 0, fd = ask();
    size_t       size = 0;
    ssize_t      n;

    while ((n = recv(fd, text + size, sizeof text - 1 - size, 0)) > 0)
        size += (size_t)n;
    (void)close(fd);
    body = strstr(text, "\r\n\r\n");
    if (n == 0 && body && sscanf(text, "HTTP/1.0 %d", &status) == 1) {
        if (status == 200 && sscanf(body, " page by backend %u%c", &backend, &ends) == 2 &&
            ends == '\n')
            return PAGE;
        if (status == 502 || status == 503 || status == 504)
            return REFUSED;
    }
    (void)fprintf(stderr, "instead of an answer: \"%s\" and %s\n", text,
                  n == 0 ? "the end" : strerror(errno));
    return NO_ANSWER;
}

/* Asks, and is gone before the answer: it is written to nobody, or to a connection reset. */
static void hang_up(void)
{
    const struct linger at_once = { .l_onoff = 1 };
    int                 fd = ask();

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(fd);
}

static void *visit_often(void *arg)
{
    for (int i = 0; !atomic_load(&over); i++) {
        atomic_fetch_add(&answers[visit()], 1);
        if (i % 5 == 0)
            hang_up();
    }
    return arg;
}

static int count_answers(void)
{
    int n = 0;

    for (int i = 0; i < ANSWERS; i++)
        n += atomic_load(&answers[i]);
    return n;
}

/* ---- what they go through -------------------------------------------------------------------- */

/* After a visit of our own, so that the others go on meanwhile. */
static void end_connections(void)
{
    int ended = 0;

    for (int i = 0; i < ROUNDS; i++) {
        ended += (int)pg_ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                             " WHERE usename = 'app'");
        atomic_fetch_add(&answers[visit()], 1);
    }
    printf("%d connections ended: ", ended);
    CHECK(ended > 0);
}

static void kill_the_database(void)
{
    pg_kill();                          /* its backends may answer for a little while, */
    for (int i = 0; visit() == PAGE; i++)
        CHECK(i < 1000);
    for (int i = 0; pg_start() != 0; i++)
        CHECK(i < 20);                  /* and it begins when they are gone */
    for (int i = 0; visit() != PAGE; i++)
        CHECK(i < 100);                 /* each takes 2 s at most */
}

static void report(const char *when)
{
    printf("%s%d pages, %d refused, %d without an answer\n", when,
           atomic_exchange(&answers[PAGE], 0), atomic_exchange(&answers[REFUSED], 0),
           atomic_load(&answers[NO_ANSWER]));
}

static void run(void)
{
    pthread_t visitors[VISITORS];
    int       status = 0;

    for (int i = 0; i < VISITORS; i++)
        CHECK(pthread_create(&visitors[i], NULL, visit_often, NULL) == 0);
    end_connections();
    report("");
    kill_the_database();
    report("the database killed: ");
    while (count_answers() < 100)
        atomic_fetch_add(&answers[visit()], 1);
    atomic_store(&over, true);
    for (int i = 0; i < VISITORS; i++)
        CHECK(pthread_join(visitors[i], NULL) == 0);
    report("then: ");
    CHECK(atomic_load(&answers[NO_ANSWER]) == 0);
    CHECK(pg_ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") <= 2);

    CHECK(kill(web.pid, SIGTERM) == 0 && waitpid(web.pid, &status, 0) == web.pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(pg_ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == 0);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (pg_set_up() != 0) {
        pg_tear_down();
        return 2;
    }
    start_web(argv[1]);
    run();
    pg_tear_down();
    return 0;
}
