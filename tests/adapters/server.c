/* SPDX-License-Identifier: MIT
 *
 * Servers that tests start for themselves (server.h). Where the test runs as root they run as
 * nobody: PostgreSQL refuses root.
 */
#include "adapters/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct passwd *nobody(void)
{
    return geteuid() == 0 ? getpwnam("nobody") : NULL;
}

int server_folder(struct server *server)
{
    const struct passwd *user = nobody();

    server->pid = 0;
    (void)snprintf(server->folder, sizeof server->folder, "/tmp/keyedpool-server-XXXXXX");
    if (!mkdtemp(server->folder))
        return -1;
    return user ? chown(server->folder, user->pw_uid, user->pw_gid) : 0;
}

/* In the child. A program that is no longer wanted is told by the kernel: after the change of
 * user, which takes that wish back. SIGQUIT ends it at once, and lets PostgreSQL clean up. */
static void become(const struct server *server, char *const *argv, pid_t parent)
{
    const struct passwd *user = nobody();
    int log, null = open("/dev/null", O_RDWR);

    if (user && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
        _exit(126);
    if (prctl(PR_SET_PDEATHSIG, SIGQUIT) != 0 || getppid() != parent || chdir(server->folder) != 0)
        _exit(126);
    log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    (void)execvp(argv[0], argv);
    _exit(127);
}

static pid_t spawn(const struct server *server, char *const *argv)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0)
        become(server, argv, parent);
    return pid;
}

static int await(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int server_run(const struct server *server, char *const *argv)
{
    pid_t pid = spawn(server, argv);

    return pid < 0 ? -1 : await(pid);
}

int server_beside(char **argv)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        (void)execv(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static long log_size(const struct server *server)
{
    struct stat about;
    char path[96];

    (void)snprintf(path, sizeof path, "%s/log", server->folder);
    return stat(path, &about) == 0 ? (long)about.st_size : 0;
}

int server_start(struct server *server, char *const *argv)
{
    server->said = log_size(server);
    server->pid = spawn(server, argv);
    if (server->pid > 0)
        return 0;
    server->pid = 0;
    return -1;
}

static bool log_says(const struct server *server, const char *words)
{
    char path[96], text[65536];
    size_t n;
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/log", server->folder);
    f = fopen(path, "r");
    if (!f || fseek(f, server->said, SEEK_SET) != 0)
        n = 0;
    else
        n = fread(text, 1, sizeof text - 1, f);
    if (f)
        (void)fclose(f);
    text[n] = '\0';
    return strstr(text, words) != NULL;
}

/* The log is watched, so that nothing is asked for again and again. */
int server_await(struct server *server, const char *words, int within_ms)
{
    struct pollfd p = { .fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .events = POLLIN };
    char events[4096];
    bool said = false;

    if (p.fd < 0 || inotify_add_watch(p.fd, server->folder, IN_CREATE | IN_MODIFY) < 0)
        within_ms = 0;
    for (int waited = 0; !(said = log_says(server, words)) && waited < within_ms;) {
        if (server_ended(server))
            break;
        if (poll(&p, 1, 100) == 0)
            waited += 100;
        (void)!read(p.fd, events, sizeof events);
    }
    if (p.fd >= 0)
        (void)close(p.fd);
    return said ? 0 : -1;
}

void server_end(struct server *server, int signal)
{
    if (server->pid == 0)
        return;
    (void)kill(server->pid, signal);
    (void)await(server->pid);
    server->pid = 0;
}

int server_ended(struct server *server)
{
    if (server->pid != 0 && waitpid(server->pid, NULL, WNOHANG) == server->pid)
        server->pid = 0;
    return server->pid == 0;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

void server_remove(struct server *server)
{
    server_end(server, SIGKILL);
    if (server->folder[0])
        (void)nftw(server->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    server->folder[0] = '\0';
}

int server_free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, size) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &size) == 0)
        port = ntohs(at.sin_port);
    if (fd >= 0)
        (void)close(fd);
    return port;
}
