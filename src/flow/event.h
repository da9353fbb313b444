/* SPDX-License-Identifier: MIT
 *
 * Telling: events and misuse (event.c), why the answer was no (why.c), and where a lease was got
 * that is held for too long (trace.c). Nothing is swallowed (L11).
 */
#ifndef KP__FLOW_EVENT_H
#define KP__FLOW_EVENT_H

#include "flow/flow.h"

/* Send an event, if anybody listens. Without the lock; sub (or NULL) must be kept by a slot, a
 * request or interest. kp__send: the caller has filled the event in, and knows that somebody
 * listens. */
void kp__event(struct kp__pool *pool, kp_event_kind kind, struct kp__subpool *sub,
               const void *resource, int code, const kp_why *why);
void kp__send(struct kp__pool *pool, kp_event *event);

/* Both with the lock, which is given back meanwhile, even if nobody listens. The key stays; this
 * was no use of it. */
void kp__event_within(struct kp__pool *pool, kp_event_kind kind, struct kp__subpool *sub,
                      const void *resource, int code, const kp_why *why, struct kp__todo *todo);
void kp__send_within(struct kp__pool *pool, struct kp__subpool *sub, kp_event *event,
                     struct kp__todo *todo);

/* kp__event_within about a request, with its tag. */
void kp__event_of(struct kp__pool *pool, kp_event_kind kind, const struct kp__request *r, int code,
                  const kp_why *why, struct kp__todo *todo);

/* An event about a lease, which is filled in with the lock; then it can be sent. */
struct kp__notice {
    kp_event event;
    const void *frame[KP__FRAMES];
};
void kp__notice(struct kp__pool *pool, const struct kp__slot *slot, const struct kp__seat *seat,
                kp_event_kind kind, uint64_t now, struct kp__notice *out);

/* ---- misuse ---------------------------------------------------------------------------------- */

/* Count a misuse, and tell it. Without the lock; pool NULL: it is only told. Returns KP_EMISUSE.
 * _by: the same by the pool's door, which may be NULL, or that of a closed pool. _within: with the
 * lock, which is given back meanwhile. */
int kp__misuse(struct kp__pool *pool, kp_why *why, const char *sentence);
int kp__misuse_by(kp_pool *door, kp_why *why, const char *sentence);
int kp__misuse_within(struct kp__pool *pool, struct kp__todo *todo, kp_why *why,
                      const char *sentence);

/* kp__enter said no, with this code. If that is because there is no pool at all, it is misuse, and
 * `sentence` tells it. Returns the code. */
int kp__no_pool(int code, kp_why *why, const char *sentence);

/* ---- why not (why.c) ------------------------------------------------------------------------- */

/* Fill *why, if there is one, with a code and a sentence; NULL: the sentence of the code. Returns
 * the code. */
int kp__say(kp_why *why, int code, const char *sentence);

/* The same with the driver's vendor code, and its words if it had any. `why` is not NULL. */
void kp__say_failure(kp_why *why, int code, const struct kp__failure *failure);

/* Add to the sentence, as far as there is room; one that is cut ends with three dots. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void kp__say_more(kp_why *why, const char *format, ...);

/* Add what a key is called; without key_type.text, as the lock is held. */
void kp__say_key(kp_why *why, const struct kp__pool *pool, const struct kp__subpool *sub);

/* Put what a key is called before the sentence, in the same way. */
void kp__say_whose(kp_why *why, const struct kp__pool *pool, kp_key key);

/* As much of a text as there is room for, in whole characters, and in one line: reasons often come
 * from a vendor's library, which may have lines of detail, and a line's end. */
void kp__copy_line(char *to, size_t room, const char *text);

/* Why a circuit lets nothing be made: KP_EBREAKER, as a request is told. With the lock. */
void kp__say_open(const struct kp__subpool *sub, uint64_t now, kp_why *why);

/* Why a request was refused, with the key's numbers at this moment. With the lock. */
void kp__explain_no(const struct kp__core *core, const struct kp__request *request, uint64_t now,
                    kp_why *why);

/* Why there is no such key, and none is made, unless *why says it already. */
void kp__say_no_key(kp_why *why, int code);

/* When the background may create again: after a pause, or as a circuit or the rate lets it. With
 * the lock. */
void kp__say_rest(const struct kp__core *core, const struct kp__subpool *sub, uint64_t now,
                  kp_why *why);

/* kp_warm, which began at `since`, ran out of time with this key. With the lock. */
void kp__say_cold(struct kp__pool *pool, struct kp__subpool *sub, uint64_t since, uint64_t now,
                  kp_why *why);

/* ---- where leases were got (trace.c) --------------------------------------------------------- */

/* The return addresses of the get of a lease. Returns how many; 0: they are not known. */
size_t kp__trace_of(const struct kp__slot *slot, const struct kp__seat *seat,
                    const void *frame[KP__FRAMES]);

/* Ask options.stack, on the thread of the get. With the lock, which is given back meanwhile. */
void kp__trace(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat, struct kp__todo *todo);

#endif
