/* SPDX-License-Identifier: MIT
 *
 * Requests: somebody who wants a resource; and grants, the one value that answers them, at once or
 * late. decide.c decides, flow/get.c acts on it.
 *
 * LOCKING. A request lives in its owner's memory (a blocked thread's on its stack, an event loop's
 * in a kp_request). Every field is guarded by the pool's lock, except `state`, which the owner
 * parks on, and `mail`, which belongs to the mailbox. How its owner is told is all that differs
 * between the two (kp__rouse). It leaves WAITING once, under the lock; whoever makes that move has
 * written `grant` before, and owns the outcome (I10). It is on a queue of its subpool exactly while
 * it is WAITING. Time-out and withdrawal are moves like any other: if a grant came first, the grant
 * stands.
 *
 * The queues of a subpool, each in order of arrival: those who may take a resource or create one
 * (EITHER), those who only take (TAKERS: KP_DONT_CREATE), those who take while their own creation
 * is under way (SPONSORS: they hold a lent permit), those who only create (FRESH), those who only
 * wait for what is under way for them (OWN: a creation for KP_FRESH, or a check). All of one queue
 * need the same; the heads, but for OWN's, are asked in order of arrival, so that one who cannot go
 * on hides nobody who can (L1).
 */
#ifndef KP__CORE_REQUEST_H
#define KP__CORE_REQUEST_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/mail.h"
#include "core/slot.h"
#include "keyedpool/words.h"

enum kp__queue { KP__EITHER, KP__TAKERS, KP__SPONSORS, KP__FRESH, KP__OWN, KP__QUEUES };

/* NUDGED: still waiting, but look again: at the clock, or because it is invited (kp__heed). */
enum { KP__WAITING = 1, KP__NUDGED = 2, KP__ANSWERED = 3 };

enum kp__grant_kind { KP__GRANT_WAIT, KP__GRANT_SLOT, KP__GRANT_PERMIT, KP__GRANT_NO };

/* SLOT: the lease has begun. PERMIT: one may be created; with a victim, after that is destroyed.
 * NO: code says why. */
struct kp__grant {
    enum kp__grant_kind kind;
    uint32_t seat;
    int code;
    bool good; /* SLOT: it was checked already */
    struct kp__slot *slot, *victim;
    uint64_t idle_ns;  /* SLOT: how long it had been idle */
    const char *limit; /* NO: the option that bound */
};

/* Why a create failed, whole. */
struct kp__failure {
    struct kp__list link; /* kept for later requests; see kp__subpool.kept */
    int code, vendor_code;
    uint64_t until; /* kept for a time: until then */
    char text[200];
};

struct kp__request {
    _Atomic uint32_t state;
    uint8_t queue;           /* enum kp__queue */
    bool holds_lent;         /* a sponsor keeps its lent permit while it waits */
    bool waited;             /* for the counter: once per request */
    bool at_once;            /* its owner's: the ask said not to wait */
    bool away;               /* its owner's: time may have passed since it came */
    bool invited;            /* a budget has something for its key; until it has looked */
    bool offered;            /* KP_EVENTUAL: what is idle was left to it, or to who is faster */
    bool here;               /* its owner looks for himself, under this lock */
    uint32_t flags;          /* kp_ask.flags */
    struct kp__subpool *sub;
    struct kp__list link;
    uint64_t stamp, arrived, deadline;
    uint64_t again;          /* look again at this time without being asked; KP__NEVER: no need */
    uint64_t making_until;   /* making: give up then (create_timeout_ms, validate_timeout_ms) */
    struct kp__slot *making; /* what is under way for it; its state says what: a creation, a check
                                of a resource (lent), or the end of its victim (closing) */
    const char *tag, *limit; /* limit: what bound when it was last looked at */
    const void *site;
    struct kp__grant grant;
    kp_why *why;             /* its owner's, or NULL: where a NO puts the driver's reason */

    struct kp__mailbox *box; /* its owner's loop, or NULL: its owner is parked on `state` */
    struct kp__list mail;
};

#endif
