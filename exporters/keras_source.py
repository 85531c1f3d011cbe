"""Keras models as a source: at inference, under their own names, recurrent layers as one operator each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporters.keras_files import EXPORT_INSTEAD, load_keras
from exporters.keras_recurrent import check_recurrent_layers, operators_of_layers
from exporters.keras_tracing import replaced, scopes_of_layers
from exporters.tensorflow import TensorFlowSource, import_tensorflow, tensor_spec
from runtime.errors import ExportError
from runtime.tensors import TensorSpec


def keras_source(path: Path) -> TensorFlowSource:
    """The model that Keras saved in `path`; raises what load_keras and source_of_model raise."""
    return source_of_model(load_keras(path))


def source_of_model(model: Any) -> TensorFlowSource:
    """A functional or sequential model; raises ExportError for any other, and for layers ONNX cannot say.

    An output that has a key in a dict is called after that, any other after its layer.
    """
    keras = import_tensorflow().keras
    if not getattr(model, "inputs", None):
        raise ExportError(
            f"model {model.name!r} ({type(model).__name__}) does not say what its inputs are;"
            f" {EXPORT_INSTEAD}"
        )
    check_recurrent_layers(model)
    whole = keras.Model(model.inputs, model.outputs) if isinstance(model, keras.Sequential) else model

    def function(*tensors: Any) -> tuple[Any, ...]:
        answer = whole(keras.tree.pack_sequence_as(whole.input, list(tensors)), training=False)
        return tuple(keras.tree.flatten(answer))

    def convertible(*tensors: Any) -> tuple[Any, ...]:
        with replaced([*scopes_of_layers(whole), *operators_of_layers(whole)]):
            return function(*tensors)

    inputs = tuple(_input(tensor) for tensor in whole.inputs)
    return TensorFlowSource(
        function,
        inputs,
        _output_names(whole, {spec.name for spec in inputs}),
        _learned(whole),
        convertible=convertible,
    )


def _input(tensor: Any) -> TensorSpec:
    import tensorflow as tf

    if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
        raise ExportError(
            f"input {tensor.name!r} is sparse or ragged, and ONNX has dense tensors; make it a dense input"
        )
    return tensor_spec(tensor.name, tf.TensorSpec(tensor.shape, tensor.dtype))


def _learned(model: Any) -> tuple[Any, ...]:
    """What its layers learn, even where they were kept from learning it (trainable=False)."""
    each = {
        id(variable): variable for layer in model._flatten_layers() for variable in layer._trainable_variables
    }
    return tuple(each.values())


def _output_names(model: Any, taken: set[str]) -> tuple[str, ...]:
    """A name each; `taken` are those of the inputs."""
    paths = [path for path, _ in import_tensorflow().keras.tree.flatten_with_path(model.output)]
    names: list[str] = []
    for path, layer in zip(paths, model.output_names, strict=True):
        wanted = path[-1] if path and isinstance(path[-1], str) else layer
        numbered = (wanted, *(f"{wanted}_{number}" for number in range(1, len(paths) + len(taken) + 1)))
        names.append(next(name for name in numbered if name not in taken and name not in names))
    return tuple(names)
