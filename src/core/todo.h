/* SPDX-License-Identifier: MIT
 *
 * To-dos: what decisions leave to be done without the lock. A call hands the same one to each
 * decision, and does what it says when the lock is given back (flow/door.c).
 */
#ifndef KP__CORE_TODO_H
#define KP__CORE_TODO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/world.h"

struct kp__mailbox;

enum { KP__WAKES = 16, KP__BELLS = 4 };
struct kp__todo {
    const struct kp__world *world;
    uint32_t *wake[KP__WAKES];           /* only the addresses: the memory there may be gone */
    struct kp__mailbox *bell[KP__BELLS]; /* of event loops */
    int wakes, bells;
    struct kp__list doomed; /* slots in CLOSING or RECLAIMED, to be destroyed */
    struct kp__list spent;  /* failures that have been told, to be freed */
};

static inline void kp__todo_init(struct kp__todo *todo, const struct kp__world *world)
{
    todo->world = world;
    todo->wakes = todo->bells = 0;
    kp__list_init(&todo->doomed);
    kp__list_init(&todo->spent);
}

static inline bool kp__todo_is_empty(const struct kp__todo *todo)
{
    return todo->wakes == 0 && todo->bells == 0 && kp__list_empty(&todo->doomed) &&
           kp__list_empty(&todo->spent);
}

/* Wake them all, threads and event loops. Without the lock, if possible. */
void kp__todo_run_wakes(struct kp__todo *todo);

/* Add a word that a thread parks on, or the mailbox of an event loop. When there is no room left,
 * those before it are woken at once, under the lock. */
static inline void kp__todo_wake(struct kp__todo *todo, _Atomic uint32_t *word)
{
    if (todo->wakes == KP__WAKES) kp__todo_run_wakes(todo);
    todo->wake[todo->wakes++] = (uint32_t *)word;
}

void kp__todo_ring(struct kp__todo *todo, struct kp__mailbox *box);

#endif
