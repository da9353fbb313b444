#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The house rules that a program can check. `make lint` runs it; CONTRIBUTING.md explains them.

    tools/lint.py [--root FOLDER] [--build BUILD_FOLDER] [--list]

Prints one line per finding (file:line: [rule] what) and exits with 1 if there is any. The rules
`exports` and `names` look at the libraries in BUILD_FOLDER and are left out without it.

A finding is allowed by a comment that gives the reason, on the line, on the line before, within the
function (rule function) or anywhere in the file (rules file, spdx, purpose):

    lint: allow RULE because REASON
"""
import argparse
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import laws  # noqa: E402
import lint_contracts  # noqa: E402
import lint_format  # noqa: E402
import lint_text  # noqa: E402
from lint_tree import Tree  # noqa: E402

RULES = {
    "layers": "includes point down, as in tools/layers.txt",
    "function": "a function has at most 60 lines",
    "brace": "the opening brace of a function is on a line of its own",
    "file": "a file has at most 500 lines",
    "columns": "a line has at most 100 columns",
    "spaces": "no tabs, no spaces at the end of a line, one newline at the end of the file",
    "spdx": "a file begins with its licence",
    "purpose": "a source file says in its first comment what it is for",
    "todo": "nothing is left for later in a comment",
    "sleep": "a test never sleeps",
    "contract": "a public function has the seven fields, in order",
    "errors": "every error code is mentioned in a test",
    "tested": "every public function is used in a test or an example",
    "options": "every option is in docs/OPTIONS.md",
    "stats": "every counter is in docs/STATS.md",
    "laws": "docs/LAWS.md names the tests that cite a law, as tools/laws.py finds them",
    "links": "a link in a document leads to a file that exists",
    "exports": "a shared library exports what tools/exports.txt lists, and nothing else",
    "names": "a symbol of the library begins with kp_ (public) or kp__ (private)",
    "format": "spacing, stars, else and indentation as everywhere else",
    "allow": "an exception names a rule and gives its reason",
}


def nm(arguments):
    out = subprocess.run(["nm", "--defined-only", *arguments], check=True, capture_output=True,
                         text=True).stdout
    fields = [line.split() for line in out.splitlines()]
    return [f for f in fields if len(f) == 3 and f[1].isalpha()]


def listed_exports(tree):
    """{library: {name: line}} and {library: [nodes]} of tools/exports.txt."""
    names, nodes, library = {}, {}, None
    for number, line in enumerate(tree.lines("tools/exports.txt"), 1):
        head = re.match(r"\[(\S+) (\S+)\]$", line)
        if head:
            library = head[1]
            names.setdefault(library, {})
            nodes.setdefault(library, []).append(head[2])
        elif line and not line.startswith("#"):
            names[library][line] = number
    return names, nodes


def check_exports(tree, build):
    names, nodes = listed_exports(tree)
    for library, wanted in names.items():
        path = os.path.join(build, "lib%s.so" % library)
        if not os.path.exists(path):
            if library == "keyedpool":
                tree.report("tools/exports.txt", 1, "exports", "no %s to compare with" % path)
            continue
        found = {f[2].split("@")[0] for f in nm(["-D", path])} - set(nodes[library])
        found = {name for name in found if not name.startswith("__")}     # coverage's, sanitizers'
        for name in sorted(found - set(wanted)):
            tree.report("tools/exports.txt", 1, "exports",
                        "%s is exported by lib%s.so but not listed" % (name, library))
        for name in sorted(set(wanted) - found):
            tree.report("tools/exports.txt", wanted[name], "exports",
                        "%s is listed but lib%s.so does not export it" % (name, library))


def check_names(tree, build):
    path = os.path.join(build, "libkeyedpool.a")
    if not os.path.exists(path):
        return
    for _, kind, name in nm([path]):
        if kind.isupper() and not name.startswith(("kp_", "__", "_", "DW.ref.")):
            tree.report("src", 0, "names", "%s is visible across files without kp__" % name)


def check_laws(tree):
    if tree.exists(laws.PAGE):
        text, wanted = laws.page(tree.root)
        if text != wanted:
            tree.report(laws.PAGE, 1, "laws", "out of date; tools/laws.py brings it up to date")


def lint(root, build=None, only=None):
    """All findings, as (path, line, rule, text), sorted."""
    tree = Tree(root, RULES)
    wanted = set(only or RULES)
    checks = lint_text.CHECKS + lint_format.CHECKS + lint_contracts.CHECKS
    for rules, check in checks + [({"laws"}, check_laws)]:
        if rules & wanted:
            check(tree)
    if build:
        if "exports" in wanted:
            check_exports(tree, build)
        if "names" in wanted:
            check_names(tree, build)
    return sorted(f for f in tree.findings if f[2] in wanted)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description="Check the house rules.")
    parser.add_argument("--root", default=here, help="the checkout [this one]")
    parser.add_argument("--build", help="a build folder with the libraries")
    parser.add_argument("--list", action="store_true", help="list the rules and stop")
    arguments = parser.parse_args()
    if arguments.list:
        for rule, sentence in RULES.items():
            print("%-10s %s" % (rule, sentence))
        return 0
    findings = lint(arguments.root, arguments.build)
    for path, line, rule, text in findings:
        print("%s:%d: [%s] %s" % (path, line, rule, text))
    if findings:
        print("lint: %d findings" % len(findings))
        return 1
    print("lint: %d rules hold" % len(RULES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
