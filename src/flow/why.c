/* SPDX-License-Identifier: MIT
 *
 * The sentences of a kp_why: a code and its cause, and why a request was refused (the end of step
 * 6), with the numbers of its key at that moment.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/background.h"
#include "core/serve.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/key.h"

/* So many bytes of a text are left, more than any character (UTF-8) has. How many to show, so that
 * none is left whose end is cut off? */
static size_t whole(const char *text, size_t left)
{
    enum { LONGEST = 4 };

    for (size_t i = 1; i <= LONGEST; i++) {
        unsigned char c = (unsigned char)text[left - i];
        if ((c & 0xc0) == 0x80) continue; /* not its first byte */
        size_t bytes = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return bytes > i ? left - i : left;
    }
    return left;
}

static void copy_text(char *to, size_t room, const char *text)
{
    size_t length = strlen(text);

    if (length >= room) length = whole(text, room - 1);
    memcpy(to, text, length);
    to[length] = 0;
}

void kp__copy_line(char *to, size_t room, const char *text)
{
    copy_text(to, room, text);
    size_t length = strlen(to);
    for (char *p = to; *p; p++)
        if ((*p > 0 && *p < ' ') || *p == 0x7f) *p = ' ';
    while (length > 0 && to[length - 1] == ' ') to[--length] = 0;
}

int kp__say(kp_why *why, int code, const char *sentence)
{
    const kp_error *error = kp_error_find(code);

    if (!why) return code;
    memset(why, 0, sizeof *why);
    why->code = code;
    if (error->code && error->retry == KP_RETRY_NEVER) why->retry_after_ms = KP_OFF;
    copy_text(why->text, sizeof why->text, sentence ? sentence : error->sentence);
    return code;
}

void kp__say_failure(kp_why *why, int code, const struct kp__failure *failure)
{
    kp__say(why, code, failure->text[0] ? failure->text : NULL);
    why->vendor_code = failure->vendor_code;
}

void kp__say_more(kp_why *why, const char *format, ...)
{
    size_t length = strlen(why->text), room = sizeof why->text - length;
    va_list args;

    va_start(args, format);
    int needs = vsnprintf(why->text + length, room, format, args);
    va_end(args);
    if (needs < (int)room) return;
    size_t end = sizeof why->text - 1, left = whole(why->text, end - strlen("..."));
    memset(why->text + left, '.', end - left); /* up to the end, so that nothing can follow */
}

/* Add that the last create failed, for this reason, of which it shows so many bytes at most. */
static void say_last(kp_why *why, const char *text, size_t most)
{
    size_t length = strlen(text);

    kp__say_more(why, "; last create failed: %.*s",
                 (int)(length > most ? whole(text, most) : length), text);
}

enum { NAME = 60 };

void kp__say_key(kp_why *why, const struct kp__pool *pool, const struct kp__subpool *sub)
{
    char name[NAME];

    (void)kp__key_print_plain(&pool->key_type, kp__key_of(pool, sub), name, sizeof name);
    kp__say_more(why, "%s", name);
}

void kp__say_whose(kp_why *why, const struct kp__pool *pool, kp_key key)
{
    char name[NAME], text[sizeof why->text];

    (void)kp__key_print_plain(&pool->key_type, key, name, sizeof name);
    memcpy(text, why->text, sizeof text);
    why->text[0] = 0;
    kp__say_more(why, "%s: %s", name, text);
}

/* ---- of a request ---------------------------------------------------------------------------- */

/* The lease of this key that has lasted the longest, and its slot; NULL: none is out. What is lent
 * is listed in the order in which it became lent, but one that is shared may have any leases since.
 */
static const struct kp__seat *longest_lease(const struct kp__subpool *sub,
                                            const struct kp__slot **of)
{
    const struct kp__seat *longest = NULL;
    const struct kp__slot *slot = NULL;

    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__LENT), slot)) != NULL) {
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
    if (tag) copy_text(why->oldest_tag, sizeof why->oldest_tag, tag);
}

/* Others that are not to be lent again (kp_rotate, a peer that is gone) were not named by a caller
 * who may have one of them. */
static bool holds_invalidated(const struct kp__subpool *sub)
{
    const struct kp__slot *slot = NULL;

    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__LENT), slot)) != NULL)
        if (slot->errand->doomed && slot->cause == KP_CAUSE_INVALIDATED) return true;
    return false;
}

