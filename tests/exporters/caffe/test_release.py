"""OpenCV's copy of a network lives as long as it is asked, and no longer."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from exporters.caffe import source as caffe_source
from exporters.caffe.oracle import Oracle
from exporters.caffe.source import CaffeSource
from exporters.source import Releasing
from tests.exporters.caffe.networks import caffemodel, prototxt, values

TEXT = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }"""


def test_a_source_that_was_let_go_of_answers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Oracle]] = []

    class Watched(Oracle):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(weakref.ref(self))

    monkeypatch.setattr(caffe_source, "Oracle", Watched)
    (tmp_path / "net.prototxt").write_text(prototxt(TEXT, 1, 3, 7, 7))
    (tmp_path / "net.caffemodel").write_bytes(caffemodel({"conv": [values(4, 3, 3, 3), values(4)]}))
    source = CaffeSource.from_files(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    assert isinstance(source, Releasing)
    feed = {"data": values(2, 3, 7, 7, seed=5)}
    first, again = source.run(feed), source.run(feed)
    assert len(made) == 1
    source.release()
    gc.collect()
    assert made[0]() is None
    after = source.run(feed)
    assert len(made) == 2
    for answer in (again, after):
        np.testing.assert_array_equal(answer["conv"], first["conv"])
