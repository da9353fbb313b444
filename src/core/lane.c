/* SPDX-License-Identifier: MIT
 *
 * Opening and shutting lanes, under the pool's lock. What happens on an open one: flow/hit.c.
 *
 * What is relaxed here and does not say why is written under the lock only, and is a guess to
 * threads without it, which they check after their claim.
 */
#include "base/check.h"
#include "core/calendar.h"
#include "core/guide.h"
#include "core/lane.h"

struct kp__lines kp__cells, kp__lanes, kp__lists, kp__tops;

#define IS_A_LINE(type) \
    (sizeof(type) == KP__LINE && offsetof(type, end) == KP__LINE - sizeof(struct kp__line_end))
_Static_assert(IS_A_LINE(struct kp__cell), "a cell is a line");
_Static_assert(IS_A_LINE(struct kp__lane), "a lane is a line");
_Static_assert(IS_A_LINE(struct kp__numbers), "a list is a line");

void kp__lanes_in_child(void)
{
    kp__lines_in_child(&kp__cells);
    kp__lines_in_child(&kp__lanes);
    kp__lines_in_child(&kp__lists);
    kp__lines_in_child(&kp__tops);
    kp__guides_in_child();
}

/* ---- the lists of a lane's cells ------------------------------------------------------------- */

/* Store a number where threads without the lock may find it. */
static void name_line(_Atomic uint32_t *word, uint32_t number)
{
    /* release: pairs with the acquire in kp__lane_cell and kp__listed; the line was made before */
    atomic_store_explicit(word, number, memory_order_release);
}

/* In the list with this number, of cells or of lists. */
static void set_number(struct kp__lines *kind, uint32_t list, uint32_t k, uint32_t number)
{
    name_line(&((struct kp__numbers *)kp__line(kind, list))->number[k], number);
}

/* How many lists lead from the lane to each cell: none to the only one; one; or two, a list of
 * lists and one of these. */
static uint32_t levels(const struct kp__subpool *sub)
{
    return sub->lane_books->room <= 1 ? 0 : sub->lane_books->room == KP__LIST ? 1 : 2;
}

