# SPDX-License-Identifier: MIT
"""The cases of bench/, and the bars that each must meet: a part of tools/bench.py.

A bar is a limit on one figure of a row: a number, or a multiple of another field of the same row.
Variant `rseq` is what the library does where it can; it must meet all bars of its case. `portable`
must meet those that need no restartable sequence. `locked`, with the hit path turned off, has no
bars: it is there for comparison. Nor has `no rseq`, which replaces `rseq` on machines without
sequences."""

PEER = 'apr_reslist'


def of(row, field):
    return row['peer'].get(PEER) if field == 'peer' else row.get(field)


class Bar:
    """`field` is at most `most`, or at least `least`; times the field `unit`, if one is given."""

    def __init__(self, field, most=None, least=None, unit=None, says=None):
        self.field, self.most, self.least = field, most, least
        self.unit, self.says = unit, says

    def bound(self, row):
        unit = of(row, self.unit) if self.unit else 1
        number = self.most if self.most is not None else self.least
        return None if unit is None else number * unit

    def held(self, row):
        """Is the bar met? None if there is nothing to compare with."""
        bound, value = self.bound(row), of(row, self.field)
        if bound is None or value is None:
            return None
        if self.field == 'bytes':
            value = round(value)        # one page more is less than one byte of each of so many
        return value <= bound if self.most is not None else value >= bound

    def ratio(self, row):
        """The bar in units of `ratio`, for the drawing; None if it is on another figure."""
        bound = self.bound(row)
        if bound is None or self.field not in ('ratio', 'ns', 'ops'):
            return None
        if self.field == 'ops':
            return 1e9 / bound / row['limit_ns']
        return bound if self.field == 'ratio' else bound / row['limit_ns']


def below(number):
    return Bar('ratio', most=number, says=f'<= {number:g} P')


def times(number, unit, name):
    return Bar('ops', least=number, unit=unit, says=f'>= {number:g} x {name}')


# The bars of `portable`, for cases in which they are lower.
PORTABLE = {
    'hit.handle': [below(1.9)],
    'hit.key1000': [below(2.8)],
    'parallel.2': [times(1.0, 'limit_ops', 'limit')],
}

# case: (the unit of the table's first figures: ns, or pairs per second; its bars)
CASES = {
    'hit.handle': ('ns', [below(0.5)]),
    'hit.key1000': ('ns', [below(2.0)]),
    'parallel.2': ('ops', [times(3.0, 'limit_ops', 'limit')]),
    'parallel.16': ('ops', [times(1.1, 'limit_ops', 'limit')]),
    'shortage.fifo': ('ops', [times(0.25, 'peer_ops', 'apr'),
                              Bar('fairness', least=0.95, says='fair >= 0.95')]),
    'shortage.eventual': ('ops', [times(1.4, 'peer_ops', 'apr'),
                                  Bar('fairness', least=0.7, says='fair >= 0.7'),
                                  Bar('max_wait_ms', most=30, says='wait <= 30 ms')]),
    'keys.1m': ('ns', [below(18), Bar('bytes', most=256, says='<= 256 B')]),
    'release.keys': ('ns', [Bar('ns', most=1.1, unit='ns_1_key', says='as with 1 key')]),
    'pending.1m': ('ns', [Bar('ns', most=220, says='<= 220 ns'),
                          Bar('bytes', most=128, says='<= 128 B')]),
    'churn': ('ns', [below(6)]),
    'close.1m': ('ns', [Bar('ns', most=40, says='<= 40 ns')]),
}


def bars_of(row):
    if row['variant'] in ('locked', 'no rseq'):
        return []
    less = PORTABLE.get(row['case']) if row['variant'] == 'portable' else None
    return less or CASES[row['case']][1]


# The fields of every row, and further fields in the rows of some cases: name and type.
FIELDS = {'case': str, 'variant': str, 'ns': float, 'ns_quartiles': list, 'limit_ns': float,
          'limit_ns_quartiles': list, 'ratio': float, 'peer': dict, 'rounds': float,
          'foreign_cpus': float}
MORE = {'hit.handle': ('ns_calls',),
        'parallel.2': ('ops', 'limit_ops', 'threads'),
        'parallel.16': ('ops', 'limit_ops', 'threads'),
        'shortage.fifo': ('ops', 'fairness', 'max_wait_ms', 'threads'),
        'shortage.eventual': ('ops', 'fairness', 'max_wait_ms', 'threads'),
        'keys.1m': ('ns_least', 'bytes', 'bytes_again', 'keys'),
        'release.keys': ('ns_1_key', 'ns_random', 'keys'),
        'pending.1m': ('bytes', 'requests'), 'close.1m': ('ns_100k', 'ns_keys', 'resources')}


def complaints(row):
    """What is wrong with a row; [] if nothing is."""
    wrong = []
    for name, kind in list(FIELDS.items()) + [(m, float) for m in MORE.get(row.get('case'), ())]:
        value = row.get(name)
        if kind is float:
            good = isinstance(value, (int, float)) and value == value and value >= 0
        else:
            good = isinstance(value, kind)
        if not good:
            wrong.append(f'{name}: {value!r}')
        elif name.endswith('_quartiles') and (len(value) != 2 or value[0] > value[1]):
            wrong.append(f'{name}: {value!r}')
    if not wrong and abs(row['ratio'] * row['limit_ns'] - row['ns']) > 1e-3 * row['ns'] + 1e-6:
        wrong.append('ratio: not ns / limit_ns')
    if row.get('case') not in CASES:
        wrong.append(f'case: {row.get("case")!r}')
    return wrong
