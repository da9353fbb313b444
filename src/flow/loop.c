/* SPDX-License-Identifier: MIT
 *
 * Event loops: the mailbox of one thread, and what that does with the letters. Requests that were
 * answered, or whose time has come, go on (start.c); jobs run; and a loop with pools of its own is
 * their keeper, too.
 *
 * Loops live for as long as the process does and are used again: base/mail.h says why.
 *
 * Order of locks: the pool's, then the mailbox's.
 */
#include "base/cancel.h"
#include "base/check.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/fork.h"
#include "flow/here.h"
#include "flow/job.h"
#include "flow/loop.h"

/* What one dispatch does at most, so that nobody is held up for long: letters, and as many alarms;
 * and pools, whose upkeep takes longer. */
enum { AT_ONCE = 1024, POOLS_AT_ONCE = 32 };

static struct kp__lock registry;
static kp_loop *all; /* Guard: registry */

/* ---- whose ----------------------------------------------------------------------------------- */

bool kp__loop_is_mine(const kp_loop *loop)
{
    /* relaxed: only this thread ever stores its number there */
    return kp__here.thread != 0 &&
           atomic_load_explicit(&loop->owner, memory_order_relaxed) == kp__here.thread;
}

bool kp__may_block(const struct kp__pool *pool)
{
    return !pool->loop || !kp__loop_is_mine(pool->loop);
}

bool kp__loop_own(kp_loop *loop)
{
    uint32_t nobody = 0;

    (void)kp__thread_number();
    /* relaxed, both: only the number matters; the loop itself was handed over by its opener */
    if (!kp__loop_is_mine(loop)) {
        if (!atomic_compare_exchange_strong_explicit(&loop->owner, &nobody, kp__here.thread,
                                                     memory_order_relaxed, memory_order_relaxed))
            return false;
        kp__here.loops++;
    }
    kp__here.loop = loop;
    return true;
}

bool kp__loop_is_inherited(const kp_loop *loop)
{
    /* relaxed: written only in a child of fork, before that has a second thread */
    return loop->forks != atomic_load_explicit(&kp__forks, memory_order_relaxed);
}

/* The loops are the parent's; the thread that held the registry's lock does not exist here. */
void kp__loops_in_child(void)
{
    atomic_store(&registry.word, 0);
    kp__mail_mine = NULL;
}

/* Is this world's clock the loop's? The first world that is asked about makes it so. */
static bool keep_time(kp_loop *loop, const struct kp__world *world)
{
    void *clock = world->now_ns == kp__life.now_ns ? NULL : world->ctx;

    kp__lock_take(&loop->box.lock, &kp__life);
    if (!loop->now_ns) {
        loop->now_ns = world->now_ns;
        loop->clock = clock;
    }
    bool same = loop->now_ns == world->now_ns && loop->clock == clock;
    kp__lock_give(&loop->box.lock, &kp__life);
    return same;
}

bool kp__loop_keeps_time(kp_loop *loop, const struct kp__world *world)
{
    if (loop->known != world && !keep_time(loop, world)) return false;
    loop->known = world;
    return true;
}

/* ---- open ------------------------------------------------------------------------------------ */

static bool door_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp_pool, upkeep.node)->upkeep.at <
           KP__OF(b, struct kp_pool, upkeep.node)->upkeep.at;
}

/* A loop that is closed, or a new one. With the registry's lock. NULL: out of memory. */
static kp_loop *spare(void)
{
    kp_loop *loop = all;

    while (loop && (loop->box.open || kp__loop_is_inherited(loop))) loop = loop->next;
    if (!loop && (loop = kp__alloc(&kp__life, sizeof *loop, 64)) != NULL) {
        loop->next = all;
        all = loop;
    }
    return loop;
}

int kp_loop_open(kp_loop **out)
{
    if (!out) return kp__misuse(NULL, NULL, "kp_loop_open: out is NULL; nothing was opened");
    kp__lock_take(&registry, &kp__life);
    kp_loop *loop = spare();
    bool opened = loop && kp__fork_watch() && kp__mailbox_open(&loop->box, KP__TO_ALARM);

    if (opened) {
        loop->forks = atomic_load(&kp__forks);
        loop->dispatching = loop->closing = false;
        loop->starting = 0;
        loop->stepping = NULL;
        loop->pools = 0;
        loop->now_ns = NULL;
        loop->known = NULL;
        kp__heap_init(&loop->doors, door_before);
    }
    kp__lock_give(&registry, &kp__life);
    *out = opened ? loop : NULL;
    return opened ? 0 : KP_ENOMEM;
}

