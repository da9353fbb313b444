/* SPDX-License-Identifier: MIT
 *
 * What the tests of deadlocks share: a pool that looks for deadlocks, with one resource for each
 * key, and the text of the last event.
 */
#ifndef CONTRACT_DEADLOCK_H
#define CONTRACT_DEADLOCK_H

#include "contract.h"

#define A kp_str("a")
#define B kp_str("b")

static char told[200]; /* the text of the last event */

static void listen(const kp_event *event, void *arg)
{
    contract__event(event, arg);
    if (event->kind != KP_EVENT_DEADLOCK) return;
    if (event->code != KP_EDEADLK) contract_broken(arg, "the event's code is %d", event->code);
    (void)snprintf(told, sizeof told, "%s", event->why->text);
}

static void begin(contract *c, kp_deadlock what)
{
    contract_begin(c, NULL);
    c->options.limits.max_live = 1;
    c->options.limits.max_creating = KP_UNLIMITED;
    c->options.on_deadlock = (int32_t)what;
    c->options.on_event = listen;
    told[0] = 0;
}

#endif
