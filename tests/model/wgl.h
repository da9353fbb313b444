/* SPDX-License-Identifier: MIT
 *
 * Is a history of one key linearizable? That is: is there one order of its operations, each at a
 * moment between its call and its return, in which a sequential pool would give every answer?
 *
 * The sequential pool is the model with one key, reduced to what a borrower sees: resources that
 * are idle, lent or closing, at most max_live of them. A get takes the idle one that was used last;
 * it makes one if none is idle and there is room; it is answered no only when none is idle and
 * there is no room (L1). A resource that was invalidated or discarded is never lent again, and its
 * room is free when it is destroyed.
 */
#ifndef TESTS_MODEL_WGL_H
#define TESTS_MODEL_WGL_H

#include <stdbool.h>
#include <stdint.h>

enum { WGL_OPS = 1024, WGL_LIVE = 4 };

enum wgl_kind { WGL_GET, WGL_TRY, WGL_RELEASE, WGL_DISCARD, WGL_INVALIDATE, WGL_GONE, WGL_STATS };

struct wgl_op {
    enum wgl_kind kind;
    uint64_t called, returned; /* on one monotonic clock */
    uint64_t resource;         /* 0: the answer was no */
    bool made;                 /* GET: made for it, not there before */
    bool destroyed;            /* it ran driver.destroy: a GONE of the same call follows */
    int64_t answer;            /* INVALIDATE: how many; STATS: live * 100 + idle */
    int part_of;               /* GONE: the operation whose call it ends */
};

enum wgl_verdict { WGL_YES, WGL_NO, WGL_UNKNOWN };

/* Looks at no more than `looks` events; *looked: at how many. */
enum wgl_verdict wgl_check(const struct wgl_op *ops, int n, int max_live, uint64_t looks,
                           uint64_t *looked);

#endif
