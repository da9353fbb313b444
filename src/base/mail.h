/* SPDX-License-Identifier: MIT
 *
 * Mailboxes: where one thread, the owner, finds what others have for it, with a descriptor that it
 * can poll. A mailbox also keeps the owner's alarms, since others may want the owner to look at
 * something sooner than it meant to.
 *
 * A letter is a link in the sender's own memory: posting allocates nothing. Posting and ringing are
 * two steps, so that the first can be done under a lock and the second (a system call, and only
 * when the owner may be asleep) after it. A mailbox's memory stays for the life of the process and
 * is used again, so a late ring always reaches a mailbox, if perhaps not the one it was meant for;
 * an owner that was woken for nothing finds no letter.
 *
 * The owner does not take the lock for each answer (tray 0). It takes all of them out of their tray
 * at once; and what its own thread answers while it reads (box->own) never enters a tray. Only the
 * owner takes a letter back.
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
    uint32_t owned;                  /* the owner's: letters put into `own` since it was emptied */
    struct kp__list tray[KP__TRAYS]; /* Guard: lock */
    bool open, rung;                 /* Guard: lock. rung: the descriptor is readable already */
    bool busy;                       /* Guard: lock. The owner is reading: nobody need ring */
    struct kp__timers alarms;        /* Guard: lock */
    int fd, ring_fd;                 /* Guard: lock; the same one where there is eventfd */
    size_t to_alarm;                 /* constant: from a letter of tray 0 to the alarm beside it */
    struct kp__list taken;           /* the owner's: taken out of tray 0, to be read next */
    struct kp__list own;             /* the owner's: from its own thread, to be read after `taken`
                                        and before tray 0. Their alarms may still be set */
};

/* The mailbox that this thread is reading (since kp__mail_begin), or NULL. */
extern KP__INSIDE _Thread_local struct kp__mailbox *kp__mail_mine KP__TLS;

/* False: no descriptor. */
bool kp__mailbox_open(struct kp__mailbox *box, size_t to_alarm);
void kp__mailbox_close(struct kp__mailbox *box);

/* Put a letter in, behind the others. True: ring afterwards. Several threads. */
bool kp__mail_post(struct kp__mailbox *box, int tray, struct kp__list *letter);
void kp__mail_ring(struct kp__mailbox *box);

/* The same into tray 0, for a letter with an alarm: if that is set, it is muted before the owner
 * next looks for an alarm that is due. */
bool kp__mail_answer(struct kp__mailbox *box, struct kp__list *letter);

/* Have an alarm that is set go off at `at`, if that is sooner than it would. True: ring afterwards.
 * Several threads. */
bool kp__mail_hasten(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at);

/* ---- for the owner --------------------------------------------------------------------------- */

/* The first letter, and the tray it came from; NULL: there is none. */
struct kp__list *kp__mail_take(struct kp__mailbox *box, int *tray);

/* Set the alarm to go off at `at`. True: ring afterwards, as the owner may be about to sleep for as
 * long as it was told before. */
bool kp__mail_set(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at);

/* Let the alarm count as set but never go off: its letter is there, or is coming. */
void kp__mail_mute(struct kp__mailbox *box, struct kp__timer *alarm);
bool kp__mail_is_set(struct kp__mailbox *box, const struct kp__timer *alarm);

/* The first alarm that has gone off by now; NULL: none. */
struct kp__timer *kp__mail_due(struct kp__mailbox *box, uint64_t now);

/* Any alarm that is set and not muted; NULL: none. */
struct kp__timer *kp__mail_any(struct kp__mailbox *box);

/* Take a letter back, wherever it lies; _forget: and remove its alarm. */
void kp__mail_remove(struct kp__mailbox *box, struct kp__list *letter);
void kp__mail_forget(struct kp__mailbox *box, struct kp__list *letter);

/* The owner begins to read, with pthread_cancel held off (base/cancel.h), and stops. In between
 * nobody needs to ring. _end: true if letters are left, for which the box has then rung itself. */
void kp__mail_begin(struct kp__mailbox *box);
bool kp__mail_end(struct kp__mailbox *box);

#endif
