"""The compiled schema is the one of caffe.proto, and its numbers are Caffe's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.caffe import caffe_pb2
from exporters.caffe.schema import schema
from runtime.errors import UnavailableError

_ROOT = Path(__file__).resolve().parents[3]
_PROTO = "exporters/caffe/caffe.proto"


def test_the_committed_files_are_what_the_compiler_makes(tmp_path: Path) -> None:
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("grpcio-tools is not installed")
    # In a process of its own: the compiler's protobuf and TensorFlow's crash each other.
    flags = [f"-I{_ROOT}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *flags, _PROTO], check=True, cwd=_ROOT)
    for name in ("caffe_pb2.py", "caffe_pb2.pyi"):
        made, committed = tmp_path / "exporters/caffe" / name, _ROOT / "exporters/caffe" / name
        assert _body(made) == _body(committed), f"{name} is stale: see the command at the top of {_PROTO}"


def _body(path: Path) -> list[str]:
    """The schema itself; the compiler also writes its version, which differs from one to the next."""
    lines = path.read_text().splitlines()
    if path.suffix == ".pyi":
        return lines
    return [line for line in lines if line.startswith("DESCRIPTOR = ")]


@pytest.mark.parametrize(
    ("message", "field", "number"),
    [
        # from BVLC/caffe
        ("NetParameter", "layer", 100),
        ("NetParameter", "layers", 2),
        ("BlobProto", "data", 5),
        ("BlobProto", "shape", 7),
        ("LayerParameter", "blobs", 7),
        ("LayerParameter", "convolution_param", 106),
        ("LayerParameter", "batch_norm_param", 139),
        ("LayerParameter", "scale_param", 142),
        ("LayerParameter", "recurrent_param", 146),
        ("PoolingParameter", "round_mode", 13),
        # from weiliu89/caffe, branch ssd
        ("LayerParameter", "permute_param", 202),
        ("LayerParameter", "prior_box_param", 203),
        ("LayerParameter", "detection_output_param", 204),
        ("LayerParameter", "norm_param", 206),
        # from rbgirshick/caffe-fast-rcnn
        ("LayerParameter", "roi_pooling_param", 8266711),
        ("DropoutParameter", "scale_train", 2),
    ],
)
def test_fields_have_caffes_numbers(message: str, field: str, number: int) -> None:
    assert caffe_pb2.DESCRIPTOR.message_types_by_name[message].fields_by_name[field].number == number


def test_without_protobuf_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(UnavailableError, match=r"needs the package protobuf .* pip install '\.\[export\]'"):
        schema()


def test_a_protobuf_that_is_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.protobuf import runtime_version

    import exporters.caffe

    monkeypatch.delattr(exporters.caffe, "caffe_pb2")
    monkeypatch.delitem(sys.modules, "exporters.caffe.caffe_pb2")
    monkeypatch.setattr(runtime_version, "MAJOR", 5)
    with pytest.raises(UnavailableError, match=r"older than Caffe's schema: .* pip install '\.\[export\]'"):
        schema()
