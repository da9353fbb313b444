/* SPDX-License-Identifier: MIT
 *
 * Events, and misuse. Nothing is swallowed (L11): a misuse for which nobody listens goes to
 * standard error.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/fork.h"

/* ---- events ---------------------------------------------------------------------------------- */

void kp__send(struct kp__pool *pool, kp_event *event)
{
    event->pool = pool->door;
    int cancel = kp__cancel_hold();
    pool->on_event(event, pool->ctx);
    kp__cancel_free(cancel);
}

void kp__event(struct kp__pool *pool, kp_event_kind kind, struct kp__subpool *sub,
               const void *resource, int code, const kp_why *why)
{
    kp_event event = { .kind = kind, .code = code, .resource = resource, .why = why };

    if (!pool->on_event) return;
    if (sub) event.key = kp__key_of(pool, sub);
    kp__send(pool, &event);
}

void kp__send_within(struct kp__pool *pool, struct kp__subpool *sub, kp_event *event,
                     struct kp__todo *todo)
{
    kp__shut(pool, sub); /* while a reset ran, the lane may have been opened */
    sub->interest++;
    kp__step_out(pool, todo);
    if (pool->on_event) kp__send(pool, event);
    kp__step_in(pool);
    kp__lose_interest(pool, sub, sub->used_at);
}

void kp__event_within(struct kp__pool *pool, kp_event_kind kind, struct kp__subpool *sub,
                      const void *resource, int code, const kp_why *why, struct kp__todo *todo)
{
    kp_event event = { .kind = kind, .code = code, .resource = resource, .why = why };

    event.key = kp__key_of(pool, sub);
    kp__send_within(pool, sub, &event, todo);
}

void kp__event_of(struct kp__pool *pool, kp_event_kind kind, const struct kp__request *r, int code,
                  const kp_why *why, struct kp__todo *todo)
{
    kp_event event = { .kind = kind, .code = code, .tag = r->tag, .why = why };

    event.key = kp__key_of(pool, r->sub);
    kp__send_within(pool, r->sub, &event, todo);
}

void kp__notice(struct kp__pool *pool, const struct kp__slot *slot, const struct kp__seat *seat,
                kp_event_kind kind, uint64_t now, struct kp__notice *out)
{
    out->event = (kp_event){ .kind = kind,
                             .key = kp__key_of(pool, slot->sub),
                             .resource = slot->resource,
                             .tag = kp__seat_tag(slot, seat),
                             .site = kp__seat_site(slot, seat),
                             .lent_ms = kp__ms_since(seat->since, now),
                             .thread = seat->thread_id,
                             .stack = out->frame };
    out->event.stack_count = kp__trace_of(slot, seat, out->frame);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

static struct kp__lock listener_lock;
static void (*listener)(const kp_why *why, void *arg); /* Guard: listener_lock */
static void *listener_arg;

void kp_on_misuse(void (*fn)(const kp_why *why, void *arg), void *arg)
{
    kp__lock_take(&listener_lock, &kp__life);
    listener = fn;
    listener_arg = arg;
    kp__lock_give(&listener_lock, &kp__life);
}

/* If the lock was held at the fork, its holder does not exist here and may have written only half
 * of the listener: then there is none. */
void kp__listener_in_child(void)
{
    if (!kp__lock_held(&listener_lock)) return;
    listener = NULL;
    atomic_store(&listener_lock.word, 0);
}

/* Made first, then written: to format into a stream without a buffer, glibc takes 8 kB of stack,
 * which not every thread has. */
static void write_line(const kp_why *why)
{
    char line[sizeof why->text + 24];

    (void)snprintf(line, sizeof line, "keyedpool: misuse: %s\n", why->text);
    (void)fputs(line, stderr);
}

static void tell_process(const kp_why *why)
{
    kp__lock_take(&listener_lock, &kp__life);
    void (*fn)(const kp_why *, void *) = listener;
    void *arg = listener_arg;
    kp__lock_give(&listener_lock, &kp__life);
    int cancel = kp__cancel_hold();
    if (fn) fn(why, arg);
    else write_line(why);
    kp__cancel_free(cancel);
}

int kp__misuse(struct kp__pool *pool, kp_why *out, const char *sentence)
{
    kp_why why;

    kp__say(&why, KP_EMISUSE, sentence);
    if (pool && pool->name) kp__say_more(&why, " (pool %s)", pool->name);
    if (out) *out = why;
    if (pool) {
        kp__lock_take(&pool->door->lock, pool->world);
        pool->core.misuses++;
        kp__lock_give(&pool->door->lock, pool->world);
    }
    if (pool && pool->on_event) kp__event(pool, KP_EVENT_MISUSE, NULL, NULL, KP_EMISUSE, &why);
    else tell_process(&why);
    if (pool && pool->abort_on_misuse) abort();
    return KP_EMISUSE;
}

int kp__misuse_within(struct kp__pool *pool, struct kp__todo *todo, kp_why *why,
                      const char *sentence)
{
    kp__step_out(pool, todo);
    kp__misuse(pool, why, sentence);
    kp__step_in(pool);
    return KP_EMISUSE;
}

int kp__misuse_by(kp_pool *door, kp_why *why, const char *sentence)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (!pool) return kp__misuse(NULL, why, sentence);
    code = kp__misuse_within(pool, &todo, why, sentence);
    kp__leave(pool, &todo);
    return code;
}

int kp__no_pool(int code, kp_why *why, const char *sentence)
{
    if (code == KP_EMISUSE) return kp__misuse(NULL, why, sentence);
    return kp__say(why, code, NULL);
}
