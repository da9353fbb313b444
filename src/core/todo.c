/* SPDX-License-Identifier: MIT
 *
 * Whom a decision wakes (todo.h): threads that park on a word, and event loops by their bells.
 */
#include "core/todo.h"

#include "base/mail.h"

void kp__todo_ring(struct kp__todo *todo, struct kp__mailbox *box)
{
    for (int i = 0; i < todo->bells; i++)
        if (todo->bell[i] == box) return;
    if (todo->bells == KP__BELLS) kp__todo_run_wakes(todo); /* as in kp__todo_wake */
    todo->bell[todo->bells++] = box;
}

void kp__todo_run_wakes(struct kp__todo *todo)
{
    for (int i = 0; i < todo->wakes; i++) todo->world->wake(todo->wake[i], 1, todo->world->ctx);
    for (int i = 0; i < todo->bells; i++) kp__mail_ring(todo->bell[i]);
    todo->wakes = todo->bells = 0;
}
