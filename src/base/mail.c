/* SPDX-License-Identifier: MIT
 *
 * Mailboxes. The descriptor is an eventfd on Linux, a pipe elsewhere; it is readable from the first
 * ring after the owner stopped reading until it begins to read again.
 */
#include "base/mail.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/check.h"

/* Beyond so many, the owner's own answers go into the tray like all others: to gather them later,
 * under the lock, must not take long. */
enum { OWN_MOST = 64 };

_Thread_local struct kp__mailbox *kp__mail_mine KP__TLS;

#if defined __linux__
#include <sys/eventfd.h>

static bool bell_open(struct kp__mailbox *box)
{
    box->fd = box->ring_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return box->fd >= 0;
}
#else
static bool bell_open(struct kp__mailbox *box)
{
    int end[2];

    if (pipe(end) != 0) return false;
    for (int i = 0; i < 2; i++) {
        (void)fcntl(end[i], F_SETFL, O_NONBLOCK);
        (void)fcntl(end[i], F_SETFD, FD_CLOEXEC);
    }
    box->fd = end[0];
    box->ring_fd = end[1];
    return true;
}
#endif

/* If the pipe is full, or the eventfd at its highest, it is readable already; if it is empty, there
 * is nothing to take out. So neither failure matters. errno belongs to the caller. */
