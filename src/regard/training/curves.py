"""Curves as a picture: SVG, which every browser and every forge shows, without a library."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

#: Colours that people with any kind of sight tell apart (Okabe and Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
WIDTH, HEIGHT = 860, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 310, 34, 36
#: Lines of a panel at most; more cannot be told apart.
MOST = len(COLORS)


def draw(panels: Mapping[str, Mapping[str, Points]]) -> str:
    """Return a picture with one panel above the other.

    Args:
        panels: Title -> name of a curve -> its (step, value) points; those that are not finite
            are left out, and so are curves beyond `MOST`.
    """
    drawn = [
        _panel(title, curves, HEIGHT * row) for row, (title, curves) in enumerate(panels.items())
    ]
    height = HEIGHT * len(drawn)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" '
            'fill="#333333">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers that enclose a range."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / (count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _panel(title: str, curves: Mapping[str, Points], top: int) -> str:
    finite = {
        name: [point for point in points if all(map(math.isfinite, point))]
        for name, points in [*curves.items()][:MOST]
    }
    shown = {name: points for name, points in finite.items() if points}
    parts = [f'<text x="{LEFT}" y="{top + 20}" font-weight="bold">{escape(title)}</text>']
    everything = [point for points in shown.values() for point in points]
    if not everything:
        return "\n".join([*parts, f'<text x="{LEFT}" y="{top + 60}">nothing finite</text>'])
    values = ticks(min(y for _, y in everything), max(y for _, y in everything))
    last_step = max(x for x, _ in everything) or 1
    bottom, across = top + HEIGHT - BOTTOM, WIDTH - LEFT - RIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        height = (y - values[0]) / (values[-1] - values[0]) * (HEIGHT - TOP - BOTTOM)
        return LEFT + x / last_step * across, bottom - height

    for value in values:
        y = place(0, value)[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}h{across}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{value:.6g}", "end"))
    steps = [step for step in ticks(0, last_step) if step <= last_step]
    parts += [_text(place(x, 0)[0], bottom + 18, f"{x:.6g}", "middle") for x in steps]
    parts.append(_text(LEFT + across + 24, bottom + 18, "step", "start"))
    for row, (name, points) in enumerate(shown.items()):
        places = [place(*point) for point in points]
        parts.append(_curve(places, COLORS[row]))
        label = f"{name if len(name) < 32 else name[:31] + '…'} {points[-1][1]:.4g}"
        y = top + TOP + 10 + 18 * row
        key = f"M{LEFT + across + 12} {y - 4}h18"
        parts.append(f'<path d="{key}" stroke="{COLORS[row]}" stroke-width="3"/>')
        parts.append(_text(LEFT + across + 36, y, label, "start"))
    return "\n".join(parts)


def _curve(places: Points, color: str) -> str:
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.8"/>'
    if len(places) > 30:
        return drawn
    return drawn + "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in places
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
