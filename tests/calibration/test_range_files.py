from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from calibration.range_differences import compare_ranges
from calibration.range_files import FORMATS, write_ranges
from calibration.ranges import Range, Ranges
from runtime.errors import CalibrationError, UsageError

RANGES = Ranges(
    {"conv1": Range(-1.0, 2.54, 2.54), "a b:0": Range(0.0, 127.0, 63.5)}, "entropy", 5, "ab", "cd"
)


def test_a_tensorrt_cache_holds_scales_as_big_endian_floats(tmp_path: Path) -> None:
    path = tmp_path / "ranges.cache"
    write_ranges(RANGES, path)
    header, *lines = path.read_text().splitlines()
    assert header == "TRT-101300-EntropyCalibration2"
    scales = {
        name: struct.unpack(">f", bytes.fromhex(digits))[0]
        for name, digits in (line.rsplit(": ", 1) for line in lines)
    }
    assert scales == {"conv1": pytest.approx(0.02), "a b:0": 0.5}


@pytest.mark.parametrize(
    ("version", "number"), [("8.6.1", 8601), ("7.1.3", 7103), ("10.3", 100300), ("10.13.0.35", 101300)]
)
def test_a_tensorrt_cache_names_the_release_as_tensorrt_does(
    tmp_path: Path, version: str, number: int
) -> None:
    write_ranges(RANGES, tmp_path / "r.cache", tensorrt=version)
    assert (tmp_path / "r.cache").read_text().startswith(f"TRT-{number}-")


def test_min_max_is_named_after_the_calibrator_that_finds_it(tmp_path: Path) -> None:
    write_ranges(Ranges({}, "min-max", 1, "ab"), tmp_path / "r.cache")
    assert (tmp_path / "r.cache").read_text() == "TRT-101300-MinMaxCalibration\n"


def test_onnx_runtimes_table_is_what_its_reader_reads(tmp_path: Path) -> None:
    from onnxruntime.quantization.CalTableFlatBuffers.TrtTable import TrtTable

    path = tmp_path / "ranges.flatbuffers"
    write_ranges(RANGES, path)
    table = TrtTable.GetRootAs(path.read_bytes(), 0)
    entries = [table.Dict(index) for index in range(table.DictLength())]
    found = {entry.Key().decode(): float(entry.Value()) for entry in entries}
    assert found == {"conv1": pytest.approx(2.54), "a b:0": 63.5}


def test_onnx_runtimes_other_forms_go_by_the_suffix(tmp_path: Path) -> None:
    for suffix in ("json", "cache"):
        write_ranges(RANGES, tmp_path / f"table.{suffix}", "onnxruntime")
    assert (tmp_path / "table.cache").read_text().splitlines()[0] == "a b:0 63.5"
    assert set(json.loads((tmp_path / "table.json").read_text())) == set(RANGES.tensors)


def test_our_own_format_is_read_back(tmp_path: Path) -> None:
    write_ranges(RANGES, tmp_path / "r.json")
    assert Ranges.load(tmp_path / "r.json") == RANGES


def test_the_formats_are_those_of_the_flag() -> None:
    assert set(FORMATS) == {"json", "tensorrt", "onnxruntime"}


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        (
            "r.txt",
            None,
            r"r\.txt: its suffix stands for no format; end it in \.json, \.cache, \.flatb.*--format",
        ),
        ("r.txt", "tensort", "unknown format of ranges 'tensort': did you mean tensorrt"),
        ("r.txt", "onnxruntime", r"ONNX Runtime's table ends in \.flatbuffers, \.json, \.cache"),
    ],
)
def test_a_format_that_is_none_is_told(tmp_path: Path, name: str, kind: str | None, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        write_ranges(RANGES, tmp_path / name, kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("version", "complaint"),
    [("eleven", "write it as 10.13.0"), ("11.0", "TensorRT 11 reads no calibration cache; give it the INT8")],
)
def test_a_release_without_caches_is_told(tmp_path: Path, version: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=f"--tensorrt-version {version}.*{complaint}"):
        write_ranges(RANGES, tmp_path / "r.cache", tensorrt=version)


def test_a_name_of_two_lines_fits_no_cache(tmp_path: Path) -> None:
    ranges = Ranges({"a\nb": Range(0, 1, 1)}, "entropy", 1, "ab")
    with pytest.raises(CalibrationError, match=r"'a\\nb' cannot be named in a TensorRT cache"):
        write_ranges(ranges, tmp_path / "r.cache")


def _ranges(graph: str = "ab", **magnitudes: float) -> Ranges:
    return Ranges({name: Range(-amax, amax, amax) for name, amax in magnitudes.items()}, "entropy", 1, graph)


def test_the_greatest_factor_comes_first_whichever_side_it_is_on() -> None:
    found = compare_ranges(_ranges(a=1, b=3, c=1, d=0, e=0), _ranges(a=1, b=1, c=4, d=2, e=0))
    assert [(each.tensor, each.ratio) for each in found.tensors] == [
        ("d", 0.0), ("c", 0.25), ("b", 3.0), ("a", 1.0), ("e", 1.0),
    ]  # fmt: skip
    assert found.comparable


@pytest.mark.parametrize(
    "other",
    [_ranges("cd", a=1, b=1), _ranges(a=1), _ranges(a=1, b=1, c=1)],
    ids=["graph", "added", "missing"],
)
def test_other_tensors_or_another_graph_are_not_comparable(other: Ranges) -> None:
    assert not compare_ranges(_ranges(a=1, b=1), other).comparable
