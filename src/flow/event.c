/* SPDX-License-Identifier: MIT
 *
 * Reports: events, misuse, and why a request was refused (the end of step 6). Nothing is swallowed
 * (L11): a misuse for which nobody listens goes to standard error.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cancel.h"
#include "base/check.h"
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

void kp__event_within(struct kp__pool *pool, kp_event_kind kind, struct kp__subpool *sub,
                      const void *resource, int code, const kp_why *why, struct kp__todo *todo)
{
    sub->interest++;
    kp__step_out(pool, todo);
    kp__event(pool, kind, sub, resource, code, why);
    kp__step_in(pool);
    kp__lose_interest(pool, sub, sub->used_at);
}

void kp__event_of(struct kp__pool *pool, kp_event_kind kind, const struct kp__request *r, int code,
                  const kp_why *why, struct kp__todo *todo)
{
    struct kp__subpool *sub = r->sub;
    kp_event event = { .kind = kind, .code = code, .tag = r->tag, .why = why };

    sub->interest++;
    kp__step_out(pool, todo);
    event.key = kp__key_of(pool, sub);
    kp__send(pool, &event);
    kp__step_in(pool);
    kp__lose_interest(pool, sub, sub->used_at);
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
    struct kp__pool *pool = kp__enter(door, &code);

    if (!pool) return kp__misuse(NULL, why, sentence);
    kp__todo_init(&todo, pool->world);
    code = kp__misuse_within(pool, &todo, why, sentence);
    kp__leave(pool, &todo);
    return code;
}

int kp__no_pool(int code, kp_why *why, const char *sentence)
{
    if (code == KP_EMISUSE) return kp__misuse(NULL, why, sentence);
    kp__say(why, code, NULL);
    return code;
}

/* ---- why a request was refused --------------------------------------------------------------- */

void kp__say(kp_why *why, int code, const char *sentence)
{
    if (!why) return;
    memset(why, 0, sizeof *why);
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", sentence ? sentence : kp_strerror(code));
}

void kp__say_failure(kp_why *why, int code, const struct kp__failure *failure)
{
    kp__say(why, code, failure->text[0] ? failure->text : NULL);
    why->vendor_code = failure->vendor_code;
}

void kp__say_more(kp_why *why, const char *format, ...)
{
    size_t length = strlen(why->text);
    va_list args;

    va_start(args, format);
    vsnprintf(why->text + length, sizeof why->text - length, format, args);
    va_end(args);
}

/* The lease of this key that has lasted the longest, and its slot; NULL: none is out. What is lent
 * is listed in the order in which it became lent, but one that is shared may have any leases since.
 */
static const struct kp__seat *longest_lease(const struct kp__subpool *sub,
                                            const struct kp__slot **of)
{
    const struct kp__list *lent = KP__SLOTS(sub, KP__LENT), *node = kp__list_first(lent);
    const struct kp__seat *longest = NULL;

    for (; node; node = kp__list_next(lent, node)) {
        const struct kp__slot *slot = KP__OF(node, const struct kp__slot, link);
        for (uint32_t i = 0; i < slot->errand->seats; i++) {
            const struct kp__seat *seat = kp__seat_at(slot, i);
            if (!seat->lent || (longest && seat->since >= longest->since)) continue;
            longest = seat;
            *of = slot;
        }
        if (slot->errand->seats == 1) break;
    }
    return longest;
}

static void count_key(const struct kp__subpool *sub, uint64_t now, kp_why *why)
{
    const struct kp__slot *slot = NULL;
    const struct kp__seat *longest = longest_lease(sub, &slot);

    why->live = (uint32_t)kp__sub_live(sub);
    why->creating = sub->count[KP__CREATING];
    why->idle = sub->count[KP__IDLE];
    why->lent = sub->count[KP__LENT];
    why->closing = sub->count[KP__CLOSING];
    why->waiting = sub->waiting;
    why->max_live = !sub->rules                           ? 0
                    : sub->rules->max_live == KP__UNBOUND ? KP_UNLIMITED
                                                          : sub->rules->max_live;
    if (!longest) return;
    const char *tag = kp__seat_tag(slot, longest);
    why->oldest_lent_ms = kp__ms_since(longest->since, now);
    if (tag) snprintf(why->oldest_tag, sizeof why->oldest_tag, "%s", tag);
}

/* The thread that has held a resource of this key for the longest time; 0: not known. Something of
 * this key is lent. */
static uint32_t oldest_thread(const struct kp__subpool *sub)
{
    const struct kp__slot *slot = NULL;

    return longest_lease(sub, &slot)->thread_id;
}

