from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.ranges import Range, Ranges, symmetric_scale
from runtime.errors import CalibrationError

_FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


def test_the_scale_puts_the_greatest_magnitude_on_127() -> None:
    assert Range(-1.0, 254.0, 254.0).scale == 2.0
    assert symmetric_scale(np.array([127.0, 12.7])).tolist() == [1.0, float(np.float32(0.1))]


@pytest.mark.parametrize(
    ("minimum", "maximum", "amax", "scale"),
    [
        (-256.0, 200.0, 256.0, 2.0),  # -128 steps are enough
        (-255.0, 254.0, 255.0, 2.0),
        (-256.0, 254.0, 256.0, 2.0),  # all of INT8's numbers
        (-300.0, 20.0, 256.0, 2.0),  # clipped by the method
        (-3.0, -2.0, 3.0, 3 / 128),
    ],
)
def test_below_zero_there_is_a_step_more(minimum: float, maximum: float, amax: float, scale: float) -> None:
    assert Range(minimum, maximum, amax).scale == scale


@pytest.mark.parametrize("amax", [0.0, 1e-45, 1e-37])
def test_nothing_but_zeros_and_subnormals_get_scale_one(amax: float) -> None:
    assert Range(0.0, amax, amax).scale == 1.0


@given(st.floats(2.0**-100, 2.0**100, width=32), st.floats(-1, 1))
def test_a_value_in_range_moves_by_at_most_half_a_step(amax: float, share: float) -> None:
    scale = Range(-amax, amax, amax).scale
    value = share * amax
    step = np.clip(np.rint(value / scale), -127, 127)
    # The scale is rounded to float32, so the outermost step may be off by 127 units in its last place.
    assert abs(step * scale - value) <= scale * (0.5 + 127 * 2.0**-24)


def test_a_union_covers_both() -> None:
    assert Range(-1.0, 2.0, 1.5).union(Range(-3.0, 1.0, 3.0)) == Range(-3.0, 2.0, 3.0)


@given(st.dictionaries(st.text(), st.tuples(_FINITE, _FINITE, _FINITE)))
def test_a_file_gives_back_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, triples: dict[str, tuple[float, float, float]]
) -> None:
    path = tmp_path_factory.mktemp("ranges") / "ranges.json"
    tensors = {name: Range(*triple) for name, triple in triples.items()}
    ranges = Ranges(tensors, "entropy", 5, "ab", "cd", {"tool numpy": "2.4.6"})
    ranges.save(path)
    assert Ranges.load(path) == ranges
    assert Ranges.load(path).digest == json.loads(path.read_text())["digest"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"schema_version": 9}', "schema_version is 9, not 2"),
        ('{"schema_version": 1, "ranges": {"x": [0, NaN, 1]}}', "a range holds nan"),
        ('{"schema_version": 1, "ranges": {"x": [0, 1]}}', "TypeError"),
        ('{"schema_version": 1, "ranges": {}}', "KeyError: 'method'"),
    ],
)
def test_a_broken_file_is_named_with_what_to_do(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(text)
    with pytest.raises(
        CalibrationError, match=rf"ranges\.json is not a sound .*{complaint}.*calibrate again"
    ):
        Ranges.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        CalibrationError, match=r"absent\.json is not a sound file of calibrated ranges \(FileNotFound"
    ):
        Ranges.load(tmp_path / "absent.json")


def test_a_tensor_without_a_range_is_named() -> None:
    with pytest.raises(CalibrationError, match="no range for tensor 'x' among the 0 calibrated ones"):
        Ranges({}, "min-max", 1, "ab").of("x")


def test_the_origin_can_be_added() -> None:
    ranges = Ranges({}, "min-max", 1, "ab").with_origin("cd", {"samples": "1"})
    assert (ranges.feeds, ranges.provenance) == ("cd", {"samples": "1"})


def test_a_file_of_version_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(
        '{"schema_version": 1, "method": "entropy", "samples": 5, "graph": "ab", "feeds": "cd",'
        ' "ranges": {"x": [-1, 2, 1.5]}}'
    )
    assert Ranges.load(path) == Ranges({"x": Range(-1.0, 2.0, 1.5)}, "entropy", 5, "ab", "cd")


def test_a_changed_number_is_noticed_unless_the_digest_is_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    Ranges({"x": Range(-1.0, 2.0, 1.5)}, "entropy", 5, "ab").save(path)
    document = json.loads(path.read_text())
    document["ranges"]["x"][2] = 1.75
    path.write_text(json.dumps(document))
    with pytest.raises(CalibrationError, match="it is damaged, or edited and still has its old digest"):
        Ranges.load(path)
    del document["digest"]
    path.write_text(json.dumps(document))
    assert Ranges.load(path).tensors["x"].amax == 1.75
