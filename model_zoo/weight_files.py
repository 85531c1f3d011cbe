"""The formats weights come in, each read without running anything that is in the file."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from runtime.errors import GraphError, UnavailableError, UsageError
from runtime.tensors import Array

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

_OPTIMISER_ENDINGS = (
    "/adam_m",
    "/adam_v",
    *(f"/{name}{number}" for name in ("Adadelta", "Adam", "Ftrl", "RMSProp") for number in ("", "_1")),
    "/Adagrad",
    "/Momentum",
)
"""Of slot variables in TensorFlow 1 and google-research/bert: as large as the weights, once or twice."""

_FIRST_OUTPUT = ":0"
"""Behind a variable's name where a saver was given the names of tensors, as tkipf/gcn's is."""

_KERAS_WEIGHTS = "model.weights.h5"
_KERAS_OPTIMISER = frozenset({"optimizer", "optimizer_weights"})

_KERAS_ROLES: dict[tuple[bool, int], tuple[str, ...]] = {
    (True, 1): ("kernel",),
    (True, 2): ("kernel", "bias"),
    (False, 2): ("gamma", "beta"),
    (False, 4): ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""Keras 3 numbers a layer's variables; (is the first a matrix or more?, how many) tells what they are."""


def read_npz(path: Path) -> dict[str, Array]:
    """NumPy's archive of arrays, without pickled objects."""
    try:
        # np.load takes what is no zip archive for a pickle, and advises to allow that
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is no zip archive")
        with np.load(path, allow_pickle=False) as bundle:
            # a member that is no array comes as bytes
            return {name: np.asarray(bundle[name]) for name in bundle.files}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, "an .npz file of plain arrays", error) from error


def read_safetensors(path: Path) -> dict[str, Array]:
    """The safetensors format."""
    import safetensors
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "a .safetensors file", error) from error


def read_caffemodel(path: Path) -> dict[str, Array]:
    """A caffemodel's blobs as `layer/index`, old and new layers alike: views into the file, read-only."""
    try:
        from exporters.caffe.blobs import blob_array
        from exporters.caffe.reading import read_caffemodel as parse
        from exporters.mapped import map_file
    except ImportError as error:
        raise _not_installed("a caffemodel", error) from error
    try:
        return {
            f"{layer.name}/{index}": blob_array(blob, f"blob {index} of layer {layer.name!r}")
            for layer in parse(map_file(path)).layers
            for index, blob in enumerate(layer.blobs)
        }
    except (GraphError, OSError) as error:
        raise _damaged(path, "a .caffemodel file", error) from error


def read_saved_model(folder: Path) -> dict[str, Array]:
    """The variables of a SavedModel; its functions are not loaded."""
    prefix = folder / "variables" / "variables"
    if not prefix.with_name("variables.index").is_file():
        raise UsageError(
            f"weights folder {folder} has no variables/variables.index, so it is no SavedModel; to take"
            " a checkpoint out of a folder, give its prefix"
        )
    return read_checkpoint(prefix)


def read_checkpoint(path: Path) -> dict[str, Array]:
    """A TensorFlow checkpoint, given as its prefix or .index file, under the variables' own names."""
    tensorflow = _tensorflow()
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        names = _variable_names(reader) if _OBJECT_GRAPH in shapes else {key: key for key in shapes}
        return {
            name.removesuffix(_FIRST_OUTPUT): reader.get_tensor(key)
            for name, key in names.items()
            if not _is_slot(key.removesuffix(_FIRST_OUTPUT))
        }
    except (tensorflow.errors.OpError, IndexError, RuntimeError, ValueError) as error:
        raise _damaged(prefix, "a TensorFlow checkpoint", error) from error


def read_keras_archive(path: Path) -> dict[str, Array]:
    """The weights inside a .keras archive; its configuration is not looked at."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_hdf5(io.BytesIO(archive.read(_KERAS_WEIGHTS)), path)
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, f"a .keras archive with {_KERAS_WEIGHTS}", error) from error


def read_keras_hdf5(path: Path) -> dict[str, Array]:
    """Keras weights (.weights.h5), or a whole model in the old .h5 format."""
    return _read_hdf5(path, path)


def _variable_names(reader: Any) -> dict[str, str]:
    """Name to key in a checkpoint of objects: the name each variable was given, else its place."""
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    graph = TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_OBJECT_GRAPH))
    given: dict[str, set[str]] = {}
    for node in graph.nodes:
        for attribute in node.attributes:
            given.setdefault(attribute.full_name, set()).add(attribute.checkpoint_key)
    # one key may stand for several objects, and several variables may share one name
    return {
        name if name and len(keys) == 1 else key.removesuffix(_VALUE): key
        for name, keys in given.items()
        for key in sorted(keys)
        if key.endswith(_VALUE)
    }


def _is_slot(key: str) -> bool:
    return key.endswith(_OPTIMISER_ENDINGS) or ".OPTIMIZER_SLOT" in key or key.startswith("optimizer/")


def _read_hdf5(stream: Path | io.BytesIO, path: Path) -> dict[str, Array]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise _not_installed("Keras weights", error) from error
    try:
        with h5py.File(stream, "r") as file:
            return dict(_keras_tensors(h5py, file, ()))
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise _damaged(path, "a Keras HDF5 file", error) from error


def _keras_tensors(h5py: ModuleType, group: Any, scope: tuple[str, ...]) -> Iterator[tuple[str, Array]]:
    """Name and value of every weight in `group`, which belongs to the layers in `scope`.

    Links and data that lead out of the file are skipped: they could show any file of this machine.
    """
    numbered = group.get("vars")
    if isinstance(numbered, h5py.Group) and numbered.attrs.get("name"):
        scope = (*scope, str(numbered.attrs["name"]))
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink) or key in _KERAS_OPTIMISER:
            continue
        item = group[key]
        if key == "vars" and isinstance(item, h5py.Group):
            yield from _numbered_variables(h5py, item, scope)
        elif isinstance(item, h5py.Group):
            yield from _keras_tensors(h5py, item, scope)
        elif _is_own_data(h5py, item):
            yield f"{group.name}/{key}".lstrip("/").removesuffix(_FIRST_OUTPUT), item[()]


def _numbered_variables(
    h5py: ModuleType, variables: Any, scope: tuple[str, ...]
) -> Iterator[tuple[str, Array]]:
    own = [key for key in sorted(variables, key=_number) if _is_own_data(h5py, variables.get(key))]
    arrays = [variables[key][()] for key in own]
    roles = _KERAS_ROLES.get((bool(arrays) and arrays[0].ndim > 1, len(arrays)), tuple(own))
    for role, array in zip(roles, arrays, strict=True):
        yield "/".join((*scope, role)), array


def _number(key: str) -> tuple[int, str]:
    return (int(key) if key.isdecimal() else -1, key)


def _is_own_data(h5py: ModuleType, item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual


def _tensorflow() -> ModuleType:
    from exporters.tensorflow import import_tensorflow

    return import_tensorflow()


def _not_installed(what: str, error: ImportError) -> UnavailableError:
    return UnavailableError(
        f"reading {what} needs the package {error.name!r}, which is not installed;"
        " pip install '.[export]' in the clone"
    )


def _damaged(path: Path, expected: str, error: Exception) -> UsageError:
    return UsageError(
        f"weights {path} cannot be read as {expected}: {' '.join(str(error).split())[:200]};"
        " is the file complete?"
    )
