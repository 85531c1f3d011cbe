"""Models that Keras saved: a .keras archive, or an HDF5 file of before; no code in them is run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exporters.tensorflow import import_tensorflow, one_line
from runtime.errors import UsageError

HDF5 = (".h5", ".hdf5")
"""Endings by which Keras knows an HDF5 file."""

_BROKEN = (OSError, ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error)
"""What zipfile, json and h5py say of a file that is cut short or of another kind."""

_NOT_LOADED = (*_BROKEN, AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError)
"""What Keras lets through of a model it cannot make of its file."""

EXPORT_INSTEAD = (
    "where the model was made, call its method export(FOLDER), and give the folder to --saved-model"
)

_OF_NO_MODULE = frozenset({"Functional", "Model", "Sequential"})
"""Classes of models, which files of Keras 2 name among the layers."""


def load_keras(path: Path) -> Any:
    """The Keras model in a file; raises UsageError where Keras cannot read it without running code of it."""
    tensorflow = import_tensorflow()
    # whatever a user's own settings make Keras compute with: these are TensorFlow's exports
    os.environ["KERAS_BACKEND"] = "tensorflow"
    keras = tensorflow.keras
    config = _read_config(path)
    _refuse_code(config, path)
    try:
        with _readable(path, config) as file:
            return keras.models.load_model(str(file), compile=False, safe_mode=True)
    except _NOT_LOADED as error:
        raise UsageError(
            f"Keras {keras.__version__} cannot load {path}: {one_line(error)}; save it as .keras with"
            f" this version, or, {EXPORT_INSTEAD}"
        ) from error


def _read_config(path: Path) -> Any:
    """The model's description, as Keras wrote it; raises UsageError."""
    if path.suffix not in (".keras", *HDF5):
        raise UsageError(
            f"{path}: Keras writes .keras, .h5 or .hdf5 files; a SavedModel folder goes to --saved-model"
        )
    try:
        text = _text_of_hdf5(path) if path.suffix in HDF5 else _text_of_archive(path)
        return json.loads(text)
    except _BROKEN as error:
        raise UsageError(
            f"{path} is not a sound {path.suffix} file of Keras: {one_line(error)}; save the model again"
        ) from error


def _text_of_archive(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json")


def _text_of_hdf5(path: Path) -> str | bytes:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "r") as file:
        text: str | bytes | None = file.attrs.get("model_config")
    if text is None:
        raise UsageError(
            f"{path} holds weights and no model; give what the method save of the model writes, a .keras file"
        )
    return text


@contextmanager
def _readable(path: Path, config: Any) -> Iterator[Path]:
    """The file, or a copy without what Keras 3 does not take of Keras 2's, although it changes nothing.

    Each recurrent layer that Keras 2 saved says time_major=False.
    """
    layers = [described["config"] for _, described in _described(config) if _is_batch_major(described)]
    if not layers:
        yield path
        return
    for layer in layers:
        del layer["time_major"]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        (_set_text_of_hdf5 if path.suffix in HDF5 else _set_text_of_archive)(copy, json.dumps(config))
        yield copy


def _is_batch_major(described: Mapping[str, Any]) -> bool:
    inner = described.get("config")
    return isinstance(inner, Mapping) and inner.get("time_major") is False


def _set_text_of_hdf5(path: Path, text: str) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = text


def _set_text_of_archive(path: Path, text: str) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**parts, "config.json": text.encode()}.items():
            archive.writestr(name, part)


def _refuse_code(config: Any, path: Path) -> None:
    """Raises UsageError, naming the layer, for Python code in the file and for what Keras does not have."""
    for layer, described in _described(config):
        where = f"{path}: layer {layer!r}" if layer else f"{path}: the model"
        if described["class_name"] == "__lambda__" or _is_old_lambda(described):
            raise UsageError(
                f"{where} holds Python code (a lambda), which is not run; say it with layers of Keras's, or,"
                f" {EXPORT_INSTEAD}"
            )
        if not _is_known(described):
            raise UsageError(
                f"{where} needs {_name(described)!r}, which is not Keras's own; {EXPORT_INSTEAD}"
            )


def _described(config: Any, layer: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object of a description, with the name of the innermost layer around it."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if isinstance(config.get("class_name"), str):
            own = inner.get("name") if isinstance(inner, Mapping) else None
            layer = own if isinstance(own, str) else layer
            yield layer, config
        config = config.values()
    elif not isinstance(config, list):
        return
    for part in config:
        yield from _described(part, layer)


def _is_old_lambda(described: Mapping[str, Any]) -> bool:
    """Whether it is a Lambda layer as Keras 2 wrote it: the code's bytes first."""
    inner = described.get("config")
    return (
        described["class_name"] == "Lambda"
        and isinstance(inner, Mapping)
        and isinstance(inner.get("function"), list)
    )


def _is_known(described: Mapping[str, Any]) -> bool:
    """Whether Keras has it, or it was registered; in files of Keras 2 only layers can be told."""
    keras = import_tensorflow().keras
    name, module = described["class_name"], described.get("module")
    registered = described.get("registered_name") or name
    if isinstance(module, str) and module.split(".")[0] == "keras":
        return True
    if keras.utils.get_registered_object(registered) is not None:
        return True
    if "registered_name" in described:
        return described["registered_name"] is None
    inner = described.get("config")
    is_layer = isinstance(inner, Mapping) and "trainable" in inner
    return not is_layer or name in _OF_NO_MODULE or hasattr(keras.layers, name)


def _name(described: Mapping[str, Any]) -> str:
    """Of a function, its own; of an object, its class's."""
    inner = described.get("config")
    return inner if isinstance(inner, str) else str(described["class_name"])