static uint32_t number_in(_Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void drop_lists(struct kp__subpool *sub)
{
    struct kp__lane *lane = KP__LANE_OF(sub);

    if (levels(sub) == 1) kp__lines_give(&kp__lists, number_in(&lane->list));
    if (levels(sub) == 2) {
        for (uint32_t i = 0; i < sub->lane_books->room / KP__LIST; i++)
            kp__lines_give(&kp__lists, kp__listed(&kp__tops, number_in(&lane->top), i));
        kp__lines_give(&kp__tops, number_in(&lane->top));
    }
    sub->lane_books->room = 0;
}

/* Room for more cells than one list holds; where memory is short, for fewer, or for none. */
static void make_top(struct kp__subpool *sub, uint32_t cells)
{
    uint32_t top = kp__lines_take(&kp__tops), list, lists = 0;

    if (!top) return;
    while (lists * KP__LIST < cells && (list = kp__lines_take(&kp__lists)) != 0)
        set_number(&kp__tops, top, lists++, list);
    name_line(&KP__LANE_OF(sub)->top, top);
    sub->lane_books->room = (uint16_t)(lists * KP__LIST);
    if (lists > 1) return;
    if (lists == 1) kp__lines_give(&kp__lists, kp__listed(&kp__tops, top, 0));
    kp__lines_give(&kp__tops, top);
    sub->lane_books->room = 0;
}

/* Room for so many cells, as far as there is memory. */
static void make_lists(struct kp__subpool *sub, uint32_t cells)
{
    uint32_t list;

    if (cells <= sub->lane_books->room) return;
    drop_lists(sub);
    if (cells == 1) {
        sub->lane_books->room = 1;
    } else if (cells > KP__LIST) {
        make_top(sub, cells);
    } else if ((list = kp__lines_take(&kp__lists)) != 0) {
        name_line(&KP__LANE_OF(sub)->list, list);
        sub->lane_books->room = KP__LIST;
    }
}

static void set_cell(struct kp__subpool *sub, uint32_t k, uint32_t cell)
{
    struct kp__lane *lane = KP__LANE_OF(sub);

    if (levels(sub) == 0) {
        name_line(&lane->cell, cell);
        return;
    }
    uint32_t list = levels(sub) == 1 ? number_in(&lane->list)
                                     : kp__listed(&kp__tops, number_in(&lane->top), k / KP__LIST);
    set_number(&kp__lists, list, k % KP__LIST, cell);
}

/* ---- the guide ------------------------------------------------------------------------------- */

static bool is_guided(const struct kp__core *core, const struct kp__subpool *sub)
{
    return core->by_fields || (core->by_bytes && sub->key_size <= KP__GUIDED_MOST);
}

static uint64_t hash_of(const struct kp__core *core, const struct kp__subpool *sub)
{
    void *key = kp__key_at(sub);

    return core->by_fields ? core->by_fields(core, key)
                           : kp__quick_hash(core->quick_seed, key, sub->key_size);
}

/* Where the guide is to lead: straight to the only cell, if that knows the key; or to the lane. */
static uint32_t where_to(const struct kp__subpool *sub)
{
    const struct kp__lane_books *books = sub->lane_books;
    uint32_t cell = kp__lane_cell(KP__LANE_OF(sub), KP__SHAPE(books->cells, levels(sub)), 0);
    const struct kp__cell *only = kp__line(&kp__cells, cell);
    bool straight = books->cells == 1 && only->key_size != KP__NOT_BRIEF;

    return straight ? cell : KP__TO_LANE | books->line;
}

void kp__lane_guide(struct kp__core *core, const struct kp__subpool *sub)
{
    if (core->guide && is_guided(core, sub))
        kp__guide_enter(core->guide, hash_of(core, sub), where_to(sub));
}

/* Nobody is to be led to what the key had; when the pool is closing, that does not matter. */
static void leave_guide(struct kp__core *core, const struct kp__subpool *sub)
{
    if (core->guide && core->phase == KP__OPEN && is_guided(core, sub))
        kp__guide_leave(core->guide, hash_of(core, sub));
}

/* ---- a key's line, a slot's cell ------------------------------------------------------------- */

/* Write the key into its lane, where a thread that has claimed a cell of it can compare it. */
static void write_key(struct kp__lane *lane, const struct kp__subpool *sub)
{
    void *key = kp__key_at(sub);

    lane->key_size = sub->key_size;
    if (sub->key_size <= KP__LANE_KEY) memcpy(lane->key, key, sub->key_size);
    else memcpy(lane->key, &key, sizeof key);
}

bool kp__lane_make(struct kp__core *core, struct kp__subpool *sub)
{
    uint32_t number;

    if (sub->lane_books) return true;
    if ((number = kp__lines_take(&kp__lanes)) == 0) return false;
    kp__lane_books_begin(core, sub, number);
    struct kp__lane *lane = KP__LANE_OF(sub);
    lane->sub = sub->item.index;
    lane->pool = core->id;
    if (is_guided(core, sub)) write_key(lane, sub);
    /* relaxed: a guess to others until they claim a cell, opened by a later release (swing_open) */
    atomic_store_explicit(&lane->pin, 0, memory_order_relaxed);
    return true;
}

void kp__lane_drop(struct kp__core *core, struct kp__subpool *sub)
{
    if (!sub->lane_books) return;
    KP__DCHECK(!sub->open);
    struct kp__lane *lane = KP__LANE_OF(sub);
    leave_guide(core, sub);
    /* whoever still reads this lane finds no cell to claim, or one of another key */
    atomic_store_explicit(&lane->pin, 0, memory_order_relaxed);
    drop_lists(sub);
    kp__lines_give(&kp__lanes, sub->lane_books->line);
    sub->lane_books = NULL;
}

void kp__cell_drop(struct kp__core *core, struct kp__slot *slot)
{
    if (!slot->cell) return;
    struct kp__cell *cell = KP__CELL_OF(slot);
    leave_guide(core, slot->sub); /* the cell will be another slot's; its word is SHUT */
    atomic_store_explicit(&cell->id, 0, memory_order_relaxed);
    atomic_store_explicit(&cell->word, kp__word(slot->generation, KP__SHUT), memory_order_relaxed);
    kp__lines_give(&kp__cells, slot->cell);
    slot->cell = 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

/* May a lease of this slot end by a swing alone? Not if the lease and the lane differ in KP__TURN.
 * For the word of what is lent must be the number of its lease, and later leases of the cell take
 * their marks over from the word. So if the word had the lane's mark, not the lease but some other
 * number would match it; and if it had the lease's, no later lease would look at the clock. */
static bool is_plain(const struct kp__slot *slot)
{
    const struct kp__errand *errand = slot->errand;

    return errand->seats == 1 && !errand->doomed && !errand->first.ending &&
           !errand->first.decided && !errand->first.probe && errand->first.hold != KP__REVOKING &&
           (slot->state == KP__IDLE || errand->first.turn == (slot->sub->waiting > 0));
}

/* Give an idle slot a cell, if it has none. The cell is written only here: later a borrower may be
 * reading it, without the lock. The slot's generation goes on from that of the slot that had the
 * cell before, so that no stale lease ever matches the word. */
static bool give_cell(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *slot)
{
    if (slot->cell) return true;
    if (slot->state != KP__IDLE || (slot->cell = kp__lines_take(&kp__cells)) == 0) return false;
    struct kp__cell *cell = KP__CELL_OF(slot);
    uint64_t before = atomic_load_explicit(&cell->word, memory_order_relaxed) >> KP__WORD_BITS;
    if (slot->generation < before) slot->generation = before;
    /* relaxed, as all that is written here: the release in swing_open makes it known */
    atomic_store_explicit(&cell->id, (uint64_t)core->id << 32 | slot->item.index,
                          memory_order_relaxed);
    cell->resource = slot->resource;
    cell->lane = sub->lane_books->line;
    bool is_brief = core->by_bytes && sub->key_size <= KP__BRIEF;
    if (is_brief) cell->key = kp__brief_of(kp__key_at(sub), sub->key_size);
    cell->key_size = is_brief ? (uint16_t)sub->key_size : KP__NOT_BRIEF;
    return true;
}

/* Take (1) or return (-1) what a slot may need while its lane is open, so that no limit over all
 * keys can be broken there: an idle one needs a lent permit, a lent one a place among the idle. */
static void reserve(struct kp__core *core, const struct kp__slot *slot, int one)
{
    if (slot->state == KP__IDLE) core->lent.used += one;
    else core->returning += one;
}

/* Name the cells in the lane, as many as it may reserve for; of the idle, those used last come
 * first. Returns how many. */
static uint8_t name_cells(struct kp__core *core, struct kp__subpool *sub)
{
    uint32_t many = sub->count[KP__IDLE] + sub->count[KP__LENT], k = 0;

    make_lists(sub, many);
    for (int state = KP__IDLE; state <= KP__LENT; state++) {
        int64_t most = kp__lane_most(core, sub, state);
        struct kp__slot *slot = NULL;
        while (k < sub->lane_books->room &&
               (slot = kp__next_slot(KP__SLOTS(sub, state), slot)) != NULL) {
            slot->on_lane = most > 0 && is_plain(slot) && give_cell(core, sub, slot);
            if (!slot->on_lane) continue;
            set_cell(sub, k++, slot->cell);
            reserve(core, slot, 1);
            most--;
        }
    }
    return (uint8_t)k; /* at most KP__LANE_MOST */
}

static void swing_open(struct kp__core *core, struct kp__slot *slot)
{
    uint64_t state = slot->state == KP__IDLE ? KP__WORD_IDLE : KP__WORD_LENT;

    if (!slot->on_lane) return;
    if (slot->sub->waiting) state |= KP__TURN;
    if (core->asks) state |= KP__ASKS;
    /* as its lease is marked; the cell has no home now */
    if (slot->state == KP__LENT && slot->errand->first.homed) state |= KP__HOMED;
    struct kp__cell *cell = KP__CELL_OF(slot);
    /* release: pairs with the acquire of whoever claims it (flow/hit.h) */
    atomic_store_explicit(&cell->word, kp__word(slot->generation, state), memory_order_release);
}

static void swing_all_open(struct kp__core *core, struct kp__subpool *sub)
{
    for (struct kp__slot *slot = NULL; (slot = kp__next_idle_or_lent(sub, slot)) != NULL;)
        swing_open(core, slot);
}

void kp__lane_open(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    uint64_t until;

    if (sub->open || !core->lanes || !kp__lane_may_open(core, sub, now)) return;
    if (sub->shut_for > 0) {
        sub->shut_for--;
        return;
    }
    until = kp__term_end(core, sub, now);
    if (until != KP__NEVER && until <= kp__later(now, core->least_term)) return;
    if (kp__lane_most(core, sub, KP__IDLE) <= 0 || !kp__lane_make(core, sub) ||
        (sub->lane_books->cells = name_cells(core, sub)) == 0)
        return;
    sub->open = true;
    sub->lane_books->opened = now;
    sub->lane_books->era = core->era;
    sub->lane_books->until = until;
    kp__heap_insert(&core->open_lanes, &sub->lane_books->node);
    swing_all_open(core, sub);
    /* release: pairs with the acquire in claim (flow/hit.c, hit_key.c); cells are named by now */
    atomic_store_explicit(&KP__LANE_OF(sub)->shape, KP__SHAPE(sub->lane_books->cells, levels(sub)),
                          memory_order_release);
    kp__lane_guide(core, sub);
}

/* ---- shut ------------------------------------------------------------------------------------ */

/* Move a slot between idle and lent in the books, without looking for anybody to serve: when it
 * happened, nobody wanted anything. */
static void record_move(struct kp__core *core, struct kp__slot *slot, enum kp__state state)
{
    struct kp__subpool *sub = slot->sub;
    int one = state == KP__LENT ? 1 : -1;

    if (slot->state != state) {
        struct kp__errand *errand = kp__errand(core, slot);
        errand->borrowers = errand->first.lent = state == KP__LENT;
        sub->leases += (uint32_t)one;
        core->leases += (uint32_t)one;
        sub->lent_permits += (uint32_t)one;
        core->lent.used += one;
    }
    kp__slot_record(core, slot, state);
}

/* Shut a slot's word, and enter in the books what became of the slot while it was open (I7). */
static void take_back(struct kp__core *core, struct kp__slot *slot, uint64_t now)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__cell *cell = KP__CELL_OF(slot);
    /* acquire: pairs with the release of whoever gave it back. No release: who finds the word SHUT
     * takes the lock */
    uint64_t word = atomic_fetch_and_explicit(&cell->word, ~(uint64_t)KP__WORD_STATE,
                                              memory_order_acquire);
    uint64_t generation = word >> KP__WORD_BITS, leases = generation - slot->generation;
    bool lent = word & KP__WORD_LENT, ending = word & KP__ENDING;

    slot->on_lane = false;
    reserve(core, slot, -1);
    if (leases == 0 && lent == (slot->state == KP__LENT)) {
        if (lent) kp__errand(core, slot)->first.ending = ending; /* lent before it opened */
        return;
    }
    slot->generation = generation;
    slot->lends += leases;
    KP__TALLY(core, sub, gets += leases);
    KP__TALLY(core, sub, hits += leases);
    sub->lane_books->served += leases;
    if (lent) {
        kp__errand(core, slot)->first = (struct kp__seat){
            .generation = generation,
            .since = now,
            .era = sub->lane_books->era, /* the lease may have begun as early as that */
            .hold = KP__HELD,
            .lent = true,
            .ending = ending,
            .hit = true,
            .swung = true,
            .turn = word & KP__TURN,
            .homed = word & KP__HOMED
        };
    } else {
        slot->since = sub->lane_books->opened;
    }
    record_move(core, slot, lent ? KP__LENT : KP__IDLE);
    kp__file_slot(core, slot); /* an idle one, too: it may have been lent when the lane opened */
}

void kp__lane_shut(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    struct kp__lane_books *books = sub->lane_books;

    /* relaxed: a hint; most threads that come now need not look at the words */
    atomic_store_explicit(&KP__LANE_OF(sub)->shape, 0, memory_order_relaxed);
    kp__homes_take(core, &sub, 1);
    kp__account(core, sub);
    sub->open = false;
    books->served = 0;
    if (kp__heap_holds(&books->node)) kp__heap_remove(&core->open_lanes, &books->node);
    /* from the back, so that those that were used keep their order, before those that nobody used:
     * of the order in which they came back, no more is known */
    for (int state = KP__IDLE; state <= KP__LENT; state++) {
        struct kp__list *list = KP__SLOTS(sub, state), *node = kp__list_last(list), *before;
        for (; node; node = before) {
            before = kp__list_prev(list, node);
            struct kp__slot *slot = KP__OF(node, struct kp__slot, link);
            if (slot->on_lane) take_back(core, slot, now);
        }
    }
    if (books->served > 0 && sub->used_at < now) sub->used_at = now;
    sub->shut_for = kp__term_pause(core, books, now);
    kp__evictable_update(core, sub);
}
