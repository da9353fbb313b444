/* SPDX-License-Identifier: MIT
 *
 * What a doctor sees without a server: what is installed, and the limits of this machine.
 */
#include "doctor.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* A pool asks for large pages when it allocates 8 MiB or more at a time. Its memory doubles as it
 * grows, so that is from about the 65,536th key on. */
enum { MANY_KEYS = 65000 };

/* ---- what is installed ----------------------------------------------------------------------- */

static void say_library(struct doctor *d)
{
    const char *info = kp_build_info();

    doctor_say(d, MARK_OK, "keyedpool", "%.*s", (int)strcspn(info, "\n"), info);
    for (info += strcspn(info, "\n"); *info; info += strcspn(info, "\n")) {
        char *text = d->finding[d->findings - 1].text;
        size_t n = strlen(text);

        info++;
        (void)snprintf(text + n, sizeof d->finding->text - n, "%s%.*s", *info ? "; " : "",
                       (int)strcspn(info, "\n"), info);
    }
}

static void say_adapters(struct doctor *d)
{
    const struct backend *b;
    const char *name;

    for (int i = 0; (name = backends_row(i, &b)) != NULL; i++) {
        if (b)
            doctor_say(d, MARK_OK, name, "%s: %s %s", name, b->library, b->version());
        else
            doctor_say(d, MARK_OK, name, "%s: not in this build", name);
    }
}

static void say_libc(struct doctor *d)
{
    char libc[64] = "not glibc";

#ifdef _CS_GNU_LIBC_VERSION
    (void)confstr(_CS_GNU_LIBC_VERSION, libc, sizeof libc);
#endif
    doctor_say(d, MARK_OK, "libc", "%s", libc);
}

