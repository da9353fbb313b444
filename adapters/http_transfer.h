/* SPDX-License-Identifier: MIT
 *
 * The transfers of one easy handle on an event loop, one at a time and without blocking.
 *
 * Each handle has a multi handle of its own, like the one that libcurl makes for curl_easy_perform:
 * the connection stays in it and is shared with no other handle. A watcher waits for what libcurl
 * waits for:
 *
 *     start -> told -> act -> told -> act -> ... -> done
 *
 * A function that libcurl calls must not make it end a transfer. What is ended there ends as soon
 * as libcurl has returned.
 *
 * All of this is for one thread: the one that opened the transfer.
 */
#ifndef KP_ADAPTERS_HTTP_TRANSFER_H
#define KP_ADAPTERS_HTTP_TRANSFER_H

#include "keyedpool_http.h"

struct kp__transfer;

/* NULL: no memory. The handle stays its owner's. */
struct kp__transfer *kp__transfer_open(CURL *easy, kp_watcher *watcher);

/* Only when nothing is under way and libcurl is not in a call. Closes its connection. */
void kp__transfer_close(struct kp__transfer *t);

/* 0: `done` runs once, from the loop, unless the transfer is stopped; it may close the transfer.
 * Else KP_EMISUSE or KP_ENOMEM. */
int  kp__transfer_start(struct kp__transfer *t, kp_http_done_fn done, void *arg);

bool kp__transfer_runs(const struct kp__transfer *t);

/* End what is under way with this result: `done` runs in here, or when libcurl has returned. */
void kp__transfer_end(struct kp__transfer *t, CURLcode result);

/* The same without `done`. False: the caller is itself called by libcurl, so the end has to wait;
 * kp__transfer_after sets what to do when libcurl has returned. */
bool kp__transfer_stop(struct kp__transfer *t);
void kp__transfer_after(struct kp__transfer *t, kp_http_done_fn then, void *arg);

#endif
