"""How much INT8 harms each layer of a network, in one pass over samples.

The signal-to-quantisation-noise ratio of a layer is 10 log10(sum x^2 / sum (x - q)^2), over all values of its
result x on all samples; q is what INT8 makes of it. Layer-wise, q is computed from FP32's own inputs;
cumulative, inside of the whole INT8 network. The outputs have one for each layer, too: with that layer alone
in INT8. All as ONNX defines Q/DQ, in float32: integer kernels round in other places, but do not change which
layer is worse.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from calibration.merged import ALONE, SIGNAL, TOGETHER, ComparedLayer, write_merged
from calibration.outputs import open_session, output_damages
from calibration.prepare import Quantisable
from calibration.stream import single, whole
from runtime.errors import CalibrationError
from runtime.graphs import input_specs, load
from runtime.progress import Progress, silent
from runtime.tensors import Feed, batch_size


@dataclass(frozen=True)
class Comparing:
    """How layers are compared.

    output_samples: samples on which each layer in turn is INT8 alone, and the outputs are compared: as many
                runs of the network as it has layers, a sample; 0 leaves it out.
    together:   as calibration.stream.observe has it.
    sizes:      of open dimensions besides the batch, by name, for the multiply-accumulates.
    """

    output_samples: int = 4
    together: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerSensitivity:
    """What INT8 does to one layer.

    macs_share: of the network's multiply-accumulates (0..1).
    signal:     sum of squares of the layer's result in FP32, over all samples.
    noise:      the same of its difference from the layer's INT8 result on the same inputs.
    cumulative_noise: the same inside of the whole INT8 network; None where that may look at other things
                than the FP32 one (what stands behind a NonMaxSuppression).
    output_damage: energy of the noise at the outputs over their own, where this layer alone is INT8; the
                mean over outputs. None where it was not measured.
    """

    node: str
    op_type: str
    macs: int
    macs_share: float
    signal: float
    noise: float
    cumulative_noise: float | None
    output_damage: float | None = None

    @property
    def damage(self) -> float:
        """What layers are ranked by: the share of noise in the outputs; unknown, that in the layer's result.

        Where each layer's quantisation noise is small, and not correlated with that of others, what reaches
        the outputs adds up: the reciprocal of the network's ratio is the sum of the layers' reciprocals
        (Lin, Talathi and Annapureddy 2016, Fixed Point Quantization of Deep Convolutional Networks,
        section 3). They take a layer's ratio to stay the same up to the outputs; where branches join and
        after a softmax it does not, so that it is measured there. MiniLM: the layers' parts in the outputs
        add up to 13.6 dB, and the INT8 network has 13.5 dB; by their own ratios it would have 2.1 dB.
        """
        return self.own_damage if self.output_damage is None else self.output_damage

    @property
    def own_damage(self) -> float:
        """Energy of the noise in the layer's result over that of the signal, on FP32's inputs."""
        return _ratio(self.noise, self.signal)

    @property
    def sqnr_db(self) -> float | None:
        """Layer-wise; None where INT8 changes nothing."""
        return _decibel(self.own_damage)

    @property
    def cumulative_sqnr_db(self) -> float | None:
        """None where INT8 changes nothing, or it is not known."""
        noise = self.cumulative_noise
        return None if noise is None else _decibel(_ratio(noise, self.signal))

    @property
    def output_sqnr_db(self) -> float | None:
        """Of the outputs, with this layer alone in INT8; None where that changes nothing, or is not known."""
        return None if self.output_damage is None else _decibel(self.output_damage)


@dataclass(frozen=True)
class Sensitivity:
    """The quantised layers in the graph's order; how many samples they were compared on, and the outputs."""

    layers: tuple[LayerSensitivity, ...]
    samples: int
    output_samples: int

    @property
    def ranking(self) -> tuple[LayerSensitivity, ...]:
        """The most harmful first; among equals the earlier in the graph."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.damage))


def measure_sensitivity(
    quantisable: Quantisable, feeds: Iterable[Feed], progress: Progress = silent, *, how: Comparing
) -> Sensitivity:
    """Compare every multiplying layer that INT8 quantises with itself in FP32, on finite `feeds`.

    Raises CalibrationError (nothing to quantise, no feeds, a missing range, values beyond float32),
    FeedError, GraphError, UnavailableError (ONNX Runtime is not installed).
    """
    graph = quantisable.graph
    inputs = input_specs(load(graph))
    samples = whole(feeds, inputs) if how.together else single(feeds, inputs)
    with tempfile.TemporaryDirectory(prefix="sensitivity-") as folder:
        merged = write_merged(quantisable, Path(folder) / "merged.onnx", how.sizes)
        totals = _Totals(open_session(Path(folder) / "merged.onnx"), how.output_samples)
        totals.add(samples, progress)
    if totals.samples == 0:
        raise CalibrationError(f"no feeds to compare {graph} and its INT8 form on; give at least one sample")
    damages = output_damages(quantisable, totals.first, progress) if totals.first else {}
    layers = (_found(layer, totals.sums, merged.macs) for layer in merged.layers)
    return Sensitivity(
        tuple(replace(layer, output_damage=damages.get(layer.node)) for layer in layers),
        totals.samples,
        sum(map(batch_size, totals.first)) if damages else 0,
    )


class _Totals:
    """Sums over samples, of which the `first` ones are kept."""

    def __init__(self, session: Any, keep: int) -> None:
        self._session = session
        self._names = [output.name for output in session.get_outputs()]
        self._keep = keep
        self.sums = dict.fromkeys(self._names, 0.0)
        self.samples = 0
        self.first: list[Feed] = []

    def add(self, feeds: Iterable[Feed], progress: Progress) -> None:
        for feed in progress(feeds, "comparing layers with int8"):
            for name, value in zip(self._names, self._session.run(self._names, dict(feed)), strict=True):
                self.sums[name] += float(value)
            if self.samples < self._keep:
                self.first.append(feed)
            self.samples += batch_size(feed)


def _found(layer: ComparedLayer, totals: Mapping[str, float], macs: int) -> LayerSensitivity:
    sums = {what: totals[output] for what, output in layer.sums.items()}
    if not all(map(math.isfinite, sums.values())):
        raise CalibrationError(
            f"the squares of what {layer.op_type} {layer.node!r} computes go beyond float32; check the FP32"
            " graph and the feeds"
        )
    return LayerSensitivity(
        node=layer.node,
        op_type=layer.op_type,
        macs=layer.macs,
        macs_share=layer.macs / macs if macs else 0.0,
        signal=sums[SIGNAL],
        noise=sums[ALONE],
        cumulative_noise=sums.get(TOGETHER),
    )


def _ratio(noise: float, signal: float) -> float:
    if noise == 0:
        return 0.0
    return noise / signal if signal else math.inf


def _decibel(damage: float) -> float | None:
    if damage == 0:
        return None
    return -10 * math.log10(damage) if math.isfinite(damage) else -math.inf
