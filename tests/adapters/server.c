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
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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
 * user, which takes that wish back. */
static void become(const struct server *server, char *const *argv, pid_t parent)
{
    const struct passwd *user = nobody();
    int log, null = open("/dev/null", O_RDWR);

    if (user && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
        _exit(126);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || chdir(server->folder) != 0)
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

int server_start(struct server *server, char *const *argv)
{
    server->pid = spawn(server, argv);
    if (server->pid > 0)
        return 0;
    server->pid = 0;
    return -1;
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
