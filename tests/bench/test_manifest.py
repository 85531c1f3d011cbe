"""Manifests of every schema version are read; what an older one does not say is empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.manifest import MANIFEST, SCHEMA_VERSION, KeptFacts, read_manifest, write_manifest
from calibration.kept import Kept

ENTRY = {
    "precision": "fp32",
    "sha256": "a" * 64,
    "parent_sha256": None,
    "opset": 22,
    "macs": 1,
    "parameters": 1,
    "inputs": [{"name": "data", "dtype": "float32", "shape": ["batch", 3]}],
    "outputs": [{"name": "prob", "dtype": "float32", "shape": ["batch", 3]}],
    "calibration": None,
    "build_seconds": 1.5,
    "provenance": {},
    "files": {"fp32.onnx": "b" * 64},
}
FIRST = {
    "schema_version": 1,
    "model": "net",
    "variant": "",
    "framework": "caffe",
    "identity": {"prototxt": "c" * 64},
    "graphs": {"fp32": ENTRY},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / MANIFEST


def test_a_manifest_of_version_one_is_read(path: Path) -> None:
    path.write_text(json.dumps(FIRST))
    manifest = read_manifest(path)
    assert manifest is not None
    entry = manifest.graphs["fp32"]
    assert entry.files == {"fp32.onnx": "b" * 64}
    assert (entry.warnings, entry.parity, entry.unchecked, entry.layers) == ((), None, None, None)
    assert entry.parsers == {}
    assert entry.kept == ()


def test_what_stays_in_float_is_kept_with_its_range(path: Path) -> None:
    path.write_text(json.dumps(FIRST))
    manifest = read_manifest(path)
    assert manifest is not None
    kept = (
        KeptFacts.from_kept(Kept("mask", "beyond the format", "masked", -4294967295.0, 2.5)),
        KeptFacts.from_kept(Kept("sum", "its sums")),
    )
    entry = manifest.graphs["fp32"].model_copy(update={"kept": kept})
    write_manifest(path, manifest.with_graph("fp16", entry))
    assert json.loads(path.read_text())["graphs"]["fp16"]["kept"][0] == {
        "node": "mask",
        "reason": "beyond the format",
        "tensor": "masked",
        "minimum": -4294967295.0,
        "maximum": 2.5,
    }
    found = read_manifest(path)
    assert found is not None
    assert found.graphs["fp16"].kept == kept


def test_a_graph_that_is_added_makes_it_a_manifest_of_this_version(path: Path) -> None:
    path.write_text(json.dumps(FIRST))
    manifest = read_manifest(path)
    assert manifest is not None
    write_manifest(path, manifest.with_graph("fp16", manifest.graphs["fp32"]))
    assert json.loads(path.read_text())["schema_version"] == SCHEMA_VERSION
    found = read_manifest(path)
    assert found is not None
    assert set(found.graphs) == {"fp32", "fp16"}


@pytest.mark.parametrize("change", [{"schema_version": SCHEMA_VERSION + 1}, {"colour": 3}])
def test_a_manifest_that_is_newer_is_none(path: Path, change: dict[str, int]) -> None:
    path.write_text(json.dumps({**FIRST, **change}))
    assert read_manifest(path) is None
