/* SPDX-License-Identifier: MIT
 *
 * Comparing what the library did with what the model did.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "play_inside.h"

void differ(const char *format, ...)
{
    va_list args;

    if (the.differs) return;
    the.differs = true;
    va_start(args, format);
    vsnprintf(the.said, the.size, format, args);
    va_end(args);
}

/* ---- gets ------------------------------------------------------------------------------------ */

const char *other_why(const kp_why *real, const kp_why *model)
{
    if (strcmp(real->limit, model->limit) != 0) return "limit";
#define SAME(field)                                                                                \
    if (real->field != model->field) return #field;
    SAME(code) SAME(waited_ms) SAME(retry_after_ms) SAME(ahead) SAME(live) SAME(creating)
    SAME(idle) SAME(lent) SAME(closing) SAME(waiting)
#undef SAME
    return NULL;
}

static void compare_why(int r, const kp_why *real, const kp_why *model)
{
    const char *field = other_why(real, model);

    if (!field) return;
    differ("request %d: why.%s differs; the pool: %s binds, %" PRIu32 " live, %" PRIu32
           " ahead, the model: %s, %" PRIu32 ", %" PRIu32,
           r, field, real->limit, real->live, real->ahead, model->limit, model->live,
           model->ahead);
}

void compare_get(int r, bool over)
{
    struct getter *g = &the.getter[r];
    const struct model_request *request = &the.model.request[r];
    kp_lease_about about;

    if (over != !g->active)
        differ("request %d: the pool %s, the model %s", r, g->active ? "waits" : "is done",
               over ? "is done" : "waits");
    if (!over || the.differs) return;
    if (g->code != request->code)
        differ("request %d: the pool returns %s, the model %s", r,
               g->code ? kp_error_find(g->code)->name : "0",
               request->code ? kp_error_find(request->code)->name : "0");
    if (!the.differs && g->code != 0) compare_why(r, &g->why, &request->why);
    if (the.differs || g->code != 0) return;
    const struct model_slot *s = &the.model.slot[request->slot];
    if (serial_of(&g->lease) != s->serial)
        differ("request %d: the pool lends resource %" PRIu64 ", the model %" PRIu64, r,
               serial_of(&g->lease), s->serial);
    if (!kp_lease_read(&g->lease, &about) || about.reused != s->seat[request->seat].hit)
        differ("request %d: the pool says reused = %d, the model %d", r, about.reused,
               s->seat[request->seat].hit);
    int at = 0;
    while (the.lease[at].held) at++;
    the.lease[at] = (struct lease){ true, g->lease, request->slot, request->seat };
}

/* ---- comparing ------------------------------------------------------------------------------- */

void compare_number(const char *what, int64_t real, int64_t model)
{
    if (real != model)
        differ("%s: the pool returns %" PRId64 ", the model %" PRId64, what, real, model);
}

static const char *const kind_name[] = { "",        "create",  "validate", "reset",
                                         "destroy", "abandon", "revoke" };

void compare_calls(void)
{
    const struct calls *real = &the.calls[0], *model = &the.calls[1];

    for (int i = 0; i < real->n || i < model->n; i++) {
        struct call none = { 0, 0, 0, 0, 0, 0 }, r = i < real->n ? real->call[i] : none,
                    m = i < model->n ? model->call[i] : none;
        if (r.kind != m.kind || r.serial != m.serial)
            differ("driver call %d: the pool runs %s %" PRIu64 ", the model %s %" PRIu64, i + 1,
                   kind_name[r.kind], r.serial, kind_name[m.kind], m.serial);
        else if (r.attempt != m.attempt || r.left_ms != m.left_ms || r.epoch != m.epoch)
            differ("%s %" PRIu64 ": the pool says attempt %" PRId64 ", epoch %" PRIu64 ", %" PRId64
                   " ms left, the model %" PRId64 ", %" PRIu64 ", %" PRId64,
                   kind_name[r.kind], r.serial, r.attempt, r.epoch, r.left_ms, m.attempt, m.epoch,
                   m.left_ms);
    }
    if (the.now != the.model.now) differ("the clocks differ");
}

void print_calls(void)
{
    for (int side = 0; side < 2; side++) {
        printf("      the %s ran", side ? "model" : "pool");
        for (int i = 0; i < the.calls[side].n; i++) {
            const struct call *call = &the.calls[side].call[i];
            printf(" %s %c%" PRIu64, kind_name[call->kind], 'a' + call->key, call->serial);
        }
        printf("\n");
    }
    for (int i = 0; i < the.dones || i < the.model.dones; i++)
        printf("      answered: request %d of the pool, %d of the model\n",
               i < the.dones ? the.done[i] : NOBODY,
               i < the.model.dones ? the.model.done[i] : NOBODY);
}

void compare_leases(void)
{
    for (int i = 0; i < LEASES && !the.differs; i++) {
        const struct lease *l = &the.lease[i];
        kp_lease_about real;
        if (!l->held) continue;
        if (!kp_lease_read(&l->real, &real)) {
            differ("resource %" PRIu64 ": kp_lease_read says that its lease ended",
                   serial_of(&l->real));
            return;
        }
        const struct model_slot *s = &the.model.slot[l->slot];
        const struct model_seat *seat = &s->seat[l->seat];
#define SAME(field, is)                                                                            \
    if ((uint64_t)real.field != (uint64_t)(is))                                                    \
        differ("resource %" PRIu64 ": its lease has " #field " %" PRIu64 ", of the model %" PRIu64,\
               s->serial, (uint64_t)real.field, (uint64_t)(is));
        SAME(serial, s->serial)
        SAME(reused, seat->hit)
        SAME(doomed, model_is_doomed(&the.model, l->slot, l->seat))
        SAME(old, s->old)
        SAME(revoked, s->state == M_REVOKED)
        SAME(times_lent, s->lends)
        SAME(age_ms, (the.now - s->made) / 1000000)
        SAME(lent_ms, (the.now - seat->since) / 1000000)
#undef SAME
    }
}

void compare_stats(int key)
{
    kp_stats real, model;
    int code = kp_stats_read(the.pool, key == NOBODY ? KP_EVERY_KEY : name_of(key), &real);
    char name[8] = "pool";

    if (key != NOBODY) snprintf(name, sizeof name, "key %c", 'a' + key);
    compare_number("kp_stats_read", code, model_stats(&the.model, key, &model));
#define X(field, kind, sentence)                                                                   \
    if (real.field != model.field)                                                                 \
        differ("%s: " #field " of the pool is %" PRIu64 ", of the model %" PRIu64, name,           \
               real.field, model.field);
    KP_STATS_MAP(X)
#undef X
}
