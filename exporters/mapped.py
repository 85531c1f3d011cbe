"""Files as memory: the system reads a part in when it is looked at, and may take it back when it is not.

NOTE: a file that another program cuts short while it is mapped ends this process; replacing it is harmless.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from runtime.tensors import Array


def map_file(path: Path) -> memoryview:
    """The bytes of a file, read-only; nothing is read yet. Raises OSError."""
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:  # no system maps nothing
            return memoryview(b"")
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def let_go(array: Array) -> None:
    """Give back the memory behind `array` where it looks into a mapped file; looking again reads it again.

    Without this, all that was ever looked at stays on this process's account.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    mapped = owner.obj if isinstance(owner, memoryview) else owner
    # NOTE: read-only is what makes it harmless; of a mapping that can be written, changes would be lost.
    if isinstance(mapped, mmap.mmap) and memoryview(mapped).readonly and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
