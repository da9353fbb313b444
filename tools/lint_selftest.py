#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks every rule of lint.py on purpose, in a copy of the checkout, and checks that it is found.

    tools/lint_selftest.py [--build BUILD_FOLDER]

Also checks that an exception with a reason is accepted, and one without is refused.
"""
import argparse
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import laws  # noqa: E402
from lint import RULES, lint  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEAD = "/* SPDX-License-Identifier: MIT\n *\n * A file that breaks a rule on purpose.\n */\n"
LATER = "TO" + "DO"


def body(lines):
    return HEAD + "int f(void)\n{\n" + "    f();\n" * lines + "}\n"


def write(place, text):
    """Writes a new file: the one in the copy may be a link to the original."""
    if os.path.exists(place):
        os.remove(place)
    with open(place, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def replaced(path, old, new):
    def change(root):
        place = os.path.join(root, path)
        with open(place, encoding="utf-8") as file:
            text = file.read()
        if old not in text:
            raise AssertionError("%s does not contain %r" % (path, old))
        write(place, text.replace(old, new, 1))
    return change


def added(path, text):
    def change(root):
        place = os.path.join(root, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        write(place, text)
    return change


def nobody_uses(name, *folders):
    """Remove a word from all tests (and examples)."""
    def change(root):
        for folder in folders:
            for where, _, files in os.walk(os.path.join(root, folder)):
                for file in files:
                    place = os.path.join(where, file)
                    with open(place, encoding="utf-8", errors="surrogateescape") as stream:
                        text = stream.read()
                    if name in text:
                        write(place, text.replace(name, "gone"))
    return change


def breaks(built):
    """(rule, what is broken, the function that does it)."""
    base = "src/base/broken.c"
    pool = "include/keyedpool/pool.h"
    release = " * Threads: any thread, not only the borrower's. Blocks: "
    allow = "/* lint: allow columns because the selftest wants it */ "
    yield "layers", "base includes core", added(base, HEAD + '#include "core/core.h"\n')
    yield "layers", "core includes flow", added("src/core/x.c", HEAD + '#include "flow/key.h"\n')
    yield "layers", "the core includes SQLite", added(base, HEAD + "#include <sqlite3.h>\n")
    yield "layers", "the command looks inside", added("cli/x.c", HEAD + '#include "base/map.h"\n')
    yield "layers", "a contract test looks inside", added("tests/contract/x.c",
                                                          HEAD + '#include "core/slot.h"\n')
    yield "layers", "a public header includes threads", added("include/keyedpool/x.h",
                                                              HEAD + "#include <pthread.h>\n")
    yield "layers", "a header that is not there", added(base, HEAD + '#include "nothing.h"\n')
    yield "layers", "a room that is not in the table", added("cellar/x.c", HEAD)
    yield "function", "61 lines", added(base, body(61))
    yield "brace", "on the line of the function", added(base, HEAD + "int f(void) {\n}\n")
    yield "file", "501 lines", added(base, HEAD + "\n" * 496 + "int x;\n")
    yield "columns", "101 columns", added(base, HEAD + "/* " + "x" * 95 + " */\n")
    yield "spaces", "at the end of a line", added(base, HEAD + "int x; \n")
    yield "spaces", "a tab", added(base, HEAD + "\tint x;\n")
    yield "spaces", "no newline at the end", added(base, HEAD + "int x;")
    yield "spdx", "no licence", added(base, "/* What it is for is clear enough. */\n")
    yield "spdx", "no licence in a script", added("tools/x.sh", "#!/bin/sh\n# What it is for.\n")
    yield "purpose", "nothing said", added(base, "/* SPDX-License-Identifier: MIT */\nint x;\n")
    yield "todo", "something left", added(base, HEAD + "/* %s: more */\n" % LATER)
    yield "sleep", "usleep in a test", added("tests/unit/x.c", HEAD + "int f(void)\n{\n"
                                             "    usleep(1);\n}\n")
    yield "contract", "a field is missing", replaced(pool, release, release[:-8])
    yield "contract", "fields in another order", replaced(
        pool, release, " * Blocks: no. Threads: any thread. ")
    yield "contract", "no comment", added("include/keyedpool/x.h", HEAD
                                          + "#define X 1\nKP_API int kp_get(void);\n")
    yield "errors", "an error no test knows", replaced(
        "include/keyedpool/words.h", "X(KP_ETIMEDOUT,",
        'X(KP_ENEVER, -7099, "", 0) X(KP_ETIMEDOUT,')
    yield "tested", "a function nobody uses", nobody_uses("kp_release", "tests", "examples")
    yield "options", "one is not documented", added("docs/OPTIONS.md", "# Options\n")
    yield "stats", "one is not documented", added("docs/STATS.md", "# Counters\n")
    yield "laws", "a test that is not named there", added("tests/unit/x.c",
                                                          HEAD + "/* L6 and L12 */\n")
    yield "links", "a dead link", added("docs/X.md", "[here](nowhere.md)\n")
    yield "format", "no space after if", added(base, HEAD + "int f(void)\n{\n    if(1)\n"
                                               "        f();\n}\n")
    yield "format", "the star at the type", added(base, HEAD + "char* x;\n")
    yield "format", "else on its own line", added(base, HEAD + "int f(void)\n{\n    if (1) {\n"
                                                  "    }\n    else {\n    }\n}\n")
    yield "format", "three spaces", added(base, HEAD + "int f(void)\n{\n   return 1;\n}\n")
    yield "allow", "no reason", added(base, HEAD + allow.split(" because")[0] + " */\n")
    yield "allow", "no such rule", added(base, HEAD + "/* lint: allow beauty because yes */\n")
    yield None, "an exception with a reason", added(base, HEAD + allow + "x" * 80 + "\n")
    if built:
        yield "exports", "one is not listed", replaced("tools/exports.txt", "\nkp_get\n", "\n")
        yield "exports", "one is not there", replaced("tools/exports.txt", "\nkp_get\n",
                                                      "\nkp_get\nkp_get_nothing\n")


def not_ours(folder, names):
    skip = {".git", ".cache", "__pycache__"} | ({"build"} if folder == ROOT else set())
    return skip & set(names)


def broken(original, before, build, change, only):
    """What lint finds in a changed copy and not before."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "copy")
        shutil.copytree(original, copy, copy_function=os.link)
        change(copy)
        return [f for f in lint(copy, build, only) if f not in before]