void doctor_installed(struct doctor *d)
{
    d->about = "installed";
    say_library(d);
    say_adapters(d);
    say_libc(d);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Read up to two numbers from a file of the kernel. Returns how many; 0: no file, or no numbers. */
static int read_numbers(const char *path, int64_t out[2])
{
    FILE *f = fopen(path, "r");
    long long n[2] = { 0, 0 };
    int got;

    if (!f)
        return 0;
    got = fscanf(f, "%lld %lld", &n[0], &n[1]);
    (void)fclose(f);
    out[0] = n[0];
    out[1] = n[1];
    return got > 0 ? got : 0;
}

static int64_t as_count(rlim_t limit)
{
    return limit == RLIM_INFINITY || limit > INT64_MAX ? INT64_MAX : (int64_t)limit;
}

static void open_files(struct doctor *d, int64_t files)
{
    int64_t need = files + 64;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (as_count(limit.rlim_cur) >= need)
        doctor_say(d, MARK_OK, "open_files", "open files: up to %lld are needed, %lld allowed",
                   (long long)need, (long long)as_count(limit.rlim_cur));
    else if (as_count(limit.rlim_max) >= need)
        doctor_say(d, MARK_WARN, "open_files",
                   "open files: up to %lld are needed, %lld allowed: use ulimit -n %lld",
                   (long long)need, (long long)as_count(limit.rlim_cur), (long long)need);
    else
        doctor_say(d, MARK_FAIL, "open_files",
                   "open files: up to %lld are needed, but at most %lld can be allowed (ulimit "
                   "-Hn)", (long long)need, (long long)as_count(limit.rlim_max));
    doctor_number(d, "limit", as_count(limit.rlim_cur));
    doctor_number(d, "need", need);
}

static void ports(struct doctor *d)
{
    int64_t range[2], all;
    enum mark mark;

    if (read_numbers("/proc/sys/net/ipv4/ip_local_port_range", range) != 2)
        return;
    all = range[1] - range[0] + 1;
    mark = doctor_budget(d) > all ? MARK_FAIL : doctor_budget(d) > all / 2 ? MARK_WARN : MARK_OK;
    doctor_say(d, mark, "ports", "ports: %lld connections to one server, %lld local ports to make "
               "them from%s", (long long)doctor_budget(d), (long long)all,
               mark == MARK_FAIL ? ": widen net.ipv4.ip_local_port_range"
               : mark == MARK_WARN ? ": a closed connection keeps its port for a minute" : "");
    doctor_number(d, "limit", all);
    doctor_number(d, "need", doctor_budget(d));
}

static void listen_queue(struct doctor *d)
{
    int64_t most[2];
    bool enough;

    if (read_numbers("/proc/sys/net/core/somaxconn", most) < 1)
        return;
    enough = most[0] >= d->need;
    doctor_say(d, enough ? MARK_OK : MARK_WARN, "somaxconn",
               "listening: %lld may connect at once, a server on this machine can queue %lld%s",
               (long long)d->need, (long long)most[0],
               enough ? "" : ": set budget.create_rate, or raise net.core.somaxconn");
    doctor_number(d, "limit", most[0]);
    doctor_number(d, "need", d->need);
}

struct least { int64_t n; const char *where; };

static void least_of(struct least *least, int64_t n, const char *where)
{
    if (n < least->n)
        *least = (struct least){ n, where };
}

static void least_in(struct least *least, const char *path, const char *where)
{
    int64_t n[2];

    if (read_numbers(path, n) > 0)
        least_of(least, n[0], where);
}

/* The control group of this process (a line "0::/a/b", or of the first version "8:pids:/a/b") and
 * those around it. In a container the path may be that outside; then there is the outermost. */
static void least_of_groups(struct least *least)
{
    FILE *f = fopen("/proc/self/cgroup", "r");
    char line[1024], file[1100];

    while (f && fgets(line, sizeof line, f)) {
        bool first = strstr(line, ":pids:") != NULL;
        char *path = strchr(line, '/'), *end = path ? path + strcspn(path, "\n") : NULL;

        if (!path || (!first && strncmp(line, "0::", 3) != 0))
            continue;
        for (; end; end = strrchr(path, '/')) {
            *end = '\0';
            (void)snprintf(file, sizeof file, "/sys/fs/cgroup%s%s/pids.max", first ? "/pids" : "",
                           path);
            least_in(least, file, "in this control group (pids.max)");
        }
    }
    if (f)
        (void)fclose(f);
}

static void threads(struct doctor *d)
{
    struct least least = { INT64_MAX, "" };
    int64_t need = d->clients + 2;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NPROC, &limit) == 0)
        least_of(&least, as_count(limit.rlim_cur), "for this user (ulimit -u)");
    least_in(&least, "/proc/sys/kernel/threads-max", "on this machine (kernel.threads-max)");
    least_in(&least, "/proc/sys/kernel/pid_max", "on this machine (kernel.pid_max)");
    least_of_groups(&least);
    if (least.n == INT64_MAX)
        doctor_say(d, MARK_OK, "threads", "threads: %lld with upkeep, no limit", (long long)need);
    else
        doctor_say(d, need > least.n ? MARK_FAIL : MARK_OK, "threads",
                   "threads: %lld with upkeep, %lld allowed in all %s%s", (long long)need,
                   (long long)least.n, least.where,
                   need > least.n ? ": raise that, or use fewer clients" : "");
    if (least.n != INT64_MAX)
        doctor_number(d, "limit", least.n);
    doctor_number(d, "need", need);
}

static void large_pages(struct doctor *d)
{
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    char modes[64] = "";
    bool on;

    if (f && !fgets(modes, sizeof modes, f))
        modes[0] = '\0';
    if (f)
        (void)fclose(f);
    on = *modes && !strstr(modes, "[never]");
#ifdef PR_GET_THP_DISABLE
    on = on && prctl(PR_GET_THP_DISABLE, 0UL, 0UL, 0UL, 0UL) != 1;
#endif
    if (on)
        doctor_say(d, MARK_OK, "large_pages", "large pages: may be used");
    else
        doctor_say(d, d->keys >= MANY_KEYS ? MARK_WARN : MARK_OK, "large_pages",
                   "large pages: off; pools of more than %d keys would use them%s", MANY_KEYS,
                   d->keys >= MANY_KEYS ? ": set transparent_hugepage to madvise" : "");
}

void doctor_system(struct doctor *d, int64_t files, bool servers)
{
    d->about = "system";
    open_files(d, files);
    if (servers) {
        ports(d);
        listen_queue(d);
    }
    threads(d);
    large_pages(d);
}
