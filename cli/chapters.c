/* SPDX-License-Identifier: MIT
 *
 * The chapters of the tour, in the order in which they are played. Each can be read alone: it is
 * how a program uses the pool for that purpose.
 */
#include "demo.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- 1 --------------------------------------------------------------------------------------- */

enum { WHY = 200 };

static int make_table(kp_lease *lease, void *why)
{
    static const char sql[] = "CREATE TABLE IF NOT EXISTS visits"
                              " (id INTEGER PRIMARY KEY, who TEXT)";
    sqlite3 *db = kp_sqlite_db(lease);

    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    (void)snprintf(why, WHY, "%s", sqlite3_errmsg(db));
    return -1;
}

static void make_region(struct demo *d, enum demo_region region)
{
    kp_sqlite_key key = demo_key(d, region, KP_SQLITE_WRITER);
    char text[WHY] = "";
    kp_why why = { 0 };
    kp_plan plan = { .ask.why = &why };

    if (kp_use(d->pool, KP_KEY(&key), &plan, make_table, text) != 0)
        demo_fail(d, key.file, text[0] ? text : why.text);
}

static void regions(struct demo *d)
{
    kp_lease_about about;
    kp_lease lease;

    demo_do("make a table in four regions, each through its writer; ap-south stays down");
    for (enum demo_region r = EU_WEST; r < AP_SOUTH; r++)
        make_region(d, r);
    demo_do("read from eu-west twice");
    for (int i = 0; i < 2; i++) {
        lease = demo_get(d, EU_WEST, KP_SQLITE_READER);
        (void)kp_lease_read(&lease, &about);
        demo_found("connection %llu, %s", (unsigned long long)about.serial,
                   about.reused ? "taken from the pool" : "made for this request");
        kp_release(&lease);
    }
}

/* ---- 2 --------------------------------------------------------------------------------------- */

static void primary(struct demo *d)
{
    kp_sqlite_key key = demo_key(d, EU_WEST, KP_SQLITE_READER);
    kp_lease lease[4], more;
    kp_why why = { 0 };
    int rc;

    demo_do("borrow four readers of the primary, eu-west (the other regions have two)");
    for (int i = 0; i < 4; i++)
        lease[i] = demo_get(d, EU_WEST, KP_SQLITE_READER);
    demo_do("ask for a fifth, for at most 50 ms");
    rc = kp_get(d->pool, KP_KEY(&key), KP_ASK(.within_ms = 50, .why = &why), &more);
    demo_found("%s: %s", kp_error_find(rc)->name, why.text);
    demo_found("the limit: %s = %lld; the oldest lease: %lld ms, by '%s'", why.limit,
               (long long)why.max_live, (long long)why.oldest_lent_ms, why.oldest_tag);
    for (int i = 0; i < 4; i++)
        kp_release(&lease[i]);
}

/* ---- 3 --------------------------------------------------------------------------------------- */

enum { WRITERS = 4, VISITS = 25 };

struct visitors { struct demo *d; _Atomic int busy, failed; };

static void *visit(void *arg)
{
    struct visitors *v = arg;

    for (int i = 0; i < VISITS; i++) {
        kp_lease lease = demo_get(v->d, US_EAST, KP_SQLITE_WRITER);
        int rc = sqlite3_exec(kp_sqlite_db(&lease),
                              "BEGIN IMMEDIATE; INSERT INTO visits (who) VALUES ('thread'); COMMIT",
                              NULL, NULL, NULL);

        if (rc == SQLITE_BUSY)
            atomic_fetch_add(&v->busy, 1);
        else if (rc)
            atomic_fetch_add(&v->failed, 1);
        kp_release(&lease);
    }
    return NULL;
}

