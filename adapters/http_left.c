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

/* Where several connections are open, for libcurl can neither use nor free what
 * CURLOPT_CONNECT_ONLY has made. And if the last transfer had no answer,
 *   - where none is open: the next create probes, and reports the reason;
 *   - where one was opened or closed: what was not sent, even a password, goes with the next.
 * But a server may well close after an answer, and a borrower may have asked for nothing. */
bool kp__http_is_useless(const struct kp__http_client *h)
{
    bool probing = !h->context->options.probe || *h->context->options.probe;
    long status = 0;
    int open = 0;

    for (int i = 0; i < KP__HTTP_SOCKETS; i++)
        open += h->fd[i] >= 0;
    (void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    return open > 1 || (status == 0 && (h->moved || (probing && !open)));
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
