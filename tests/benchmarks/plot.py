"""The figures as a picture: how many times better or worse than its goal each one is, on a logarithmic axis."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from report import Line, compared, goal, number

WIDTH, LEFT, RIGHT, TOP, STEP, BAR = 1080, 400, 290, 56, 24, 12
LIMIT = 10.0  # bars end here, in either direction
GOOD, BAD, INK, PALE = "#2a7f62", "#c0392b", "#222222", "#cccccc"
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)


def margin(line: Line) -> float:
    """1: just as good as the goal; 2: twice as good."""
    if line.value is None:
        return 1.0
    if line.row.goal == 0:
        return LIMIT if line.value <= 0 else 1 / LIMIT
    if line.value <= 0:
        return LIMIT if line.row.better == "lower" else 1 / LIMIT
    times = line.value / line.row.goal
    return min(max(1 / times if line.row.better == "lower" else times, 1 / LIMIT), LIMIT)


def at(times: float) -> float:
    """The horizontal place of a margin."""
    share = (math.log10(times) + math.log10(LIMIT)) / (2 * math.log10(LIMIT))
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = INK, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def svg(lines: Sequence[Line], title: str) -> str:
    height = TOP + STEP * len(lines) + 40
    bottom = height - 32
    size = f'width="{WIDTH}" height="{height}"'
    font = 'font-family="system-ui, sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {height}" {font}>',
        f'<rect {size} fill="white"/>',
        text(16, 24, title, weight="bold"),
        text(at(1), 44, "goal", "middle"),
        text(WIDTH - RIGHT + 12, 44, "measured (range of the rounds), goal"),
    ]
    for tick in TICKS:
        colour = INK if tick == 1 else PALE
        parts.append(f'<line x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="{TOP - 6}" y2="{bottom}" stroke="{colour}"/>')
        words = "" if tick == 1 else f"{tick:g} x" if tick > 1 else f"1/{1 / tick:g}"
        parts.append(text(at(tick), bottom + 16, words, "middle"))
    parts += [text(at(LIMIT), 44, "better →", "end"), text(at(1 / LIMIT), 44, "← worse")]
    for index, line in enumerate(lines):
        middle = TOP + STEP * index + STEP / 2
        against = f" / {line.row.peer}" if line.row.peer else ""
        parts.append(text(LEFT - 12, middle + 4, f"{line.row.title}{against}", "end"))
        if line.value is None:
            parts.append(text(WIDTH - RIGHT + 12, middle + 4, "not measured", colour=PALE))
            continue
        start, end = sorted((at(1), at(margin(line))))
        colour = GOOD if line.met else BAD
        box = f'x="{start:.1f}" y="{middle - BAR / 2:.1f}" width="{max(end - start, 2):.1f}" height="{BAR}"'
        parts.append(f'<rect {box} rx="2" fill="{colour}"><title>{number(line.ours)} {line.row.unit}</title></rect>')
        parts.append(text(WIDTH - RIGHT + 12, middle + 4, f"{compared(line)}, {goal(line.row)}", colour=colour))
    return "\n".join([*parts, "</svg>", ""])
