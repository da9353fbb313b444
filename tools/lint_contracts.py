# SPDX-License-Identifier: MIT
"""For lint.py: rules about the public headers: contracts, and that tests and docs cover them."""
import re

FIELDS = ["Threads", "Blocks", "Calls", "Owns", "Errors", "Order", "Since"]
AS = ", ".join(FIELDS) + ": as "


def declarations(tree):
    """(path, line, name, the comment before it) of every KP_API function."""
    for path in tree.named(".h", under="include/"):
        text = tree.text(path)
        for match in re.finditer(r"^KP_API\b[^;{]*?\b(kp_\w+)\s*\(", text, re.M):
            before = text[:match.start()].rstrip()
            comment = ""
            if before.endswith("*/"):
                comment = before[before.rindex("/*"):]
            line = text.count("\n", 0, match.start()) + 1
            yield path, line, match[1], re.sub(r"\s*\n\s*\* ?", " ", comment)


def contract_fault(comment):
    """What is wrong with a contract, or None."""
    if not comment:
        return "no comment right before it"
    if AS in comment:
        return None
    places = [re.search(r"(?:^|[\s.])%s: " % field, comment) for field in FIELDS]
    missing = [field for field, place in zip(FIELDS, places) if not place]
    if missing:
        return "no field %s" % ", ".join(missing)
    starts = [place.start() for place in places]
    if starts != sorted(starts):
        return "the fields are not in the order %s" % ", ".join(FIELDS)
    for field, place, end in zip(FIELDS, places, starts[1:] + [len(comment)]):
        if not re.search(r"\w", comment[place.end():end]):
            return "the field %s is empty" % field
    if not re.search(r"Since: \d+\.\d+", comment):
        return "Since names no release"
    return None


def check_contracts(tree):
    for path, line, _, comment in declarations(tree):
        fault = contract_fault(comment)
        if fault:
            tree.report(path, line, "contract", fault)


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)


def words_under(tree, *folders):
    words = set()
    for path in tree.named(".c", ".h", ".cpp", ".hpp", under=folders):
        words |= set(re.findall(r"\w+", without_comments(tree.text(path))))
    return words


def check_errors(tree):
    words = words_under(tree, "tests/")
    text = tree.text("include/keyedpool/words.h")
    for name in re.findall(r"X\((KP_E[A-Z]+),", text):
        if name not in words:
            tree.report("include/keyedpool/words.h", 1, "errors", "no test mentions %s" % name)


def inline_functions(tree):
    for path in tree.named(".h", under="include/"):
        for number, line in enumerate(tree.lines(path), 1):
            match = re.match(r"static inline\b.*?\b(kp_(?!_)\w+)\(", line)
            if match:
                yield path, number, match[1]


def check_tested(tree):
    # An example counts as a test, and a use of an inline function as one of the function it calls.
    words = words_under(tree, "tests/", "examples/")
    for path, _, name in inline_functions(tree):
        if name in words:
            words |= {name + "_sized"}
    public = [(p, n, name) for p, n, name, _ in declarations(tree)] + list(inline_functions(tree))
    for path, line, name in public:
        if name not in words:
            tree.report(path, line, "tested", "no test or example uses %s" % name)


def members(text, struct):
    """The member names of a struct: plain ones and function pointers."""
    match = re.search(r"typedef struct %s \{(.*?)\n\} %s;" % (struct, struct), text, re.S)
    body = without_comments(match[1]) if match else ""
    names = []
    for declaration in body.split(";"):
        pointer = re.search(r"\(\*(\w+)\)", declaration)
        if pointer:
            names.append(pointer[1])
        else:
            names += re.findall(r"(\w+)(?:\[\d+\])*\s*(?:,|$)", declaration.strip())
    return [n for n in names if not n.startswith("reserved")]


def check_options(tree):
    if not tree.exists("docs/OPTIONS.md"):
        return
    header = "include/keyedpool/options.h"
    words = set(re.findall(r"\w+", tree.text("docs/OPTIONS.md")))
    for struct in ("kp_options", "kp_limits", "kp_budget"):
        for name in members(tree.text(header), struct):
            if name not in words:
                tree.report("docs/OPTIONS.md", 1, "options", "%s.%s is missing" % (struct, name))


def check_stats(tree):
    if not tree.exists("docs/STATS.md"):
        return
    text = tree.text("include/keyedpool/stats.h")
    table = text[text.index("#define KP_STATS_MAP"):text.index("typedef struct kp_stats")]
    words = set(re.findall(r"\w+", tree.text("docs/STATS.md")))
    for name in re.findall(r"X\((\w+), (?:gauge|counter),", table):
        if name not in words:
            tree.report("docs/STATS.md", 1, "stats", "the counter %s is missing" % name)


CHECKS = [
    ({"contract"}, check_contracts),
    ({"errors"}, check_errors),
    ({"tested"}, check_tested),
    ({"options"}, check_options),
    ({"stats"}, check_stats),
]
