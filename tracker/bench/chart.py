"""One curve as SVG, readable on light and dark ground."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 480
HEIGHT: Final = 280
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 40, 46
STEPS: Final = 4
INK: Final = "#7a7f87"
FONT: Final = 'font-family="sans-serif" font-size="12"'
GRID: Final = f'stroke="{INK}" stroke-opacity="0.3"'
LINES: Final = ("#2f7ed8", "#d9822b", "#3a9b5c", "#b3539a")


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    values: Sequence[float]


def chart(title: str, x_is: str, y_is: str, at: Sequence[float], lines: Sequence[Line]) -> str:
    """The x axis is spread evenly, as steps of ten would be; y begins at 0."""
    top = _round_up(max(value for line in lines for value in line.values))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT} role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="{LEFT}" y="18" font-size="14" fill="{INK}">{escape(title)}</text>',
    ]
    for step in range(STEPS + 1):
        y = _y(step / STEPS)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {GRID}/>')
        parts.append(_text(LEFT - 6, y + 4, _number(top * step / STEPS), "end"))
    for place, value in enumerate(at):
        parts.append(_text(_x(place, len(at)), HEIGHT - BOTTOM + 18, _number(value), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_is, "middle"))
    parts.append(_text(LEFT - 6, TOP - 8, y_is, "start", dx=-50))
    for number, line in enumerate(lines):
        parts += _curve(line, number, len(at), top)
    return "\n".join([*parts, "</svg>", ""])


def _curve(line: Line, number: int, count: int, top: float) -> list[str]:
    colour = LINES[number % len(LINES)]
    points = [(_x(place, count), _y(value / top)) for place, value in enumerate(line.values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    at = f'x="{WIDTH - RIGHT}" y="{TOP - 8 + 14 * number}"'
    legend = f'<text {at} text-anchor="end" fill="{colour}">{escape(line.name)}</text>'
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots, legend]


def _x(place: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / count


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _text(x: float, y: float, text: str, anchor: str, *, dx: float = 0.0) -> str:
    return f'<text x="{x + dx:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    """To what a scale of four steps shows without odd numbers."""
    size = 1e-3
    while True:
        for factor in (1, 2, 4, 8):
            if size * factor >= value:
                return size * factor
        size *= 10


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
