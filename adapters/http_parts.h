/* SPDX-License-Identifier: MIT
 *
 * What opening a pool (http_open.c) and the driver (http.c) of the HTTP adapter have in common.
 */
#ifndef KP_ADAPTERS_HTTP_PARTS_H
#define KP_ADAPTERS_HTTP_PARTS_H

#include "fill.h"
#include "http_share.h"
#include "keyedpool_http.h"

/* What the pool keeps as driver.ctx: the options, with strings of their own. */
struct kp__http_context {
    kp_http_options   options;
    struct kp__share *share;
};

/* Is it scheme://host[:port] and nothing more? CURLUE_OUT_OF_MEMORY, if that cannot be told. */
CURLUcode kp__http_read_origin(kp_key key, bool *good);

/* All but drop_ctx. */
kp_driver kp__http_driver(struct kp__http_context *context);

#endif
