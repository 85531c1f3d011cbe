"""A Caffe network as a source model: a prototxt and the caffemodel that goes with it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.convert import NO_PYTHON_LAYERS, to_onnx
from exporters.caffe.input_shapes import Shapes, reshaped_text, with_input_shapes
from exporters.caffe.network import build_network
from exporters.caffe.oracle import Oracle
from exporters.caffe.post_processing import POST_PROCESSING, without_post_processing
from exporters.caffe.python_layers import handlers_of
from exporters.caffe.reading import read_caffemodel, read_files, read_prototxt
from exporters.caffe.shapes import dims
from exporters.caffe.shared import merge_shared, written_out
from exporters.caffe.text import outline
from exporters.mapped import let_go
from runtime.errors import GraphError, UsageError
from runtime.tensors import Array, Feed, TensorSpec, check_feed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from exporters.caffe.layers import Handler
    from exporters.caffe.network import Network

NO_SHAPES: Shapes = MappingProxyType({})


class CaffeSource:
    """The TEST network of `prototxt` with the blobs of `caffemodel`; fulfils `exporters.source.Source`.

    Raises GraphError where one of the two is broken or they do not belong together, UsageError where
    `python_layers` or `input_shapes` name what the network does not have.
    """

    framework = "caffe"

    def __init__(
        self,
        prototxt: str,
        caffemodel: bytes | memoryview,
        *,
        python_layers: Mapping[str, Handler] = NO_PYTHON_LAYERS,
        input_shapes: Shapes = NO_SHAPES,
        post_processing: bool = True,
    ) -> None:
        """Read both files.

        python_layers: handlers of Python layers by class name, with or without its module ("rpn.mine.Layer");
            that under python_layers.OTHERS is for every class without one. A handler takes a LayerBuilder and
            the bottoms' values, and returns the tops' values.
        input_shapes: other shapes than the prototxt's, by input; the batch stays open all the same.
        post_processing: False leaves out detection and proposal layers, and what reads them.
        """
        self.prototxt = prototxt
        self.caffemodel = caffemodel
        self._path: Path | None = None  # where `caffemodel` lies, if that is a file
        self.input_shapes = input_shapes
        self._given_layers = python_layers
        self._oracle: Oracle | None = None
        self._outline = outline(prototxt)
        network = build_network(
            read_prototxt(prototxt), read_caffemodel(caffemodel), self._outline.layer_lines
        )
        self.python_layers = handlers_of(network, python_layers)
        network = with_input_shapes(network, input_shapes)
        self.network = network if post_processing else without_post_processing(network)

    @classmethod
    def from_files(
        cls,
        prototxt: Path,
        caffemodel: Path,
        *,
        python_layers: Mapping[str, Handler] = NO_PYTHON_LAYERS,
        input_shapes: Shapes = NO_SHAPES,
    ) -> CaffeSource:
        """Read both files; raises UsageError where one cannot be read, GraphError where one is broken."""
        text, blobs = read_files(prototxt, caffemodel)
        try:
            source = cls(text, blobs, python_layers=python_layers, input_shapes=input_shapes)
        except GraphError as error:
            raise GraphError(f"{prototxt} with {caffemodel}: {error}") from error
        source._path = caffemodel
        return source

    def without_post_processing(self) -> CaffeSource:
        """The same source without detection and proposal layers; raises UsageError where it has none."""
        if without_post_processing(self.network) is self.network:
            raise UsageError(
                f"the network {self.network.name!r} has no {' or '.join(POST_PROCESSING)} layer, so there is"
                " no post-processing to cut off; leave --without-post-processing out"
            )
        cut = CaffeSource(
            self.prototxt,
            self.caffemodel,
            python_layers=self._given_layers,
            input_shapes=self.input_shapes,
            post_processing=False,
        )
        cut._path = self._path
        if not cut.network.outputs:
            raise UsageError(
                f"the network {self.network.name!r} is nothing but post-processing; leave"
                " --without-post-processing out"
            )
        return cut

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
        model = to_onnx(self.network, self.python_layers)
        merge_shared(model, self.network)
        return model

    def run(self, feed: Feed) -> dict[str, Array]:
        """What OpenCV's Caffe importer answers to `feed`.

        Raises FeedError for a wrong feed, UnavailableError where OpenCV 4 is missing or cannot run the net.
        """
        check_feed(feed, self.inputs)
        self._oracle = self._oracle or self.oracle_of(self.network)
        return self._oracle.run(feed)

    def release(self) -> None:
        """Let go of OpenCV's copy of the network, and of the caffemodel's bytes that it read."""
        self._oracle = None
        let_go(np.frombuffer(self.caffemodel, np.uint8))

    def oracle_of(self, network: Network) -> Oracle:
        """OpenCV with this source's files, to answer for the outputs of `network`, a part of them."""
        rewritten = written_out(network, read_caffemodel(self.caffemodel))
        weights = rewritten or self._path or self.caffemodel
        return Oracle(reshaped_text(self.prototxt, self.input_shapes), weights, network)
