"""The pickle inside a file of torch's, read as data: nothing it names is imported, nothing is called.

A pickle is a program for a machine with a stack, and may import and call whatever its author likes. The
machine below knows the operations that a state dict is written with, and the few names in it stand for
values of its own. It is not `pickle.Unpickler` with another `find_class`: that one allocates whatever a
number in the memo says, and dies of a key that is nested deeper than the C stack.
"""

from __future__ import annotations

import math
import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_MOST_DIMENSIONS = 64
"""NumPy's limit."""

_STORAGES: Mapping[str, str] = {
    "torch.BFloat16Storage": "bfloat16",
    "torch.BoolStorage": "bool",
    "torch.ByteStorage": "uint8",
    "torch.CharStorage": "int8",
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.IntStorage": "int32",
    "torch.LongStorage": "int64",
    "torch.ShortStorage": "int16",
}
"""Name to the type of the values."""


class RefusedError(Exception):
    """The pickle asks for something that no state dict needs; says what."""


@dataclass(frozen=True)
class Global:
    """Something that the pickle would import, by its full name."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A record of the archive: `values` numbers of type `dtype`, in a row."""

    dtype: str
    key: str
    values: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a view of a storage; offset and strides count values, not bytes.

    Raises ValueError where it would reach beyond the storage, or has more values than that.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if not (
            isinstance(self.storage, Storage)
            and _are_counts((self.offset,))
            and _are_counts(self.shape)
            and _are_counts(self.strides)
            and len(self.shape) == len(self.strides) <= _MOST_DIMENSIONS
        ):
            raise ValueError("a tensor has no storage, or no whole numbers for its offset, shape and strides")
        values, last = math.prod(self.shape), self.offset + _last(self.shape, self.strides)
        if values and (values > self.storage.values or last >= self.storage.values):
            raise ValueError(
                f"a tensor {list(self.shape)} with strides {list(self.strides)} from {self.offset} on reaches"
                f" beyond its storage of {self.storage.values} values"
            )


def parse(program: bytes) -> object:
    """What the pickle comes to: dicts, lists, tuples, numbers, strings, and StoredTensors.

    Dicts may hold themselves. Raises RefusedError for what no state dict needs, ValueError, TypeError,
    IndexError or KeyError for a program that is damaged.
    """
    machine = _Machine()
    with warnings.catch_warnings():
        # genops reads names as literals of Python's, and would warn of a backslash in them
        warnings.simplefilter("ignore", DeprecationWarning)
        for operation, argument, _ in pickletools.genops(program):
            if operation.name not in _OPERATIONS:
                raise RefusedError(f"the pickle operation {operation.name}")
            _OPERATIONS[operation.name](machine, argument)
    return machine.stack.pop()


def _are_counts(values: object) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


def _last(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Where the last value is, counted from the first."""
    return sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


@dataclass
class _Machine:
    """The stack, what lies below the marks on it, and the memo of what is used again."""

    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        """Take off what was put on the stack after the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def last(self, number: int) -> list[Any]:
        """Take off that many items, in the order they were put on."""
        if number > len(self.stack):
            raise IndexError("its stack runs empty")
        items = self.stack[-number:]
        del self.stack[-number:]
        return items


def _push(machine: _Machine, value: object) -> None:
    machine.stack.append(value)


def _mark(machine: _Machine, _: object) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _append(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise TypeError("it appends to what is no list")
    target.extend(items)


def _set(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    keys, values = items[::2], items[1::2]
    if not isinstance(target, dict) or not all(map(_is_key, keys)):
        raise TypeError("it sets an item of what is no dict, or under what is no string or short number")
    target.update(zip(keys, values, strict=True))


def _is_key(key: object) -> bool:
    """Long numbers could be chosen so that they all have one hash."""
    return isinstance(key, str) or (isinstance(key, int) and key.bit_length() <= 32)


def _name(machine: _Machine, name: str) -> None:
    if name not in _STORAGES and name not in _CALLS:
        raise RefusedError(ascii(name))
    machine.stack.append(Global(name))


def _load(machine: _Machine, _: object) -> None:
    (identity,) = machine.last(1)
    kind, storage, key, _device, values = identity
    if kind != "storage" or not isinstance(storage, Global) or storage.name not in _STORAGES:
        raise TypeError("it loads something that is no storage")
    if not isinstance(key, str) or not _are_counts((values,)):
        raise TypeError("a storage has no name, or no whole number of values")
    machine.stack.append(Storage(_STORAGES[storage.name], key, values))


def _reduce(machine: _Machine, _: object) -> None:
    called, arguments = machine.last(2)
    if not isinstance(called, Global) or called.name not in _CALLS or not isinstance(arguments, tuple):
        raise TypeError("it calls something that is no function")
    machine.stack.append(_CALLS[called.name](*arguments))


def _build(machine: _Machine, _: object) -> None:
    """Of a state dict the versions of its modules, which nobody asks for."""
    built, _state = machine.last(2)
    if not isinstance(built, dict):
        raise TypeError("it gives a state to what is no dict")
    machine.stack.append(built)


def _empty_dict() -> dict[str | int, object]:
    """Takes no pairs: what is set on it later is looked at."""
    return {}


def _rebuilt_tensor(
    storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> StoredTensor:
    """Behind these arguments stands whether a gradient is wanted, and who is told of it."""
    return StoredTensor(storage, offset, shape, strides)


def _rebuilt_parameter(data: object, *_: object) -> object:
    return data


_CALLS: Mapping[str, Callable[..., object]] = {
    "collections.OrderedDict": _empty_dict,
    "torch._utils._rebuild_parameter": _rebuilt_parameter,
    "torch._utils._rebuild_tensor_v2": _rebuilt_tensor,
}

_OPERATIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("BINFLOAT", "BININT", "BININT1", "BININT2", "LONG1", "NONE"), _push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE"), _push),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, at: _push(machine, machine.memo[at])),
    **dict.fromkeys(
        ("BINPUT", "LONG_BINPUT"), lambda machine, at: machine.memo.update({at: machine.stack[-1]})
    ),
    **dict.fromkeys(("FRAME", "PROTO", "STOP"), lambda machine, _: None),
    "APPEND": lambda machine, _: _append(machine, machine.last(1)),
    "APPENDS": lambda machine, _: _append(machine, machine.since_mark()),
    "BINPERSID": _load,
    "BUILD": _build,
    "EMPTY_DICT": lambda machine, _: _push(machine, {}),
    "EMPTY_LIST": lambda machine, _: _push(machine, []),
    "EMPTY_TUPLE": lambda machine, _: _push(machine, ()),
    "GLOBAL": lambda machine, name: _name(machine, name.replace(" ", ".")),
    "MARK": _mark,
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    "NEWFALSE": lambda machine, _: _push(machine, False),
    "NEWTRUE": lambda machine, _: _push(machine, True),
    "REDUCE": _reduce,
    "SETITEM": lambda machine, _: _set(machine, machine.last(2)),
    "SETITEMS": lambda machine, _: _set(machine, machine.since_mark()),
    "STACK_GLOBAL": lambda machine, _: _name(machine, ".".join(machine.last(2))),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: _push(machine, tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: _push(machine, tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: _push(machine, tuple(machine.last(3))),
}
