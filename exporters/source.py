"""What a source model must offer to be exported and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from runtime.tensors import Array, Feed, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

ZOO_OPSET = 22
"""The one opset of exported files: the oldest with BF16 Conv (FP16 Q/DQ scales need 19).

A graph with an operator that ONNX Runtime lacks there stays at an older one (runtime.opset).
"""

ZOO_IR_VERSION = 10
"""The ONNX file format that goes with opset 22."""


class Source(Protocol):
    """A model in its own framework: it can say itself in ONNX, and can be run as the oracle."""

    @property
    def framework(self) -> str:
        """The framework the model lives in: "tensorflow" or "caffe"."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def parameters(self) -> int:
        """Learned parameters: weights, biases, gamma and beta; not the batch-norm statistics."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the model's files say and the exporter leaves out: a line each, which users must see."""

    def to_onnx(self) -> ir.Model:
        """The network as ONNX with its weights, before any pass of ours; raises ExportError."""

    def run(self, feed: Feed) -> dict[str, Array]:
        """The framework's own answer to `feed`; the oracle of the parity check.

        Raises UnavailableError where the framework (or what stands in for it) is not installed.
        """


@runtime_checkable
class Releasing(Protocol):
    """A source whose framework has a copy of the model to run: that can be let go of once it has answered."""

    def release(self) -> None:
        """Let go of what `run` made to answer; `run` makes it again."""


@runtime_checkable
class Cuttable(Protocol):
    """A source that knows where the post-processing of its detections begins."""

    def without_post_processing(self) -> Source:
        """The same model up to there: raw scores and offsets. Raises UsageError where it has none."""


@runtime_checkable
class Listing(Protocol):
    """A source with outputs that are lists of a fixed length: the best first, and zeros behind them."""

    @property
    def lists(self) -> tuple[tuple[str, ...], ...]:
        """The outputs of each list: scores [..., rows], then what else a row has, each [..., rows, width]."""
