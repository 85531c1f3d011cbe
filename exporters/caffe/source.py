"""A Caffe network as a source model: a prototxt and the caffemodel that goes with it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.caffe.convert import NO_PYTHON_LAYERS, to_onnx
from exporters.caffe.network import build_network
from exporters.caffe.oracle import Oracle
from exporters.caffe.post_processing import without_post_processing
from exporters.caffe.reading import read_caffemodel, read_prototxt
from exporters.caffe.shapes import dims
from exporters.caffe.text import outline
from runtime.errors import GraphError, UsageError
from runtime.tensors import Array, Feed, TensorSpec, check_feed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from exporters.caffe.layers import Handler
    from exporters.caffe.network import Network


class CaffeSource:
    """The TEST network of `prototxt` with the blobs of `caffemodel`; fulfils `exporters.source.Source`.

    Raises GraphError where one of the two is broken or they do not belong together.
    """

    framework = "caffe"

    def __init__(
        self,
        prototxt: str,
        caffemodel: bytes,
        *,
        python_layers: Mapping[str, Handler] = NO_PYTHON_LAYERS,
        post_processing: bool = True,
    ) -> None:
        """Read both files.

        python_layers: handlers of Python layers by class name, with or without its module ("rpn.mine.Layer");
            a handler takes a LayerBuilder and the bottoms' values, and returns the tops' values.
        post_processing: False leaves out detection and proposal layers, and what reads them.
        """
        self.prototxt = prototxt
        self.caffemodel = caffemodel
        self.python_layers = python_layers
        net = read_prototxt(prototxt)
        self._outline = outline(prototxt)
        network = build_network(net, read_caffemodel(caffemodel), self._outline.layer_lines)
        self.network = network if post_processing else without_post_processing(network)

    @classmethod
    def from_files(
        cls,
        prototxt: Path,
        caffemodel: Path,
        *,
        python_layers: Mapping[str, Handler] = NO_PYTHON_LAYERS,
        post_processing: bool = True,
    ) -> CaffeSource:
        """Read both files; raises UsageError where one cannot be read, GraphError where one is broken."""
        try:
            text, blobs = prototxt.read_text(encoding="utf-8"), caffemodel.read_bytes()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the Caffe model {prototxt} with {caffemodel}: {error}") from error
        try:
            return cls(text, blobs, python_layers=python_layers, post_processing=post_processing)
        except GraphError as error:
            raise GraphError(f"{prototxt} with {caffemodel}: {error}") from error

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the prototxt says and the exporter does not know: a line for each unlisted field."""
        return self._outline.unknown

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The net's inputs, float32, the first dimension "batch" whatever the prototxt says."""
        return tuple(TensorSpec(blob.name, "float32", blob.dims) for blob in self.network.inputs)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tops that no layer reads; raises ExportError where the network cannot be converted."""
        return tuple(
            TensorSpec(str(value.name), "float32", dims(value)) for value in self.to_onnx().graph.outputs
        )

    @property
    def parameters(self) -> int:
        """Learned values: weights, biases, gamma and beta; not the batch-norm statistics."""
        return self.network.parameters

    def to_onnx(self) -> ir.Model:
        """The network as ONNX; raises ExportError naming the layer that cannot be said in it."""
        return to_onnx(self.network, self.python_layers)

    def run(self, feed: Feed) -> dict[str, Array]:
        """What OpenCV's Caffe importer answers to `feed`.

        Raises FeedError for a wrong feed, UnavailableError where OpenCV 4 is missing or cannot run the net.
        """
        check_feed(feed, self.inputs)
        return self._oracle.run(feed)

    def oracle_of(self, network: Network) -> Oracle:
        """OpenCV with this source's files, to answer for the outputs of `network`, a part of them."""
        return Oracle(self.prototxt, self.caffemodel, network)

    @cached_property
    def _oracle(self) -> Oracle:
        return self.oracle_of(self.network)
