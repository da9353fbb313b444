/* SPDX-License-Identifier: MIT
 *
 * Mailboxes: where one thread finds what others have for it, with a descriptor that it can poll;
 * and its alarms, since others may want it to look at something sooner than it meant to.
 *
 * A letter is a link in the sender's own memory: posting allocates nothing. Posting and ringing are
 * two steps, so that the first can be done under a lock and the second (a system call, and only
 * when the owner may be asleep) after it. A mailbox's memory stays for the life of the process and
 * is used again, so that a late ring rings a box that is there, if not the one that was meant; who
 * is woken for nothing finds no letter.
 *
 * Not each answer (tray 0) costs the owner a lock. He takes all of them out of their tray at once;
 * and what his own thread answers while he looks (box->own) never lies in a tray. Only he takes a
 * letter back.
 */
#ifndef KP__BASE_MAIL_H
#define KP__BASE_MAIL_H

#include "base/list.h"
#include "base/lock.h"
#include "base/timers.h"

enum { KP__TRAYS = 2 }; /* letters of two kinds, each in order of arrival; those of 1 go first */

struct kp__mailbox {
    struct kp__lock lock;
    _Atomic uint32_t filled;         /* Guard: lock, to write. A tray may hold a letter */
    uint32_t owned;                  /* its owner's: letters that have come into `own` */
    struct kp__list tray[KP__TRAYS]; /* Guard: lock */
    bool open, rung;                 /* Guard: lock. rung: the descriptor is readable already */
    bool busy;                       /* Guard: lock. Its owner is looking: nobody need ring */
    struct kp__timers alarms;        /* Guard: lock */
    int fd, ring_fd;                 /* Guard: lock; the same one where there is eventfd */
    size_t to_alarm;                 /* constant: from a letter of tray 0 to its sender's alarm */
    struct kp__list taken;           /* its owner's: taken out of tray 0, to be read next */
    struct kp__list own;             /* its owner's: from himself, to be read after these and before
                                        what is in tray 0. Their alarms may be set */
};

/* The one that this thread looks into now (kp__mail_begin), or NULL. */
extern KP__INSIDE _Thread_local struct kp__mailbox *kp__mail_mine KP__TLS;

/* False: no descriptor. */
bool kp__mailbox_open(struct kp__mailbox *box, size_t to_alarm);
void kp__mailbox_close(struct kp__mailbox *box);

/* Put a letter in, behind the others. True: ring afterwards. Several threads. */
bool kp__mail_post(struct kp__mailbox *box, int tray, struct kp__list *letter);
void kp__mail_ring(struct kp__mailbox *box);

/* The same, into tray 0, of a sender with an alarm: if that is set, the letter mutes it before the
 * owner next looks for one that is due. */
bool kp__mail_answer(struct kp__mailbox *box, struct kp__list *letter);

/* An alarm that is set goes off at `at`, or sooner if it was to. True: ring afterwards. Several
 * threads. */
bool kp__mail_hasten(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at);

/* ---- for the owner --------------------------------------------------------------------------- */

/* The first letter, and the tray it came from; NULL: there is none. */
struct kp__list *kp__mail_take(struct kp__mailbox *box, int *tray);

/* The alarm is set to go off at `at`. */
void kp__mail_set(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at);

/* The alarm is set and never goes off: its letter is there, or comes. */
void kp__mail_mute(struct kp__mailbox *box, struct kp__timer *alarm);
bool kp__mail_is_set(struct kp__mailbox *box, const struct kp__timer *alarm);

/* The first alarm that has gone off by now; NULL: none. */
struct kp__timer *kp__mail_due(struct kp__mailbox *box, uint64_t now);

/* Any alarm that is set and not muted; NULL: none. */
struct kp__timer *kp__mail_any(struct kp__mailbox *box);

/* Take a letter back, wherever it lies; _forget: and its alarm. */
void kp__mail_remove(struct kp__mailbox *box, struct kp__list *letter);
void kp__mail_forget(struct kp__mailbox *box, struct kp__list *letter);

/* The owner begins to look into the box, and stops. In between nobody needs to ring. _end: true if
 * there is more, for which the box has then rung itself. */
void kp__mail_begin(struct kp__mailbox *box);
bool kp__mail_end(struct kp__mailbox *box);

#endif
