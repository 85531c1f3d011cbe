"""The record keeps everything, and refuses what it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.record import Record, load, save, to_json
from runtime.errors import StoreError, UsageError
from tests.bench.factories import accuracy, record

DESIGN_FIELDS = {
    "schema_version": None,
    "model": None,
    "framework": None,
    "variant": None,
    "precision": None,
    "backend": None,
    "device": None,
    "batch_size": None,
    "scenario": None,
    "boundary": None,
    "graph": {"sha256", "fp32_sha256", "opset", "macs", "parameters"},
    "latency_ns": {"min", "mean", "p50", "p90", "p95", "p99", "p50_ci95"},
    "throughput": {"samples_per_second", "ci95"},
    "samples_ns": None,
    "accuracy": None,
    "executed": {"on_device_macs", "macs_by_type", "fallback_nodes", "lowering"},
    "build": {"seconds", "peak_rss_bytes"},
    "environment": None,
    "warnings": None,
}


def test_the_document_has_the_fields_the_design_lists() -> None:
    document = json.loads(to_json(record()))
    for name, parts in DESIGN_FIELDS.items():
        assert name in document
        if parts:
            assert parts <= set(document[name])


def test_a_saved_record_loads_back_the_same(tmp_path: Path) -> None:
    original = record(precision="int8", accuracy=accuracy())
    assert load(save(original, tmp_path / "new" / "folder")) == original


def test_two_records_never_share_a_file(tmp_path: Path) -> None:
    cells = [
        record(),
        record(precision="int8"),
        record(batch_size=2),
        record(boundary="host"),
        record(framework="caffe"),
        record(variant="small"),
        record(device="cuda:0"),
        record(recorded_at="2026-11-25T02:41:18+00:00"),
        record(options={"threads": 1, "seed": 0, "duration_ns": 1, "weights_sha256": None}),
    ]
    paths = {save(cell, tmp_path) for cell in cells}
    assert len(paths) == len(cells)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_the_raw_samples_are_on_one_line() -> None:
    lines = to_json(record(samples_ns=list(range(1000)))).splitlines()
    assert len(lines) < 150
    assert lines[-2].startswith('  "samples_ns": [0,1,2,')


def test_a_misspelt_field_is_named(tmp_path: Path) -> None:
    document = json.loads(to_json(record()))
    document["latencies"] = document.pop("latency_ns")
    path = tmp_path / "record.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"not a record of schema version 1: latency_ns: Field required"):
        load(path)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(to_json(record()).replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(UsageError, match="schema_version: Input should be 1"):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"], ids=["empty", "cut off", "array", "null"])
def test_a_file_that_is_no_record_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="not a record of schema version 1"):
        load(path)


def test_a_missing_record_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read the record .*none\.json: No such file"):
        load(tmp_path / "none.json")


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"set AIMATRIX_HOME .or --out. to a folder that can be written"):
        save(record(), tmp_path / "file" / "records")


def test_the_schema_can_be_published() -> None:
    schema = Record.model_json_schema()
    assert schema["properties"]["schema_version"]["const"] == 1
    assert "samples_ns" in schema["required"]


def test_neither_host_nor_user_is_in_the_environment() -> None:
    import getpass
    import platform

    from bench.environment import environment

    text = environment().model_dump_json()
    assert platform.node() not in text
    assert f'"{getpass.getuser()}"' not in text
