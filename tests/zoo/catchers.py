# SPDX-License-Identifier: MIT
"""The catchers: tests, built against the zoo's copy of src/. A look is one run of a catcher."""
import concurrent.futures
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import build

ROOT = build.ROOT
TESTS = ROOT / "tests"
NOT_RUN = 125

# Folders with tests of one file each. `kit`, and the rest of `unit`, test parts without an animal.
FOLDERS = ["zoo", "contract", "peers", "misuse", "faults", "fairness"]
ALSO = ["unit/base_lines.c", "unit/base_lock.c", "unit/base_mail.c", "unit/base_slab.c",
        "unit/base_timers.c", "unit/flow_jobs.c", "unit/core_request.c", "unit/core_invite.c",
        "unit/core_turn.c", "unit/core_too_late.c", "unit/core_spare.c", "unit/core_slot.c",
        "unit/core_held_up.c",
        "unit/hit_*.c", "torture/slow.c", "torture/keys.c", "torture/hits.c"]
# Tests of several files, and their arguments: long enough to meet every animal that they can meet.
PROGRAMS = {
    "model.agree": (["agree", "stage", "play*", "model*"], ["--ops", "40000"]),
    "model.linear": (["linear", "wgl"], ["--histories", "100"]),
}
# Tests with real threads, which are run once more under ThreadSanitizer.
UNDER_TSAN = ["zoo.missed_order", "unit.base_lock", "torture.slow", "torture.keys",
              "torture.hits"]
# The explorer, with a number of schedules for each scenario.
EXPLORE = {
    "explore.sc": ["--count", "150"],
    "explore.lock": ["--weak", "--group", "lock", "--count", "3000"],
    "explore.random": ["--mode", "random", "--group", "mixes", "--count", "20"],
    "explore.weak": ["--weak", "--count", "60"],
    "explore.lanes": ["KP_LANES=2", "--count", "150"],
    "explore.lanes-weak": ["KP_LANES=2", "--weak", "--count", "60"],
    "explore.homes": ["--group", "homes", "--count", "2000"],
    "explore.homes-weak": ["--group", "homes", "--weak", "--count", "1500"],
}
# Lanes open in simulated and explored pools, too, when the environment says so (flow/open.c).
LANES = "-DKP_TEST_LANES=1"
DEFINES = [f'-DKP_EXPORTS="{ROOT}/tools/exports.txt"']  # as in tests/CMakeLists.txt
SMALL = "-DKP__LINES_FIRST=16 -DKP__GUIDE_LEAST=0"  # sizes that fit into the explorer


class Catcher:
    def __init__(self, name, command):
        self.name, self.command = name, command
        self.family = name.split(".")[0] if name.startswith(("explore", "model")) else "tests"
        self.seconds = None  # that it takes with no animal let out; None: not known yet
        self.broken = False  # it fails with no animal let out, and so proves nothing
        self.lock = threading.Lock()

    def limit(self):
        return max(4.0, 10 * self.seconds)


class Catch:
    """The result of one look; why is '' if the catcher noticed nothing."""

    def __init__(self, catcher, why, seconds, schedules=None):
        self.catcher, self.why, self.seconds = catcher, why, seconds
        self.schedules = schedules  # of the explorer: how many until it failed


# ---- building -----------------------------------------------------------------------------------

def sh(commands, jobs, env=None):
    def one(argv):
        done = subprocess.run(argv, capture_output=True, text=True, env=env)
        if done.returncode != 0:
            sys.exit(" ".join(map(str, argv)) + "\n" + done.stdout + done.stderr)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, commands))


def newest(*folders):
    return max(f.stat().st_mtime for d in folders for f in d.rglob("*.[ch]"))


def changed():
    """When a source of the zoo's library changed last."""
    ours = max((build.HERE / name).stat().st_mtime for name in ("zoo.txt", "build.py"))
    return max(ours, newest(ROOT / "include", ROOT / "src", ROOT / "testkit"))


def programs():
    """All tests: {name: (sources, arguments)}."""
    paths = [p for folder in FOLDERS for p in sorted((TESTS / folder).glob("*.c"))]
    paths += [p for also in ALSO for p in sorted(TESTS.glob(also))]
    # parts of other tests; adapters, and their glue
    skip = ("_cases", "sqlite", "apr", "_uv", "close_event", "times_event", "null_", "memory_")
    tests = {f"{p.parent.name}.{p.stem}": ([p], []) for p in paths
             if not any(word in p.stem for word in skip)}
    for name, (stems, arguments) in PROGRAMS.items():
        folder = TESTS / name.split(".")[0]
        tests[name] = ([p for stem in stems for p in sorted(folder.glob(stem + ".c"))], arguments)
    return tests


def compile_library(out, base, jobs):
    """Compiles the zoo and the test kit; only what is older than its sources."""
    library, objects, commands, stamp = out / "libzoo.a", [], [], changed()
    for path in sorted((out.parent / "src").rglob("*.c")) + sorted((ROOT / "testkit").glob("*.c")):
        o = out / f"{path.parent.name}_{path.stem}.o"
        objects.append(o)
        if not o.exists() or o.stat().st_mtime < stamp:
            commands.append([*base, "-DKP_BUILD", "-c", path, "-o", o])
    sh(commands, jobs)
    if commands:
        library.unlink(missing_ok=True)
        sh([["ar", "rcs", library, *objects]], 1)
    return library


