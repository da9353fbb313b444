#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Let out one bug of the zoo after the other and see who catches it.

Builds src/ once with every bug as a switch (build.py) and the tests against it, without KP_VERIFY.
First every test must pass with no bug let out. Then, for each animal, tests run in order until one
fails, crashes, reports a deadlock or does not end. The last line is
{"zoo": animals, "zoo_caught": animals caught, ...}; the result is 0 if all were caught.

    tests/zoo/run.py [--build DIR] [--jobs N] [--only NAME,...] [--catcher TEXT] [--without TEXT]
                     [--matrix FILE] [--verify] [--learn]

--catcher  only tests whose name contains TEXT; --without: only the others
--matrix   every test sees every animal; FILE gets the table of who catches whom, as JSON
--verify   build with KP_VERIFY=1: the library checks its invariants at each step
--learn    write into zoo.txt who caught each animal, to ask it first next time (`try`)
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import build

ROOT = build.ROOT
TESTS = ROOT / "tests"
NOT_RUN = 125

# Tests of one file each. `unit` and `kit` prove parts that no animal lives in, but for the lock.
FOLDERS = ["zoo", "contract", "misuse", "faults", "fairness"]
ALSO = ["unit/base_lock.c", "torture/slow.c", "torture/keys.c"]
# Tests of several files, and what they are told: enough to meet every animal they can meet.
PROGRAMS = {
    "model.agree": (["agree", "play", "stage", "model", "model_*"], ["--ops", "40000"]),
    "model.linear": (["linear", "wgl"], ["--histories", "100"]),
}
# Those with real threads are asked once more under ThreadSanitizer.
UNDER_TSAN = ["zoo.missed_order", "unit.base_lock", "torture.slow", "torture.keys"]


class Catcher:
    def __init__(self, name, argv, tsan=False):
        self.name, self.argv, self.tsan = name, argv, tsan
        self.seconds = 0.0  # with nothing let out

    def limit(self):
        return max(4.0, 10 * self.seconds)


class Catch:
    """What became of one run: why is '' if the catcher saw nothing."""

    def __init__(self, catcher, why, seconds):
        self.catcher, self.why, self.seconds = catcher, why, seconds


# ---- building -----------------------------------------------------------------------------------

def sh(commands, jobs):
    def one(argv):
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(" ".join(map(str, argv)) + "\n" + done.stdout + done.stderr)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, commands))


def newest(*folders):
    return max(f.stat().st_mtime for d in folders for f in d.rglob("*") if f.is_file())


def programs():
    """All tests: {name: (sources, arguments)}."""
    paths = [p for folder in FOLDERS for p in sorted((TESTS / folder).glob("*.c"))]
    paths += [TESTS / also for also in ALSO]
    skip = ("_cases", "sqlite", "apr")  # parts of other tests; other libraries' adapters
    tests = {f"{p.parent.name}.{p.stem}": ([p], []) for p in paths
             if not any(word in p.stem for word in skip)}
    for name, (stems, arguments) in PROGRAMS.items():
        folder = TESTS / name.split(".")[0]
        tests[name] = ([p for stem in stems for p in sorted(folder.glob(stem + ".c"))], arguments)
    return tests


def compile_library(out, base, stamp, jobs):
    """The zoo and the test kit; only what is older than `stamp` is made."""
    library, objects, commands = out / "libzoo.a", [], []
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


def compile_all(out, flags, jobs, names=None):
    """The zoo and the tests (names: only these) under out/; returns {name: command}."""
    cc = os.environ.get("CC", "gcc")
    stamp = max(newest(ROOT / "include", ROOT / "src", ROOT / "testkit"),
                (build.HERE / "zoo.txt").stat().st_mtime, (build.HERE / "build.py").stat().st_mtime)
    base = [cc, "-std=gnu11", "-D_GNU_SOURCE", "-w", *flags, f"-I{ROOT}/include",
            f"-I{out.parent}/src", f"-I{ROOT}/testkit"]
    out.mkdir(parents=True, exist_ok=True)
    library = compile_library(out, base, stamp, jobs)
    tests, commands = {}, []
    headers = max(p.stat().st_mtime for p in TESTS.rglob("*.h"))
    for name, (sources, arguments) in programs().items():
        if names and name not in names:
            continue
        exe = out / name
        tests[name] = [str(exe), *arguments]
        fresh = max(stamp, headers, *(p.stat().st_mtime for p in sources))
        if not exe.exists() or exe.stat().st_mtime < fresh:
            commands.append([*base, f"-I{TESTS}", *sources, "-o", exe, library,
                             "-lcmocka", "-pthread", "-lm"])
    sh(commands, jobs)
    return tests


# ---- one run ------------------------------------------------------------------------------------

