"""Weights out of a file, by name and shape."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_zoo import torch_files, weight_files
from runtime.errors import UsageError
from runtime.tensors import Array

Reader = Callable[[Path], dict[str, Array]]

_READERS: Mapping[str, Reader] = {
    **dict.fromkeys(torch_files.SUFFIXES, torch_files.read_torch),
    ".caffemodel": weight_files.read_caffemodel,
    ".h5": weight_files.read_keras_hdf5,
    ".index": weight_files.read_checkpoint,
    ".keras": weight_files.read_keras_archive,
    ".npz": weight_files.read_npz,
    ".safetensors": weight_files.read_safetensors,
}

_PICKLES = frozenset({".joblib", ".npy", ".pickle", ".pkl"})
"""Read with pickle, which runs whatever code the file's author put into it."""

_FLOATS = frozenset({"bfloat16", "float16", "float32", "float64"})
_SHOWN = 3


@dataclass(frozen=True)
class Alias:
    """Another name for a tensor; `transposed` says that it is stored with its two axes swapped."""

    name: str
    transposed: bool = False


def read_weights(path: Path) -> dict[str, Array]:
    """All tensors of a weights file, by the names in it.

    path: a TensorFlow checkpoint (its prefix or .index), a SavedModel folder, Keras weights (.weights.h5,
    .h5, .keras), a state dict of torch's (.pth, .pt, .bin), .safetensors, .npz or .caffemodel. Nothing in
    the file is ever run. Without the state of optimisers. Names are those of TensorFlow's variables or
    torch's modules; `layer/index` in a caffemodel.

    Raises UsageError for a file that is missing, damaged or of another kind, UnavailableError where a
    package that reads it is not installed.
    """
    return _reader_of(path)(path)


def take(
    weights: Mapping[str, Array],
    wanted: Mapping[str, tuple[int, ...]],
    aliases: Mapping[str, Collection[Alias]] | None = None,
) -> dict[str, Array]:
    """The tensors of `wanted`, a mapping from name to shape, as float32.

    A tensor is found under its name, under one of its `aliases`, or under the only name that ends with
    "/" and one of these (a model's scope in front does not matter). What else `weights` holds is left alone.

    Raises UsageError, naming the first few, for tensors that are missing, have another shape or type, or
    hold NaN or infinity.
    """
    endings = _by_ending(weights)
    found = {name: _find(name, weights, endings, (aliases or {}).get(name, ())) for name in wanted}
    _refuse_missing([name for name, array in found.items() if array is None], weights)
    arrays = {name: array for name, array in found.items() if array is not None}
    _refuse_misshapen(arrays, wanted)
    _refuse_unusable(arrays)
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def _reader_of(path: Path) -> Reader:
    reader = _READERS.get(path.suffix.lower())
    if path.is_file() and reader is not None:
        return reader
    if path.is_dir():
        return weight_files.read_saved_model
    if path.with_name(f"{path.name}.index").is_file():  # a prefix may end in anything: model.ckpt-2000
        return weight_files.read_checkpoint
    if not path.exists():
        raise UsageError(f"no weights at {path}: give {_accepted()}")
    if path.suffix.lower() in _PICKLES:
        raise UsageError(
            f"weights {path} would be read with pickle, which can run code hidden in the file; save them as"
            " .safetensors or .npz instead"
        )
    raise UsageError(f"weights {path} end in {path.suffix or 'no suffix'!r}: give {_accepted()}")


def _accepted() -> str:
    return f"a {', '.join(sorted(_READERS))} file, a TensorFlow checkpoint's prefix, or a SavedModel folder"


def _by_ending(names: Collection[str]) -> dict[str, str | None]:
    """Every part of a name after a "/", to the only name that ends with it, or None where several do."""
    endings: dict[str, str | None] = {}
    for name in names:
        for ending in _endings(name):
            endings[ending] = None if ending in endings else name
    return endings


def _endings(name: str) -> Iterator[str]:
    rest = name.partition("/")[2]
    while rest:
        yield rest
        rest = rest.partition("/")[2]


def _find(
    name: str,
    weights: Mapping[str, Array],
    endings: Mapping[str, str | None],
    aliases: Collection[Alias],
) -> Array | None:
    if name in weights:
        return weights[name]
    for alias in aliases:
        if alias.name in weights:
            return _as_wanted(weights[alias.name], alias)
    for alias in (Alias(name), *aliases):
        ending = endings.get(alias.name)
        if ending is not None:
            return _as_wanted(weights[ending], alias)
    return None


def _as_wanted(array: Array, alias: Alias) -> Array:
    return array.T if alias.transposed else array


def _refuse_missing(missing: list[str], weights: Mapping[str, Array]) -> None:
    if missing:
        near = difflib.get_close_matches(missing[0], list(weights), n=2, cutoff=0.4)
        near = near or sorted(weights)[:2]
        raise UsageError(
            f"the weights lack {len(missing)} of the network's tensors: {_first(missing)};"
            f" nearest of the {len(weights)} in the file: {', '.join(near) or 'none'};"
            " are they of this network?"
        )


def _refuse_misshapen(arrays: Mapping[str, Array], wanted: Mapping[str, tuple[int, ...]]) -> None:
    misshapen = [
        f"{name} is {list(array.shape)}, expected {list(wanted[name])}"
        for name, array in arrays.items()
        if array.shape != tuple(wanted[name])
    ]
    if misshapen:
        raise UsageError(
            f"{len(misshapen)} tensors of the weights have another shape than the network's:"
            f" {_first(misshapen)}; are they of a network of another size?"
        )


def _refuse_unusable(arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        if array.dtype.name not in _FLOATS:
            raise UsageError(
                f"tensor {name} of the weights is {array.dtype}; expected floating-point numbers:"
                " give the weights from before they were quantised"
            )
        if not np.isfinite(array).all():
            bad = array.size - int(np.count_nonzero(np.isfinite(array)))
            raise UsageError(
                f"tensor {name} of the weights holds {bad} NaN or infinite values of {array.size};"
                " the file is damaged or its training diverged"
            )


def _first(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")