/* What binds the first of those ahead, if they are what this request waited for. */
static enum kp__limit bound_of_first(const struct kp__request *request, uint32_t ahead)
{
    const struct kp__request *first = ahead > 0 ? kp__head(request->sub) : NULL;

    if (!first || request->limit != KP__BY_WAIT_ORDER) return KP__NOT_BOUND;
    return (enum kp__limit)first->limit;
}

/* Those of its groups that are full, by their numbers: others that are in them have it all. */
static void say_groups(const struct kp__subpool *sub, kp_why *why)
{
    for (int g = 0; g < KP__GROUPS; g++) {
        const struct kp__group *group = sub->contest->group[g];

        if (group && kp__budget_is_full(&group->budget))
            kp__say_more(why, "; in group[%d] = %" PRId64 " live %" PRId64 " of %" PRId64, g,
                         group->id, group->budget.used, group->budget.cap);
    }
}

/* If a limit over several keys bound it: what they have of it, since this one may have nothing. */
static void say_others(const struct kp__core *core, const struct kp__subpool *sub,
                       enum kp__limit bound, kp_why *why)
{
    if (bound == KP__BY_POOL_LIVE)
        kp__say_more(why, "; over all keys live %" PRId64 " of %" PRId64 ", idle %" PRIu32,
                     core->live.used, core->live.cap, core->count[KP__IDLE]);
    if (bound == KP__BY_POOL_LENT)
        kp__say_more(why, "; over all keys lent %" PRId64 " of %" PRId64, core->lent.used,
                     core->lent.cap);
    if (bound == KP__BY_POOL_CREATING)
        kp__say_more(why, "; over all keys creating %" PRId64 " of %" PRId64, core->creating.used,
                     core->creating.cap);
    if (bound == KP__BY_GROUP) say_groups(sub, why);
}

static void say_timeout(const struct kp__core *core, const struct kp__request *request, kp_why *why)
{
    const struct kp__subpool *sub = request->sub;
    const struct kp__failure *last = sub->rare->health.last;
    enum kp__limit first = bound_of_first(request, why->ahead);

    why->text[0] = 0;
    kp__say_more(why,
                 "no resource within %" PRId64 " ms: limited by %s (live %" PRIu32 ", lent %" PRIu32
                 ", creating %" PRIu32 "), %" PRIu32 " ahead",
                 why->waited_ms, why->limit, why->live, why->lent, why->creating, why->ahead);
    if (first) kp__say_more(why, ", the first by %s", kp__limit_name[first]);
    /* before what is in fields of its own, if there is no room for all */
    if (last && sub->rare->health.failures > 0) say_last(why, kp__failure_text(last), 150);
    say_others(core, sub, first ? first : (enum kp__limit)request->limit, why);
    if (holds_invalidated(sub))
        kp__say_more(why,
                     "; one of those lent was invalidated: kp_discard frees its place at once");
    if (why->oldest_tag[0]) { /* so something is lent */
        const struct kp__slot *slot;
        uint32_t thread = longest_lease(sub, &slot)->thread_id;
        kp__say_more(why, "; oldest lease %" PRId64 " ms by %s", why->oldest_lent_ms,
                     why->oldest_tag);
        if (thread) kp__say_more(why, " (thread %" PRIu32 ")", thread);
    }
}

/* KP_OFF: only kp_retry_now, or new limits, can help. */
static int64_t ms_until(uint64_t at, uint64_t now)
{
    return at == KP__NEVER ? KP_OFF : at > now ? kp__ms_up(at - now) : 0;
}

void kp__say_open(const struct kp__subpool *sub, uint64_t now, kp_why *why)
{
    const struct kp__circuit *circuit = sub->rare->health.circuit;
    const struct kp__failure *cause = kp__circuit_cause(sub);

    kp__say(why, KP_EBREAKER, NULL);
    snprintf(why->limit, sizeof why->limit, "%s", kp__limit_name[circuit->limit]);
    why->retry_after_ms = ms_until(circuit->until, now);
    if (cause) {
        why->vendor_code = cause->vendor_code;
        say_last(why, kp__failure_text(cause), 100);
    } else {
        kp__circuit_tell(circuit, why);
    }
}

