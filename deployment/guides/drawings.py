"""Draw the pictures of the guides, which a test compares with the files.

python -m deployment.guides.drawings
"""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.engine.learning.splits import STOPPING_BLOCKS
from stockbatch.methods import calibration
from stockbatch.records import QUANTILES

FOLDER = Path(__file__).parent
WIDTH = 800
INK, GREY, LIGHT, WHITE = "#333333", "#999999", "#dddddd", "#ffffff"
TIMES = "\N{MULTIPLICATION SIGN}"
BLUE, SKY, VERMILION, GREEN = "#0072b2", "#56b4e9", "#d55e00", "#009e73"
"""Colours that the colour-blind tell apart too: Okabe & Ito, "Color universal design" (2008)."""

Floats = NDArray[np.float64]


def main() -> None:
    for name, drawing in drawings().items():
        (FOLDER / name).write_text(drawing, encoding="utf-8")


def drawings() -> dict[str, str]:
    """Return every drawing by the name of its file."""
    settings = ModelSettings()
    return {
        "lstm-cell.svg": lstm_cell(),
        "windows.svg": windows(settings),
        "parts.svg": parts(settings),
        "overfitting.svg": overfitting(),
        "calibration.svg": calibrated(),
    }


# ---- the drawings


def lstm_cell() -> str:
    """Draw one step of an LSTM cell: what comes in, the four gates, what goes on to the next."""
    top, middle, low = 70, 170, 250
    shapes = [
        box(130, 40, 560, 250, WHITE, GREY),
        arrow(20, top, 640, top),
        arrow(640, top, 780, top),
        text(20, top - 12, "memory c(t-1)", BLUE, anchor="start"),
        text(780, top - 12, "memory c(t)", BLUE, anchor="end"),
        arrow(20, low, 200, low),
        line(200, low, 580, low),
        text(20, low - 12, "output h(t-1)", VERMILION, anchor="start"),
        arrow(200, 330, 200, low),
        text(214, 326, "inputs x(t) of session t", INK, anchor="start"),
    ]
    gates = (
        (200, "forget", "sigmoid"),
        (310, "entry", "sigmoid"),
        (420, "candidate", "tanh"),
        (580, "exit", "sigmoid"),
    )
    for x, name, kind in gates:
        shapes += [
            arrow(x, low, x, middle + 18),
            box(x - 42, middle - 18, 84, 36, LIGHT, INK),
            text(x, middle - 2, name, INK),
            text(x, middle + 13, kind, GREY, size=11),
        ]
    shapes += [
        arrow(200, middle - 18, 200, top + 12),
        knot(200, top, TIMES),
        line(310, middle - 18, 310, 120),
        arrow(310, 120, 353, 120),
        line(420, middle - 18, 420, 120),
        arrow(420, 120, 377, 120),
        knot(365, 120, TIMES),
        arrow(365, 108, 365, top + 12),
        knot(365, top, "+"),
        line(640, top, 640, 97),
        box(618, 97, 44, 26, LIGHT, INK),
        text(640, 114, "tanh", GREY, size=11),
        arrow(640, 123, 640, middle - 12),
        knot(640, middle, TIMES),
        arrow(622, middle, 628, middle),
        line(640, middle + 12, 640, low),
        arrow(640, low, 780, low),
        text(780, low - 12, "output h(t)", VERMILION, anchor="end"),
    ]
    return svg(345, shapes)


def windows(settings: ModelSettings) -> str:
    """Draw how a history is cut: scored steps follow each other, behind a warm-up of their own."""
    left, right, count = 170, 780, 4
    sessions = settings.lookback + count * settings.scored_steps
    scale = (right - left) / sessions
    shapes = [
        line(left, 30, right, 30, GREY),
        text(left, 22, "older", GREY, anchor="start"),
        text(right, 22, "last session", GREY, anchor="end"),
    ]
    for window in range(count):
        y = 45 + 34 * window
        begin = left + window * settings.scored_steps * scale
        middle = begin + settings.lookback * scale
        shapes += [
            text(20, y + 16, f"window {window + 1}", INK, anchor="start"),
            box(begin, y, settings.lookback * scale, 24, LIGHT, GREY),
            box(middle, y, settings.scored_steps * scale, 24, SKY, BLUE),
        ]
    half = settings.lookback * scale / 2
    shapes += [
        text(left + half, 61, f"{settings.lookback} warm-up", INK, size=12),
        text(left + 3 * half, 61, f"{settings.scored_steps} scored", INK, size=12),
        text(20, 205, "usual loop", INK, anchor="start"),
    ]
    for window in range(4):
        begin = left + window * 4 * scale
        shapes += [
            box(begin, 192 + 9 * window, settings.lookback * scale, 6, LIGHT, GREY),
            box(begin + settings.lookback * scale, 192 + 9 * window, scale * 2, 6, BLUE, BLUE),
        ]
    note = "a window per session: the same steps again and again, for one loss each"
    shapes.append(text(left + settings.lookback * scale + 40, 214, note, GREY, "start", 12))
    return svg(245, shapes)