static void writers(struct demo *d)
{
    kp_sqlite_key key = demo_key(d, US_EAST, KP_SQLITE_WRITER);
    struct visitors v = { d, 0, 0 };
    pthread_t thread[WRITERS];
    kp_stats stats;

    demo_do("%d threads write to us-east, %d times each", WRITERS, VISITS);
    for (int i = 0; i < WRITERS; i++) {
        if (pthread_create(&thread[i], NULL, visit, &v) != 0)
            demo_fail(d, "us-east", "cannot start a thread");
    }
    for (int i = 0; i < WRITERS; i++)
        (void)pthread_join(thread[i], NULL);
    (void)kp_stats_read(d->pool, KP_KEY(&key), &stats);
    demo_found("SQLITE_BUSY: %d times, other errors: %d; writing connections made: %llu", v.busy,
               v.failed, (unsigned long long)stats.creates);
    demo_found("%llu of %llu gets waited their turn, for %.2f ms on average",
               (unsigned long long)stats.waits, (unsigned long long)stats.gets,
               stats.waits ? (double)stats.wait_ns / 1e6 / (double)stats.waits : 0);
}

/* ---- 4 --------------------------------------------------------------------------------------- */

/* Which region answered, from the connection itself. */
static int count_visits(kp_lease *lease, void *arg)
{
    const char *file = sqlite3_db_filename(kp_sqlite_db(lease), "main");

    demo_region_name(file ? file : "", arg, 32);
    return sqlite3_exec(kp_sqlite_db(lease), "SELECT count(*) FROM visits", NULL, NULL, NULL) ==
           SQLITE_OK ? 0 : -1;
}

static void fallback(struct demo *d)
{
    kp_sqlite_key key = demo_key(d, AP_SOUTH, KP_SQLITE_READER);
    kp_sqlite_key us = demo_key(d, US_EAST, KP_SQLITE_READER);
    kp_sqlite_key eu = demo_key(d, EU_NORTH, KP_SQLITE_READER);
    kp_key others[2];
    kp_plan plan = { .ask.within_ms = 3000, .schedule = { .times = 1, .first_ms = 20 },
                     .fallback = others, .fallbacks = 2 };
    char region[32] = "nobody";
    int rc;

    others[0] = KP_KEY(&us);
    others[1] = KP_KEY(&eu);
    demo_do("read from ap-south, which is down: two attempts, then us-east, then eu-north");
    rc = kp_use(d->pool, KP_KEY(&key), &plan, count_visits, region);
    demo_found("%s, answered by %s", rc ? kp_error_find(rc)->name : "fine", region);
    demo_do("ap-south comes up: its writer makes the file; the same read again");
    make_region(d, AP_SOUTH);
    rc = kp_use(d->pool, KP_KEY(&key), &plan, count_visits, region);
    demo_found("%s, answered by %s", rc ? kp_error_find(rc)->name : "fine", region);
}

/* ---- 5 --------------------------------------------------------------------------------------- */

static void invalidation(struct demo *d)
{
    kp_sqlite_key key = demo_key(d, US_EAST, KP_SQLITE_READER);
    kp_lease lease = demo_get(d, US_EAST, KP_SQLITE_READER);
    kp_lease_about about;
    int64_t n;

    demo_do("mark a connection as bad while somebody has it");
    n = kp_invalidate(d->pool, lease.resource);
    (void)kp_lease_read(&lease, &about);
    demo_found("connections marked: %lld; still usable by its borrower, and %s", (long long)n,
               about.doomed ? "destroyed when it comes back" : "kept");
    kp_release(&lease);
    demo_do("borrow again, and discard: the capacity is free at once");
    lease = demo_get(d, US_EAST, KP_SQLITE_READER);
    kp_discard(&lease);
    demo_do("borrow and release, then invalidate all readers of us-east");
    lease = demo_get(d, US_EAST, KP_SQLITE_READER);
    kp_release(&lease);
    n = kp_invalidate_key(d->pool, KP_KEY(&key));
    demo_found("connections marked: %lld; the idle ones are destroyed already", (long long)n);
}

/* ---- 6 --------------------------------------------------------------------------------------- */

