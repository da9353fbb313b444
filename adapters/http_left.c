/* SPDX-License-Identifier: MIT
 *
 * What a borrower has left on a handle of the HTTP adapter, as far as libcurl and the kernel tell.
 */
#include "http_parts.h"

#include "dial.h"

#include <errno.h>

void kp__http_note_version(struct kp__http_client *h)
{
    long version = 0;

    (void)curl_easy_getinfo(h->easy, CURLINFO_HTTP_VERSION, &version);
    if (version)
        h->terse = version == CURL_HTTP_VERSION_1_0 || version == CURL_HTTP_VERSION_1_1;
}

bool kp__http_knows_connection(const struct kp__http_client *h)
{
    curl_socket_t now = CURL_SOCKET_BAD;
    bool known = false;

    (void)curl_easy_getinfo(h->easy, CURLINFO_ACTIVESOCKET, &now);
    for (int i = 0; i < KP__HTTP_SOCKETS; i++)
        known = known || h->fd[i] == now;
    return known || now == CURL_SOCKET_BAD;
}

/* Has the last of the requests that libcurl made by itself, to another path or with a password, an
 * answer of its own? What made libcurl go on was the answer to the one before. */
static bool is_last_answered(const struct kp__http_client *h)
{
#if LIBCURL_VERSION_NUM >= 0x075400
    return curl_easy_nextheader(h->easy, CURLH_HEADER, -1, NULL) != NULL;
#else
    (void)h;
    return false;                       /* that cannot be told */
#endif
}

/* May libcurl still have a request that it did not send? It keeps the password that is in it, and
 * sends that with the next one. Where a connection was opened or closed nobody can tell; else the
 * times do. */
static bool may_be_unsent(const struct kp__http_client *h, long status)
{
    double looked_up = 0, sent = 0;
    long more = 0;                      /* requests that it made by itself */

    (void)curl_easy_getinfo(h->easy, CURLINFO_NAMELOOKUP_TIME, &looked_up);
    (void)curl_easy_getinfo(h->easy, CURLINFO_PRETRANSFER_TIME, &sent);
    (void)curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_COUNT, &more);
    if (status == 0)
        return h->moved || (looked_up > 0 && sent <= 0);
    return more > 0 && (status / 100 == 3 || status == 401 || status == 407) &&
           !is_last_answered(h);
}

/* Several connections: libcurl can neither use nor free what CURLOPT_CONNECT_ONLY has made. None,
 * and no answer: the next create probes, and reports the reason. But a server may well close after
 * an answer, and a borrower may have asked for nothing. */
const char *kp__http_useless(const struct kp__http_client *h)
{
    bool probing = !h->context->options.probe || *h->context->options.probe;
    long status = 0;
    int open = 0;

    for (int i = 0; i < KP__HTTP_SOCKETS; i++)
        open += h->fd[i] >= 0;
    (void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    if (open > 1)
        return "given back with several connections";
    if (!may_be_unsent(h, status) && (status || open || !probing))
        return NULL;
    return open ? "given back with a request that may be unsent"
                : "given back without a usable connection";
}

/* Of a host with several addresses one may have refused, and another one been connected: then only
 * how a connection ends counts. */
bool kp__http_is_gone(const struct kp__http_client *h)
{
    double began = 0;                   /* 0: there was no connection */
    long code = 0;

    (void)curl_easy_getinfo(h->easy, CURLINFO_OS_ERRNO, &code);
    (void)curl_easy_getinfo(h->easy, CURLINFO_PRETRANSFER_TIME, &began);
    return kp__is_gone((int)code) &&
           (began <= 0 || code == ECONNRESET || code == EPIPE || code == ETIMEDOUT);
}

bool kp__http_has_unread(const struct kp__http_client *h)
{
    bool unread = false;

    for (int i = 0; i < KP__HTTP_SOCKETS && h->terse; i++)
        unread = unread || (h->fd[i] >= 0 && kp__peek(h->fd[i]) > 0);
    return unread;
}
