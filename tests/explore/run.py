#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make explore: the explorer, the model and the zoo, as for each commit; or for a night.

    tests/explore/run.py [--build DIR] [--jobs N] [--night] [--seed N] [--skip model,zoo]

The explorer: its own canaries must be caught; then every scenario is searched to its end or to a
limit, first sequentially consistent, then with C11's weak memory; then the mixes at random; then
the same scenarios run on real threads under ThreadSanitizer. The model: random operations and
histories of real threads must agree with it. The zoo: bugs of real pools are put into the library
one by one, and each must be caught. The last line is
{"complete": scenarios, "schedules": n, "zoo": n, "zoo_caught": n, "seconds": t}; "complete" counts
the scenarios searched to their end both ways. The exit status is 0 if nothing failed.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PARTS = 8               # of a search: more than there are jobs, so that all jobs end together
RANDOM = ["random", "pct", "starve"]

# Limits on the executions of one scenario: an exhaustive search that needs more stays incomplete.
COMMIT = {"limit": 2600, "lanes": 500, "homes": 1500, "random": 980, "ops": 2000000,
          "histories": 500, "bound": 0, "rounds": 3}
NIGHT = {"limit": 1000000, "lanes": 1000000, "homes": 1000000, "random": 60000,
         "ops": 200000000, "histories": 20000, "bound": 3, "rounds": 200}
LEAST_COMPLETE = 60


def say(text):
    print(text, flush=True)


def build_explorer(folder):
    subprocess.run([HERE / "build.sh", folder], check=True)
    return folder / "explore"


class Search:
    """One way to search, split into parts."""

    def __init__(self, name, *options, exhaustive=False, **env):
        self.name, self.options, self.exhaustive = name, list(options), exhaustive
        self.env = dict(os.environ, **env)
        self.complete, self.sums, self.output = set(), [], []

    def run(self, explorer, part):
        argv = [explorer, *self.options, "--json", "--part", f"{part}/{PARTS}"]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=self.env)
        lines = done.stdout.rstrip("\n").split("\n")
        try:
            total = json.loads(lines.pop())
        except (ValueError, IndexError):
            total = {"failed": 1, "schedules": 0, "seconds": 0, "incomplete": 0}
            lines.append(f"the explorer ended with {done.returncode}: {argv}")
        return lines, total

    def take(self, result):
        lines, total = result
        self.sums.append(total)
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "COMPLETE":
                self.complete.add(rest.rsplit(": ", 1)[0])
            elif word not in ("CAUGHT", "PART", "ran"):
                self.output.append(line)

    def sum(self, what):
        return sum(s.get(what, 0) for s in self.sums)

    def report(self):
        for line in self.output:
            say(line)
        text = f"{self.sum('schedules')} executions, {self.sum('seconds'):.1f} s"
        if self.exhaustive:
            text = f"{len(self.complete)} complete, {self.sum('incomplete')} not, {text}"
        say(f"== explore {self.name}: {self.sum('failed')} failed, {text}")


def searches(plan, seed, night):
    limit = ["--count", str(plan["limit"])]
    yield Search("canaries", "--group", "canary", "--weak")
    yield Search("sequentially consistent", *limit, exhaustive=True)
    yield Search("C11-weak", "--weak", *limit, exhaustive=True)
    # with hits without the lock wherever that is possible (src/core/lane.h)
    some = ["--count", str(plan["lanes"])]
    yield Search("with lanes, sequentially consistent", *some, exhaustive=True, KP_LANES="2")
    yield Search("with lanes, C11-weak", "--weak", *some, exhaustive=True, KP_LANES="2")
    # and with hits without an atomic operation (src/base/home.h)
    homes = ["--group", "homes", "--count", str(plan["homes"])]
    yield Search("homes, sequentially consistent", *homes, exhaustive=True)
    yield Search("homes, C11-weak", "--weak", *homes, exhaustive=True)
    if night:
        yield Search("with homes, sequentially consistent", *some, exhaustive=True, KP_HOMES="2")
        yield Search("with homes, C11-weak", "--weak", *some, exhaustive=True, KP_HOMES="2")
        yield Search("two faults", "--group", "faults", "--faults", "2", *limit, exhaustive=True)
        yield Search("preemption-bounded mixes", "--group", "mixes", "--mode", "bound", "--bound",
                     str(plan["bound"]), *limit)
    for mode in RANDOM:
        options = ["--group", "mixes", "--mode", mode, "--count", str(plan["random"])]
        yield Search(mode, *options, "--seed", str(seed), "--quiet")
        yield Search(f"{mode}, weak, faults", *options, "--weak", "--faults", "2", "--seed",
                     str(seed + 500000), "--quiet")


