#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The man pages of functions (tools/man.py) must have all that the headers say, and nothing that
roff misunderstands; a comment that cannot become a page must be refused, with its place."""
import filecmp
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import lint_contracts  # noqa: E402
from lint_tree import Tree  # noqa: E402

FIELD = "(?:%s)" % "|".join(lint_contracts.FIELDS)
LABEL = re.compile(r"(?<!\S)%s(?:,\s+%s)*:(?=\s)" % (FIELD, FIELD))
AS_OTHER = ", ".join(lint_contracts.FIELDS) + r": as kp_\w+\."
faults = []


def fault(text):
    faults.append(text)
    print(text, file=sys.stderr)


def make(include, out):
    headers = [os.path.join(where, name) for where, _, names in os.walk(include)
               for name in names if name.endswith(".h")]
    return subprocess.run([sys.executable, os.path.join(ROOT, "tools", "man.py"), "--out",
                           os.path.join(out, "man3"), *headers], capture_output=True, text=True)


@functools.lru_cache(None)
def shown(out, name):
    """What `man` shows of a page, in lines without end, and what roff complains of."""
    run = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=9999n",
                          os.path.join("man3", name + ".3")], cwd=out, capture_output=True,
                         text=True, encoding="utf-8")
    return run.stdout, run.stderr


def squeezed(text):
    """Without spaces, the marks of `words`, and the sections of links."""
    return re.sub(r"\s|`|\(3\)", "", text).lower()


def comments(include):
    """(path, line, names, text) of each comment before a public function, with the names that its
    page must show; and of the first one of each header."""
    for where, _, names in os.walk(include):
        for name in sorted(names):
            path = os.path.join(where, name)
            if not name.endswith(".h"):
                continue
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for match in re.finditer(r"/\*((?:[^*]|\*(?!/))*)\*/(\s*)"
                                     r"((?:KP_API|static inline)[^;{]*?\b(kp_(?!_)\w+)\([^;{]*)?",
                                     text):
                line = text.count("\n", 0, match.start()) + 1
                plain = re.sub(r"\n \* ?", "\n", match[1])
                if match.start() == 0:
                    page = "keyedpool" if where.endswith("keyedpool") or name == "keyedpool.h" \
                        else name[:-2]
                    yield path, line, page, re.sub(r"^.*MIT\n", "", plain), ""
                elif match[4]:
                    yield path, line, match[4], plain, match[3]


def check_texts(include, out):
    """Every line of every comment is in its page, and every declaration."""
    count = 0
    for path, line, name, comment, declaration in comments(include):
        text = squeezed(shown(out, name)[0])
        declaration = re.sub(r"\b(?:KP_[A-Z]+|static inline)\b", "", declaration)
        pieces = [declaration] if declaration else []
        if not re.fullmatch(AS_OTHER, " ".join(comment.split())) or name == "kp_retry_any":
            pieces += LABEL.sub("\n", comment).split("\n")
        for piece in pieces:
            tag = re.sub(r"^keyedpool: ", "", piece.strip())
            if squeezed(tag).rstrip(".") not in text:
                fault("%s:%d: its page lacks: %s" % (path, line, piece.strip()))
        count += 1
    return count


def public_functions():
    tree = Tree(ROOT, {})
    for line in tree.lines("tools/exports.txt"):
        if line and line[0] not in "#[":
            yield line
    for _, _, name in lint_contracts.inline_functions(tree):
        yield name


def check_names(out):
    pages = {name[:-2] for name in os.listdir(os.path.join(out, "man3"))}
    functions = set(public_functions())
    headers = {name[:-2] for name in os.listdir(os.path.join(ROOT, "include"))
               if name.endswith(".h")}
    for name in sorted(functions - pages):
        fault("no page of %s" % name)
    for name in sorted(pages - functions - headers):
        fault("a page of %s, which is no function and no header" % name)
    for name in sorted(pages):
        text, complaint = shown(out, name)
        if complaint:
            fault("%s(3): %s" % (name, complaint))
        if " %s" % name not in text:
            fault("%s(3) is not about it" % name)
    overview = shown(out, "keyedpool")[0]
    for name in sorted(pages - {"keyedpool"}):
        if name + "(3)" not in overview:
            fault("keyedpool(3) does not list %s" % name)


def check_known(out):
    text = shown(out, "kp_get")[0]
    for wanted in ("kp_get - borrow a resource for key, waiting until the deadline if none is free",
                   "\n       #include <keyedpool.h>\n",
                   "\n       int kp_get(kp_pool *pool, kp_key key, const kp_ask *ask, "
                   "kp_lease *out);\n",
                   "\n       cc file.c $(pkg-config --cflags --libs keyedpool)\n",
                   "\n       Threads\n", "\nERRORS\n", "\n       Since keyedpool 0.1.\n",
                   "kp_release(3) or kp_discard(3); key is copied if kept;",
                   "\n       KP_EDEADLK\n              deadlock: all holders of what you need"):
        if wanted not in text:
            fault("kp_get(3) lacks: %s" % wanted)
    codes = re.search(r"Errors: (.*?)\. Then", " ".join(
        text for _, _, name, text, _ in comments(os.path.join(ROOT, "include"))
        if name == "kp_get").replace("\n", " "))[1]
    for code in re.findall(r"KP_E[A-Z]+", codes):
        if "\n       %s\n" % code not in text:
            fault("kp_get(3) does not say what %s is" % code)
    if "\n       R2     Zero in a struct that you WRITE means \"not said\": at open the default, " \
            not in shown(out, "keyedpool")[0]:
        fault("keyedpool(3) does not show rule R2 as an item")
    if shown(out, "kp_retry_helps") != shown(out, "kp_retry_any"):
        fault("kp_retry_helps(3) is not the page of kp_retry_any")
    if "keyedpool-postgres" not in shown(out, "kp_pg_open")[0]:
        fault("kp_pg_open(3) does not say which library it is in")


def changed(work, header, old, new):
    """A copy of the headers in which one is changed."""
    include = os.path.join(work, "changed", "include")
    shutil.rmtree(include, ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, "include"), include)
    path = os.path.join(include, header)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        fault("%s has %r %d times" % (header, old, text.count(old)))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))
    return include


HEADER = "keyedpool/stats.h"
LAST = "/* Features, compiler, sanitizers: one line each.\n"
REFUSED = [     # what it was, what it becomes, and what is said of it
    (LAST, "/* Features\tand compiler.\n", "a tab"),
    (LAST, "/* Features \u2013 one line each.\n", "not in ASCII"),
    (LAST, "/* A `word.\n", "without another"),
    (LAST, LAST + " *  or two\n", "an indentation"),
    (LAST, LAST + " * Order: of lines. It was so before.\n", "each of the seven fields once"),
    (LAST, "/*\n", "no description"),
    (LAST, "/* Features.\n * Owns: nothing. */\nKP_API int kp_other(void);\n\n" + LAST,
     "each of the seven fields once"),
    ("const char *kp_build_info(void)", "const char *kp_build_info(void /* no more */)",
     "a declaration"),
    ("const char *kp_build_info(void)", "const char *build_info(void)", "a declaration"),
    ("Order: none. Since: 0.1 */\nKP_API const char *", "Order: none. */\nKP_API const char *",
     "each of the seven fields once"),
    ("Since: 0.1 */\nKP_API const char *", "Since: the first. */\nKP_API const char *",
     "Since is not"),
    ("KP_API const char *kp_build", "KP_API int kp_other(void);\nKP_API const char *kp_build",
     "no comment right before it"),
]


def check_refusals(work):
    for old, new, said in REFUSED:
        if old.startswith(("Order", "Since")):
            with open(os.path.join(ROOT, "include", HEADER), encoding="utf-8") as file:
                text = file.read()
            lead = text[:text.rindex(old)][-60:]
            old, new = lead + old, lead + new
        run = make(changed(work, HEADER, old, new), os.path.join(work, "refused"))
        if run.returncode != 1 or not re.search(r"stats\.h:\d+: .*%s" % re.escape(said),
                                                run.stderr, re.S):
            fault("%r was not refused as it should: %s" % (new, run.stderr or "no word"))
        if os.path.exists(os.path.join(work, "refused", "man3")):
            fault("%r was refused, and pages were made" % new)


def check_escapes(work):
    """What roff would take for its own comes out as it is."""
    out = os.path.join(work, "strange")
    include = changed(work, HEADER, LAST, LAST + r""" * .SH is no request, 'nor' this, nor \fB, \n:
 *     .code begins with a dot, and has "quotes" \ -1
 * 'tis ``x`` ^ ~ a-b -1 -- -> \\ \(bu \" .
 * 'so, and
 * .PP too.
