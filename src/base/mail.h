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
 */
#ifndef KP__BASE_MAIL_H
#define KP__BASE_MAIL_H

#include "base/list.h"
#include "base/lock.h"
#include "base/timers.h"

enum { KP__TRAYS = 2 }; /* letters of two kinds, each in order of arrival; those of 1 go first */

struct kp__mailbox {
    struct kp__lock lock;
    struct kp__list tray[KP__TRAYS]; /* Guard: lock */
    uint32_t letters;                /* Guard: lock */
    struct kp__timers alarms;        /* Guard: lock */
    bool open, rung;                 /* Guard: lock. rung: the descriptor is readable already */
    bool busy;                       /* Guard: lock. Its owner is at it, and looks again */
    int fd, ring_fd;                 /* Guard: lock; the same one where there is eventfd */
};

/* False: no descriptor. */
bool kp__mailbox_open(struct kp__mailbox *box);
void kp__mailbox_close(struct kp__mailbox *box);

/* Put a letter in, behind the others. True: ring afterwards. Several threads. */
bool kp__mail_post(struct kp__mailbox *box, int tray, struct kp__list *letter);
void kp__mail_ring(struct kp__mailbox *box);

/* The same, of who has an alarm: if that is set, it is muted. */
bool kp__mail_answer(struct kp__mailbox *box, struct kp__list *letter, struct kp__timer *alarm);

/* An alarm that is set goes off then, if not sooner. True: ring afterwards. Several threads. */
bool kp__mail_hasten(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at);

/* The owner's: the first letter, and its tray (NULL: none). Set an alarm; or so that it goes off no
 * more, because of a letter; is it set; one that went off by now (NULL: none); anyone that may go
 * off. Take back a letter, or a letter and an alarm. */
struct kp__list *kp__mail_take(struct kp__mailbox *box, int *tray);
void kp__mail_set(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at);
void kp__mail_mute(struct kp__mailbox *box, struct kp__timer *alarm);
bool kp__mail_is_set(struct kp__mailbox *box, const struct kp__timer *alarm);
struct kp__timer *kp__mail_due(struct kp__mailbox *box, uint64_t now);
struct kp__timer *kp__mail_any(struct kp__mailbox *box);
void kp__mail_remove(struct kp__mailbox *box, struct kp__list *letter);
void kp__mail_forget(struct kp__mailbox *box, struct kp__list *letter, struct kp__timer *alarm);

/* The owner begins to look, and stops: until then nobody needs to ring. */
void kp__mail_begin(struct kp__mailbox *box);
bool kp__mail_end(struct kp__mailbox *box); /* true: there is more */

#endif
