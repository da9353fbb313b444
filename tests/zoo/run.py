#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Let out one bug of the zoo after the other and see which tests catch it.

Builds src/ once with every bug as a switch (build.py), and against it the tests, the model and the
explorer (the catchers), without KP_VERIFY. Then, for each bug (animal), they are run in order until
one fails, crashes, reports a deadlock or does not end. A catcher that fails with no bug let out is
not used. The last line is {"zoo": animals, "zoo_caught": animals caught, ...}; the exit status is 0
if all were caught and no catcher was left out.

    tests/zoo/run.py [--build DIR] [--jobs N] [--only NAME,...] [--catcher TEXT] [--without TEXT]
                     [--families] [--table FILE] [--verify] [--learn]

--catcher   only tests whose name contains TEXT; --without: only the others
--families  each family (the explorer, the model, the tests) runs until one of it has caught it
--table     write to FILE, as Markdown, which catchers caught which animal
--verify    build with KP_VERIFY=1: the library checks its invariants at each step
--learn     write into zoo.txt which catcher caught each animal, to run it first next time (`try`)
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import sys
import time

import build
import catchers as c

FAMILIES = ["tests", "model", "explore"]


def ready(catcher):
    """Does it pass with no animal let out? Tried once, which also measures how long it takes."""
    with catcher.lock:
        if catcher.seconds is None:
            catch = c.look(catcher, None, 120)
            catcher.seconds, catcher.broken = catch.seconds, bool(catch.why)
            if catch.why:
                print(f"with nothing let out, {catcher.name} fails: {catch.why}", flush=True)
        return not catcher.broken


def in_order(animal, catchers):
    first = animal.words.get("try", "").split()
    return ([x for name in first for x in catchers if x.name == name] +
            [x for x in catchers if x.name not in first])


def hunt(animal, catchers):
    """The first catch or None, and how long it took."""
    asked = 0.0
    for catcher in in_order(animal, catchers):
        if not ready(catcher):
            continue
        catch = c.look(catcher, animal, catcher.limit())
        asked += catch.seconds
        if catch.why:
            return catch, asked
    return None, asked


def hunt_all(animals, catchers, jobs):
    """{name: (catch, seconds)}."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        found = pool.map(lambda animal: hunt(animal, catchers), animals)
        return {animal.name: what for animal, what in zip(animals, found)}


# ---- telling ------------------------------------------------------------------------------------

def who(catch):
    after = f" after {catch.schedules} schedules" if catch.schedules else ""
    return f"{catch.catcher.name}{after}: {catch.why}"


def tell(animals, results):
    print(f"{'animal':<38} {'seen after':>10}  caught by")
    for animal in animals:
        catch, asked = results[animal.name]
        said = who(catch)[:110] if catch else f"NOBODY ({animal.words['peer']})"
        print(f"{animal.name:<38} {asked:8.1f} s  {said}")


def table(path, animals, by_family):
    """One line for each animal, a column for each family; empty: that family did not catch it."""
    lines = ["| animal | class | who had it | " + " | ".join(by_family) + " |",
             "|---" * (3 + len(by_family)) + "|"]
    for animal in animals:
        cells = [animal.name, animal.words["class"], animal.words["peer"]]
        for results in by_family.values():
            catch = results[animal.name][0]
            schedules = f", {catch.schedules} schedules" if catch and catch.schedules else ""
            cells.append(catch.catcher.name + schedules if catch else "")
        lines.append("| " + " | ".join(cells) + " |")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def learn(results, path=build.HERE / "zoo.txt"):
    """The catcher that caught an animal is run first next time."""
    out, catch = [], None
    for line in path.read_text().split("\n"):
        if line.startswith("["):
            catch = results.get(line.strip("[]"), (None, 0))[0]
        if line.startswith("try ") and catch:
            continue
        out.append(line)
        if line.startswith("class ") and catch:
            out.append(f"try   {catch.catcher.name}")
    path.write_text("\n".join(out))


# ---- the command --------------------------------------------------------------------------------

def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(build.ROOT / "build/zoo"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--catcher", default="")
    parser.add_argument("--without")
    parser.add_argument("--table")
    for flag in ("--families", "--verify", "--learn"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def main():
    options, began = arguments(), time.monotonic()
    try:
        animals = build.parse()
        catchers = c.gather(pathlib.Path(options.build).resolve(), animals, options.verify,
                            options.jobs)
    except build.Wrong as why:
        sys.exit(str(why))
    if options.only:
        animals = [a for a in animals if a.name in options.only.split(",")]
    catchers = [x for x in catchers if options.catcher in x.name and
                not (options.without and options.without in x.name)]
    by_family = {"caught by": hunt_all(animals, catchers, options.jobs)} if not options.families \
        else {f: hunt_all(animals, [x for x in catchers if x.family == f], options.jobs)
              for f in FAMILIES}
    for family, results in by_family.items():
        if options.families:
            print(f"== {family}")
        tell(animals, results)
        if options.learn and family in ("caught by", "tests"):
            learn(results)
    if options.table:
        table(options.table, animals, by_family)
    caught = sum(any(r[a.name][0] for r in by_family.values()) for a in animals)
    told = {"zoo": len(animals), "zoo_caught": caught}
    if options.families:
        told.update({f: sum(bool(r[a.name][0]) for a in animals) for f, r in by_family.items()})
    print(json.dumps(dict(told, seconds=round(time.monotonic() - began, 1))))
    sys.exit(caught != len(animals) or any(x.broken for x in catchers))


if __name__ == "__main__":
    main()
