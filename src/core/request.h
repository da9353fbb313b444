/* SPDX-License-Identifier: MIT
 *
 * Requests: somebody who wants a resource; and grants, the one value that answers them, at once or
 * late. decide.c decides, flow/get.c acts on it.
 *
 * LOCKING. A request lives in its owner's memory: a blocked thread's on its stack, an event loop's
 * in a kp_request. Every field is guarded by the pool's lock, except `state`, which a thread parks
 * on. The two kinds differ only in how their owners are told (kp__rouse, kp__nudge), and what each
 * needs for that lies in the unions below; `of_loop`, which never changes, says which kind it is.
 *
 * Once it was claimed, a request is on a queue of its subpool exactly while its grant says WAIT.
 * Each time it waits, it leaves that state once, under the lock; whoever takes it out writes
 * `grant`, and owns the outcome (I10). A time-out or a withdrawal is no exception: if a grant came
 * first, the grant stands. Afterwards `link` of a loop's request is its letter, and belongs to the
 * mailbox (base/mail.h), until its owner has it wait again (kp__wait_again).
 *
 * The queues of a subpool, each in order of arrival, hold requests that may take a resource or
 * create one (EITHER), that only take (TAKERS: KP_DONT_CREATE), that take while their own creation
 * is under way (SPONSORS: they hold a lent permit), that only create (FRESH), and that only wait
 * for what is under way for them (OWN: a creation for KP_FRESH, or a check). All in one queue need
 * the same. The heads of all queues but OWN are looked at in order of arrival, so that a request
 * that cannot go on hides none that can (L1).
 */
#ifndef KP__CORE_REQUEST_H
#define KP__CORE_REQUEST_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/timers.h"
#include "core/limit.h"
#include "core/slot.h"
#include "keyedpool/options.h"

struct kp__core;
struct kp__todo;

enum kp__queue { KP__EITHER, KP__TAKERS, KP__SPONSORS, KP__FRESH, KP__OWN, KP__QUEUES };

/* What a thread parks on. NUDGED: it still waits, but is to look again: at the clock, or for what
 * it was invited to or offered (kp__heed). */
enum kp__parked { KP__WAITING = 1, KP__NUDGED = 2, KP__ANSWERED = 3 };

enum kp__grant_kind { KP__GRANT_WAIT, KP__GRANT_SLOT, KP__GRANT_PERMIT, KP__GRANT_NO };

/* The answer to a request. kp__grant, _slot and _no write it, and the slot that it is about. */
struct kp__grant {
    uint8_t kind;      /* enum kp__grant_kind */
    bool was_idle : 1; /* SLOT: until its lease began */
    bool good : 1;     /* SLOT: it was checked already */
    bool probe : 1;    /* PERMIT: it is a probe of its key's circuit (core/circuit.h) */
    bool first : 1;    /* PERMIT or SLOT: the first probe, of which an event is to be sent */
    union {
        uint16_t seat; /* SLOT: which of its seats; wide enough for kp_limits.sharing */
        int16_t code;  /* NO: why */
    };
};

/* Why a create failed, whole. */
struct kp__failure {
    struct kp__list link; /* on kp__health.kept, if it is kept for later requests */
    int code, vendor_code;
    uint64_t until; /* if it is kept for a time: until then */
    char text[200];
};

/* Its reason in words: the driver's, or what the code stands for. */
static inline const char *kp__failure_text(const struct kp__failure *failure)
{
    return failure->text[0] ? failure->text : kp_strerror(failure->code);
}

struct kp__request {
    union {
        _Atomic uint32_t state; /* a thread's: enum kp__parked */
        uint32_t pool;          /* a loop's: the number of its pool; 0: it is over */
    };
    uint32_t stamp;          /* orders those that came in the same ns (kp__came_before) */
    enum kp__queue queue : 7;
    bool posted : 1;         /* a loop's: its letter may lie in the mailbox */
    uint8_t flags;           /* kp_ask.flags */
    uint8_t limit;           /* enum kp__limit: what bound when it was last looked at */
    bool of_loop : 1;        /* it lies in a kp_request; else its owner parks on `state` */
    bool holds_lent : 1;     /* a sponsor keeps its lent permit while it waits */
    bool waited : 1;         /* it waited, which is counted once */
    bool at_once : 1;        /* it said, or its pool says, not to wait */
    bool time_passed : 1;    /* for its owner: it may be later by now than `arrived` */
    bool invited : 1;        /* a budget has something for its key; until it has looked (serve.c) */
    bool offered : 1;        /* KP_EVENTUAL: what is idle was left to it, or to whoever is faster */
    bool looking : 1;        /* its owner has the lock at this moment, and looks by itself */
    struct kp__grant grant;
    union {
        struct kp__slot *slot; /* what the grant is about, or NULL. WAIT: what is under way for it;
                                  the slot's state says what: a creation, a check of a resource
                                  (lent), or the end of its victim (closing). SLOT: its lease has
                                  begun. PERMIT: the victim to be destroyed before creating */
        uint64_t hope;         /* NO, because it would be too late: when it might be in time */
    };
    struct kp__subpool *sub;
    struct kp__list link;
    uint64_t arrived, deadline;
    union {
        struct kp__timer alarm; /* a loop's: when it looks. Guard: pool's lock and the mailbox's;
                                   once it was answered, only the mailbox's */
        const void *site;       /* a thread's: where it asked (kp__site_of) */
    };
    const char *tag;
    kp_why *why;             /* its owner's, or NULL: where a NO puts the driver's reason */
};

