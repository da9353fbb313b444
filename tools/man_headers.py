# SPDX-License-Identifier: MIT
"""For man.py: what the public headers say, and in which parts."""
import re

from lint_contracts import FIELDS

FIELD = "(?:%s)" % "|".join(FIELDS)
LABEL = re.compile(r"(?<![^\s.])(%s(?:,\s+%s)*):\s+" % (FIELD, FIELD))
FUNCTION = re.compile(r"[^;{]*?\b(kp_\w+)\s*\([^;{]*")
WIDTH = 71                              # of a page on a terminal of 80 columns


class Unclear(Exception):
    """A comment or a declaration that cannot be made into a page."""


def plain(comment):
    """What a comment says, without its stars; indentation stays."""
    if comment.count("`") % 2:
        raise Unclear("a ` without another")
    return "\n".join(re.sub(r"^(?:/\*| \*) ?", "", line).rstrip() for line in comment.split("\n"))


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


def ends_early(line, following):
    """A sentence ends, and the first word of the following line would have had room in this one."""
    return line.endswith((".", "?")) and len(line) + len(following.split()[0]) <= 96


def blocks(text):
    """[(kind, text)], where kind is "text", "code" (indented by four or more), or the tag of an
    item, such as "R1". A new paragraph begins after an empty line, and where a line ends early."""
    found, before = [("text", "")], ""
    for line in text.split("\n"):
        kind, body = found[-1]
        tag = re.match(r" {1,3}(\S+) {2,}(?=\S)", line)
        in_item = before and kind not in ("text", "code") and line.startswith(" ")
        if tag:
            found.append((tag[1], line[tag.end():]))
        elif in_item:
            found[-1] = (kind, body + " " + line.strip())
        elif line.startswith("    ") and kind == "code":
            found[-1] = (kind, body + "\n" + line[4:])
        elif line.startswith("    "):
            found.append(("code", line[4:]))
        elif line.startswith(" "):
            raise Unclear("an indentation that is not understood: %s" % line)
        elif line and before and kind == "text" and not ends_early(before, line):
            found[-1] = (kind, body + " " + line)
        elif line:
            found.append(("text", line))
        elif kind == "code":
            found[-1] = (kind, body + "\n")
        before = line
    return [(kind, body.rstrip("\n")) for kind, body in found if body]


def synopsis(declaration):
    """As a page shows it: without our macros, and in lines that fit."""
    text = one_line(re.sub(r"\b(?:KP_[A-Z]+|static inline)\b", "", declaration))
    start = text.index("(") + 1
    parameters = re.findall(r"(?:[^,()]|\([^()]*\))+,?", text[start:-1])
    if text[:start] + "".join(parameters) + ")" != text:
        raise Unclear("a declaration that is not understood: %s" % text)
    indent = start if all(start + len(each) < WIDTH for each in parameters) else 8
    lines = [text[:start]]
    for each in parameters:
        longer = lines[-1] + (each.strip() if each is parameters[0] else each)
        if len(longer) < WIDTH:
            lines[-1] = longer
        else:
            lines.append(" " * indent + each.strip())
    return "\n".join(lines) + ");"


class Function:
    """A public function: its name, synopsis, description, and the fields of its contract."""

    def __init__(self, name, declaration, comment):
        self.name = name
        self.synopsis = synopsis(declaration)
        self.words = set(re.findall(r"\w+", comment))
        description, *rest = LABEL.split(comment)
        self.description = blocks(description.rstrip())
        # [("Threads", "any thread."), ("Calls, Owns", "as kp_get.")]
        self.fields = [(one_line(names), one_line(text))
                       for names, text in zip(rest[::2], rest[1::2])]
        named = ", ".join(names for names, _ in self.fields).split(", ")
        if sorted(named) != sorted(FIELDS):
            raise Unclear("%s: not each of the seven fields once: %s" % (name, ", ".join(named)))
        if not re.match(r"\d+\.\d+$|as ", self.field("Since")):
            raise Unclear("%s: Since is not a release" % name)

    def field(self, name):
        return next(text for names, text in self.fields if name in names.split(", "))

    def belongs_to(self, other):
        """It has nothing to say but that it is as the other one."""
        return not self.description and self.fields == [(", ".join(FIELDS), "as %s." % other.name)]


class Header:
    """The first comment of a header, and its functions in groups that share a page."""

    def __init__(self, path):
        self.path = path
        self.name = re.sub(r".*\binclude/", "", path)
        self.is_core = self.name == "keyedpool.h" or self.name.startswith("keyedpool/")
        self.page = "keyedpool" if self.is_core else self.name[:-2]
        self.groups = []
        with open(path, encoding="utf-8") as file:
            self.source = file.read()
        where = 0
        try:
            self.read_first_comment()
            # not those that only an inline function calls
            for start in re.finditer(r"^(?:KP_API|static inline)\b(?![^(;]*\bkp__)", self.source,
                                     re.M):
                where = start.start()
                self.add(where)
        except Unclear as fault:
            line = self.source.count("\n", 0, where) + 1
            raise Unclear("%s:%d: %s" % (path, line, fault)) from None

    def read_first_comment(self):
        strange = re.search(r"[^\n -~]", self.source)
        if strange:
            raise Unclear("a tab, or a character that is not in ASCII: %r" % strange[0])
        comment = re.match(r"/\* SPDX-License-Identifier: MIT\n \*\n(.*?)\*/", self.source, re.S)
        if not comment:
            raise Unclear("no comment that says what it is for")
        self.text = blocks(plain(comment[1]))
        self.words = set(re.findall(r"\w+", comment[1]))
        library = re.search(r"lib(keyedpool-\w+)", comment[1])
        self.library = library[1] if library else "keyedpool"

    def add(self, where):
        """Add the function whose declaration is there."""
        declaration = FUNCTION.match(self.source, where)
        before = self.source[:where].rstrip()
        if not declaration or "/*" in declaration[0]:
            raise Unclear("a declaration that is not understood")
        name = declaration[1]
        if not before.endswith("*/"):
            raise Unclear("%s: no comment right before it" % name)
        function = Function(name, declaration[0], plain(before[before.rindex("/*"):-2]))
        if self.groups and function.belongs_to(self.groups[-1][0]):
            self.groups[-1].append(function)
        elif function.description:
            self.groups.append([function])
        else:
            raise Unclear("%s: no description" % name)
