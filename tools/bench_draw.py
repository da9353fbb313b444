# SPDX-License-Identifier: MIT
"""Draws the rows of a benchmark run as SVG: a part of tools/bench.py.

One line for each figure, on a logarithmic scale, in units of the case's limit: left is faster. A
notch shows the bar. Every mark has its figure beside it, so that the drawing can be read without
colours."""

import math
from xml.sax.saxutils import escape

from bench_bars import PEER, bars_of

COLOURS = {'rseq': '#2e7d4f', 'portable': '#7bbf91', 'locked': '#8a8f98', PEER: '#c8792b'}
HALO = ' stroke="#ffffff" stroke-width="3" paint-order="stroke"'
LEFT, WIDE, RIGHT, HIGH, GAP, TOP = 230, 520, 110, 16, 12, 58


def number(value):
    if value >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def groups(rows):
    """[(case, [(name, ratio, bar or None)])]"""
    cases = {}
    for row in rows:
        lines = cases.setdefault(row['case'], [])
        bars = [r for r in (b.ratio(row) for b in bars_of(row)) if r]
        lines.append((row['variant'], row['ratio'], min(bars) if bars else None))
    for row in rows:                    # the peer once, at the end
        if PEER in row['peer'] and cases[row['case']][-1][0] != PEER:
            cases[row['case']].append((PEER, row['peer'][PEER] / row['limit_ns'], None))
    return list(cases.items())


def scale(cases):
    """The powers of ten that enclose all that is drawn."""
    values = [v for _, lines in cases for _, ratio, bar in lines for v in (ratio, bar) if v]
    low = math.floor(math.log10(min(values + [1])))
    high = math.ceil(math.log10(max(values + [10])))
    return low, high, lambda v: LEFT + WIDE * (math.log10(max(v, 10 ** low)) - low) / (high - low)


def text(x, y, said, anchor='start', more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(said)}</text>'


def line(x1, y1, x2, y2, colour, width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def grid(low, high, at, bottom):
    """The powers of ten; 1 is the limit itself."""
    said = []
    for power in range(low, high + 1):
        x = at(10.0 ** power)
        said.append(line(x, TOP - 8, x, bottom, '#333333' if power == 0 else '#dddddd'))
        said.append(text(x, TOP - 14, 'the limit' if power == 0 else f'{10.0 ** power:g}',
                         'middle'))
    return said


def draw(rows):
    """The whole SVG. Rows in the order in which they are to be drawn."""
    cases = groups(rows)
    low, high, at = scale(cases)
    marks, y = [], TOP
    for case, lines in cases:
        marks.append(text(12, y + HIGH - 4, case, more=' font-weight="bold"'))
        for name, ratio, bar in lines:
            middle = y + HIGH / 2
            colour = COLOURS.get(name, '#555555')
            marks.append(text(LEFT - 8, y + HIGH - 4, name, 'end'))
            marks.append(line(LEFT, middle, at(ratio), middle, colour))
            marks.append(f'<circle cx="{at(ratio):.1f}" cy="{middle:.1f}" r="5" fill="{colour}"/>')
            if bar:
                marks.append(line(at(bar), middle - 8, at(bar), middle + 8, '#b00020', 2))
            marks.append(text(max(at(ratio) + 9, at(bar or ratio) + 6), y + HIGH - 4,
                              number(ratio), more=HALO))
            y += HIGH
        y += GAP
    width, height = LEFT + WIDE + RIGHT, y + 28
    machine = f'{rows[0].get("machine", "")}, {rows[0].get("date", "")}'
    return '\n'.join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
         f'height="{height}" font-family="sans-serif" font-size="12" fill="#222222">',
         '<title>Time of one operation, in units of the limit of the machine</title>',
         f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
         text(12, 20, 'Time of one operation, in units of the limit (left is faster)',
              more=' font-size="14"')]
        + grid(low, high, at, y - GAP) + marks
        + [text(12, height - 10, f'red: the bar.  {machine}'), '</svg>', ''])
