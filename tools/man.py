#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the man pages of section 3 from the public headers: `man kp_get`, `man keyedpool_uv`.

    tools/man.py --out FOLDER [HEADER...]

Each public function has a page, made of the comment before it: the first sentence is its NAME, and
the seven fields are its CONTRACT, ERRORS and HISTORY. One whose comment is nothing but "..., Since:
as kp_other." is on the page of the function before it. Each header of an adapter or of glue has a
page, made of its first comment; those of keyedpool.h and keyedpool/*.h are in keyedpool(3).

A comment that it does not understand stops it, with the file and the line, so that nothing is left
out. The pages that were in FOLDER before are removed. Nothing in a page depends on when or where it
is made.
"""
import argparse
import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from man_headers import Header, Unclear  # noqa: E402

ROFF = {"\\": r"\e", "-": r"\-", "'": r"\(aq", '"': r"\(dq", "`": r"\(ga", "^": r"\(ha",
        "~": r"\(ti"}
# Rule R1 of keyedpool.h, for a function that says nothing else.
RESULT = "0 is success, negative is one of the ERRORS; kp_strerror tells what it means."
FAILED = " When the call fails the caller holds nothing, and every out parameter is zeroed."


# ---- roff ----------------------------------------------------------------------------------------


def escape(text):
    return "".join(ROFF.get(c, c) for c in text)


def lines_of(text):
    """Lines of escaped text; one that begins with a dot is no request."""
    return [r"\&" + line if line.startswith(".") else line for line in text.split("\n")]


def link(name):
    return r"\fB%s\fP(3)" % name


def prose(text, pages, here):
    """A paragraph, one sentence a line: names of functions and constants are bold, `words` italic,
    and functions of other pages are links."""
    parts = re.split(r"(`[^`]+`|\b(?:kp|KP|keyedpool)_\w+)", text)
    out = ""
    for i, part in enumerate(parts):
        if i % 2 == 0:
            out += escape(part)
        elif part.startswith("`"):
            out += r"\fI%s\fP" % escape(part[1:-1])
        elif part in pages - here and not parts[i + 1].startswith(("(", ".h")):
            out += link(part)
        elif part in pages or part.startswith("KP_"):
            out += r"\fB%s\fP" % part
        else:
            out += part
    return lines_of(re.sub(r"(?<![. ][a-z.])([.?]) (?=\S)", r"\1\n", out))


def paragraphs(blocks, pages, here):
    """What stands below a heading."""
    out = []
    for kind, body in blocks:
        apart = [".PP"] if out else []
        if kind == "code":
            out += apart + [".RS 4", ".nf", *lines_of(escape(body)), ".fi", ".RE"]
        elif kind == "text":
            out += apart + prose(body, pages, here)
        else:
            out += item(r"\fB%s\fP" % kind, prose(body, pages, here))
    return out


def item(tag, lines):
    return [".TP", tag, *lines]


# ---- parts of a page -----------------------------------------------------------------------------


def summary(blocks):
    """The first sentence, without what is in brackets or after a colon."""
    text = re.sub(r" \([^)]*\)", "", blocks[0][1]).replace("`", "")
    sentence = re.match(r"(.*?)(?:[.?:]$|[.?] )", text)
    if not sentence:
        raise Unclear("no first sentence: %s" % text)
    short = re.split(r"[:;][ ,]", sentence[1])[0]
    short = short if short.count(" ") > 1 else sentence[1]
    return short[0].lower() + short[1:] if re.match(r"(?!Redis)[A-Z][a-z]*[ ,-]", short) else short


def heading(names, sentence, version):
    return ['.\\" Made by tools/man.py from the headers: change those.',
            '.TH %s 3 "" "keyedpool %s" "keyedpool"' % (names[0], version), ".nh", ".ad l",
            ".SH NAME", r"%s \- %s" % (", ".join(names), escape(sentence))]


def synopsis(header, functions):
    name = "keyedpool.h" if header.is_core else header.name
    out = [".SH SYNOPSIS", ".nf", r"\fB#include <%s>\fP" % name]
    for function in functions:
        marked = re.sub(r"(?<=[ *])(\w+)(?=[,)\[])", r"\\fI\1\\fB", function.synopsis)
        out += [".PP"] + [r"\fB%s\fP" % line for line in marked.split("\n")]
    build = "cc file.c $(pkg-config --cflags --libs %s)" % header.library
    return out + [".PP", escape(build), ".fi"]


def functions_of(header):
    out = [".PD 0"]
    for group in header.groups:
        tag = ", ".join(link(function.name) for function in group)
        out += [".TP 26", tag, escape(summary(group[0].description))]
    return out + [".PD"]


def see_also(words, pages, here):
    names = sorted((words & pages) - here - {"keyedpool"})
    return [".SH SEE ALSO", ",\n".join(link(name) for name in names + ["keyedpool"])]


# ---- pages ---------------------------------------------------------------------------------------


def function_page(header, group, pages, errors, version):
    head, here = group[0], {function.name for function in group}
    fields = dict(head.fields)
    out = heading([function.name for function in group], summary(head.description), version)
    out += synopsis(header, group)
    out += [".SH DESCRIPTION"] + paragraphs(head.description, pages, here)
    out += [".SH CONTRACT"]
    for names, text in head.fields:
        if names not in ("Errors", "Since"):
            out += item(r"\fB%s\fP" % names, prose(text, pages, here))
    says_result = re.search(r"\breturn", str(head.description), re.I)
    problems = fields.get("Errors", "")
    if head.synopsis.startswith("int ") and not says_result and re.search("KP_E|as kp_", problems):
        text = RESULT + FAILED * bool(re.search(r"\*(?:out|pinned)\b", head.synopsis))
        out += [".SH RETURN VALUE"] + prose(text, pages, here)
    if problems:
        text = re.sub(r"^[a-z]+(?=[ ;.,:])", lambda word: word[0].capitalize(), problems)
        out += [".SH ERRORS"] + prose(text, pages, here)
        for code, sentence in errors:
            if code in re.findall(r"\w+", problems):
                out += item(r"\fB%s\fP" % code, [escape(sentence)])
    if "Since" in fields:
        out += [".SH HISTORY", "Since keyedpool %s." % fields["Since"]]
    return out + see_also(head.words | {header.page}, pages, here)


def header_page(header, pages, version):
    here = {header.page}
    out = heading([header.page], summary(header.text), version) + synopsis(header, [])
    out += [".SH DESCRIPTION"] + paragraphs(header.text, pages, here)
    if header.groups:
        out += [".SH FUNCTIONS"] + functions_of(header)
    out += [".PP", "The types, and what their fields mean, are in the header itself."]
    return out + see_also(header.words, pages, here)


def overview(headers, pages, version):
    first = headers[0]
    title = re.sub(r"^keyedpool: ", "", first.text[0][1]).rstrip(".")
    here = {"keyedpool"}
    out = heading(["keyedpool"], title, version) + synopsis(first, [])
    out += [".SH DESCRIPTION"] + paragraphs(first.text[1:], pages, here) + [".SH FUNCTIONS"]
    for header in headers[1:]:
        if header.is_core:
            out += ['.SS "%s"' % escape(header.name)] + paragraphs(header.text, pages, here)
            out += ([".PP"] if header.groups else []) + functions_of(header)
    out += [".PP", "The types, and what their fields mean, are in the headers themselves."]
    out += [".SH OTHER HEADERS"]
    for header in headers:
        if not header.is_core:
            names = [link(function.name) for group in header.groups for function in group]
            out += item(link(header.page), [escape(summary(header.text))])
            out += [".br", ",\n".join(names)] if names else []
    return out + [".SH SEE ALSO", r"\fBkeyedpool\fP(1)"]


def pages_of(headers):
    """{name: the lines of its page}"""
    words = next(header.source for header in headers if header.name == "keyedpool/words.h")
    version = ".".join(re.findall(r"#define KP_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", words))
    errors = re.findall(r'X\((KP_E[A-Z]+), *-\d+,[\s\\]*"([^"]*)"', words)
    pages = {header.page for header in headers}
    pages |= {function.name for header in headers for group in header.groups for function in group}
    made = {"keyedpool": overview(headers, pages, version)}
    for header in headers:
        if not header.is_core:
            made[header.page] = header_page(header, pages, version)
        for group in header.groups:
            made[group[0].name] = function_page(header, group, pages, errors, version)
            for function in group[1:]:
                made[function.name] = [".so man3/%s.3" % group[0].name]
    return made


def in_order(headers):
    """keyedpool.h, what it includes, then the others by name."""
    by_name = {header.name: header for header in headers}
    first = by_name["keyedpool.h"]
    names = [first.name] + re.findall(r'^#include "(.*)"', first.source, re.M)
    return [by_name[name] for name in names + sorted(set(by_name) - set(names))]


def write(folder, made):
    os.makedirs(folder, exist_ok=True)
    for old in glob.glob(os.path.join(glob.escape(folder), "*.3")):
        os.remove(old)
    for name, lines in made.items():
        with open(os.path.join(folder, name + ".3"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def main():
    include = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "include")
    parser = argparse.ArgumentParser(description="Make the man pages of the public functions.")
    parser.add_argument("--out", required=True, help="the folder for the pages")
    parser.add_argument("headers", nargs="*", help="[all of this checkout]")
    arguments = parser.parse_args()
    paths = arguments.headers or (glob.glob(os.path.join(include, "*.h")) +
                                  glob.glob(os.path.join(include, "keyedpool", "*.h")))
    try:
        write(arguments.out, pages_of(in_order([Header(path) for path in paths])))
    except Unclear as fault:
        sys.exit("tools/man.py: %s" % fault)
    return 0


if __name__ == "__main__":
    sys.exit(main())
