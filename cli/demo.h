/* SPDX-License-Identifier: MIT
 *
 * The guided tour: its stage (demo.c), what it prints (narrate.c), and its chapters.
 */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include <keyedpool_sqlite.h>

#include <dirent.h>
#include <pthread.h>

enum demo_region { EU_WEST, EU_NORTH, US_EAST, SA_EAST, AP_SOUTH, DEMO_REGIONS };

#define X(name, sentence) +1
enum { DEMO_KINDS = 1 KP_EVENT_MAP(X), DEMO_ROWS = 2 * DEMO_REGIONS + 2 };
#undef X

struct demo_row {               /* of the table at the end */
    char     name[32], role[16];
    kp_stats stats;
};

struct demo {
    char     folder[512];
    DIR     *opened;            /* the same: there may be no descriptor left when it is removed */
    char     file[DEMO_REGIONS][544];
    kp_pool *pool;
    kp_sqlite_counts counts;
    pthread_mutex_t lock;
    pthread_cond_t  happened;
    uint64_t seen[DEMO_KINDS];  /* events so far; guard: lock */
    struct demo_row row[DEMO_ROWS];
    int      rows;
};

struct demo_chapter {
    const char *title, *about;
    void (*play)(struct demo *d);
};

extern const struct demo_chapter demo_chapters[];       /* ends with title NULL */

/* ---- narrate.c ---- */

/* What the program does, and what it found. */
void demo_do(const char *format, ...) __attribute__((format(printf, 1, 2)));
void demo_found(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What the pool and the adapter do: kp_options.on_event, kp_sqlite_options.on_leftover. */
void demo_on_event(const kp_event *event, void *demo);
void demo_on_leftover(const kp_sqlite_leftover *what, void *demo);

/* How often an event has happened; wait until it has, at most 5 s. */
uint64_t demo_seen(struct demo *d, kp_event_kind kind);
bool demo_wait(struct demo *d, kp_event_kind kind, uint64_t times);

void demo_region_name(const char *file, char *buf, size_t size);
void demo_table_fill(struct demo *d);
void demo_table_print(const struct demo *d);

/* ---- demo.c ---- */

/* Borrow, or end the tour: for where nothing is expected to go wrong. */
kp_lease demo_get(struct demo *d, enum demo_region region, kp_sqlite_role role);
kp_sqlite_key demo_key(const struct demo *d, enum demo_region region, kp_sqlite_role role);
_Noreturn void demo_fail(const struct demo *d, const char *what, const char *why);

#endif