def compile_tests(out, flags, jobs, names=None):
    """Compiles the zoo and the tests (names: only these) under out/; returns {name: command}."""
    base = [os.environ.get("CC", "gcc"), "-std=gnu11", "-D_GNU_SOURCE", "-w", *flags,
            f"-I{ROOT}/include", f"-I{out.parent}/src", f"-I{ROOT}/testkit"]
    out.mkdir(parents=True, exist_ok=True)
    library = compile_library(out, base, jobs)
    tests, commands = {}, []
    stamp = max(changed(), max(p.stat().st_mtime for p in TESTS.rglob("*.h")))
    for name, (sources, arguments) in programs().items():
        if names and name not in names:
            continue
        exe = out / name
        tests[name] = [str(exe), *arguments]
        fresh = max(stamp, *(p.stat().st_mtime for p in sources))
        if not exe.exists() or exe.stat().st_mtime < fresh:
            commands.append([*base, f"-I{TESTS}", *DEFINES, *sources, "-o", exe, library,
                             "-lcmocka", "-pthread", "-lm"])
    sh(commands, jobs)
    return tests


def compile_explorer(out, verify):
    """Compiles the explorer with the zoo's copy of src/; returns {name: command}."""
    script, exe = TESTS / "explore/build.sh", out / "explore/explore"
    if not script.exists():
        return {}
    env = dict(os.environ, KP_SRC=str(out / "src"))
    if not verify:
        env["KP_DEFINES"] = f"{env.get('KP_DEFINES', '')} -UKP_VERIFY {LANES} {SMALL}"
    fresh = max(changed(), newest(script.parent), script.stat().st_mtime)
    if not exe.exists() or exe.stat().st_mtime < fresh:
        sh([["sh", script, exe.parent]], 1, env)
    return {name: ["env", *(a for a in arguments if "=" in a), str(exe),
                   *(a for a in arguments if "=" not in a)] for name, arguments in EXPLORE.items()}


def gather(out, animals, verify, jobs):
    """All catchers, in the order in which they are to run. Raises build.Wrong."""
    made = out / "src/base/zoo.c"
    if not made.exists() or made.stat().st_mtime < changed():
        build.write(out, animals)
    flags = ["-O1", "-g", LANES] + (["-DKP_VERIFY=1"] if verify else [])
    tests = compile_tests(out / ("verify" if verify else "plain"), flags, jobs)
    tests.update(compile_explorer(out, verify))
    tsan = compile_tests(out / "tsan", ["-O1", "-g", LANES, "-fsanitize=thread"],
                         jobs, UNDER_TSAN)
    return ([Catcher(name, command) for name, command in tests.items()] +
            [Catcher("tsan:" + name, command) for name, command in tsan.items()])


# ---- one look -----------------------------------------------------------------------------------

def quiet():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command, env, limit, enough):
    """Run it in a folder of its own until it ends, its time is over, or `enough` matches a line.
    Returns its status (None: it did not end) and its output."""
    with tempfile.TemporaryDirectory() as cwd:
        child = subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                                 errors="replace", start_new_session=True, preexec_fn=quiet)
        late = threading.Event()

        def stop():
            try:
                os.killpg(child.pid, signal.SIGKILL)  # with the processes that it started
            except ProcessLookupError:
                pass

        timer = threading.Timer(limit, lambda: (late.set(), stop()))
        timer.start()
        said, seen = [], False
        for line in child.stdout:
            said.append(line)
            if enough and re.match(enough, line):
                seen = True
                break
        if not seen:
            child.wait()
        timer.cancel()
        stop()
        child.wait()
        child.stdout.close()
    rc = 1 if seen else None if late.is_set() else child.returncode
    return rc, "".join(said)


def look(catcher, animal, limit):
    """Run a catcher with this animal let out (None: with none)."""
    env = dict(os.environ, KP_ZOO=animal.name if animal else "0")
    env["TSAN_OPTIONS"] = "halt_on_error=1 exitcode=66 " + env.get("TSAN_OPTIONS", "")
    explores = catcher.family == "explore"
    began = time.monotonic()
    rc, text = run(catcher.command, env, limit, r"FAILED .*: \d+ executions" if explores else None)
    if rc == NOT_RUN:
        sys.exit(f"{catcher.name} could not run:\n{text}")
    schedules = None
    if explores:
        schedules = sum(map(int, re.findall(r": (\d+) executions", text)))
    return Catch(catcher, reason(rc, text), time.monotonic() - began, schedules)


def reason(rc, text):
    """Why a run failed, in a few words; '' if it did not."""
    if rc == 0:
        return ""
    if rc is None:
        return "does not end"
    explored = re.search(r"^FAILED (.*)\n  (.*)", text, re.M)
    if explored:
        return f"{explored.group(1)}: {explored.group(2)}"
    for line in text.split("\n"):
        for sign in ("broken invariant:", "ThreadSanitizer:", "deadlock", "the pool and the model"):
            if sign in line:
                return re.sub(r" \(pid=.*", "", line[line.index(sign):])
        if line.startswith("[  FAILED  ]") and "test(s)" not in line:
            return line[12:].strip()
    return signal.Signals(-rc).name if rc < 0 else f"exit {rc}"