""")
    run = make(include, out)
    if run.returncode != 0:
        fault(run.stderr)
        return
    check_texts(include, out)
    if shown(out, "kp_build_info")[1]:
        fault(shown(out, "kp_build_info")[1])


def main():
    with tempfile.TemporaryDirectory() as work:
        first, again = os.path.join(work, "first"), os.path.join(work, "again")
        include = os.path.join(ROOT, "include")
        os.makedirs(os.path.join(again, "man3"))
        with open(os.path.join(again, "man3", "kp_gone.3"), "w", encoding="utf-8") as file:
            file.write("a page of a function that is no longer there\n")
        for out in (first, again):
            run = make(include, out)
            if run.returncode != 0:
                sys.exit(run.stderr)
        names = [sorted(os.listdir(os.path.join(out, "man3"))) for out in (first, again)]
        _, differ, lost = filecmp.cmpfiles(os.path.join(first, "man3"), os.path.join(again, "man3"),
                                           names[0], shallow=False)
        if names[0] != names[1] or differ or lost:
            fault("made twice, these pages differ: %s" %
                  (differ or lost or set(names[0]) ^ set(names[1])))
        check_names(first)
        check_known(first)
        count = check_texts(include, first)
        check_refusals(work)
        check_escapes(work)
    if faults:
        return 1
    print("%d pages say what %d comments say" % (len(names[0]), count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
