/* SPDX-License-Identifier: MIT
 *
 * The search of Wing and Gong (J. Parallel Distrib. Comput. 17, 1993), with Lowe's memory of what
 * was visited (Concurrency Computat.: Pract. Exper. 29, 2017): operations that overlap are tried in
 * every order, but never twice from the same state with the same operations done.
 */
#include "wgl.h"

#include <stdlib.h>
#include <string.h>

enum status { IDLE, LENT, DOOMED, CLOSING };

struct place {
    uint64_t resource;
    enum status status;
    int by; /* CLOSING: the operation that closes it */
};

/* A pool of one key; idle resources are in the order of their return. */
struct state {
    int live;
    struct place place[WGL_LIVE];
};

/* ---- the sequential pool --------------------------------------------------------------------- */

static int find(const struct state *s, uint64_t resource)
{
    for (int i = 0; i < s->live; i++)
        if (s->place[i].resource == resource) return i;
    return -1;
}

static int last_idle(const struct state *s)
{
    for (int i = s->live - 1; i >= 0; i--)
        if (s->place[i].status == IDLE) return i;
    return -1;
}

static void put_last(struct state *s, int at, enum status status, int by)
{
    struct place p = { s->place[at].resource, status, by };

    memmove(&s->place[at], &s->place[at + 1], (size_t)(s->live - at - 1) * sizeof p);
    s->place[s->live - 1] = p;
}

static void take_out(struct state *s, int at)
{
    put_last(s, at, IDLE, 0);
    memset(&s->place[--s->live], 0, sizeof s->place[0]);
}

static bool get(struct state *s, const struct wgl_op *op, int max_live)
{
    int idle = last_idle(s);

    if (op->resource == 0) return idle < 0 && (op->kind == WGL_TRY || s->live >= max_live);
    if (!op->made) {
        if (idle < 0 || s->place[idle].resource != op->resource) return false;
        s->place[idle].status = LENT;
        return true;
    }
    if (idle >= 0 || s->live >= max_live || find(s, op->resource) >= 0) return false;
    s->place[s->live++] = (struct place){ op->resource, LENT, 0 };
    return true;
}

static bool end(struct state *s, const struct wgl_op *op, int number)
{
    int at = find(s, op->resource);

    if (at < 0 || (s->place[at].status != LENT && s->place[at].status != DOOMED)) return false;
    if (op->destroyed != (op->kind == WGL_DISCARD || s->place[at].status == DOOMED)) return false;
    put_last(s, at, op->destroyed ? CLOSING : IDLE, op->destroyed ? number : 0);
    return true;
}

static bool invalidate(struct state *s, const struct wgl_op *op, int number)
{
    int at = find(s, op->resource);
    enum status status = at < 0 ? CLOSING : s->place[at].status;

    if (op->answer == 0) return status == DOOMED || status == CLOSING;
    if (op->destroyed ? status != IDLE : status != LENT) return false;
    s->place[at].status = op->destroyed ? CLOSING : DOOMED;
    s->place[at].by = op->destroyed ? number : 0;
    return true;
}

static bool gone(struct state *s, const struct wgl_op *op)
{
    int at = find(s, op->resource);

    if (at < 0 || s->place[at].status != CLOSING || s->place[at].by != op->part_of) return false;
    take_out(s, at);
    return true;
}

static bool stats(const struct state *s, const struct wgl_op *op)
{
    int64_t idle = 0;

    for (int i = 0; i < s->live; i++) idle += s->place[i].status == IDLE;
    return op->answer == s->live * 100 + idle;
}

static bool apply(struct state *s, const struct wgl_op *op, int number, int max_live)
{
    switch (op->kind) {
    case WGL_GET:
    case WGL_TRY: return get(s, op, max_live);
    case WGL_RELEASE:
    case WGL_DISCARD: return end(s, op, number);
    case WGL_INVALIDATE: return invalidate(s, op, number);
    case WGL_GONE: return gone(s, op);
    case WGL_STATS: return stats(s, op);
    }
    return false;
}

/* ---- where the search has been --------------------------------------------------------------- */

enum { WORDS = WGL_OPS / 64 };

struct visit {
    uint64_t done[WORDS];
    struct state state;
};

struct memory {
    struct visit *visit; /* open addressing; `used` marks the full entries */
    bool *used;
    size_t room, count;
};

static uint64_t hash_of(const struct visit *v)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (int i = 0; i < WORDS; i++) h = (h ^ v->done[i]) * UINT64_C(0x100000001b3) ^ (h >> 29);
    for (int i = 0; i < v->state.live; i++) {
        const struct place *p = &v->state.place[i];
        h = (h ^ (p->resource * 8 + (uint64_t)p->status)) * UINT64_C(0x100000001b3) ^ (h >> 31);
    }
    return h ^ (h >> 32);
}

static bool same(const struct visit *a, const struct visit *b)
{
    if (memcmp(a->done, b->done, sizeof a->done) != 0 || a->state.live != b->state.live)
        return false;
    for (int i = 0; i < a->state.live; i++) {
        const struct place *p = &a->state.place[i], *q = &b->state.place[i];
        if (p->resource != q->resource || p->status != q->status || p->by != q->by) return false;
    }
    return true;
}

