"""Files as torch.save writes them, without torch: Python's own pickle, and stand-ins for what it names."""

from __future__ import annotations

import io
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from runtime.tensors import Array

STORAGES = {
    "bfloat16": "BFloat16Storage",
    "bool": "BoolStorage",
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
}


@dataclass(frozen=True, eq=False)
class Stored:
    """A storage: the values [number] of one record. `claimed` is how many the pickle says there are."""

    values: Array
    claimed: int | None = None


@dataclass(frozen=True, eq=False)
class View:
    """A tensor in a storage, its strides in values; `parameter` wraps it as torch does a Parameter."""

    storage: Stored
    offset: object
    shape: object
    strides: object
    parameter: bool = False


def tensor(array: Array) -> View:
    """A tensor with a storage of its own."""
    strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
    return View(Stored(array.reshape(-1)), 0, array.shape, strides)


def state_dict(tensors: Mapping[str, Array | View]) -> OrderedDict[str, View]:
    """As a module gives it, with the versions of its parts."""
    entries = OrderedDict(
        (name, array if isinstance(array, View) else tensor(array)) for name, array in tensors.items()
    )
    vars(entries)["_metadata"] = OrderedDict({"": {"version": 1}})
    return entries


def pickled(saved: object, protocol: int = 2) -> tuple[bytes, list[Stored]]:
    """The pickle, and the storages in the order of their keys."""
    stream = io.BytesIO()
    with mock.patch.dict(sys.modules, _MODULES):
        pickler = _Pickler(stream, protocol)
        pickler.dump(saved)
    return stream.getvalue(), pickler.storages


def records(saved: object, protocol: int = 2, *, swapped: bool = False) -> dict[str, bytes]:
    """The archive's records; `swapped` writes numbers as a machine of the other byte order does."""
    program, storages = pickled(saved, protocol)
    order = sys.byteorder if not swapped else {"little": "big", "big": "little"}[sys.byteorder]
    raw = {f"archive/data/{key}": _bytes(stored.values, swapped) for key, stored in enumerate(storages)}
    return {
        "archive/data.pkl": program,
        "archive/byteorder": order.encode(),
        **raw,
        "archive/version": b"3\n",
    }


def write(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """The archive with these members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


def save(path: Path, saved: object) -> Path:
    """What torch.save(saved, path) writes."""
    return write(path, records(saved))


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, protocol: int) -> None:
        super().__init__(stream, protocol)
        self.storages: list[Stored] = []

    def persistent_id(self, item: object) -> object:
        if not isinstance(item, Stored):
            return None
        if item not in self.storages:
            self.storages.append(item)
        kind = getattr(sys.modules["torch"], STORAGES[item.values.dtype.name])
        values = item.values.size if item.claimed is None else item.claimed
        return "storage", kind, str(self.storages.index(item)), "cuda:0", values

    def reducer_override(self, item: object) -> Any:
        if not isinstance(item, View):
            return NotImplemented
        view = (item.storage, item.offset, item.shape, item.strides)
        no_hooks: OrderedDict[str, object] = OrderedDict()
        if item.parameter:
            return _named("_rebuild_parameter"), (View(*view), True, no_hooks)
        return _named("_rebuild_tensor_v2"), (*view, False, no_hooks)


def _named(name: str) -> Callable[..., object]:
    function: Callable[..., object] = getattr(sys.modules["torch._utils"], name)
    return function


def _stand_ins() -> dict[str, ModuleType]:
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):

        def function() -> None: ...

        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    return {"torch": torch, "torch._utils": utils}


_MODULES = _stand_ins()


def _bytes(values: Array, swapped: bool) -> bytes:
    words = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    return (words.byteswap() if swapped else words).tobytes()
