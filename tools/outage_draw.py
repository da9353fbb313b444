#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws the record of the outage test (tests/contract/outage.c) as SVG.

    KP_OUTAGE=outage.csv build/release/tests/test-contract-outage
    tools/outage_draw.py outage.csv > docs/outage.svg

Three panels over the same seconds: requests, creations begun, creations in flight. Each curve has
its name beside it, so that the drawing can be read without colours."""

import csv
import sys
from xml.sax.saxutils import escape

WIDE, HIGH, LEFT, TOP, GAP = 720, 120, 60, 46, 44
DOWN, UP = 10, 70                       # seconds, as in the test
GREEN, ORANGE, GREY = '#3f9b5f', '#c8792b', '#8a8f98'


def text(x, y, said, anchor='start', more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(said)}</text>'


def curve(values, at, top, most, colour):
    points = ' '.join(f'{at(second):.1f},{top + HIGH - HIGH * min(value, most) / most:.1f}'
                      for second, value in values)
    return (f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3" '
            'stroke-linejoin="round"/>')


def panel(top, title, most, line, curves, at, last):
    said = [f'<rect x="{at(DOWN):.1f}" y="{top}" width="{at(UP) - at(DOWN):.1f}" height="{HIGH}" '
            'fill="#f3f0ea"/>',
            f'<path d="M{LEFT},{top} V{top + HIGH} H{LEFT + WIDE}" fill="none" stroke="#333333"/>',
            text(LEFT, top - 8, title, more=' font-weight="bold"'),
            text(LEFT - 6, top + 10, f'{most:g}', 'end'), text(LEFT - 6, top + HIGH, '0', 'end')]
    if line is not None:
        value, name = line
        y = top + HIGH - HIGH * value / most
        said.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDE}" y2="{y:.1f}" '
                    f'stroke="{GREY}" stroke-dasharray="5 4"/>')
        said.append(text(LEFT + WIDE, y - 4, name, 'end', f' fill="{GREY}"'))
    for name, colour, second, values in curves:
        said.append(curve(values, at, top, most, colour))
        here = max(v for s, v in values if second - 1 <= s <= second + 6)   # the name's width
        y = top + HIGH - HIGH * min(here, most) / most
        said.append(text(at(second), max(y - 6, top + 12), name, more=f' fill="{colour}"'))
    for second in range(0, last + 1, 10):
        said.append(text(at(second), top + HIGH + 15, f'{second}', 'middle'))
    return said


def by_second(rows, field, join):
    """One value for each second: tenths of a second would be too fine to read."""
    values = [float(row[field]) for row in rows]
    return [(i / 10 + 0.5, join(values[i:i + 10])) for i in range(0, len(values), 10)]


def draw(rows):
    last = round(float(rows[-1]['seconds']) + 0.1)

    def at(second):
        return LEFT + WIDE * second / last

    panels = [
        ('requests answered in a second (1,000 come, on 50 keys)', 1500, None,
         [('served', GREEN, 2, by_second(rows, 'served', sum)),
          ('no resource within 2 s', ORANGE, 30, by_second(rows, 'refused', sum))]),
        ('creations begun in a second', 120, (100, 'create_rate: 100'),
         [('begun', GREEN, 15, by_second(rows, 'begun', sum))]),
        ('creations in flight, at most, in each tenth', 20, (15, 'budget.max_creating: 15'),
         [('in flight', GREEN, 15, [(float(r['seconds']), float(r['in_flight'])) for r in rows])]),
    ]
    height = TOP + len(panels) * (HIGH + GAP)
    said = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 20}" height="{height}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{LEFT + WIDE + 20}" height="{height}" fill="#ffffff"/>',
            text(at((DOWN + UP) / 2), 18, 'the backend is down', 'middle', ' fill="#6b6256"')]
    for i, (title, most, line, curves) in enumerate(panels):
        said += panel(TOP + i * (HIGH + GAP), title, most, line, curves, at, last)
    said.append(text(LEFT + WIDE, height - 8, 'seconds', 'end'))
    return '\n'.join(said + ['</svg>'])


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        sys.exit(__doc__)
    with open(sys.argv[1], newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    if not rows:
        sys.exit(f'{sys.argv[0]}: {sys.argv[1]} has no rows')
    print(draw(rows))


if __name__ == '__main__':
    main()