def parts(settings: ModelSettings) -> str:
    """Draw which sessions are fitted, which stop the fit, which choose between models."""
    left, right, block = 20, 780, settings.stopping_sessions
    sessions = settings.history_sessions
    scale = (right - left) / sessions
    compared = sessions - settings.comparison_sessions
    shapes = []
    for number, begin in enumerate(range(0, compared, block)):
        stops = number % STOPPING_BLOCKS == STOPPING_BLOCKS - 1
        size = min(block, compared - begin) * scale
        colour = VERMILION if stops else SKY
        shapes.append(box(left + begin * scale, 40, size, 40, colour, WHITE))
    shapes.append(box(left + compared * scale, 40, right - left - compared * scale, 40, GREEN))
    shapes += [
        text(left, 28, f"{sessions} sessions, oldest first", GREY, anchor="start"),
        text(right, 28, "origin", GREY, anchor="end"),
        box(20, 100, 16, 12, SKY),
        text(44, 111, "fitted", INK, anchor="start"),
        box(150, 100, 16, 12, VERMILION),
        text(174, 111, f"stop the fit: one block of {block} in {STOPPING_BLOCKS}", INK, "start"),
        box(440, 100, 16, 12, GREEN),
        text(
            464, 111, f"choose the model: the newest {settings.comparison_sessions}", INK, "start"
        ),
    ]
    return svg(130, shapes)


TRAINING = (
    *(0.2180, 0.2148, 0.2123, 0.2101, 0.2085, 0.2081, 0.2078, 0.2060, 0.2053, 0.2032),
    *(0.2010, 0.2023, 0.1995, 0.1972, 0.1954, 0.1923, 0.1901, 0.1885, 0.1862, 0.1839),
    *(0.1831, 0.1824, 0.1803, 0.1743, 0.1733, 0.1680, 0.1660, 0.1626, 0.1577, 0.1566),
)
VALIDATION = (
    *(0.2103, 0.2080, 0.2076, 0.2063, 0.2054, 0.2059, 0.2055, 0.2059, 0.2061, 0.2068),
    *(0.2098, 0.2099, 0.2088, 0.2143, 0.2109, 0.2140, 0.2135, 0.2200, 0.2151, 0.2176),
    *(0.2228, 0.2244, 0.2244, 0.2260, 0.2266, 0.2370, 0.2378, 0.2411, 0.2506, 0.2482),
)
"""The first 30 epochs of bi.training_history, model_kind = 'base', after, in a home of its own,

    stockbatch --set model.units=48 --set model.dropout=0 --set model.base_learning_rate=0.005 \
        --set model.base_epochs=40 --set model.base_patience=40 demo
"""


def overfitting() -> str:
    """Draw the losses of a network that is too large and trained for too long."""
    plot = Plot(left=60, right=780, top=30, bottom=250, x=(0, 31), y=(0.15, 0.255))
    epochs = range(1, len(TRAINING) + 1)
    best = int(np.argmin(VALIDATION)) + 1
    shapes = [
        *plot.axes("epoch", [1, 5, 10, 15, 20, 25, 30], [0.16, 0.18, 0.20, 0.22, 0.24]),
        line(plot.across(best), 30, plot.across(best), 250, GREY, dashed=True),
        text(plot.across(best) + 6, 44, f"best epoch: {best}; its weights are kept", INK, "start"),
        plot.curve(epochs, TRAINING, BLUE),
        plot.curve(epochs, VALIDATION, VERMILION),
        text(plot.across(22), plot.up(0.236), "on sessions that stop the fit", VERMILION),
        text(plot.across(22), plot.up(0.171), "on sessions fitted", BLUE),
    ]
    return svg(290, shapes)