static bool holds_doomed(const struct kp__subpool *sub)
{
    const struct kp__list *lent = KP__SLOTS(sub, KP__LENT);

    for (const struct kp__list *l = kp__list_first(lent); l; l = kp__list_next(lent, l))
        if (KP__OF(l, const struct kp__slot, link)->errand->doomed) return true;
    return false;
}

static void say_timeout(const struct kp__core *core, const struct kp__subpool *sub, kp_why *why)
{
    const struct kp__failure *last = sub->rare->health.last;

    why->text[0] = 0;
    kp__say_more(why,
                 "no resource within %" PRId64 " ms: limited by %s (live %" PRIu32 ", lent %" PRIu32
                 ", creating %" PRIu32 "), %" PRIu32 " ahead",
                 why->waited_ms, why->limit, why->live, why->lent, why->creating, why->ahead);
    if (strcmp(why->limit, kp__limit_name[KP__BY_POOL_LIVE]) == 0)
        kp__say_more(why, "; over all keys live %" PRId64 " of %" PRId64, core->live.used,
                     core->live.cap);
    if (holds_doomed(sub))
        kp__say_more(why,
                     "; one of those lent was invalidated: kp_discard frees its place at once");
    if (why->oldest_tag[0]) {
        kp__say_more(why, ", oldest lease %" PRId64 " ms by %s", why->oldest_lent_ms,
                     why->oldest_tag);
        if (oldest_thread(sub)) kp__say_more(why, " (thread %" PRIu32 ")", oldest_thread(sub));
    }
    if (last && sub->rare->health.failures > 0)
        kp__say_more(why, "; last create failed: %.150s", kp__failure_text(last));
}

/* KP_OFF: only kp_retry_now, or new limits, can help. */
static int64_t ms_until(uint64_t at, uint64_t now)
{
    return at == KP__NEVER ? KP_OFF : at > now ? kp__ms_up(at - now) : 0;
}

void kp__say_open(const struct kp__subpool *sub, uint64_t now, kp_why *why)
{
    const struct kp__health *h = &sub->rare->health;

    kp__say(why, KP_EBREAKER, NULL);
    snprintf(why->limit, sizeof why->limit, "%s", kp__limit_name[h->circuit->limit]);
    why->retry_after_ms = ms_until(h->circuit->until, now);
    if (!h->last) return;
    why->vendor_code = h->last->vendor_code;
    kp__say_more(why, "; last create failed: %.100s", kp__failure_text(h->last));
}

/* When it may be worth trying again: after the breaker or back-off, at the next token, or by the
 * estimate of refuse_late. */
static int64_t retry_after(const struct kp__core *core, const struct kp__request *request,
                           uint64_t now)
{
    const struct kp__health *h = &request->sub->rare->health;
    uint64_t at = h->tripped ? h->circuit->until : h->back_off;

    if (kp_error_find(request->grant.code)->retry == KP_RETRY_NEVER) return KP_OFF;
    if (request->limit == KP__BY_CREATE_RATE) at = kp__token_at(&core->rate, now);
    if (request->limit == KP__BY_REFUSE_LATE) at = request->hope;
    return ms_until(at, now);
}

void kp__explain_no(const struct kp__core *core, const struct kp__request *request, uint64_t now,
                    kp_why *why)
{
    const struct kp__subpool *sub = request->sub;
    int code = request->grant.code;
    kp_why cause = *why; /* what kp__blame left there */

    kp__say(why, code,
            request->limit == KP__BY_REFUSE_LATE
                ? "refused at once: it could not be served before its deadline"
                : NULL);
    snprintf(why->limit, sizeof why->limit, "%s", kp__limit_name[request->limit]);
    why->waited_ms = kp__ms_since(request->arrived, now);
    why->ahead = kp__queue_ahead(request);
    why->retry_after_ms = retry_after(core, request, now);
    count_key(sub, now, why);
    if (code == KP_ETIMEDOUT) {
        if (sub->rare->health.last && sub->rare->health.failures)
            why->vendor_code = sub->rare->health.last->vendor_code;
        say_timeout(core, sub, why);
    } else if (cause.code) {
        why->vendor_code = cause.vendor_code;
        memcpy(why->field, cause.field, sizeof why->field);
        if (cause.code == code) memcpy(why->text, cause.text, sizeof why->text);
        else kp__say_more(why, "; last create failed: %.100s", cause.text);
    } else if (code == KP_EAGAIN || code == KP_EFULL) {
        kp__say_more(why, " (limit: %s)", why->limit);
    }
}