/* In a loop's request, the offset of its alarm from its letter (base/mail.h). */
#define KP__TO_ALARM (offsetof(struct kp__request, alarm) - offsetof(struct kp__request, link))

static inline bool kp__waits(const struct kp__request *request)
{
    return request->grant.kind == KP__GRANT_WAIT;
}

/* For two requests of one pool. Stamps wrap around, but not within a ns. */
static inline bool kp__came_before(const struct kp__request *a, const struct kp__request *b)
{
    return a->arrived != b->arrived ? a->arrived < b->arrived : (int32_t)(a->stamp - b->stamp) < 0;
}

/* How long it has waited. A call may have an older `now` than a request that came meanwhile. */
static inline uint64_t kp__waited(const struct kp__request *request, uint64_t now)
{
    return now > request->arrived ? now - request->arrived : 0;
}

/* What is under way for it while it waits, or NULL. */
static inline struct kp__slot *kp__under_way(const struct kp__request *request)
{
    return kp__waits(request) ? request->slot : NULL;
}

/* This is its grant from now on. What was under way for it goes on without it. */
static inline void kp__grant(struct kp__request *request, enum kp__grant_kind kind,
                             struct kp__slot *slot)
{
    if (kp__under_way(request)) kp__errand_of(request->slot)->sponsor = NULL;
    request->grant = (struct kp__grant){ .kind = (uint8_t)kind };
    request->slot = slot;
}

/* The same with a lease of this slot that has begun, and has its lent permit now. */
static inline void kp__grant_slot(struct kp__request *request, struct kp__slot *slot, uint32_t seat)
{
    kp__grant(request, KP__GRANT_SLOT, slot);
    request->grant.seat = (uint16_t)seat;
    request->holds_lent = false;
}

/* What binds a request for which this one is being made, or its victim is being destroyed. */
static inline enum kp__limit kp__making_limit(const struct kp__slot *making)
{
    return making->state == KP__CREATING ? KP__BY_CREATION : KP__BY_DESTRUCTION;
}

/* Take the mark of a probe (circuit.h) off its permit, to put it on something else. */
static inline bool kp__probe_take(struct kp__request *request)
{
    bool probe = request->grant.probe;

    request->grant.probe = false;
    return probe;
}

static inline void kp__grant_no(struct kp__request *request, int code, enum kp__limit limit)
{
    kp__grant(request, KP__GRANT_NO, NULL);
    request->grant.code = (int16_t)code;
    request->limit = (uint8_t)limit;
}

/* ---- in and out of the queue (request.c) ----------------------------------------------------- */

/* Begin a request, of which only the kind of its owner is known, and the place of the call: `site`,
 * which its lease is to name (kp__site_of). */
void kp__request_init(struct kp__request *request, bool of_loop, const void *site, kp_why *why);
const void *kp__site_of(const struct kp__request *request);

/* Put it into its queue, in order of arrival; take it out, with the answer that is in `grant`, and
 * tell its owner. */
void kp__enqueue(struct kp__core *core, struct kp__request *request);
void kp__answer(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* Put it back at its old place in its queue: as the sponsor of `making`, or (NULL) of nothing. */
void kp__wait_again(struct kp__core *core, struct kp__request *request, struct kp__slot *making,
                    uint64_t now, struct kp__todo *todo);

/* The same for one whose resource turned out to be bad, and is given back: those behind it do not
 * overtake it, whatever that makes free. */
void kp__wait_for_another(struct kp__core *core, struct kp__request *request, struct kp__slot *slot,
                          uint32_t seat, kp_cause bad, uint64_t now, struct kp__todo *todo);

/* Nothing is under way any more for the sponsor of a creation or a check: if it still waits, it may
 * take or create anything again. It keeps its lent permit while its own key is served. Returns it,
 * or NULL. */
struct kp__request *kp__sponsor_release(struct kp__core *core, struct kp__slot *slot);

/* A request that must not wait (KP_DONT_WAIT) is answered no, if it is back in its queue because
 * its check failed, and nothing else was there for it. */
void kp__send_away(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* Take it out of its queue unanswered (time-out). False: an answer came first, and stands. */
bool kp__withdraw(struct kp__core *core, struct kp__request *request, uint64_t now,
                  struct kp__todo *todo);

/* Give back what a request was granted and has not begun to use. */
void kp__decline(struct kp__core *core, struct kp__request *request, uint64_t now,
                 struct kp__todo *todo);

/* Answer a waiting request with a lease that has begun; or with a permit that was taken for it. */
void kp__answer_slot(struct kp__core *core, struct kp__request *request, struct kp__slot *slot,
                     uint32_t seat, struct kp__todo *todo);
void kp__answer_permit(struct kp__core *core, struct kp__request *request, struct kp__todo *todo);

/* Answer no to a waiting request, or to all those of a key. */
void kp__refuse(struct kp__core *core, struct kp__request *request, int code,
                struct kp__todo *todo);
void kp__refuse_all(struct kp__core *core, struct kp__subpool *sub, int code,
                    struct kp__todo *todo);

/* Note the driver's reason for a no where the owner of the request reads it, if it gave a `why`. */
void kp__blame(struct kp__request *request, const struct kp__failure *failure);

/* Wake the owner of a request: it was answered. Or (nudge) it still waits and is to look again: a
 * thread now, an event loop at `at`. */
void kp__rouse(struct kp__todo *todo, struct kp__request *request);
void kp__nudge(struct kp__todo *todo, struct kp__request *request, uint64_t at);

#endif
