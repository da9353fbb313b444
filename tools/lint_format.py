# SPDX-License-Identifier: MIT
"""For lint.py: the rule `format`. A formatter would undo tables that were aligned by hand, which
are worth more here than uniform line breaks. So this only checks what matters most."""
import re

TYPE = r"(?:void|char|bool|int|long|unsigned|double|size_t|u?int\d+_t|kp_\w+|struct \w+|FILE)"
KEYWORD = r"(?:if|for|while|switch|do|return|break|continue|goto|else|\})"
PATTERNS = [
    (re.compile(r"\b(?:if|for|while|switch)\("), "no space after a keyword"),
    (re.compile(r"\b(?:if|for|while|switch) .*\)\{$|\b(?:else|do)\{"), "no space before a brace"),
    (re.compile(r"\}(?:else|while)\b"), "no space after a brace"),
    (re.compile(r"\b%s\*+ ?\w" % TYPE), "the star belongs to the name"),
    (re.compile(r",[^\s\\]"), "no space after a comma"),
    (re.compile(r"\bfor \(.*;[^\s;)]"), "no space after a semicolon"),
    (re.compile(r"\( | \)(?!\s*\\?$)"), "a space inside brackets"),
]


def blank(match):
    text = match[0]
    if text[0] in "\"'":
        return text[0] + "_" * (len(text) - 2) + text[0]
    return re.sub(r"[^\n]", " ", text)


def code_only(text):
    """The same text, at the same places, with comments and the contents of strings blanked."""
    token = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(token, blank, text, flags=re.S)


def check_format(tree):
    for path in tree.named(".c", ".h", ".cpp", ".hpp"):
        previous = ""
        for number, line in enumerate(code_only(tree.text(path)).split("\n"), 1):
            if not line.lstrip().startswith("#"):
                check_line(tree, path, number, line, previous)
            previous = line


def check_line(tree, path, number, line, previous):
    for pattern, fault in PATTERNS:
        if pattern.search(line):
            tree.report(path, number, "format", fault)
            return
    if line.lstrip().startswith("else") and previous.strip() == "}":
        tree.report(path, number, "format", "`else` on the line after its brace")
    indent = len(line) - len(line.lstrip())
    if indent % 4 and re.match(r"%s\b" % KEYWORD, line.lstrip()):
        tree.report(path, number, "format", "not indented by a multiple of 4")


CHECKS = [({"format"}, check_format)]
