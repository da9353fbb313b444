# SPDX-License-Identifier: MIT
"""For lint.py: the files of a checkout, what is found in them, and which findings are allowed."""
import os
import re

SKIPPED = {".git", ".cache", "__pycache__"}
WHOLE_FILE = {"file", "spdx", "purpose"}
ALLOW = re.compile(r"lint: allow (\S+)(?: because (\S.*))?")
# Files that name what lint looks for, which would be mistaken for the thing itself.
ABOUT_LINT = ("tools/lint", "CONTRIBUTING.md")


class Tree:
    def __init__(self, root, rules):
        self.root = os.path.abspath(root)
        self.findings = []
        self.files = sorted(self._walk())
        self._text = {}
        self._lines = {}
        self._allowed = {}
        for path in self.files:
            self._read_allowances(path, rules)

    def _walk(self):
        for folder, folders, names in os.walk(self.root):
            folders[:] = [f for f in folders if f not in SKIPPED]
            if folder == self.root and "build" in folders:
                folders.remove("build")
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def text(self, path):
        if path not in self._text:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace",
                      newline="") as file:
                self._text[path] = file.read()
        return self._text[path]

    def lines(self, path):
        if path not in self._lines:
            self._lines[path] = self.text(path).split("\n")
        return self._lines[path]

    def named(self, *endings, under=""):
        under = under if isinstance(under, tuple) else (under,)
        return [p for p in self.files if p.endswith(endings) and p.startswith(under)]

    def _read_allowances(self, path, rules):
        allowed = self._allowed[path] = {}
        if path.startswith(ABOUT_LINT) or "lint: allow" not in self.text(path):
            return
        for number, line in enumerate(self.lines(path), 1):
            match = ALLOW.search(line)
            if not match:
                continue
            reason = (match[2] or "").replace("*/", "").strip()
            if match[1] not in rules:
                self.report(path, number, "allow", "there is no rule %s" % match[1])
            elif not reason:
                self.report(path, number, "allow", "no reason: `because ...` is missing")
            else:
                allowed.setdefault(match[1], []).append(number)

    def report(self, path, line, rule, text, last=None):
        """`last`: the last line of what is at fault, if an exception may stand inside of it."""
        for number in self._allowed.get(path, {}).get(rule, ()):
            if rule in WHOLE_FILE or line - 1 <= number <= (last or line):
                return
        self.findings.append((path, line, rule, text))
