/* SPDX-License-Identifier: MIT
 *
 * HTTP servers of a test's own: a plain one that is a child of the test (peer.h), and one with TLS
 * and a certificate that nobody knows, which is openssl's.
 */
#ifndef TESTS_ADAPTERS_HTTP_SERVER_H
#define TESTS_ADAPTERS_HTTP_SERVER_H

#include <stdlib.h>

#include "adapters/peer.h"
#include "adapters/server.h"

static struct peer web;
static struct {
    struct server server;
    int  port;
    char certificate[96], key[96];
} tls;

static inline bool web_send(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static inline bool web_reply(int fd, bool head, const char *header, const char *body)
{
    char text[4096];

    (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n%s",
                   strlen(body), header, head ? "" : body);
    return web_send(fd, text);
}

/* The value of a header, up to the end of its line, in `text`; "" if there is none. */
static inline const char *web_header(char *request, const char *name, char *text, size_t size)
{
    const char *at = strstr(request, name);

    at = at ? at + strlen(name) : "";
    (void)snprintf(text, size, "%.*s", (int)strcspn(at, "\r\n"), at);
    return text;
}

/* Paths: /half sends half of an answer and no more, /cookie sets one, /who, /agent and /password
 * tell what was sent, /close ends the connection, /silent says nothing; /unasked first sends an
 * answer that nobody asked for to whoever asked for /listen; /moved is an old server's, which sends
 * on to /password, and /gone sends on to /denied, which wants a better password; others tell the
 * method and the path. */
static inline bool web_answer(int fd)
{
    static int listener = -1;
    char request[4096], path[128] = "", value[256];
    ssize_t n = recv(fd, request, sizeof request - 1, 0);
    bool head;

    if (n <= 0)
        return false;
    request[n] = '\0';
    head = strncmp(request, "HEAD ", 5) == 0;
    (void)sscanf(request, "%*s %127s", path);
    if (strcmp(path, "/silent") == 0)
        return true;
    if (strcmp(path, "/half") == 0)
        return web_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it");
    if (strcmp(path, "/cookie") == 0)
        return web_reply(fd, head, "Set-Cookie: who=me\r\n", "set");
    if (strcmp(path, "/who") == 0)
        return web_reply(fd, head, "", web_header(request, "Cookie: ", value, sizeof value));
    if (strcmp(path, "/agent") == 0)
        return web_reply(fd, head, "", web_header(request, "User-Agent: ", value, sizeof value));
    if (strcmp(path, "/password") == 0)
        return web_reply(fd, head, "",
                         web_header(request, "Authorization: ", value, sizeof value));
    if (strcmp(path, "/moved") == 0)
        return web_send(fd, "HTTP/1.0 307 Moved\r\nConnection: keep-alive\r\nContent-Length: 0\r\n"
                            "Location: /password\r\n\r\n");
    if (strcmp(path, "/gone") == 0)
        return web_send(fd, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /denied\r\n\r\n");
    if (strcmp(path, "/denied") == 0)
        return web_send(fd, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"web\"\r\n"
                            "Content-Length: 0\r\n\r\n");
    if (strcmp(path, "/listen") == 0)
        listener = fd;
    if (strcmp(path, "/unasked") == 0)
        (void)web_reply(listener, false, "", "not yours");
    if (strcmp(path, "/close") == 0)
        return web_reply(fd, head, "Connection: close\r\n", "bye") && false;
    request[strcspn(request, "\r\n")] = '\0';
    return web_reply(fd, head, "", request);
}

static inline int web_restart(void)
{
    return peer_start(&web);
}

static inline void web_kill(void)
{
    peer_kill(&web);
}

static inline int tls_start(void)
{
    char at[32];
    char *make[] = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                     "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
                     tls.key, "-out", tls.certificate, NULL };
    char *serve[] = { "openssl", "s_server", "-accept", at, "-key", tls.key, "-cert",
                      tls.certificate, "-www", NULL };

    if (server_folder(&tls.server) != 0)
        return -1;
    tls.port = server_free_port();
    (void)snprintf(at, sizeof at, "127.0.0.1:%d", tls.port);
    (void)snprintf(tls.key, sizeof tls.key, "%s/key.pem", tls.server.folder);
    (void)snprintf(tls.certificate, sizeof tls.certificate, "%s/cert.pem", tls.server.folder);
    if (server_run(&tls.server, make) != 0 || server_start(&tls.server, serve) != 0)
        return -1;
    return server_await(&tls.server, "ACCEPT", 30000);
}

/* Both. SIGPIPE is the program's to ignore, and no proxy stands between. */
static inline int web_start(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setenv("no_proxy", "*", 1);
    web.port = server_free_port();
    web.answer = web_answer;
    return web_restart() == 0 ? tls_start() : -1;
}

static inline void web_stop(void)
{
    peer_kill(&web);
    server_remove(&tls.server);
}

#endif
