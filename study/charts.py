"""Line charts as SVG that follow the reader's light or dark theme. Nothing but Python's own library.

A chart is a row of panels that share their y axis; a panel has series, a series has points. Text is text (selectable, and
found by search), every series is told apart by its dash and marker as well as its colour, and is named where it ends or in
the legend. The same data give the same bytes.
"""

from __future__ import annotations

import dataclasses
import html
import math

PANEL_WIDTH, WIDE_PANEL, PANEL_HEIGHT = 340, 520, 240
LEFT, RIGHT, TOP, BOTTOM, GAP = 62, 18, 58, 52, 26
STYLE = """
  text { font: 12px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: var(--ink); }
  .title { font-size: 15px; font-weight: 600; } .panel { font-weight: 600; } .quiet { fill: var(--quiet); }
  .grid { stroke: var(--grid); stroke-width: 1; } .axis { stroke: var(--quiet); stroke-width: 1; }
  .line { fill: none; stroke-width: 2.2; stroke-linejoin: round; } .bar { stroke-width: 1.4; }
  svg { --paper: #ffffff; --ink: #1f2328; --quiet: #59636e; --grid: #e3e7ec;
        --s0: #0a66b7; --s1: #b6500a; --s2: #2f7d4f; --s3: #7a4fb0; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --quiet: #9198a1; --grid: #262c36;
          --s0: #6cb6ff; --s1: #f0a35e; --s2: #6fcf97; --s3: #c4a2f5; } }
"""
DASHES = ("", "7 4", "2 3", "9 3 2 3")


@dataclasses.dataclass
class Point:
    x: float
    y: float
    low: float | None = None  # of an error bar
    high: float | None = None


@dataclasses.dataclass
class Series:
    name: str
    points: list[Point]
    colour: int = 0  # which of the four, and of the dashes and markers


@dataclasses.dataclass
class Panel:
    title: str
    series: list[Series]


@dataclasses.dataclass
class Chart:
    title: str
    x_title: str
    y_title: str
    panels: list[Panel]
    x_names: list[str] | None = None  # of x = 0, 1, 2 ...; without, x is a number
    x_log: bool = False
    y_log: bool = False
    y_from: float | None = None  # else what the data ask for
    description: str = ""  # for those who hear the page


def ticks(least: float, most: float, log: bool) -> list[float]:
    """Round numbers that cover the range: some five of them, or powers of ten."""
    if log:
        return [10.0**e for e in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)]
    span = (most - least) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= min((1, 2, 5, 10), key=lambda m: abs(span / (step * m) - 5))
    return [step * i for i in range(math.floor(least / step), math.ceil(most / step) + 1)]


def number(x: float) -> str:
    return f"{x:g}" if abs(x) < 1e4 else f"{x:,.0f}"


class Axis:
    def __init__(self, least: float, most: float, log: bool, start: float, end: float):
        self.log, self.start, self.end = log, start, end
        self.least, self.most = (math.log10(least), math.log10(most)) if log else (least, most)

    def __call__(self, value: float) -> float:
        at = ((math.log10(value) if self.log else value) - self.least) / ((self.most - self.least) or 1.0)
        return self.start + at * (self.end - self.start)


def marker(x: float, y: float, colour: int) -> str:
    fill = f'fill="var(--s{colour})" stroke="var(--paper)" stroke-width="1.2"'
    if colour % 2 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2" {fill}/>'
    return f'<rect x="{x - 3.8:.1f}" y="{y - 3.8:.1f}" width="7.6" height="7.6" {fill}/>'


def drawn_series(series: Series, x_axis: Axis, y_axis: Axis, markers: bool) -> list[str]:
    colour = series.colour % 4
    path = " ".join(f"{'M' if i == 0 else 'L'}{x_axis(p.x):.1f} {y_axis(p.y):.1f}" for i, p in enumerate(series.points))
    dash = f' stroke-dasharray="{DASHES[colour]}"' if DASHES[colour] else ""
    parts = [f'<path class="line" d="{path}" stroke="var(--s{colour})"{dash}/>']
    for p in series.points:
        if p.low is not None and p.high is not None:
            x, low, high = x_axis(p.x), y_axis(p.low), y_axis(p.high)
            parts.append(f'<path class="bar" stroke="var(--s{colour})" d="M{x:.1f} {low:.1f}V{high:.1f}'
                         f'M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"/>')
        if markers:
            parts.append(marker(x_axis(p.x), y_axis(p.y), colour))
    return parts


