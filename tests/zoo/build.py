#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The zoo's sources: a copy of src/ in which every bug of zoo.txt is a switch.

Each original text must be found exactly once in its function, or this fails: so the zoo must be
kept up to date with the code. The text becomes `(kp__zoo == N ? (bug) : (original))`, or for
statements `{ if (kp__zoo == N) { bug } else { original } }`. With kp__zoo 0 the copy does what src/
does. The copy has one more file, base/zoo.c, which sets kp__zoo from the environment (KP_ZOO, a
name or a number) before main.

    tests/zoo/build.py OUT [--check]    write OUT/src; print how many animals (bugs) there are
                                        --check: they must compile, too (CC)
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

ZOO_C = """\
/* Made by tests/zoo/build.py. Which bug is let out: KP_ZOO, a name of zoo.txt or its number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int kp__zoo;
const void *kp__zoo_note; /* what a bug has to remember */

static const char *const names[] = {{ "", {names} }};

#if defined __GNUC__
__attribute__((constructor, no_sanitize("thread")))
#endif
static void let_out(void)
{{
    const char *name = getenv("KP_ZOO");
    int count = (int)(sizeof names / sizeof *names);

    if (!name || !*name) return;
    kp__zoo = atoi(name);
    for (int i = 1; i < count; i++)
        if (strcmp(name, names[i]) == 0) kp__zoo = i;
    if (kp__zoo > 0 && kp__zoo < count) return;
    if (kp__zoo == 0 && strcmp(name, "0") == 0) return;
    fprintf(stderr, "KP_ZOO=%s: no such animal\\n", name);
    _Exit(125);
}}
"""


class Edit:
    """One text in one file, and what the bug replaces it by."""

    def __init__(self, path, function, line):
        self.path, self.function, self.line = path, function, line
        self.original, self.bug = [], []


class Animal:
    def __init__(self, name, line):
        self.name, self.line = name, line
        self.words = {}
        self.edits = []
        self.number = 0


class Wrong(Exception):
    pass


def parse(path=HERE / "zoo.txt"):
    animals = []
    for n, text in enumerate(path.read_text().split("\n"), 1):
        if not text.strip() or text.startswith("#"):
            continue
        head = re.fullmatch(r"\[([a-z0-9-]+)\]", text)
        if head:
            animals.append(Animal(head.group(1), n))
            continue
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        if not animals:
            raise Wrong(f"{path.name}:{n}: before the first animal")
        animal = animals[-1]
        if word == "in":
            animal.edits.append(Edit(*(rest.split() + [""])[:2], n))
        elif word in ("-", "+") and animal.edits:
            edit = animal.edits[-1]
            (edit.original if word == "-" else edit.bug).append(rest)
        elif word in ("peer", "class", "what", "try"):
            animal.words[word] = (animal.words.get(word, "") + " " + rest).strip()
        else:
            raise Wrong(f"{path.name}:{n}: what is '{word}'?")
    for number, animal in enumerate(animals, 1):
        animal.number = number
        for word in ("peer", "class", "what"):
            if word not in animal.words:
                raise Wrong(f"{path.name}:{animal.line}: {animal.name} has no '{word}'")
        if not animal.edits or not all(e.original for e in animal.edits):
            raise Wrong(f"{path.name}:{animal.line}: {animal.name} changes nothing")
    if len({a.name for a in animals}) != len(animals):
        raise Wrong(f"{path.name}: two animals have the same name")
    return animals


# ---- where a text is --------------------------------------------------------------------------

def body_of(source, function):
    """The begin and end of a function's definition; of the whole file if none is named."""
    if not function:
        return 0, len(source)
    for match in re.finditer(rf"^(?![\s#/]).*\b{re.escape(function)}\(", source, re.M):
        end = re.compile(r"[;{]").search(source, match.end())
        if end and end.group() == "{":
            return match.start(), source.index("\n}\n", match.start()) + 2
    raise Wrong(f"there is no function {function}")


def span_of(source, edit):
    start, end = body_of(source, edit.function)
    words = " ".join(edit.original).split()
    gap = r"(?:\s|/\*.*?\*/)+"  # comments are ignored like white space
    pattern = re.compile(r"(?<!\w)" + gap.join(map(re.escape, words)), re.S)
    found = list(pattern.finditer(source, start, end))
    if len(found) != 1 or source[found[0].end() - 1:found[0].end() + 1].isidentifier():
        where = f"{edit.path} {edit.function}".strip()
        raise Wrong(f"found {len(found)} times in {where}: {' '.join(words)}")
    return found[0].span()


# ---- the switches -----------------------------------------------------------------------------

def switch(original, bugs):
    """bugs: (number, text), outermost last."""
    statement = original.rstrip().endswith((";", "}"))
    for number, bug in bugs:
        if statement:
            original = f"{{ if (kp__zoo == {number}) {{ {bug} }} else {{ {original} }} }}"
        else:
            original = f"(kp__zoo == {number} ? ({bug}) : ({original}))"
    return original


def rewrite(source, places):
    """places: {(from, to): [(number, bug)]}; two places are nested or do not overlap."""
    out, at = "", 0
    spans = sorted(places, key=lambda s: (s[0], -s[1]))
    while spans:
        start, end = spans.pop(0)
        inner = {}
        while spans and spans[0][0] < end:
            s = spans.pop(0)
            if s[1] > end:
                raise Wrong(f"two texts overlap: {source[s[0]:end]}")
            inner[(s[0] - start, s[1] - start)] = places[s]
        text = rewrite(source[start:end], inner)
        out += source[at:start] + switch(text, places[(start, end)])
        at = end
    return out + source[at:]


def write(out, animals, root=ROOT):
    """Write out/src. Raises Wrong with one line for each text that does not fit."""
    src = pathlib.Path(out) / "src"
    files, wrong = {}, []
    for animal in animals:
        for edit in animal.edits:
            try:
                path = root / edit.path
                source = path.read_text()
                places = files.setdefault(edit.path, {})
                bug = (animal.number, " ".join(edit.bug))
                places.setdefault(span_of(source, edit), []).append(bug)
            except (Wrong, OSError) as why:
                wrong.append(f"zoo.txt:{edit.line}: {animal.name}: {why}")
    if wrong:
        raise Wrong("\n".join(wrong))
    shutil.rmtree(src, ignore_errors=True)
    shutil.copytree(root / "src", src)
    for path, places in files.items():
        text = rewrite((root / path).read_text(), places)
        extern = "extern int kp__zoo;\nextern const void *kp__zoo_note;\n"
        (src.parent / path).write_text(extern + text)
    names = ", ".join(f'"{a.name}"' for a in animals)
    (src / "base/zoo.c").write_text(ZOO_C.format(names=names))


def check(out):
    """Does it compile?"""
    cc = os.environ.get("CC", "gcc").split()
    for path in sorted((pathlib.Path(out) / "src").rglob("*.c")):
        flags = ["-std=c11", "-D_GNU_SOURCE", "-DKP_BUILD", "-w", "-fsyntax-only"]
        done = subprocess.run([*cc, *flags, f"-I{ROOT}/include", f"-I{out}/src", path],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise Wrong(done.stderr)


def main():
    if len(sys.argv) < 2 or sys.argv[1][:1] == "-" or sys.argv[2:] not in ([], ["--check"]):
        sys.exit(__doc__)
    try:
        animals = parse()
        write(sys.argv[1], animals)
        if sys.argv[2:]:
            check(sys.argv[1])
    except Wrong as why:
        sys.exit(str(why))
    print(f"{len(animals)} animals")


if __name__ == "__main__":
    main()
