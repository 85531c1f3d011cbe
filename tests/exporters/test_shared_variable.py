"""A variable over an array's own memory, where TensorFlow can use it."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.tensorflow import shared_variable
from model_zoo.seeded import ALIGNMENT, seeded_normal
from runtime.tensors import Array


def aligned(offset: int) -> Array:
    memory = np.zeros(16 * 4 + 2 * ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT + offset
    return memory[start : start + 64].view(np.float32)


@pytest.mark.parametrize(("offset", "shared"), [(0, True), (4, False)])
def test_memory_is_shared_where_it_is_aligned_and_the_values_are_the_same(offset: int, shared: bool) -> None:
    array = aligned(offset)
    array[:] = np.arange(16)
    variable = shared_variable("table", array.reshape(4, 4))
    np.testing.assert_array_equal(variable.numpy(), np.arange(16, dtype=np.float32).reshape(4, 4))
    assert variable.name.startswith("table")
    array[5] = 99
    assert (variable.numpy()[1, 1] == 99) is np.True_ if shared else variable.numpy()[1, 1] == 5


def test_an_array_that_may_not_be_written_is_copied() -> None:
    array = aligned(0)
    array.flags.writeable = False
    assert shared_variable("table", array).numpy().tolist() == [0] * 16


def test_seeded_tensors_lie_as_tensorflow_wants_them() -> None:
    assert all(seeded_normal(f"{n}", (n, 3)).ctypes.data % ALIGNMENT == 0 for n in range(1, 50))
