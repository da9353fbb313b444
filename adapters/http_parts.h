/* SPDX-License-Identifier: MIT
 *
 * The parts of the HTTP adapter: opening a pool (http_open.c), the driver (http.c), and what a
 * borrower has left on a handle (http_left.c). Transfers on an event loop are in http_transfer.h.
 */
#ifndef KP_ADAPTERS_HTTP_PARTS_H
#define KP_ADAPTERS_HTTP_PARTS_H

#include "fill.h"
#include "http_share.h"
#include "keyedpool_http.h"

#include <stdbool.h>

/* What the pool keeps as driver.ctx: the options, with strings of their own. */
struct kp__http_context {
    kp_http_options   options;
    struct kp__share *share;
};

/* libcurl tries two addresses at once. More sockets than these are not noted, and at worst closed
 * later than they might be. */
#define KP__HTTP_SOCKETS 4

/* The handle comes first: kp_http reads it. */
struct kp__http_client {
    CURL *easy;
    CURLSH *share;                      /* the pool's; or NULL */
    const struct kp__http_context *context;
    int   fd[KP__HTTP_SOCKETS];         /* its open sockets; or -1 */
    bool  moved;                        /* a socket was opened or closed since the last reset */
    bool  full;                         /* for the last socket there was no descriptor left */
    bool  terse;                        /* its last answer was of HTTP/1: none comes unasked */
    struct kp__transfer *transfer;      /* NULL: curl_easy_perform */
    kp_job *job;                        /* the pending one */
    char  detail[CURL_ERROR_SIZE];      /* why the probe failed */
};

/* Is it scheme://host[:port] and nothing more? CURLUE_OUT_OF_MEMORY, if that cannot be told. */
CURLUcode kp__http_read_origin(kp_key key, bool *good);

/* All but drop_ctx. */
kp_driver kp__http_driver(struct kp__http_context *context);

/* ---- what a borrower left -------------------------------------------------------------------- */

/* Before the handle forgets it; a transfer that had no answer says nothing of it. */
void kp__http_note_version(struct kp__http_client *h);

/* Was the connection that it has made with the pool's functions? A borrower who calls
 * curl_easy_reset takes them away, and what comes on such a connection would not be seen. To be
 * asked before a transfer on an event loop is stopped. */
bool kp__http_knows_connection(const struct kp__http_client *h);

/* NULL, or why the handle is useless to the next borrower. */
const char *kp__http_useless(const struct kp__http_client *h);

/* Does the system's last error say that the server is gone? */
bool kp__http_is_gone(const struct kp__http_client *h);

/* Has more come than the answer? The next borrower would take it for the answer to his request. */
bool kp__http_has_unread(const struct kp__http_client *h);

#endif
