"""What `bench sensitivity` found, as one SVG picture: all layers in the graph's order, and the candidates."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.candidates import Candidate
from bench.sensitivity_report import CHOSEN, DOMINATED, NEAREST, standing, verdict
from calibration.precision import Precision

if TYPE_CHECKING:
    from bench.sensitivity_findings import Repair, Report
    from calibration.sensitivity import LayerSensitivity

WIDTH = 1000
_NAMES = 380  # pixels of a layer's name
_ROW = 18
_CHART = 260  # height of the candidates' chart
_MARGIN = 60
_LETTERS = 48  # that fit into _NAMES
_LINE_LETTERS = 128  # and into a whole line
_BARS = "bar: SQNR in dB of the outputs with this layer alone in int8 (the shorter, the worse)"
_MARKS = "mark: of its own result"
_OWN_BARS = "bar: SQNR in dB of the layer's result (the shorter, the worse); orange: in float"
_PLACES = 3  # of a coordinate, so that the same report gives the same bytes

_Place = Callable[[float, float], tuple[float, float]]
"""From a speed-up and what was reached to pixels."""

INK, GREY, BLUE, ORANGE = "#222222", "#888888", "#3b6ea5", "#d9822b"

_FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">
<style>
  text {{ font: 12px monospace; fill: {ink}; }}
  .grey {{ fill: {grey}; }}
  .title {{ font-weight: bold; }}
</style>
<rect width="100%" height="100%" fill="white"/>
{parts}
</svg>
"""


def picture(report: Report) -> str:
    """An SVG document: agreement over speed, where there is a gate, and below it what each layer loses."""
    parts = [_text(20, 26, f"{report.title}: what int8 does to each layer", "title")]
    top = 50
    if report.repair is not None:
        lines = textwrap.wrap(verdict(report.repair), _LINE_LETTERS)
        parts += [_text(20, top + _ROW * index, line) for index, line in enumerate(lines)]
        top += _ROW * len(lines) + 10
        parts += _chart(report.repair, top)
        top += _CHART + _MARGIN
    kept = (report.repair.kept if report.repair is not None else None) or ()
    parts += _rows(report.sensitivity.layers, kept, top)
    height = top + _ROW * (len(report.sensitivity.layers) + 3)
    return _FRAME.format(width=WIDTH, height=height, ink=INK, grey=GREY, parts="\n".join(parts))


def _rows(layers: Sequence[LayerSensitivity], kept: Sequence[str], top: int) -> Iterator[str]:
    measured = any(layer.output_damage is not None for layer in layers)
    yield _text(20, top, f"{_BARS}; {_MARKS}; orange: in float" if measured else _OWN_BARS)
    finite = [value for layer in layers for value in _decibels(layer) if value is not None]
    scale = (WIDTH - _NAMES - _MARGIN) / max([1.0, *finite])
    for index, layer in enumerate(layers):
        y = top + _ROW * (index + 1)
        outputs, own = _decibels(layer) if measured else (_from_zero(layer.sqnr_db), None)
        colour = ORANGE if layer.node in kept else BLUE
        yield f"<g><title>{escape(_told(layer))}</title>"
        yield _text(20, y + 12, _shortened(layer.node))
        if outputs is not None:
            yield _rectangle(_NAMES, y + 2, outputs * scale, _ROW - 4, colour)
            yield _text(_NAMES + outputs * scale + 6, y + 12, f"{outputs:.1f}", "grey")
        if own is not None:
            yield _rectangle(_NAMES + own * scale - 1, y, 3, _ROW, INK)
        yield "</g>"


def _chart(repair: Repair, top: int) -> Iterator[str]:
    fastest = max(each.speed_up for each in repair.candidates)
    least = min([repair.gate, *(each.reached for each in repair.candidates)])
    low = max(0.0, least - 0.1 * (1 - least) - 1e-3)

    def place(speed_up: float, reached: float) -> tuple[float, float]:
        across = _MARGIN + (WIDTH - 3 * _MARGIN) * speed_up / (1.1 * fastest)
        return across, top + _CHART * (1 - (reached - low) / (1 - low))

    bottom = top + _CHART
    left, gate = place(0.0, repair.gate)
    yield _line(left, bottom, WIDTH - _MARGIN, bottom, GREY)
    yield _line(left, top, left, bottom, GREY)
    yield _line(left, gate, WIDTH - _MARGIN, gate, ORANGE, dashed=True)
    yield _text(WIDTH - _MARGIN + 4, gate + 4, f"{repair.gate:.4g}")
    yield _text(left, bottom + 34, f"{repair.criterion} over speed (times fp32's); hollow: dominated", "grey")
    yield from _ticks(fastest, (left, bottom), place)
    for candidate in repair.candidates:
        yield from _point(candidate, repair, place(candidate.speed_up, candidate.reached))


def _ticks(fastest: float, corner: tuple[float, float], place: _Place) -> Iterator[str]:
    step = 10 ** math.floor(math.log10(fastest)) * (0.5 if fastest < 5 else 1.0)
    for number in range(1, int(1.1 * fastest / step) + 1):
        across, _ = place(number * step, 1.0)
        yield _line(across, corner[1], across, corner[1] + 5, GREY)
        yield _text(across - 10, corner[1] + 18, f"{number * step:.3g}x", "grey")


def _point(candidate: Candidate, repair: Repair, place: tuple[float, float]) -> Iterator[str]:
    position = standing(candidate, repair)
    colour = ORANGE if position in (CHOSEN, NEAREST) else BLUE
    fill = "white" if position == DOMINATED else colour
    mixed = candidate.precision is Precision.INT8_MIXED
    label = str(len(candidate.kept)) if mixed else candidate.precision.value
    told = (
        f"{label}: {candidate.reached:.2%}, {candidate.speed_up:.2f}x, {candidate.int8_macs:.0%} of MACs int8"
    )
    x, y = (_number(value) for value in place)
    yield f'<g><title>{escape(told)}</title><circle cx="{x}" cy="{y}" r="5" fill="{fill}" stroke="{colour}"/>'
    # Those that lie behind others are told by the title alone: many of them crowd together.
    yield "</g>" if position == DOMINATED else f"{_text(place[0] + 8, place[1] + 4, label)}</g>"


def _decibels(layer: LayerSensitivity) -> tuple[float | None, float | None]:
    """Of the outputs, and of the layer's own result; from 0 up, since louder noise than signal has no bar."""
    return _from_zero(layer.output_sqnr_db), _from_zero(layer.sqnr_db)


def _from_zero(decibels: float | None) -> float | None:
    return None if decibels is None else max(0.0, decibels)


def _told(layer: LayerSensitivity) -> str:
    return f"{layer.op_type} {layer.node}, {layer.macs_share:.1%} of the MACs"


def _shortened(name: str) -> str:
    """The end of a long name: that is where names differ."""
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{_number(x)}" y="{_number(y)}"{named}>{escape(text)}</text>'


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    sides = f'width="{_number(width)}" height="{_number(height)}"'
    return f'<rect x="{_number(x)}" y="{_number(y)}" {sides} fill="{colour}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    ends = " ".join(f'{n}="{_number(v)}"' for n, v in (("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)))
    dashes = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<line {ends} stroke="{colour}"{dashes}/>'


def _number(value: float) -> str:
    return f"{round(value, _PLACES):g}"
