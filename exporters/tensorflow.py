"""Models in TensorFlow: a function or a SavedModel."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from runtime.errors import ExportError, FeedError, UnavailableError, UsageError, unknown_name
from runtime.tensors import Array, Feed, TensorSpec, check_feed

if TYPE_CHECKING:
    import onnx_ir as ir

OPEN_DIMENSION = "batch"
"""What a leading dimension is called where TensorFlow leaves it open without a name."""


_ALIGNMENT = 64
"""Bytes, a multiple of which TensorFlow's own tensors begin at."""

_TENSORFLOW_NAMES = {"str": "string"}
"""What TensorFlow calls a type that NumPy has another name for."""

_NOT_A_SAVED_MODEL = (ValueError, IndexError, KeyError, AttributeError, TypeError)
"""What TensorFlow's loader lets through of a folder that is empty, cut short or of other files."""


def import_tensorflow() -> ModuleType:
    """TensorFlow, with its start-up chatter off; raises UnavailableError where it is missing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # oneDNN reorders sums from call to call, and says so on stderr: an oracle should do neither
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow
        import tf2onnx  # noqa: F401 - found missing before a long build, not after it
    except ImportError as error:
        raise UnavailableError(
            f"exporting from TensorFlow needs the package {error.name!r}, which is not installed;"
            " pip install '.[export]' in the clone"
        ) from error
    return tensorflow  # type: ignore[no-any-return]


def shared_variable(name: str, array: Array) -> Any:
    """A variable over the memory of a float array, where that lies as TensorFlow wants it; else over a copy.

    tf.Variable(array) holds the array three times for a while, which is much of a table of gigabytes.
    """
    tensorflow = import_tensorflow()
    if array.ctypes.data % _ALIGNMENT or not array.flags.c_contiguous or not array.flags.writeable:
        return tensorflow.Variable(array, name=name)
    return tensorflow.Variable(tensorflow.experimental.dlpack.from_dlpack(array.__dlpack__()), name=name)


@dataclass(frozen=True)
class TensorFlowSource:
    """A function of tensors, in the order of `inputs`, that returns a tuple in that of `output_names`.

    Named dimensions of `inputs` stay open. `variables` are the learned ones, for `parameters`; `lists` are
    outputs to be compared as rows (exporters.source.Listing). `convertible` is traced for ONNX in the place
    of `function`, where that traces to what ONNX cannot say well; `function` stays the oracle. `raw` makes
    the same model without the post-processing of its detections.
    """

    function: Callable[..., Sequence[Any]]
    inputs: tuple[TensorSpec, ...]
    output_names: tuple[str, ...]
    variables: tuple[Any, ...] = ()
    lists: tuple[tuple[str, ...], ...] = ()
    convertible: Callable[..., Sequence[Any]] | None = None
    raw: Callable[[], TensorFlowSource] | None = None

    @classmethod
    def from_saved_model(cls, path: Path, signature: str = "serving_default") -> TensorFlowSource:
        """Read one signature of a SavedModel folder; raises UsageError where there is none."""
        tensorflow = import_tensorflow()
        try:
            loaded = tensorflow.saved_model.load(str(path))
        except (OSError, *_NOT_A_SAVED_MODEL) as error:
            raise UsageError(f"{path} is not a sound SavedModel folder: {one_line(error)}") from error
        if signature not in loaded.signatures:
            raise unknown_name(f"signature of {path}", signature, loaded.signatures)
        served = loaded.signatures[signature]
        # a signature is a protobuf map, in another order in every process
        given = sorted(served.structured_input_signature[1].items())
        inputs = tuple(tensor_spec(name, spec) for name, spec in given)
        outputs = tuple(sorted(served.structured_outputs))

        def function(*tensors: Any) -> tuple[Any, ...]:
            named = {spec.name: tensor for spec, tensor in zip(inputs, tensors, strict=True)}
            # by way of `loaded`, for TensorFlow frees its variables with it
            answer = loaded.signatures[signature](**named)
            return tuple(answer[name] for name in outputs)

        return cls(function, inputs, outputs, tuple(served.trainable_variables))

    @property
    def framework(self) -> str:
        return "tensorflow"

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    @property
    def parameters(self) -> int:
        return sum(math.prod(variable.shape) for variable in self.variables)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        results = self._concrete.structured_outputs
        return tuple(
            tensor_spec(name, result) for name, result in zip(self.output_names, results, strict=True)
        )

    def without_post_processing(self) -> TensorFlowSource:
        """See exporters.source.Cuttable."""
        if self.raw is None:
            raise UsageError(
                "the model has no post-processing that could be cut off: no detector of the zoo; leave"
                " --without-post-processing out"
            )
        return self.raw()

    def to_onnx(self) -> ir.Model:
        """The function as ONNX, opset 18, weights shared with TensorFlow's memory; raises ExportError."""
        from exporters import tensorflow_graph

        concrete = self._concrete if self.convertible is None else self._traced(self.convertible)
        fed = concrete.inputs[: len(self.inputs)]
        model = tensorflow_graph.to_onnx(
            tensorflow_graph.without_weights(concrete),
            {tensor.name: spec.name for tensor, spec in zip(fed, self.inputs, strict=True)},
            {tensor.name: name for tensor, name in zip(concrete.outputs, self.output_names, strict=True)},
        )
        _set_shapes(model.graph.inputs, self.inputs)
        _set_shapes(model.graph.outputs, self.outputs)
        return model

    def run(self, feed: Feed) -> dict[str, Array]:
        """TensorFlow's own answer, on the CPU; raises FeedError where `feed` does not fit."""
        tensorflow = import_tensorflow()
        check_feed(feed, self.inputs)
        try:
            with tensorflow.device("/cpu:0"):
                tensors = [tensorflow.constant(feed[spec.name]) for spec in self.inputs]
                results = self._concrete(*tensors)
        except tensorflow.errors.OpError as error:
            raise FeedError(
                f"TensorFlow cannot run the model on this feed: {_reason(error)}; give samples that fit with"
                " --feeds FILE.npz"
            ) from error
        return {name: result.numpy() for name, result in zip(self.output_names, results, strict=True)}

    @cached_property
    def _concrete(self) -> Any:
        return self._traced(self.function)

    def _traced(self, function: Callable[..., Sequence[Any]]) -> Any:
        tensorflow = import_tensorflow()
        signature = [
            tensorflow.TensorSpec(
                [None if isinstance(size, str) else size for size in spec.shape],
                _TENSORFLOW_NAMES.get(spec.dtype, spec.dtype),
                spec.name,
            )
            for spec in self.inputs
        ]
        traced = tensorflow.function(lambda *tensors: tuple(function(*tensors)), autograph=False)
        concrete = traced.get_concrete_function(*signature)
        given = len(concrete.outputs)
        if given != len(self.output_names):
            raise ExportError(
                f"the TensorFlow function returns {given} tensors, {len(self.output_names)} output names"
                f" were given ({', '.join(self.output_names)}); return a tuple in their order"
            )
        return concrete


def _set_shapes(values: Sequence[ir.Value], specs: Sequence[TensorSpec]) -> None:
    import onnx_ir as ir

    for value, spec in zip(values, specs, strict=True):
        value.shape = ir.Shape(spec.shape)


def tensor_spec(name: str, tensor: Any) -> TensorSpec:
    """The spec of a TensorFlow tensor or TensorSpec; open dimensions get names."""
    if tensor.shape.rank is None:
        raise ExportError(f"tensor {name!r} has no known rank; give the model inputs of a known rank")
    shape = tuple(
        size if size is not None else (OPEN_DIMENSION if axis == 0 else f"{name}_{axis}")
        for axis, size in enumerate(tensor.shape.as_list())
    )
    return TensorSpec(name, tensor.dtype.name, shape)


def _reason(error: Any) -> str:
    """What TensorFlow says went wrong, without where: its last line before the node's name."""
    lines = re.sub(r"\{\{.*?\}\} *", "", str(error.message).split("\n\t [[")[0]).strip().splitlines()
    return lines[-1].strip()[:200] if lines else type(error).__name__


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
