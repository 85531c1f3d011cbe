"""A Caffe network as a source model: a prototxt and the caffemodel that goes with it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.caffe.convert import to_onnx
from exporters.caffe.network import build_network
from exporters.caffe.oracle import Oracle
from exporters.caffe.reading import read_caffemodel, read_prototxt
from exporters.caffe.shapes import dims
from runtime.errors import UsageError
from runtime.tensors import Array, Feed, TensorSpec, check_feed

if TYPE_CHECKING:
    import onnx_ir as ir


class CaffeSource:
    """The TEST network of `prototxt` with the blobs of `caffemodel`; fulfils `exporters.source.Source`.

    Raises GraphError where one of the two is broken or they do not belong together.
    """

    framework = "caffe"

    def __init__(self, prototxt: str, caffemodel: bytes) -> None:
        self._prototxt = prototxt
        self._caffemodel = caffemodel
        self._network = build_network(read_prototxt(prototxt), read_caffemodel(caffemodel))

    @classmethod
    def from_files(cls, prototxt: Path, caffemodel: Path) -> CaffeSource:
        """Read both files; raises UsageError where one cannot be read."""
        try:
            return cls(prototxt.read_text(encoding="utf-8"), caffemodel.read_bytes())
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the Caffe model {prototxt} with {caffemodel}: {error}") from error

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The net's inputs, float32, the first dimension "batch" whatever the prototxt says."""
        return tuple(TensorSpec(blob.name, "float32", blob.dims) for blob in self._network.inputs)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tops that no layer reads; raises ExportError where the network cannot be converted."""
        return tuple(
            TensorSpec(str(value.name), "float32", dims(value)) for value in self.to_onnx().graph.outputs
        )

    @property
    def parameters(self) -> int:
        """Learned values: weights, biases, gamma and beta; not the batch-norm statistics."""
        return self._network.parameters

    def to_onnx(self) -> ir.Model:
        """The network as ONNX; raises ExportError naming the layer that cannot be said in it."""
        return to_onnx(self._network)

    def run(self, feed: Feed) -> dict[str, Array]:
        """What OpenCV's Caffe importer answers to `feed`.

        Raises FeedError for a wrong feed, UnavailableError where OpenCV 4 is missing or cannot run the net.
        """
        check_feed(feed, self.inputs)
        return self._oracle.run(feed)

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle(self._prototxt, self._caffemodel, self._network)
