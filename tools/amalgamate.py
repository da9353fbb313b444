#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the library as two files that a program can drop in: keyedpool.c and keyedpool.h.

    tools/amalgamate.py [--out build/amalgamation]

Headers are put where they are first included. Names that are private to one source file (of
`static` functions and variables, and of its own types and macros) are renamed, or undefined, where
they would clash with those of another file.
"""
import argparse
import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lint_format import code_only  # noqa: E402

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"].*$', re.M)
MEMBER_OF = re.compile(r"\b(?:KP__OF|offsetof)\((?:[^()]|\([^()]*\))*,$")
HEAD = """/* SPDX-License-Identifier: MIT
 *
 * %s
 * Made by tools/amalgamate.py of keyedpool %s; change the sources, not this file.
 */
"""


class Amalgamation:
    def __init__(self, root):
        self.root = root
        self.done = set()

    def find(self, path, name):
        for folder in (os.path.dirname(path), "include", "src"):
            found = os.path.normpath(os.path.join(folder, name))
            if os.path.exists(os.path.join(self.root, found)):
                return found
        return None

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    def flatten(self, path, text=None):
        """The text of a file with our own headers inserted, each once."""
        self.done.add(path)
        text = self.read(path) if text is None else text

        def put_in(match):
            found = self.find(path, match[2])
            if found is None:
                return match[0]
            if found in self.done:
                return ""
            return self.flatten(found)

        text = INCLUDE.sub(put_in, text)
        return "\n/* ---- %s %s */\n\n%s" % (path, "-" * max(3, 88 - len(path)), text.strip("\n"))


def declared(declaration):
    """The names that are declared in `int f(int x)`, `int (*f)(int x)`, `int a[2], *b`."""
    pointer = re.match(r"[^(]*\(\s*\*\s*(\w+)", declaration)
    if pointer:
        return {pointer[1]}
    function = re.match(r"[^(]*?(\w+)\s*\(", declaration)
    if function:
        return {function[1]}
    plain = re.sub(r"\[[^]]*\]", "", declaration)
    return {part.split()[-1].strip("*") for part in plain.split(",") if part.split()}


def private_names(text):
    """The names that a source file defines only for itself: functions, variables, constants, types,
    and tags, the latter as "struct x"."""
    code = re.sub(r"\b_Atomic\([^)]*\)", "int", code_only(text))
    names = set()
    for declaration in re.findall(r"^static\b([^;={]*)", code, re.M):
        names |= declared(declaration)
    names |= set("struct " + tag for tag in re.findall(
        r"^(?:static |const |typedef )*(?:struct|enum|union) (\w+)\s*\{", code, re.M))
    names |= set(re.findall(r"^\}\s*(\w+);", code, re.M))
    for body in re.findall(r"^(?:typedef )?enum\b[^{;(]*\{([^}]*)\}", code, re.M):
        names |= set(re.findall(r"(?:^|,)\s*(\w+)", body))
    return names


def rename(text, names, suffix):
    """Rename identifiers, but not members (.x, ->x) and not in comments and strings."""
    code = code_only(text)
    out, at = [], 0
    for match in re.finditer(r"[A-Za-z_]\w*", code):
        before = code[max(0, match.start() - 200):match.start()].rstrip()
        tag = re.search(r"\b(?:struct|enum|union)$", before)
        if ("struct " if tag else "") + match[0] not in names:
            continue
        if MEMBER_OF.search(before):
            continue
        if before.endswith("->") or (before.endswith(".") and not before.endswith("...")):
            continue
        out += [text[at:match.start()], match[0] + suffix]
        at = match.end()
    return "".join(out) + text[at:]


def macros(text):
    """The macros that it defines, except names of the compiler, which stay: such a name is defined
    only where the compiler lacks it."""
    return re.findall(r"^[ \t]*#[ \t]*define[ \t]+(?!__)(\w+)", text, re.M)


def sources(root):
    paths = []
    for room in ("base", "core", "flow"):
        paths += sorted(glob.glob(os.path.join(root, "src", room, "*.c")))
    return [os.path.relpath(path, root) for path in paths]


def write(folder, name, text):
    text = re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description="Write keyedpool.c and keyedpool.h.")
    parser.add_argument("--out", default=os.path.join(root, "build", "amalgamation"))
    out = parser.parse_args().out
    os.makedirs(out, exist_ok=True)

    version = ".".join(re.findall(r"#define KP_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)",
                                  Amalgamation(root).read("include/keyedpool/words.h")))
    header = Amalgamation(root)
    write(out, "keyedpool.h", HEAD % ("keyedpool: the public header.", version)
          + header.flatten("include/keyedpool.h"))

    body = Amalgamation(root)
    body.done = set(header.done)
    paths = sources(root)
    texts = {path: body.read(path) for path in paths}
    users = {}
    for path in paths:
        for word in set(re.findall(r"\w+", code_only(texts[path]))):
            users[word] = users.get(word, 0) + 1
    parts = [HEAD % ("keyedpool: the library. cc -I. keyedpool.c app.c -pthread", version),
             "#ifndef _GNU_SOURCE\n#define _GNU_SOURCE\n#endif\n"
             "#ifdef __clang__         /* what was in a header may be unused */\n"
             "#pragma clang diagnostic ignored \"-Wunused-function\"\n"
             "#pragma clang diagnostic ignored \"-Wunneeded-internal-declaration\"\n"
             "#endif\n#include \"keyedpool.h\"\n"]
    for path in paths:
        clashes = {name for name in private_names(texts[path]) if users[name.split()[-1]] > 1}
        suffix = "__" + os.path.basename(path)[:-2]
        text = rename(texts[path], clashes, suffix)
        flat = body.flatten(path, text)
        ends = sorted(set(macros(text)) - {"_GNU_SOURCE"})
        parts += [flat, ""] + ["#undef %s" % name for name in ends]
    write(out, "keyedpool.c", "\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