def explore(options, plan):
    explorer = build_explorer(pathlib.Path(options.build) / "explore")
    say(f"== explore: seeds from {options.seed}")
    found = list(searches(plan, options.seed, options.night))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = [(s, [pool.submit(s.run, explorer, i) for i in range(PARTS)]) for s in found]
        for search, parts in jobs:
            for part in parts:
                search.take(part.result())
            search.report()
    exhaustive = [s.complete for s in found[1:3]]
    complete = len(exhaustive[0] & exhaustive[1])
    failed = sum(s.sum("failed") for s in found)
    if complete < LEAST_COMPLETE:
        say(f"== explore: only {complete} scenarios were searched to their end")
        failed += 1
    random = sum(s.sum("schedules") for s in found if not s.exhaustive and s is not found[0])
    return complete, random, failed


def real(options, plan):
    """The same scenarios on real threads, under ThreadSanitizer."""
    folder = pathlib.Path(options.build) / "explore"
    subprocess.run([HERE / "build.sh", folder, "real"], check=True)
    began = time.monotonic()
    done = subprocess.run([folder / "explore-real", str(plan["rounds"])], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = done.stdout.rstrip("\n").split("\n")
    if done.returncode != 0:
        say(done.stdout)
    say(f"== explore real: {lines[-1]}, {time.monotonic() - began:.1f} s")
    return int(done.returncode != 0)


def model(options, plan):
    """Random operation sequences, and histories of real threads, against the model."""
    if not (ROOT / "tests/model").is_dir():
        return 0
    folder = pathlib.Path(options.build) / "release"
    targets = ["test-model-agree", "test-model-linear"]
    quiet = subprocess.DEVNULL
    subprocess.run([ROOT / "tools/configure.sh", "release"], check=True, cwd=ROOT, stdout=quiet)
    subprocess.run(["cmake", "--build", folder, "-j", str(options.jobs), "--target", *targets],
                   check=True, cwd=ROOT, stdout=quiet)
    failed = 0
    for name, what in (("agree", "ops"), ("linear", "histories")):
        program = next(folder.rglob(f"test-model-{name}"))
        began = time.monotonic()
        done = subprocess.run([program, f"--{what}", str(plan[what])])
        failed += done.returncode != 0
        say(f"== model {name}: {plan[what]} {what}, {time.monotonic() - began:.1f} s")
    return failed


def zoo(options):
    if not (ROOT / "tests/zoo/run.py").exists():
        return {"zoo": 0, "zoo_caught": 0}
    argv = [ROOT / "tests/zoo/run.py", "--jobs", str(options.jobs), "--build",
            pathlib.Path(options.build) / "zoo"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.rstrip("\n").split("\n")
    try:
        found = json.loads(lines[-1])
    except ValueError:
        found = {"zoo": 1, "zoo_caught": 0}
    if done.returncode != 0:
        say(done.stdout)
    say(f"== zoo: {found['zoo_caught']} of {found['zoo']} caught, {found.get('seconds', 0)} s")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--night", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()) * 1000000)
    parser.add_argument("--skip", default="", help="model, zoo")
    options = parser.parse_args()
    skip = options.skip.split(",")
    plan = NIGHT if options.night else COMMIT
    began = time.monotonic()
    complete, schedules, failed = explore(options, plan)
    failed += real(options, plan)
    if "model" not in skip:
        failed += model(options, plan)
    animals = {"zoo": 0, "zoo_caught": 0} if "zoo" in skip else zoo(options)
    failed += animals["zoo"] - animals["zoo_caught"]
    print(json.dumps({"complete": complete, "schedules": schedules, "zoo": animals["zoo"],
                      "zoo_caught": animals["zoo_caught"],
                      "seconds": round(time.monotonic() - began, 1)}))
    sys.exit(0 if failed == 0 else 1)


if __name__ == "__main__":
    main()
