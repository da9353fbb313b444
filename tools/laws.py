#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fills in which tests attack which law, in docs/LAWS.md, from the tests that cite the law.

    tools/laws.py [--check]

With --check it writes nothing, and exits with 1 if the page is not what it would write.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "docs/LAWS.md"


def citations(root):
    """{"L1": [path, ...]} of the tests and benches that cite a law."""
    found = {}
    for folder in ("tests", "bench"):
        for where, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                path = os.path.join(where, name)
                if not name.endswith((".c", ".h")):
                    continue
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                for law in set(re.findall(r"\bL(?:1[0-2]|[1-9])\b", text)):
                    found.setdefault(law, []).append(os.path.relpath(path, root))
    return found


def line_of(paths):
    if not paths:
        return "Attacked by: no test cites it yet."
    links = ("[%s](../%s)" % (re.sub(r"^tests/|\.c$", "", path), path) for path in sorted(paths))
    return "Attacked by: " + ", ".join(links)


def page(root):
    """(what the page says, what it should say)"""
    with open(os.path.join(root, PAGE), encoding="utf-8") as file:
        text = file.read()
    found = citations(root)
    parts = re.split(r"^(## (L\d+) .*)$", text, flags=re.M)
    out = [parts[0]]
    for heading, law, body in zip(parts[1::3], parts[2::3], parts[3::3]):
        out += [heading, re.sub(r"^Attacked by:.*$", lambda _: line_of(found.get(law)), body,
                                flags=re.M)]
    return text, "".join(out)


def main():
    text, wanted = page(ROOT)
    if "--check" in sys.argv[1:]:
        return 0 if text == wanted else 1
    with open(os.path.join(ROOT, PAGE), "w", encoding="utf-8") as file:
        file.write(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