def main():
    parser = argparse.ArgumentParser(description="Break every rule on purpose.")
    parser.add_argument("--build", help="a build folder with the libraries")
    build = parser.parse_args().build
    built = bool(build) and os.path.exists(os.path.join(build, "libkeyedpool.so"))
    tried, missed = set(), 0
    with tempfile.TemporaryDirectory() as folder:
        original = os.path.join(folder, "original")
        shutil.copytree(ROOT, original, ignore=not_ours)
        added(laws.PAGE, laws.page(original)[1])(original)
        before = lint(original, build if built else None)
        for rule, what, change in breaks(built):
            where = build if rule == "exports" else None
            found = broken(original, before, where, change, {rule} if rule else None)
            good = any(f[2] == rule for f in found) if rule else not found
            tried.add(rule)
            if not good:
                missed += 1
                print("NOT FOUND: %s: %s (found: %s)" % (rule, what, found))
    for rule in sorted(set(RULES) - tried - {"names"} - (set() if built else {"exports"})):
        missed += 1
        print("NOT TRIED: %s" % rule)
    missed += names_selftest()
    print("lint selftest: %d missed" % missed)
    return 1 if missed else 0


def names_selftest():
    """Makes a library with a symbol that has no prefix. 1 if lint does not find it."""
    from lint import check_names
    from lint_tree import Tree
    import subprocess
    compiler = os.environ.get("CC", "cc")
    if not shutil.which(compiler) or not shutil.which("ar"):
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "x.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write("int kp__good(void);\nint kp__good(void) { return 1; }\nint bad;\n")
        subprocess.run([compiler, "-c", source, "-o", source + ".o"], check=True)
        library = os.path.join(folder, "libkeyedpool.a")
        subprocess.run(["ar", "rc", library, source + ".o"], check=True)
        tree = Tree(folder, RULES)
        check_names(tree, folder)
        if [f[3].split()[0] for f in tree.findings] == ["bad"]:
            return 0
    print("NOT FOUND: names: a symbol without prefix")
    return 1


if __name__ == "__main__":
    sys.exit(main())