def quiet():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def look(catcher, animal, limit):
    """Run a catcher with this animal let out (None: with none)."""
    env = dict(os.environ, KP_ZOO=animal.name if animal else "0")
    if catcher.tsan:
        env["TSAN_OPTIONS"] = "halt_on_error=1 exitcode=66 " + env.get("TSAN_OPTIONS", "")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as cwd, tempfile.TemporaryFile() as log:
        child = subprocess.Popen(catcher.argv, env=env, cwd=cwd, stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL, start_new_session=True,
                                 preexec_fn=quiet)
        try:
            rc = child.wait(limit)
        except subprocess.TimeoutExpired:
            rc = None
        try:
            os.killpg(child.pid, signal.SIGKILL)  # it and what it has started
        except ProcessLookupError:
            pass
        child.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
    if rc == NOT_RUN:
        sys.exit(f"{catcher.name} could not run:\n{text}")
    return Catch(catcher, reason(rc, text), time.monotonic() - began)


def reason(rc, text):
    """Why a run failed, in a few words; '' if it did not."""
    if rc == 0:
        return ""
    if rc is None:
        return "does not end"
    for line in text.split("\n"):
        for sign in ("broken invariant:", "WARNING: ThreadSanitizer:", "deadlock"):
            if sign in line:
                return line[line.index(sign):][:60].replace("WARNING: ", "")
        if line.startswith("[  FAILED  ]") and "test(s)" not in line:
            return line[12:].strip()[:90]
    return signal.Signals(-rc).name if rc < 0 else f"exit {rc}"


# ---- the hunt -----------------------------------------------------------------------------------

def in_order(animal, catchers):
    first = animal.words.get("try", "").split()
    return ([c for name in first for c in catchers if c.name == name] +
            [c for c in catchers if c.name not in first])


def hunt(animal, catchers, everybody):
    """All catches of an animal (everybody), or the first."""
    catches, asked = [], 0.0
    for catcher in in_order(animal, catchers):
        catch = look(catcher, animal, catcher.limit())
        asked += catch.seconds
        if catch.why:
            catches.append(catch)
            if not everybody:
                break
    return catches, asked


def baseline(catchers, jobs):
    """Nothing let out: everybody must be content. Learns how long each takes."""
    def one(catcher):
        catch = look(catcher, None, 120)
        catcher.seconds = catch.seconds
        return catch

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        bad = [c for c in pool.map(one, catchers) if c.why]
    for catch in bad:
        print(f"with nothing let out, {catch.catcher.name} fails: {catch.why}")
    if bad:
        sys.exit(1)
    catchers.sort(key=lambda c: c.seconds)


def gather(options):
    """Build, and return the catchers."""
    out = pathlib.Path(options.build).resolve()
    animals = build.parse()
    if not (out / "src").exists() or (out / "src").stat().st_mtime < newest(
            ROOT / "src", build.HERE):
        build.write(out, animals)
    flags = ["-O1", "-g"] + (["-DKP_VERIFY=1"] if options.verify else [])
    plain = compile_all(out / ("verify" if options.verify else "plain"), flags, options.jobs)
    flags = ["-O1", "-g", "-fsanitize=thread"]
    tsan = compile_all(out / "tsan", flags, options.jobs, UNDER_TSAN)
    catchers = [Catcher(name, command) for name, command in plain.items()]
    catchers += [Catcher("tsan:" + name, command, tsan=True) for name, command in tsan.items()]
    return animals, [c for c in catchers if options.catcher in c.name and
                     not (options.without and options.without in c.name)]


def table(animals, results):
    print(f"{'animal':<38} {'seen after':>10}  caught by")
    for animal in animals:
        catches, asked = results[animal.name]
        if catches:
            catch = catches[0]
            print(f"{animal.name:<38} {asked:8.1f} s  {catch.catcher.name}: {catch.why}")
        else:
            print(f"{animal.name:<38} {asked:8.1f} s  NOBODY ({animal.words['peer']})")


def learn(results, path=build.HERE / "zoo.txt"):
    """Who caught it is asked first next time."""
    out, name = [], ""
    for line in path.read_text().split("\n"):
        if line.startswith("["):
            name = line.strip("[]")
        if line.startswith("try ") and results.get(name, ([],))[0]:
            continue
        out.append(line)
        if line.startswith("class ") and results.get(name, ([],))[0]:
            out.append(f"try   {results[name][0][0].catcher.name}")
    path.write_text("\n".join(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build/zoo"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--matrix")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--catcher", default="")
    parser.add_argument("--without")
    parser.add_argument("--learn", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    try:
        animals, catchers = gather(options)
    except build.Wrong as why:
        sys.exit(str(why))
    if options.only:
        animals = [a for a in animals if a.name in options.only.split(",")]
    baseline(catchers, options.jobs)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        found = pool.map(lambda a: hunt(a, catchers, bool(options.matrix)), animals)
        results = dict(zip([a.name for a in animals], found))
    table(animals, results)
    if options.learn:
        learn(results)
    caught = sum(1 for catches, _ in results.values() if catches)
    if options.matrix:
        who = {name: {c.catcher.name: c.why for c in catches}
               for name, (catches, _) in results.items()}
        pathlib.Path(options.matrix).write_text(json.dumps(who, indent=1) + "\n")
    print(json.dumps({"zoo": len(animals), "zoo_caught": caught,
                      "seconds": round(time.monotonic() - began, 1)}))
    sys.exit(0 if caught == len(animals) else 1)


if __name__ == "__main__":
    main()