static void tidiness(struct demo *d)
{
    kp_sqlite_key key = demo_key(d, SA_EAST, KP_SQLITE_WRITER);
    sqlite3_stmt *forgotten;
    kp_lease lease;

    demo_do("begin a transaction in sa-east, start a query, and give back without ending them");
    if (kp_get(d->pool, KP_KEY(&key), KP_ASK(.within_ms = 5000, .tag = "careless"), &lease) != 0)
        demo_fail(d, key.file, "no writer");
    (void)sqlite3_exec(kp_sqlite_db(&lease),
                       "BEGIN IMMEDIATE; INSERT INTO visits (who) VALUES ('nobody')", NULL, NULL,
                       NULL);
    (void)sqlite3_prepare_v2(kp_sqlite_db(&lease), "SELECT who FROM visits", -1, &forgotten, NULL);
    (void)sqlite3_step(forgotten);
    kp_release(&lease);
    lease = demo_get(d, SA_EAST, KP_SQLITE_WRITER);
    demo_found("the next borrower finds %s transaction and %s statement",
               sqlite3_get_autocommit(kp_sqlite_db(&lease)) ? "no" : "an open",
               sqlite3_next_stmt(kp_sqlite_db(&lease), NULL) ? "an open" : "no");
    kp_release(&lease);
}

/* ---- 7 --------------------------------------------------------------------------------------- */

static void say_closing(void *what)
{
    demo_found("the scope closes: %s", (const char *)what);
}

static void defer(struct demo *d, kp_scope *scope, const char *what)
{
    if (kp_scope_defer(scope, say_closing, (void *)(uintptr_t)what) != 0)
        demo_fail(d, "scope", "out of memory");
}

static void scopes(struct demo *d)
{
    kp_sqlite_key west = demo_key(d, EU_WEST, KP_SQLITE_READER);
    kp_sqlite_key north = demo_key(d, EU_NORTH, KP_SQLITE_READER);
    kp_scope outer = { { 0 } }, inner = { { 0 } };
    kp_lease one, two;
    kp_stats stats;

    demo_do("borrow eu-west in a scope, eu-north in a scope inside it");
    defer(d, &outer, "first in, last out: everything is back");
    if (kp_scope_get(&outer, d->pool, KP_KEY(&west), NULL, &one) != 0)
        demo_fail(d, west.file, "no reader");
    defer(d, &outer, "eu-west goes back next");
    if (kp_scope_defer(&outer, kp_scope_end, &inner) != 0)
        demo_fail(d, "scope", "out of memory");
    if (kp_scope_get(&inner, d->pool, KP_KEY(&north), NULL, &two) != 0)
        demo_fail(d, north.file, "no reader");
    defer(d, &inner, "eu-north goes back next");
    (void)kp_stats_read(d->pool, KP_EVERY_KEY, &stats);
    demo_found("lent: %llu", (unsigned long long)stats.lent);
    demo_do("close the outer scope");
    kp_scope_close(&outer);
    (void)kp_stats_read(d->pool, KP_EVERY_KEY, &stats);
    demo_found("lent: %llu", (unsigned long long)stats.lent);
}

/* ---- 8 --------------------------------------------------------------------------------------- */

static void shrink(struct demo *d)
{
    kp_sqlite_key key = demo_key(d, EU_WEST, KP_SQLITE_READER);
    kp_limits limits = { .min_live = 1, .excess_ttl_ms = 200 };
    uint64_t destroyed = demo_seen(d, KP_EVENT_DESTROYED);
    kp_stats stats = { 0 };
    kp_why why = { 0 };

    (void)kp_stats_read(d->pool, KP_KEY(&key), &stats);
    demo_do("eu-west has %llu idle readers; from now on it keeps one, and the excess for 200 ms",
            (unsigned long long)stats.idle);
    if (kp_limits_set(d->pool, KP_KEY(&key), &limits, &why) != 0)
        demo_fail(d, "limits", why.text);
    if (stats.idle > 1 && !demo_wait(d, KP_EVENT_DESTROYED, destroyed + stats.idle - 1))
        demo_fail(d, "eu-west", "the keeper did not shrink it within 5 s");
    (void)kp_stats_read(d->pool, KP_KEY(&key), &stats);
    demo_found("idle readers of eu-west: %llu", (unsigned long long)stats.idle);
}