static bool put(struct memory *m, const struct visit *v)
{
    size_t at = (size_t)hash_of(v) & (m->room - 1);

    for (; m->used[at]; at = (at + 1) & (m->room - 1))
        if (same(&m->visit[at], v)) return false;
    m->used[at] = true;
    m->visit[at] = *v;
    m->count++;
    return true;
}

static void grow(struct memory *m)
{
    struct memory old = *m;

    m->room = old.room ? 2 * old.room : 1024;
    m->count = 0;
    m->visit = malloc(m->room * sizeof *m->visit);
    m->used = calloc(m->room, sizeof *m->used);
    if (!m->visit || !m->used) abort();
    for (size_t i = 0; i < old.room; i++)
        if (old.used[i]) (void)put(m, &old.visit[i]);
    free(old.visit);
    free(old.used);
}

/* True: it was not visited before. */
static bool remember(struct memory *m, const struct visit *v)
{
    if (2 * m->count >= m->room) grow(m);
    return put(m, v);
}

/* ---- the search ------------------------------------------------------------------------------ */

/* A call or a return, in order of time; operations that are placed already are unlinked. */
struct event {
    int op;
    bool is_return;
    uint64_t at;
    int before, after; /* neighbours; 0: the head */
};

static int by_time(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return (int)x->is_return - (int)y->is_return; /* at the same time: they overlap */
}

struct search {
    const struct wgl_op *ops;
    int n, max_live;
    struct event event[2 * WGL_OPS + 1];
    int returned[WGL_OPS]; /* the event of its return */
    struct visit now;
    struct memory memory;
    struct {
        int event;
        struct state before;
    } placed[WGL_OPS];
    int depth;
};

static void leave_out(struct search *s, int event)
{
    struct event *e = &s->event[event];

    s->event[e->before].after = e->after;
    s->event[e->after].before = e->before;
}

static void bring_back(struct search *s, int event)
{
    struct event *e = &s->event[event];

    s->event[e->before].after = event;
    s->event[e->after].before = event;
}

static void begin(struct search *s, const struct wgl_op *ops, int n, int max_live)
{
    s->ops = ops;
    s->n = n;
    s->max_live = max_live;
    for (int i = 0; i < n; i++) {
        s->event[2 * i + 1] = (struct event){ .op = i, .at = ops[i].called };
        s->event[2 * i + 2] = (struct event){ .op = i, .is_return = true, .at = ops[i].returned };
    }
    qsort(&s->event[1], 2 * (size_t)n, sizeof s->event[0], by_time);
    for (int i = 0; i <= 2 * n; i++) {
        s->event[i].before = i == 0 ? 2 * n : i - 1;
        s->event[i].after = i == 2 * n ? 0 : i + 1;
        if (i > 0 && s->event[i].is_return) s->returned[s->event[i].op] = i;
    }
}

/* Can this operation be next? If so, place it and go on behind it. */
static bool place(struct search *s, int event)
{
    int op = s->event[event].op;
    struct state before = s->now.state;
    uint64_t bit = UINT64_C(1) << (op % 64);

    if (!apply(&s->now.state, &s->ops[op], op, s->max_live)) {
        s->now.state = before;
        return false;
    }
    s->now.done[op / 64] |= bit;
    if (!remember(&s->memory, &s->now)) {
        s->now.done[op / 64] &= ~bit;
        s->now.state = before;
        return false;
    }
    s->placed[s->depth].event = event;
    s->placed[s->depth++].before = before;
    leave_out(s, event);
    leave_out(s, s->returned[op]);
    return true;
}

static int take_back(struct search *s)
{
    int event = s->placed[--s->depth].event, op = s->event[event].op;

    s->now.state = s->placed[s->depth].before;
    s->now.done[op / 64] &= ~(UINT64_C(1) << (op % 64));
    bring_back(s, s->returned[op]);
    bring_back(s, event);
    return event;
}

enum wgl_verdict wgl_check(const struct wgl_op *ops, int n, int max_live, uint64_t looks,
                           uint64_t *looked)
{
    struct search *s = calloc(1, sizeof *s);
    enum wgl_verdict verdict = WGL_YES;
    uint64_t count = 0;

    if (!s || n > WGL_OPS || max_live > WGL_LIVE) abort();
    begin(s, ops, n, max_live);
    for (int event = s->event[0].after; s->depth < n; count++) {
        if (count >= looks) {
            verdict = WGL_UNKNOWN;
            break;
        }
        if (s->event[event].is_return) { /* this operation is not placed, but had to be */
            if (s->depth == 0) {
                verdict = WGL_NO;
                break;
            }
            event = s->event[take_back(s)].after;
        } else {
            event = place(s, event) ? s->event[0].after : s->event[event].after;
        }
    }
    *looked += count;
    free(s->memory.visit);
    free(s->memory.used);
    free(s);
    return verdict;
}
