# SPDX-License-Identifier: MIT
"""For lint.py: rules about the text of single files: limits, spaces, licence, layers, links."""
import os
import re

C_LIKE = (".c", ".h", ".cpp", ".hpp")
SCRIPTS = (".py", ".sh", ".cmake", "CMakeLists.txt", "Makefile", ".ci/run")
TEXT = C_LIKE + SCRIPTS + (".md", ".txt", ".json", ".in", ".yml", ".editorconfig", ".gitignore",
                           ".clang-format")
FUNCTION_LINES, FILE_LINES, COLUMNS = 60, 500, 100

# Headers of C11, POSIX and Linux: allowed in every folder except include/.
LIBC = re.compile(r"^(assert|ctype|errno|fcntl|fenv|float|getopt|inttypes|iso646|langinfo|libgen|"
                  r"limits|locale|malloc|math|poll|pthread|sched|semaphore|setjmp|signal|spawn|"
                  r"stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|strings|"
                  r"threads|time|uchar|unistd|wchar|wctype|execinfo|dirent|ftw|termios|netdb|"
                  r"(sys|linux|arpa|net|netinet|sanitizer)/\w+)\.h$")
PLAIN = {"stdbool.h", "stddef.h", "stdint.h"}
SLEEP = re.compile(r"\b(sleep|usleep|nanosleep|clock_nanosleep|thrd_sleep)\s*\(|"
                   r"\bp?poll\s*\(\s*(NULL|0)\s*,|\bp?select\s*\(\s*0\s*,")
TODO = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def check_limits(tree):
    for path in tree.named(*TEXT):
        lines = tree.lines(path)
        if path.endswith(C_LIKE + SCRIPTS) and len(lines) - 1 > FILE_LINES:
            tree.report(path, len(lines) - 1, "file", "%d lines" % (len(lines) - 1))
        for number, line in enumerate(lines, 1):
            # A table or a link in a document cannot be broken.
            whole = path.endswith(".md") and (line.lstrip().startswith("|") or "](" in line)
            if len(line) > COLUMNS and not whole:
                tree.report(path, number, "columns", "%d columns" % len(line))


def check_spaces(tree):
    for path in tree.named(*TEXT):
        text = tree.text(path)
        for number, line in enumerate(tree.lines(path), 1):
            if line != line.rstrip():
                tree.report(path, number, "spaces", "spaces at the end of the line")
            if "\t" in line and not path.endswith("Makefile"):
                tree.report(path, number, "spaces", "a tab")
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            tree.report(path, len(tree.lines(path)), "spaces", "must end with exactly one newline")


def first_comment(path, lines):
    """The words of the comment that a file begins with, after its licence."""
    if path.endswith(".py"):
        head = "\n".join(lines)
        match = re.search(r'"""(.*?)"""', head, re.S)
        return match[1] if match else ""
    if path.endswith(C_LIKE):
        return "\n".join(lines).split("*/")[0]
    words = []
    for line in lines:
        if not line.startswith("#"):
            break
        words.append(line)
    return "\n".join(words)


def check_head(tree):
    for path in tree.named(*C_LIKE, *SCRIPTS, "tools/layers.txt", "tools/exports.txt"):
        lines = tree.lines(path)
        start = 1 if lines[0].startswith("#!") else 0
        if "SPDX-License-Identifier: MIT" not in "".join(lines[start:start + 1]):
            tree.report(path, start + 1, "spdx", "no `SPDX-License-Identifier: MIT`")
            continue
        words = first_comment(path, lines[start:])
        words = re.sub(r"SPDX-License-Identifier: MIT|[#/*]", "", words)
        if len(words.split()) < 4:
            tree.report(path, start + 1, "purpose", "does not say what it is for")


def check_functions(tree):
    for path in tree.named(*C_LIKE):
        start = None
        for number, line in enumerate(tree.lines(path), 1):
            if re.match(r"(?!extern|namespace)[A-Za-z_].*\)\s*\{$", line):
                tree.report(path, number, "brace", "the brace of a function needs its own line")
            if line == "{":
                start = number
            elif line.startswith("}") and start:
                length = number - start - 1
                if length > FUNCTION_LINES:
                    tree.report(path, start, "function", "%d lines" % length, last=number)
                start = None


def check_words(tree):
    for path in tree.named(*TEXT):
        if path.startswith(("tools/lint", "CONTRIBUTING.md")):
            continue
        # Torture lasts for a given time; all other tests wait for an event, never for a time.
        tests = path.startswith("tests/") and not path.startswith("tests/torture/")
        for number, line in enumerate(tree.lines(path), 1):
            if TODO.search(line):
                tree.report(path, number, "todo", line.strip()[:60])
            if tests and path.endswith(C_LIKE) and SLEEP.search(line):
                tree.report(path, number, "sleep", line.strip()[:60])


def read_layers(tree):
    rooms = []
    for line in tree.lines("tools/layers.txt"):
        if line and not line.startswith("#"):
            room, may, vendors = re.split(r" {2,}", line.strip())
            rooms.append((room, may.split(), set(vendors.split())))
    return rooms


def resolve(tree, path, name):
    """The file of this checkout that an include refers to, or None."""
    for folder in (os.path.dirname(path), "src", "include", "adapters", "tests"):
        found = os.path.normpath(os.path.join(folder, name))
        if tree.exists(found) and found in tree.files:
            return found
    return None


def check_layers(tree):
    rooms = read_layers(tree)
    for path in tree.named(*C_LIKE):
        room = next((r for r in rooms if path.startswith(r[0])), None)
        if room is None:
            tree.report(path, 1, "layers", "in no room of tools/layers.txt")
            continue
        for number, line in enumerate(tree.lines(path), 1):
            match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            found = resolve(tree, path, match[2])
            if found and (match[1] == '"' or found.startswith("include/")):
                if not any(found.startswith(may) for may in room[1]):
                    tree.report(path, number, "layers", "%s may not include %s" % (room[0], found))
            elif match[1] == '"':
                tree.report(path, number, "layers", "there is no %s" % match[2])
            elif match[2] not in room[2]:
                check_outside(tree, path, number, room[0], match[2])


def check_outside(tree, path, number, room, name):
    if path.endswith((".cpp", ".hpp")) and re.match(r"^[a-z_]+$", name):
        return                          # the C++ library
    if path.startswith("include/") and not path.endswith(".hpp") and name not in PLAIN:
        tree.report(path, number, "layers", "a public header includes <%s>" % name)
    elif not LIBC.match(name):
        tree.report(path, number, "layers", "%s may not include <%s>" % (room, name))


def check_links(tree):
    for path in tree.named(".md"):
        for number, line in enumerate(tree.lines(path), 1):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`]*`", "", line)):
                if "://" in target or target.startswith("mailto:"):
                    continue
                if not tree.exists(os.path.join(os.path.dirname(path), target)):
                    tree.report(path, number, "links", "%s does not exist" % target)


CHECKS = [
    ({"file", "columns"}, check_limits),
    ({"spaces"}, check_spaces),
    ({"spdx", "purpose"}, check_head),
    ({"function", "brace"}, check_functions),
    ({"todo", "sleep"}, check_words),
    ({"layers"}, check_layers),
    ({"links"}, check_links),
]