def calibrated() -> str:
    """Draw what the program's calibration makes of returns whose volatility doubles for a time."""
    calm, wild = 150, 90
    sessions = 2 * calm + wild
    volatility = np.full(sessions, 1.0)
    volatility[calm : calm + wild] = 2.0
    actual = np.random.default_rng(7).standard_normal(sessions) * volatility
    upper = [0.6745, 1.2816, 1.645, 1.96, 2.3263]
    normal = np.array([*np.negative(upper[::-1]), 0, *upper])
    raw = np.tile(normal, (1, sessions, 1))
    low, high = QUANTILES.index(0.1), QUANTILES.index(0.9)
    shown = sessions - 60
    made = calibration.calibrate_by_origin(raw, actual[None], shown)[0]
    plot = Plot(left=60, right=780, top=30, bottom=270, x=(0, shown), y=(-6, 6))
    days = np.arange(shown)
    outside = (actual[-shown:] < made[:, low]) | (actual[-shown:] > made[:, high])
    shapes = [
        *plot.axes("session", [0, 90, 180, 330], [-4, -2, 0, 2, 4]),
        text(plot.across(45), 44, "calm", GREY),
        text(plot.across(135), 44, "twice as wild", GREY),
        text(plot.across(255), 44, "calm", GREY),
    ]
    edges = [plot.across(calm - 60), plot.across(calm - 60 + wild)]
    shapes += [line(x, 30, x, 270, GREY, dashed=True) for x in edges]
    for day, value, missed in zip(days, actual[-shown:], outside, strict=True):
        colour = VERMILION if missed else GREY
        shapes.append(dot(plot.across(float(day)), plot.up(float(value)), colour))
    for level in (low, high):
        shapes.append(plot.curve(days, raw[0, -shown:, level], GREY))
        shapes.append(plot.curve(days, made[:, level], BLUE))
    return svg(310, shapes)


# ---- what they are drawn with


class Plot:
    """A frame with two scales."""

    def __init__(
        self,
        left: float,
        right: float,
        top: float,
        bottom: float,
        x: tuple[float, float],
        y: tuple[float, float],
    ) -> None:
        self.left, self.right, self.top, self.bottom, self.x, self.y = (
            left,
            right,
            top,
            bottom,
            x,
            y,
        )

    def across(self, value: float) -> float:
        """Return the horizontal place of a value."""
        first, last = self.x
        return self.left + (self.right - self.left) * (value - first) / (last - first)

    def up(self, value: float) -> float:
        """Return the vertical place of a value."""
        first, last = self.y
        return self.bottom - (self.bottom - self.top) * (value - first) / (last - first)

    def axes(self, name: str, xs: Iterable[float], ys: Iterable[float]) -> list[str]:
        """Return both axes with their numbers."""
        shapes = [
            line(self.left, self.bottom, self.right, self.bottom, INK),
            line(self.left, self.top, self.left, self.bottom, INK),
            text(self.right, self.bottom + 34, name, GREY, anchor="end", size=12),
        ]
        shapes += [text(self.across(x), self.bottom + 18, f"{x:g}", GREY, size=12) for x in xs]
        shapes += [text(self.left - 8, self.up(y) + 4, f"{y:g}", GREY, "end", 12) for y in ys]
        return shapes

    def curve(self, xs: Iterable[float], ys: Iterable[float], colour: str) -> str:
        """Return a line through points."""
        points = zip(xs, ys, strict=True)
        places = " ".join(f"{_n(self.across(float(x)))},{_n(self.up(float(y)))}" for x, y in points)
        return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'


def svg(height: int, shapes: Sequence[str]) -> str:
    """Return a picture on white, readable whatever the page's colours are."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="{WHITE}"/>\n'
    )
    return head + "\n".join(shapes) + "\n</svg>\n"


def text(
    x: float, y: float, words: str, colour: str, anchor: str = "middle", size: int = 13
) -> str:
    """Return words."""
    place = f'x="{_n(x)}" y="{_n(y)}" fill="{colour}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place}>{escape(words)}</text>"


def box(x: float, y: float, width: float, height: float, fill: str, edge: str = WHITE) -> str:
    """Return a rectangle."""
    size = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
    return f'<rect {size} fill="{fill}" stroke="{edge}"/>'


def line(
    x: float, y: float, to_x: float, to_y: float, colour: str = INK, *, dashed: bool = False
) -> str:
    """Return a straight line."""
    ends = f'x1="{_n(x)}" y1="{_n(y)}" x2="{_n(to_x)}" y2="{_n(to_y)}"'
    dashes = ' stroke-dasharray="4"' if dashed else ""
    return f'<line {ends} stroke="{colour}"{dashes}/>'


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return a line with a head, along one of the axes."""
    back_x = 7 * int(np.sign(to_x - x))
    back_y = 7 * int(np.sign(to_y - y))
    side_x, side_y = (4, 0) if back_x == 0 else (0, 4)
    head = (
        f"{_n(to_x)},{_n(to_y)}"
        f" {_n(to_x - back_x - side_x)},{_n(to_y - back_y - side_y)}"
        f" {_n(to_x - back_x + side_x)},{_n(to_y - back_y + side_y)}"
    )
    return f'{line(x, y, to_x, to_y)}<polygon points="{head}" fill="{INK}"/>'


def knot(x: float, y: float, sign: str) -> str:
    """Return a sign in a circle."""
    circle = f'<circle cx="{_n(x)}" cy="{_n(y)}" r="12" fill="{WHITE}" stroke="{INK}"/>'
    return circle + text(x, y + 5, sign, INK, size=16)


def dot(x: float, y: float, colour: str) -> str:
    """Return a point."""
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="2" fill="{colour}"/>'


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


if __name__ == "__main__":
    main()
