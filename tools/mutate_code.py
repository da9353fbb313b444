# SPDX-License-Identifier: MIT
"""The mutations of a C file of this project: what tools/mutate.py breaks, one place at a time.

It reads tokens, not grammar, and relies on the formatting that tools/lint.py enforces: a binary
operator has a space on both sides, a unary one has none after it. Where it misreads the code, the
mutant does not compile and is not counted."""

import collections
import re

# Replaces source[begin:end] by text. `what` describes it in words; `where` is the function; key()
# is its name in tools/mutants.txt.
Mutant = collections.namedtuple('Mutant', 'path where line source begin end text what number')


def shorten(line):
    return line if len(line) <= 48 else line[:45] + '...'


def key(mutant):
    return (mutant.path, mutant.where, mutant.source, mutant.what, mutant.number)


TOKEN = re.compile(r'''
    (?P<space>\s+|//[^\n]*|/\*.*?\*/)
  | (?P<directive>^[ \t]*\#(?:[^\n\\]|\\.|\\\n)*)
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)
''', re.X | re.S | re.M)

Token = collections.namedtuple('Token', 'kind text begin end line')

SIGNS = {
    '<': ('<=', '>='), '<=': ('<', '>'), '>': ('>=', '<='), '>=': ('>', '<'),
    '==': ('!=',), '!=': ('==',), '&&': ('||',), '||': ('&&',),
    '+': ('-',), '-': ('+',), '*': ('/',), '/': ('*',), '%': ('/',),
    '&': ('|',), '|': ('&',), '^': ('|',), '<<': ('>>',), '>>': ('<<',),
    '+=': ('-=',), '-=': ('+=',), '*=': ('/=',), '/=': ('*=',), '|=': ('&=',), '&=': ('|=',),
    '++': ('--',), '--': ('++',),
}
CONTROL = {'if', 'while', 'for', 'switch', 'return', 'sizeof', 'do', 'else', 'case', 'default',
           'break', 'continue', 'goto'}
TYPES = {'struct', 'enum', 'union', 'const', 'static', 'void', 'bool', 'char', 'int', 'unsigned',
         'long', 'double', 'size_t', 'uint8_t', 'uint32_t', 'uint64_t', 'int32_t', 'int64_t',
         'uintptr_t', '_Atomic', 'extern', 'volatile', 'typedef'}
COMMUTATIVE = {'kp__later', 'sooner', 'at_least'}       # swapping their arguments changes nothing
CHECKS = {'KP__DCHECK', 'static_assert', '_Static_assert'}  # not part of what is shipped


def tokens_of(source):
    line = 1
    for found in TOKEN.finditer(source):
        if found.lastgroup not in ('space', 'directive'):
            yield Token(found.lastgroup, found.group(), found.start(), found.end(), line)
        line += found.group().count('\n')