def draw(chart: Chart) -> str:
    points = [p for panel in chart.panels for series in panel.series for p in series.points]
    lows = [p.y if p.low is None else p.low for p in points] + ([] if chart.y_from is None else [chart.y_from])
    y_ticks = ticks(min(lows), max(p.y if p.high is None else p.high for p in points), chart.y_log)
    panel_width = PANEL_WIDTH if len(chart.panels) > 1 else WIDE_PANEL
    width = LEFT + RIGHT + len(chart.panels) * panel_width + (len(chart.panels) - 1) * GAP
    height = TOP + PANEL_HEIGHT + BOTTOM
    text = html.escape
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
             f"<title>{text(chart.title)}</title><desc>{text(chart.description)}</desc>", f"<style>{STYLE}</style>",
             f'<rect width="{width}" height="{height}" fill="var(--paper)"/>',
             f'<text class="title" x="16" y="22">{text(chart.title)}</text>']
    bottom = TOP + PANEL_HEIGHT
    y_axis = Axis(y_ticks[0], y_ticks[-1], chart.y_log, bottom, TOP)
    names = []  # the legend: each name once
    for i, panel in enumerate(chart.panels):
        left = LEFT + i * (panel_width + GAP)
        right = left + panel_width
        for y in y_ticks:
            parts.append(f'<path class="grid" d="M{left} {y_axis(y):.1f}H{right}"/>')
            if i == 0:
                parts.append(f'<text class="quiet" x="{left - 8}" y="{y_axis(y) + 4:.1f}" text-anchor="end">{number(y)}</text>')
        if chart.x_names is not None:
            x_axis = Axis(-0.4, len(chart.x_names) - 0.6, False, left, right)
            labels = [(float(at), name) for at, name in enumerate(chart.x_names)]
        else:
            xs = [p.x for series in panel.series for p in series.points]
            x_axis = Axis(min(xs), max(xs), chart.x_log, left + 10, right - 10)
            shown = sorted(set(xs)) if chart.x_log else ticks(min(xs), max(xs), False)
            labels = [(x, number(x)) for x in shown if min(xs) <= x <= max(xs)]
        for x, name in labels:
            parts.append(f'<text class="quiet" x="{x_axis(x):.1f}" y="{bottom + 18}" text-anchor="middle">{text(name)}</text>')
        parts.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>')
        parts.append(f'<text class="panel" x="{left + 4}" y="{TOP - 10}">{text(panel.title)}</text>')
        parts.append(f'<text class="quiet" x="{(left + right) / 2:.0f}" y="{bottom + 38}" text-anchor="middle">{text(chart.x_title)}</text>')
        for series in panel.series:
            if (series.name, series.colour % 4) not in names:
                names.append((series.name, series.colour % 4))
            parts += drawn_series(series, x_axis, y_axis, len(series.points) <= 12)
    middle = TOP + PANEL_HEIGHT / 2
    parts.append(f'<text class="quiet" x="16" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 16 {middle:.0f})">{text(chart.y_title)}</text>')
    # From the right edge, in the order of the data; one panel alone is too narrow for title and names in a row.
    x, y = width - RIGHT, 22 if len(chart.panels) > 1 else TOP - 12
    for name, colour in reversed(names):
        x -= 7.0 * len(name)
        parts.append(f'<text x="{x:.0f}" y="{y}">{text(name)}</text>')
        dash = f' stroke-dasharray="{DASHES[colour]}"' if DASHES[colour] else ""
        parts.append(f'<path class="line" d="M{x - 34:.0f} {y - 4}h28" stroke="var(--s{colour})"{dash}/>')
        parts.append(marker(x - 20, y - 4, colour))
        x -= 54
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