int kp_loop_fd(const kp_loop *loop)
{
    return loop ? loop->box.fd : -1;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static void read_mail(kp_loop *loop)
{
    struct kp__list *letter;
    int tray;

    for (int n = 0; n < AT_ONCE && (letter = kp__mail_take(&loop->box, &tray)) != NULL; n++)
        if (tray == KP__JOBS) kp__job_perform(KP__OF(letter, struct kp__job, queue));
        else kp__request_step(loop, KP__OF(letter, struct kp__request, link), true);
}

static struct kp__request *of(struct kp__timer *alarm)
{
    return alarm ? KP__OF(alarm, struct kp__request, alarm) : NULL;
}

/* A pool that wants upkeep by now, taken off the heap; or NULL. */
static kp_pool *due_door(kp_loop *loop, uint64_t now)
{
    kp__lock_take(&loop->box.lock, &kp__life);
    struct kp__heap_node *top = kp__heap_top(&loop->doors);
    kp_pool *door = top ? KP__OF(top, struct kp_pool, upkeep.node) : NULL;

    if (door && door->upkeep.at > now) door = NULL;
    if (door) kp__heap_remove(&loop->doors, &door->upkeep.node);
    kp__lock_give(&loop->box.lock, &kp__life);
    return door;
}

/* When something is due, upkeep or an alarm; KP__NEVER: nothing is. And if something is, *now is
 * the time by the loop's one clock: there is a pool then, which keeps the clock; afterwards its
 * world may be gone. */
static uint64_t next_due(kp_loop *loop, uint64_t *now)
{
    kp__lock_take(&loop->box.lock, &kp__life);
    const struct kp__heap_node *top = kp__heap_top(&loop->doors);
    const struct kp__timer *first = loop->box.alarms.first;
    uint64_t at = top ? KP__OF(top, const struct kp_pool, upkeep.node)->upkeep.at : KP__NEVER;
    uint64_t (*now_ns)(void *ctx) = loop->now_ns;
    void *clock = loop->clock;

    if (first && first->at < at) at = first->at;
    if (at != KP__NEVER) *now = now_ns(clock); /* with the lock, which that pool needs to go */
    kp__lock_give(&loop->box.lock, &kp__life);
    return at;
}

/* Do what is due by now: requests whose alarm has gone off, and upkeep. */
static void keep_appointments(kp_loop *loop, uint64_t now)
{
    struct kp__request *r;
    kp_pool *door;

    for (int n = 0; n < AT_ONCE && (r = of(kp__mail_due(&loop->box, now))) != NULL; n++)
        kp__request_step(loop, r, false);
    for (int n = 0; n < POOLS_AT_ONCE && (door = due_door(loop, now)) != NULL; n++)
        (void)kp_keep(door); /* tells when it is due next (kp__announce) */
}

/* How many ms the loop may sleep. Called after kp__mail_end: what is filed after that rings, what
 * was filed before it is seen here. */
static int64_t may_sleep(kp_loop *loop)
{
    uint64_t now = 0, at = next_due(loop, &now);

    if (at == KP__NEVER) return -1;
    return at > now ? kp__ms_up(at - now) : 0;
}

int64_t kp_loop_dispatch(kp_loop *loop)
{
    if (!loop || !loop->box.open)
        return kp__misuse(NULL, NULL, "kp_loop_dispatch: this loop is closed, or NULL");
    if (kp__loop_is_inherited(loop)) return KP_EFORKED;
    if (!kp__loop_own(loop))
        return kp__misuse(NULL, NULL, "kp_loop_dispatch: another thread dispatches this loop");
    if (loop->dispatching || loop->closing || loop->starting)
        return kp__misuse(NULL, NULL,
                          "kp_loop_dispatch: called from inside itself, kp_loop_close or "
                          "kp_get_start; return first");
    uint64_t now = 0;
    loop->dispatching = true;
    int cancel = kp__cancel_hold();
    kp__mail_begin(&loop->box);
    read_mail(loop);
    uint64_t at = next_due(loop, &now);
    if (at <= now) keep_appointments(loop, now);
    kp__cancel_free(cancel);
    loop->dispatching = false;
    return kp__mail_end(&loop->box) ? 0 : may_sleep(loop);
}

/* ---- pools that name it ---------------------------------------------------------------------- */

static void upkeep(kp_pool *door, uint64_t due_ns, void *ctx)
{
    /* relaxed: under the pool's lock */
    kp_loop *loop = atomic_load_explicit(&door->pool, memory_order_relaxed)->loop;

    (void)ctx;
    kp__lock_take(&loop->box.lock, &kp__life);
    if (kp__heap_holds(&door->upkeep.node)) kp__heap_remove(&loop->doors, &door->upkeep.node);
    door->upkeep.at = due_ns;
    if (due_ns != KP__NEVER) kp__heap_insert(&loop->doors, &door->upkeep.node);
    bool earlier = kp__heap_top(&loop->doors) == &door->upkeep.node;
    kp__lock_give(&loop->box.lock, &kp__life);
    if (earlier) kp__mail_ring(&loop->box); /* or it would sleep too long */
}

int kp__loop_join(kp_loop *loop, struct kp__pool *pool)
{
    kp_loop *found;

    kp__lock_take(&registry, &kp__life);
    for (found = all; found && found != loop;) found = found->next;
    bool fits = found && found->box.open && !kp__loop_is_inherited(found) &&
                keep_time(found, pool->world);
    if (fits) {
        kp__lock_take(&found->box.lock, &kp__life);
        found->pools++;
        kp__lock_give(&found->box.lock, &kp__life);
    }
    kp__lock_give(&registry, &kp__life);
    if (!fits) return KP_ECONFIG;
    pool->loop = loop;
    pool->upkeep = upkeep;
    return 0;
}

void kp__loop_part(kp_loop *loop)
{
    if (!loop) return;
    kp__lock_take(&loop->box.lock, &kp__life);
    loop->pools--;
    kp__lock_give(&loop->box.lock, &kp__life);
}

void kp__loop_post(kp_loop *loop, struct kp__job *job)
{
    if (kp__mail_post(&loop->box, KP__JOBS, &job->queue)) kp__mail_ring(&loop->box);
}

/* ---- close ----------------------------------------------------------------------------------- */

static const char *close_refused(kp_loop *loop)
{
    if (!loop->box.open) return "kp_loop_close: this loop is closed already";
    if (!kp__loop_own(loop))
        return "kp_loop_close: another thread dispatches this loop; close it there";
    if (loop->closing) return "kp_loop_close: called from inside itself";
    if (loop->starting) return "kp_loop_close: called from inside kp_get_start";
    return loop->dispatching ? "kp_loop_close: called from inside kp_loop_dispatch" : NULL;
}

/* Cancel what is under way, and run the jobs. No request can be started meanwhile. */
static int64_t empty(kp_loop *loop)
{
    struct kp__list *letter;
    struct kp__request *r;
    int64_t cancelled = 0;
    int tray;

    loop->closing = true;
    for (; (r = of(kp__mail_any(&loop->box))) != NULL; cancelled++) kp_cancel(kp__request_of(r));
    while ((letter = kp__mail_take(&loop->box, &tray)) != NULL)
        if (tray == KP__JOBS) kp__job_perform(KP__OF(letter, struct kp__job, queue));
        else {
            kp_cancel(kp__request_of(KP__OF(letter, struct kp__request, link)));
            cancelled++;
        }
    loop->closing = false;
    return cancelled;
}

/* False: a pool names it. Under the registry's lock no other can begin to (kp__loop_join). */
static bool leave(kp_loop *loop)
{
    kp__lock_take(&registry, &kp__life);
    kp__lock_take(&loop->box.lock, &kp__life);
    bool needed = loop->pools > 0;
    kp__lock_give(&loop->box.lock, &kp__life);
    if (!needed) {
        kp__mailbox_close(&loop->box);
        /* relaxed: as in kp__loop_own */
        atomic_store_explicit(&loop->owner, 0, memory_order_relaxed);
        kp__here.loops--;
        kp__here.loop = all; /* another loop of this thread, or NULL */
        while (kp__here.loop && !kp__loop_is_mine(kp__here.loop))
            kp__here.loop = kp__here.loop->next;
    }
    kp__lock_give(&registry, &kp__life);
    return !needed;
}

int64_t kp_loop_close(kp_loop *loop)
{
    if (!loop || kp__loop_is_inherited(loop)) return 0;
    const char *sentence = close_refused(loop);
    if (sentence) return kp__misuse(NULL, NULL, sentence);
    int64_t cancelled = empty(loop);
    if (leave(loop)) return cancelled;
    return kp__misuse(NULL, NULL,
                      "kp_loop_close: a pool that names this loop is open, or has resources out; "
                      "the requests were cancelled, but the loop stays open");
}
