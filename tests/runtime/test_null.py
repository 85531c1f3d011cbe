from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.backend import Boundary, SessionOptions
from runtime.errors import GraphError
from runtime.null import NullBackend
from tests.models import MODELS, TinyModel


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_outputs_are_zeros_of_the_right_type_and_shape(model: TinyModel, tmp_path: Path) -> None:
    with NullBackend().open(model.write(tmp_path), "cpu", SessionOptions()) as session:
        outputs = session.run(model.feed(batch=5))
        for spec in session.outputs:
            array = outputs[spec.name]
            assert array.shape == (5, *spec.shape[1:])
            assert array.dtype == np.dtype(spec.dtype)
            assert not array.any()


def test_it_attests_that_nothing_ran(tmp_path: Path) -> None:
    model = MODELS["conv_chain"]
    with NullBackend().open(model.write(tmp_path), "cpu", SessionOptions()) as session:
        session.bind(model.feed(), Boundary.DEVICE).run()
        executed = session.executed()
    assert (executed.on_device_macs, dict(executed.macs_by_type)) == (0, {})
    assert executed.evidence == "nothing runs"


def test_even_it_refuses_what_is_no_graph(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="is a folder"):
        NullBackend().open(tmp_path, "cpu", SessionOptions())