/* ---- 9 --------------------------------------------------------------------------------------- */

static void budget(struct demo *d)
{
    kp_sqlite_key key = demo_key(d, EU_NORTH, KP_SQLITE_WRITER);
    kp_scope scope = { { 0 } };
    kp_lease lease;
    kp_why why = { 0 };
    kp_stats stats;
    int rc = 0;

    demo_do("all keys together may have 12 connections; borrow two readers of each region, and two "
            "more of eu-west");
    for (int i = 0; i < 2 * DEMO_REGIONS + 2; i++) {
        kp_sqlite_key k = demo_key(d, (enum demo_region)(i % DEMO_REGIONS), KP_SQLITE_READER);

        if (i >= 2 * DEMO_REGIONS)
            k.file = d->file[EU_WEST];
        if (kp_scope_get(&scope, d->pool, KP_KEY(&k), KP_ASK(.within_ms = 5000, .why = &why),
                         &lease) != 0)
            demo_fail(d, k.file, why.text);
    }
    (void)kp_stats_read(d->pool, KP_EVERY_KEY, &stats);
    demo_found("live: %llu; idle ones of other keys evicted to make room: %llu",
               (unsigned long long)stats.live, (unsigned long long)stats.evicted);
    demo_do("now all 12 are lent: ask for the writer of eu-north, for at most 50 ms");
    rc = kp_get(d->pool, KP_KEY(&key), KP_ASK(.within_ms = 50, .why = &why), &lease);
    demo_found("%s, limited by %s", kp_error_find(rc)->name, why.limit);
    if (rc == 0)
        kp_release(&lease);
    kp_scope_close(&scope);
}

/* ---- 10 -------------------------------------------------------------------------------------- */

struct straggler { struct demo *d; kp_lease lease; };

/* Gives back once the pool refuses new gets: the close has begun, and waits for it. */
static void *give_back_late(void *arg)
{
    struct straggler *s = arg;
    kp_sqlite_key key = demo_key(s->d, EU_NORTH, KP_SQLITE_READER);
    kp_lease lease;
    int rc;

    do {
        rc = kp_get(s->d->pool, KP_KEY(&key), KP_IN_MS(5), &lease);
        kp_release(&lease);
    } while (rc != KP_ECLOSED);
    demo_found("a new get is answered %s: %s", kp_error_find(rc)->name, kp_strerror(rc));
    demo_found("the last borrower gives back");
    kp_release(&s->lease);
    return NULL;
}

static void closing(struct demo *d)
{
    struct straggler s = { d, demo_get(d, EU_WEST, KP_SQLITE_READER) };
    pthread_t thread;
    int64_t out;

    demo_table_fill(d);
    demo_do("somebody still has a connection; close, and wait for it for at most 5 s");
    if (pthread_create(&thread, NULL, give_back_late, &s) != 0)
        demo_fail(d, "close", "cannot start a thread");
    out = kp_pool_close(d->pool, KP_CLOSE_WAIT, KP_SECONDS(5));
    (void)pthread_join(thread, NULL);
    demo_found("closed; still out: %lld", (long long)out);
}

/* ---- all ------------------------------------------------------------------------------------- */

const struct demo_chapter demo_chapters[] = {
    { "Regions as keys", "A key is a file and a role. Its pool is made on first use.", regions },
    { "More for the primary", "limits_for decides by key; a timeout names the limit.", primary },
    { "One writer", "A file has one writer: SQLITE_BUSY becomes a fair queue.", writers },
    { "A region fails", "kp_use tries again, then falls back; no reason is lost.", fallback },
    { "Invalidation", "A bad connection is never lent again.", invalidation },
    { "Giving back", "The next borrower finds a clean connection.", tidiness },
    { "Scopes", "A scope gives everything back, last in, first out.", scopes },
    { "Idle shrink", "Limits change while the pool runs; the keeper does the rest.", shrink },
    { "One budget", "Idle connections of other keys make room for a key that needs one.", budget },
    { "Close", "New gets are refused; the pool waits for what is lent, and destroys it.", closing },
    { NULL, NULL, NULL }
};