/* Was it a creation that it lacked? */
static bool lacks_creation(const struct kp__request *r)
{
    return r->grant.code == KP_ECREATE || r->limit == KP__BY_RETRY ||
           r->limit == KP__BY_CREATE_RATE;
}

/* When it may be worth trying again: after the breaker or back-off, and when a failure is no longer
 * kept (cache_failure_ms); where only a creation helps, when there is a token, too; or by the
 * estimate of refuse_late. */
static int64_t retry_after(const struct kp__core *core, const struct kp__request *request,
                           uint64_t now)
{
    const struct kp__health *h = &request->sub->rare->health;
    uint64_t at = h->tripped ? h->circuit->until : h->back_off;
    uint64_t token = kp__token_at(&core->rate, now);

    if (kp_error_find(request->grant.code)->retry == KP_RETRY_NEVER) return KP_OFF;
    if (h->last && h->last->until > at) at = h->last->until;
    if (lacks_creation(request) && token > at) at = token;
    if (request->limit == KP__BY_REFUSE_LATE) at = request->hope;
    return ms_until(at, now);
}

void kp__say_no_key(kp_why *why, int code)
{
    if (!why) return;
    if (why->code == 0) kp__say(why, code, NULL);
    if (code != KP_EFULL) return;
    strcpy(why->limit, "budget.max_keys");
    kp__say_more(why, " (limit: budget.max_keys)");
}

void kp__say_rest(const struct kp__core *core, const struct kp__subpool *sub, uint64_t now,
                  kp_why *why)
{
    uint64_t rest = kp__rests_until(sub), token = kp__token_at(&core->rate, now);

    why->retry_after_ms = ms_until(rest > token ? rest : token, now);
}

void kp__say_cold(struct kp__pool *pool, struct kp__subpool *sub, uint64_t since, uint64_t now,
                  kp_why *why)
{
    const struct kp__failure *last = sub->rare->health.last;
    enum kp__limit limit = kp__refill_bound(&pool->core, sub, now);

    kp__say(why, KP_ETIMEDOUT, "");
    kp__say_key(why, pool, sub);
    count_key(sub, now, why);
    snprintf(why->limit, sizeof why->limit, "%s", kp__limit_name[limit]);
    why->waited_ms = kp__ms_since(since, now);
    kp__say_more(why, " is not warm after %" PRId64 " ms: limited by %s (live %" PRIu32 ")",
                 why->waited_ms, why->limit, why->live);
    kp__say_rest(&pool->core, sub, now, why);
    if (!last || sub->rare->health.failures == 0) return;
    why->vendor_code = last->vendor_code;
    say_last(why, kp__failure_text(last), 140);
}

/* Where that of the code would mislead: no limit is reached. NULL: elsewhere. */
static const char *own_sentence(const struct kp__request *request)
{
    if (request->limit == KP__BY_REFUSE_LATE)
        return "refused at once: it could not be served before its deadline";
    if (request->limit == KP__BY_SHED_TARGET)
        return "shed: it had waited for too long in a queue that was too slow";
    return NULL;
}

void kp__explain_no(const struct kp__core *core, const struct kp__request *request, uint64_t now,
                    kp_why *why)
{
    const struct kp__subpool *sub = request->sub;
    int code = request->grant.code;
    kp_why cause = *why; /* what kp__blame left there */

    kp__say(why, code, own_sentence(request));
    snprintf(why->limit, sizeof why->limit, "%s", kp__limit_name[request->limit]);
    why->waited_ms = kp__ms_since(request->arrived, now);
    why->ahead = kp__queue_ahead(request);
    why->retry_after_ms = retry_after(core, request, now);
    count_key(sub, now, why);
    if (code == KP_ETIMEDOUT) {
        if (sub->rare->health.last && sub->rare->health.failures)
            why->vendor_code = sub->rare->health.last->vendor_code;
        say_timeout(core, request, why);
    } else if (cause.code) {
        why->vendor_code = cause.vendor_code;
        memcpy(why->field, cause.field, sizeof why->field);
        if (cause.code == code) memcpy(why->text, cause.text, sizeof why->text);
        else say_last(why, cause.text, 100);
    } else if (code == KP_EAGAIN || code == KP_EFULL) {
        kp__say_more(why, " (limit: %s)", why->limit);
    }
}