class Code:
    """A file as tokens, with each bracket's partner and each token's function."""

    def __init__(self, path, source):
        self.path, self.source = path, source
        self.lines = source.splitlines()
        self.tokens = list(tokens_of(source))
        self.partner = {}
        self.where = [''] * len(self.tokens)
        self.returns_bool = set()
        self.out = []
        open_ones = []
        for i, token in enumerate(self.tokens):
            if token.text in '([{':
                open_ones.append(i)
            elif token.text in ')]}' and open_ones:
                begin = open_ones.pop()
                self.partner[begin], self.partner[i] = i, begin
        self.find_functions()

    def text(self, i):
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ''

    def find_functions(self):
        i = 0
        while i < len(self.tokens):
            token = self.tokens[i]
            if token.text == '{':
                end = self.partner.get(i, len(self.tokens) - 1)
                if self.text(i - 1) == ')':
                    open_one = self.partner[i - 1]
                    name = self.text(open_one - 1)
                    for j in range(i + 1, end):
                        self.where[j] = name
                    if self.text(open_one - 2) == 'bool':
                        self.returns_bool.add(name)
                i = end
            i += 1

    def spaced(self, i):
        token = self.tokens[i]
        return self.source[token.begin - 1] in ' \n' and self.source[token.end] in ' \n'

    def add(self, first, last, text, what):
        """Adds the mutant in which tokens first..last become `text`."""
        begin, end = self.tokens[first].begin, self.tokens[last].end
        line = self.tokens[first].line
        self.out.append(Mutant(self.path, self.where[first], line,
                               shorten(self.lines[line - 1].strip()), begin, end, text, what, 0))

    def force(self, first, last, value, what=None):
        self.add(first, last, '(1)' if value else '(0)',
                 f'{self.slice(first, last)} always {"true" if value else "false"}')

    def slice(self, first, last):
        text = ' '.join(self.source[self.tokens[first].begin:self.tokens[last].end].split())
        return f'`{text}`' if len(text) <= 60 else f'`{text[:57]}...`'

    def mutants(self):
        skip_until = -1
        for i, token in enumerate(self.tokens):
            if not self.where[i] or i <= skip_until:
                continue
            if token.text in CHECKS:
                skip_until = self.partner.get(i + 1, i)
                continue
            self.mutate_sign(i, token)
            self.mutate_value(i, token)
            self.mutate_condition(i, token)
            self.mutate_statement(i, token)
            self.mutate_call(i, token)
        seen = collections.Counter()
        for mutant in self.out:
            seen[key(mutant)] += 1
            yield mutant._replace(number=seen[key(mutant)])

    def mutate_sign(self, i, token):
        if token.text in ('++', '--') or (token.text in SIGNS and self.spaced(i)):
            for other in SIGNS[token.text]:
                self.add(i, i, other, f'`{token.text}` to `{other}`')
        elif token.text == '!':
            self.add(i, i, '', '`!` dropped')

    def mutate_value(self, i, token):
        if token.text in ('true', 'false'):
            other = 'false' if token.text == 'true' else 'true'
            self.add(i, i, other, f'`{token.text}` to `{other}`')
        elif token.kind == 'number':
            try:
                value = int(token.text.rstrip('uUlL'), 0)
            except ValueError:
                return
            suffix = token.text[len(token.text.rstrip('uUlL')):] if value > 9 else ''
            for other in {value + 1, value - 1}:
                if other >= 0:
                    self.add(i, i, f'{other}{suffix}', f'`{token.text}` to `{other}`')

    # ---- conditions ----

    def operand(self, i, step, stop):
        """The other end of the operand of && or || that begins at i, in the direction of step."""
        last = i
        while i != stop:
            text = self.text(i)
            if text in (')]}' if step < 0 else '([{') and i in self.partner:
                last = i = self.partner[i]
            elif text in ('&&', '||', '?', ':', ',', ';', '=', '(', ')', '{', '}', '[', ']',
                          'return'):
                break
            else:
                last = i
            i += step
        return last

    def mutate_condition(self, i, token):
        if token.text in ('if', 'while') and self.text(i + 1) == '(':
            first, last = i + 2, self.partner[i + 1] - 1
            self.whole_condition(first, last, loop=token.text == 'while')
        elif token.text == 'for' and self.text(i + 1) == '(':
            ends = [j for j in range(i + 2, self.partner[i + 1]) if self.text(j) == ';']
            if len(ends) == 2 and ends[1] > ends[0] + 1:
                self.whole_condition(ends[0] + 1, ends[1] - 1, loop=True)
        elif token.text == '?':
            self.whole_condition(self.operand_of_question(i), i - 1, loop=False)
        elif token.text in ('&&', '||'):
            neutral = token.text == '&&'
            left = self.operand(i - 1, -1, -1)
            right = self.operand(i + 1, 1, len(self.tokens))
            if self.text(left - 1) != token.text:    # else it is the right operand of another
                self.force(left, i - 1, neutral)
            self.force(i + 1, right, neutral)
        elif token.text == 'return' and self.where[i] in self.returns_bool:
            last = i
            while self.text(last + 1) != ';':
                last += 1
            if last > i + 1:
                self.force(i + 1, last, True)
                self.force(i + 1, last, False)

    def operand_of_question(self, i):
        first = i
        while True:
            left = self.operand(first - 1, -1, -1)
            first = left
            if self.text(first - 1) not in ('&&', '||'):
                return first
            first -= 1

    def whole_condition(self, first, last, loop):
        if first > last or self.text(first) == 'true':
            return
        if not loop:
            self.force(first, last, True)
        self.force(first, last, False)
        if not any(self.text(j) in ('==', '!=', '<', '<=', '>', '>=', '!')
                   for j in range(first, last + 1)):
            begin, end = self.tokens[first].begin, self.tokens[last].end
            self.add(first, last, f'(!({self.source[begin:end]}))',
                     f'{self.slice(first, last)} negated')

    # ---- statements and calls ----

    def begins_statement(self, i):
        before = self.text(i - 1)
        if before in ('{', '}', ';', 'else', 'do'):
            # not inside for (;;), nor in an initialiser
            return not self.inside_round(i)
        if before == ':':
            j = i - 2
            while self.text(j) not in (';', '{', '}', '?', ':'):
                j -= 1
            return self.text(j + 1) in ('case', 'default')
        if before == ')' and i - 1 in self.partner:
            return self.text(self.partner[i - 1] - 1) in ('if', 'while', 'for', 'switch')
        return False

    def inside_round(self, i):
        depth = 0
        while i > 0:
            i -= 1
            if self.text(i) in ')}]':
                i = self.partner.get(i, i)
            elif self.text(i) in '([':
                return True
            elif self.text(i) == '{':
                return self.text(i - 1) in ('=', ')') and depth > 0 or self.text(i - 1) == '='
        return False

    def mutate_statement(self, i, token):
        if not self.begins_statement(i) or token.text in TYPES or token.text in '{};':
            return
        if token.text in CONTROL - {'break', 'continue', 'return'}:
            return
        if token.kind == 'name' and self.tokens[i + 1].kind == 'name':
            return                                   # a declaration: kp_lease lease
        last = i
        while self.text(last) != ';':
            last = self.partner[last] if self.text(last) in '([{' else last + 1
        if token.text == 'return' and last > i + 1:
            return                                   # a function must return something
        self.add(i, last, ';', f'{self.slice(i, last)} dropped')

    def mutate_call(self, i, token):
        if token.kind != 'name' or self.text(i + 1) != '(' or token.text.isupper() or \
                token.text in CONTROL | COMMUTATIVE | {'KP__OF'}:
            return
        end = self.partner[i + 1]
        starts, j = [i + 2], i + 2
        while j < end:
            if self.text(j) in '([{':
                j = self.partner[j]
            elif self.text(j) == ',':
                starts.append(j + 1)
            j += 1
        starts.append(end + 1)
        for n in range(len(starts) - 2):
            a, b = (starts[n], starts[n + 1] - 2), (starts[n + 1], starts[n + 2] - 2)
            one = self.source[self.tokens[a[0]].begin:self.tokens[a[1]].end]
            two = self.source[self.tokens[b[0]].begin:self.tokens[b[1]].end]
            if one != two:
                self.add(a[0], b[1], f'{two}, {one}', f'`{token.text}`: arguments {n + 1} and '
                         f'{n + 2} swapped')


def mutants_of(path, source):
    return list(Code(path, source).mutants())
