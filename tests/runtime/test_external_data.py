"""External data that is named or sized as no honest exporter does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from runtime.errors import GraphError
from runtime.graphs import graph_digest, load


def _write(folder: Path, **data: str) -> Path:
    """y = x + w, with the four floats of w in a file beside the graph."""
    head = '<ir_version: 10, opset_import: ["": 22]>'
    model = onnx.parser.parse_model(f"{head} g (float[4] x) => (float[4] y) {{ y = Add(x, w) }}")
    tensor = model.graph.initializer.add(name="w", dims=[4], data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in data.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["a\0b", "n" * 5000, "circle"], ids=["null", "long", "circle"])
def test_a_location_that_is_no_file_name_is_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    path = _write(tmp_path, location=location)
    for read in (load, graph_digest):
        with pytest.raises(GraphError, match=r"no file's name|is missing") as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sizes", [{}, {"offset": "0"}, {"length": "4"}], ids=["none", "offset", "short"])
def test_a_file_shorter_than_the_shape_needs_is_refused_whatever_length_says(
    sizes: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(bytes(12))
    with pytest.raises(GraphError, match="wants 16 bytes of data in 'w', which has 12; copy it again"):
        load(_write(tmp_path, location="w", **sizes))


def test_the_length_may_be_left_out(tmp_path: Path) -> None:
    weights = np.arange(4, dtype=np.float32)
    (tmp_path / "w").write_bytes(bytes(8) + weights.tobytes())
    model = load(_write(tmp_path, location="w", offset="8"))
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), weights)
