"""Weights that torch has saved: state dicts in its zip format (torch.save since version 1.6), without torch.

The archive holds a pickle that says which tensors there are (`torch_pickle`), and a record of raw numbers for
each storage. Every size is checked against the file before anything is allocated.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_dtypes import bfloat16

from model_zoo.torch_pickle import RefusedError, Storage, StoredTensor, parse
from runtime.errors import UsageError
from runtime.tensors import Array

SUFFIXES = (".bin", ".pt", ".pth")

_ZIP_MAGIC = b"PK"
_PICKLE = "data.pkl"
_LARGEST_PICKLE = 16 << 20
"""Of a state dict with 100 000 tensors; one byte can come to a hundred in memory."""

_NESTED = ("state_dict", "model_state_dict", "model")
"""Under which trainers keep the state dict, beside the optimiser's and the number of the epoch."""

_DAMAGED = (
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
"""What zipfile, pickletools and the pickle's own operations raise over a broken file."""


def read_torch(path: Path) -> dict[str, Array]:
    """The tensors of a state dict, under their names; read-only, without the state of optimisers.

    The state dict is all that the file holds, or what it holds as `state_dict`, `model_state_dict` or
    `model`. Raises UsageError for a file that is damaged, asks for more than tensors, or is older than the
    zip format.
    """
    try:
        if _magic(path) != _ZIP_MAGIC:
            raise UsageError(
                f"weights {path} are not in torch's zip format and would be read with pickle, which can run"
                " code hidden in the file; save them with torch 1.6 or newer, or as .safetensors or .npz"
            )
        with zipfile.ZipFile(path) as archive:
            return _Records(archive, path.stat().st_size).state_dict()
    except RefusedError as error:
        raise UsageError(
            f"weights {path} name {error}, which a state dict of plain tensors does without and which is not"
            " run; save the model's state_dict() alone, or as .safetensors or .npz"
        ) from error
    except _DAMAGED as error:
        raise UsageError(
            f"weights {path} cannot be read as a state dict of torch: {' '.join(str(error).split())[:200]};"
            " is the file complete?"
        ) from error


def _magic(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(len(_ZIP_MAGIC))


class _Records:
    """The records of an archive, below its only folder. Raises ValueError where it is not one of torch's."""

    def __init__(self, archive: zipfile.ZipFile, file_size: int) -> None:
        _refuse_unpacking(archive, file_size)
        self._archive = archive
        self._root = _root(archive)
        self._swapped = self._byte_order() != sys.byteorder
        self._storages: dict[Storage, Array] = {}

    def state_dict(self) -> dict[str, Array]:
        size = self._info(_PICKLE).file_size
        if size > _LARGEST_PICKLE:
            raise ValueError(f"its {_PICKLE} has {size} bytes, expected {_LARGEST_PICKLE} at most")
        return {name: self._array(tensor) for name, tensor in _tensors(parse(self._read(_PICKLE))).items()}

    def _array(self, tensor: StoredTensor) -> Array:
        storage = tensor.storage
        dtype = np.dtype(bfloat16 if storage.dtype == "bfloat16" else storage.dtype)
        if storage not in self._storages:  # tensors may share one
            self._storages[storage] = self._words(f"data/{storage.key}", storage.values, dtype.itemsize)
        strides = [dtype.itemsize * stride for stride in tensor.strides]
        start = dtype.itemsize * tensor.offset
        return np.ndarray(tensor.shape, dtype, self._storages[storage], start, strides)

    def _words(self, record: str, number: int, width: int) -> Array:
        """A record as whole numbers of `width` bytes: those of any type can have their bytes swapped."""
        size = self._info(record).file_size
        if size != number * width:
            raise ValueError(f"record {record!a} has {size} bytes, expected {number * width}")
        words = np.frombuffer(self._read(record), f"u{width}")
        return words.byteswap() if self._swapped else words

    def _byte_order(self) -> str:
        """Little where there is no such record, as torch has it: before 2.1 it wrote none."""
        if f"{self._root}/byteorder" not in self._archive.namelist():
            return "little"
        order = self._read("byteorder")
        if order not in (b"little", b"big"):
            raise ValueError(f"its byte order is {order[:20]!a}, expected little or big")
        return order.decode()

    def _info(self, record: str) -> zipfile.ZipInfo:
        return self._archive.getinfo(f"{self._root}/{record}")

    def _read(self, record: str) -> bytes:
        return self._archive.read(f"{self._root}/{record}")


def _refuse_unpacking(archive: zipfile.ZipFile, file_size: int) -> None:
    """Torch compresses no numbers, so that records together are smaller than the file they are in."""
    records = archive.infolist()
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"record {record.filename!a} is compressed, as none of a state dict is")
    unpacked = sum(record.file_size for record in records)
    if unpacked > file_size:
        raise ValueError(f"its records overlap: {unpacked} bytes out of {file_size}")


def _root(archive: zipfile.ZipFile) -> str:
    """The folder that everything is in."""
    roots = [name.partition("/")[0] for name in archive.namelist() if name.partition("/")[2] == _PICKLE]
    if len(roots) != 1:
        raise ValueError(f"it holds {len(roots)} folders with a {_PICKLE}, expected one")
    return roots[0]


def _tensors(saved: object) -> Mapping[str, StoredTensor]:
    """The state dict among what was saved; entries of it that are no tensors are no weights."""
    nested = [saved[name] for name in _NESTED if name in saved] if isinstance(saved, dict) else []
    for candidate in (*nested, saved):  # a loss beside a state dict is a tensor too
        entries = candidate.items() if isinstance(candidate, dict) else ()
        tensors = {name: entry for name, entry in entries if isinstance(entry, StoredTensor)}
        if tensors:
            return {_checked(name): tensor for name, tensor in tensors.items()}
    raise ValueError(f"expected a dict of tensors, or one that holds such a dict as {' or '.join(_NESTED)}")


def _checked(name: object) -> str:
    """Raises ValueError for a number, or for text that cannot be shown."""
    if not isinstance(name, str):
        raise ValueError(f"a tensor is called {name}, expected text")
    name.encode()
    return name