static void bell_ring(const struct kp__mailbox *box)
{
    uint64_t one = 1;
    int saved = errno, cancel = kp__cancel_hold();

    while (write(box->ring_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
    kp__cancel_free(cancel);
    errno = saved;
}

static void bell_hush(const struct kp__mailbox *box)
{
    uint64_t rings[8];
    int saved = errno;

    while (read(box->fd, rings, sizeof rings) < 0 && errno == EINTR) continue;
    errno = saved;
}

bool kp__mailbox_open(struct kp__mailbox *box, size_t to_alarm)
{
    bool opened;

    kp__lock_take(&box->lock, &kp__life);
    for (int t = 0; t < KP__TRAYS; t++) kp__list_init(&box->tray[t]);
    /* relaxed: under the lock */
    atomic_store_explicit(&box->filled, false, memory_order_relaxed);
    kp__timers_init(&box->alarms);
    box->to_alarm = to_alarm;
    kp__list_init(&box->taken);
    kp__list_init(&box->own);
    box->owned = 0;
    box->rung = box->busy = false;
    box->open = opened = bell_open(box);
    kp__lock_give(&box->lock, &kp__life);
    return opened;
}

/* Called by the owner, with the lock. */
static bool holds_letters(const struct kp__mailbox *box)
{
    return !kp__list_empty(&box->tray[0]) || !kp__list_empty(&box->tray[1]) ||
           !kp__list_empty(&box->taken) || !kp__list_empty(&box->own);
}

void kp__mailbox_close(struct kp__mailbox *box)
{
    kp__lock_take(&box->lock, &kp__life);
    KP__DCHECK(!holds_letters(box));
    box->open = false;
    int cancel = kp__cancel_hold();
    (void)close(box->fd);
    if (box->ring_fd != box->fd) (void)close(box->ring_fd);
    kp__cancel_free(cancel);
    kp__lock_give(&box->lock, &kp__life);
}

/* True: ring afterwards. With the lock. */
static bool put_in(struct kp__mailbox *box, int tray, struct kp__list *letter)
{
    KP__DCHECK(box->open);
    KP__DCHECK(!kp__list_linked(letter));
    kp__list_push_back(&box->tray[tray], letter);
    /* relaxed: written under the lock, which the owner takes before it sleeps (kp__mail_end) */
    atomic_store_explicit(&box->filled, true, memory_order_relaxed);
    return !box->rung && !box->busy;
}

bool kp__mail_post(struct kp__mailbox *box, int tray, struct kp__list *letter)
{
    kp__lock_take(&box->lock, &kp__life);
    bool ring = put_in(box, tray, letter);
    kp__lock_give(&box->lock, &kp__life);
    return ring;
}

/* With the lock. An alarm that is not set yet is muted instead of set (flow/start.c, file). */
static void mute(struct kp__mailbox *box, struct kp__timer *alarm)
{
    if (kp__timer_is_filed(alarm)) kp__timers_mute(&box->alarms, alarm);
}

static struct kp__timer *alarm_of(const struct kp__mailbox *box, struct kp__list *letter)
{
    return (struct kp__timer *)(void *)((char *)letter + box->to_alarm);
}

bool kp__mail_answer(struct kp__mailbox *box, struct kp__list *letter)
{
    /* relaxed: an answer that another thread gave under the same pool's lock is seen here, since
     * this thread has taken that lock after it. Of answers of other pools, no order is promised */
    if (box == kp__mail_mine && box->owned < OWN_MOST &&
        !atomic_load_explicit(&box->filled, memory_order_relaxed)) {
        kp__list_push_back(&box->own, letter);
        box->owned++;
        return false; /* the owner is reading already */
    }
    kp__lock_take(&box->lock, &kp__life);
    bool ring = put_in(box, 0, letter);
    mute(box, alarm_of(box, letter));
    kp__lock_give(&box->lock, &kp__life);
    return ring;
}

void kp__mail_ring(struct kp__mailbox *box)
{
    kp__lock_take(&box->lock, &kp__life);
    if (box->open && !box->rung && !box->busy) {
        box->rung = true;
        bell_ring(box);
    }
    kp__lock_give(&box->lock, &kp__life);
}

/* The owner may sleep for longer than until this alarm, which was filed just now. With the lock. */
static bool oversleeps(const struct kp__mailbox *box, const struct kp__timer *alarm)
{
    return box->alarms.first == alarm && !box->rung && !box->busy;
}

bool kp__mail_hasten(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at)
{
    bool ring = false;

    kp__lock_take(&box->lock, &kp__life);
    if (at < alarm->at) { /* one that is not set is at 0 */
        kp__timers_file(&box->alarms, alarm, at);
        ring = oversleeps(box, alarm);
    }
    kp__lock_give(&box->lock, &kp__life);
    return ring;
}

bool kp__mail_set(struct kp__mailbox *box, struct kp__timer *alarm, uint64_t at)
{
    kp__lock_take(&box->lock, &kp__life);
    kp__timers_file(&box->alarms, alarm, at);
    bool ring = oversleeps(box, alarm);
    kp__lock_give(&box->lock, &kp__life);
    return ring;
}

void kp__mail_mute(struct kp__mailbox *box, struct kp__timer *alarm)
{
    kp__lock_take(&box->lock, &kp__life);
    kp__timers_mute(&box->alarms, alarm);
    kp__lock_give(&box->lock, &kp__life);
}

bool kp__mail_is_set(struct kp__mailbox *box, const struct kp__timer *alarm)
{
    kp__lock_take(&box->lock, &kp__life);
    bool set = kp__timer_is_filed(alarm);
    kp__lock_give(&box->lock, &kp__life);
    return set;
}

/* Move all answers to those to be read next, in the order in which they came, and mute their
 * alarms. Called by the owner, with the lock. */
static void gather(struct kp__mailbox *box)
{
    struct kp__list *letter = kp__list_first(&box->own);

    for (; letter; letter = kp__list_next(&box->own, letter)) mute(box, alarm_of(box, letter));
    box->owned = 0;
    kp__list_move(&box->own, &box->taken);
    kp__list_move(&box->tray[0], &box->taken);
    /* relaxed: under the lock */
    atomic_store_explicit(&box->filled, !kp__list_empty(&box->tray[1]), memory_order_relaxed);
}

struct kp__timer *kp__mail_due(struct kp__mailbox *box, uint64_t now)
{
    kp__lock_take(&box->lock, &kp__life);
    gather(box);
    struct kp__timer *first = box->alarms.first;
    if (first && first->at > now) first = NULL;
    kp__lock_give(&box->lock, &kp__life);
    return first;
}

struct kp__timer *kp__mail_any(struct kp__mailbox *box)
{
    kp__lock_take(&box->lock, &kp__life);
    gather(box);
    struct kp__timer *any = kp__timers_any(&box->alarms);
    kp__lock_give(&box->lock, &kp__life);
    return any;
}

void kp__mail_remove(struct kp__mailbox *box, struct kp__list *letter)
{
    kp__lock_take(&box->lock, &kp__life);
    kp__list_remove(letter);
    kp__lock_give(&box->lock, &kp__life);
}

void kp__mail_forget(struct kp__mailbox *box, struct kp__list *letter)
{
    kp__lock_take(&box->lock, &kp__life);
    kp__list_remove(letter);
    kp__timers_remove(&box->alarms, alarm_of(box, letter));
    kp__lock_give(&box->lock, &kp__life);
}

struct kp__list *kp__mail_take(struct kp__mailbox *box, int *tray)
{
    struct kp__list *letter = NULL;

    /* relaxed: a hint of what others posted, and missed at most until kp__mail_end looks under the
     * lock; what this thread posted itself, it sees */
    if (atomic_load_explicit(&box->filled, memory_order_relaxed) ||
        (kp__list_empty(&box->taken) && !kp__list_empty(&box->own))) {
        kp__lock_take(&box->lock, &kp__life);
        letter = kp__list_first(&box->tray[1]);
        if (letter) kp__list_remove(letter);
        else gather(box);
        kp__lock_give(&box->lock, &kp__life);
    }
    *tray = letter != NULL;
    if (!letter && (letter = kp__list_first(&box->taken)) != NULL) kp__list_remove(letter);
    return letter;
}

void kp__mail_begin(struct kp__mailbox *box)
{
    kp__lock_take(&box->lock, &kp__life);
    box->busy = true;
    if (box->rung) bell_hush(box);
    box->rung = false;
    kp__lock_give(&box->lock, &kp__life);
    kp__mail_mine = box;
}

bool kp__mail_end(struct kp__mailbox *box)
{
    bool more;

    kp__mail_mine = NULL;
    kp__lock_take(&box->lock, &kp__life);
    box->busy = false;
    more = holds_letters(box);
    if (more) { /* whoever posted them meanwhile did not ring */
        box->rung = true;
        bell_ring(box);
    }
    kp__lock_give(&box->lock, &kp__life);
    return more;
}
