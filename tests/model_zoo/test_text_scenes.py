"""Words in photographs: where they are, and that only there the photograph changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from model_zoo.catalog import get_model, get_variant
from model_zoo.spec import Split
from model_zoo.text_scenes import TextScene, text_scene_set

SIZE = (400, 300)


def grey() -> PIL.Image.Image:
    return PIL.Image.new("RGB", SIZE, (128, 128, 128))


def white() -> PIL.Image.Image:
    return PIL.Image.new("RGB", (90, 30), (255, 255, 255))


def scene(key: object) -> TextScene:
    return TextScene(grey, (white,), (key,))


@pytest.mark.parametrize("key", range(12))
def test_the_photograph_changes_where_the_signs_are_and_nowhere_else(key: int) -> None:
    changed = (np.asarray(scene(key)()) != 128).any(axis=-1)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    inside, middle = np.zeros_like(changed), np.zeros_like(changed)
    for sign in scene(key).signs(SIZE):
        angle = np.radians(-sign.degrees)  # rows point down
        right, down = columns - sign.centre[0], rows - sign.centre[1]
        along = np.abs(right * np.cos(angle) + down * np.sin(angle))
        across = np.abs(down * np.cos(angle) - right * np.sin(angle))
        half = np.array([3, 1]) * sign.height / 2
        inside |= (along < half[0] + 2) & (across < half[1] + 2)
        middle |= (along < half[0] - 2) & (across < half[1] - 2)
    assert changed.any()
    assert not (changed & ~inside).any()
    assert not (middle & ~changed).any()


def test_scenes_are_the_same_every_time_and_differ_from_key_to_key() -> None:
    assert scene(0)().tobytes() == scene(0)().tobytes() != scene(1)().tobytes()
    numbers = {len(scene(key).signs(SIZE)) for key in range(100)}
    assert numbers == set(range(1, 9))


def test_no_sign_is_wider_than_a_part_of_the_photograph() -> None:
    long_word = TextScene(grey, (lambda: PIL.Image.new("RGB", (3000, 30), (255, 255, 255)),), (0,))
    widths = np.ptp(np.argwhere((np.asarray(long_word()) != 128).any(axis=-1)), axis=0)
    assert widths[1] <= SIZE[0]
    assert all(sign.height <= 0.15 * min(SIZE) for sign in long_word.signs(SIZE))


def test_without_the_archives_scenes_are_synthetic_and_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    found = text_scene_set()
    assert found.synthetic
    assert "synthetic (seed 0)" in found.origin
    assert found.images[Split.EVALUATION][0]().mode == "RGB"


def test_seglink_is_fed_with_them() -> None:
    feeds = get_variant(get_model("seglink"), "128x192").feeds("tensorflow")
    assert "with signs" in feeds.origin
    assert next(feeds.batches(2, Split.CALIBRATION))["images"].shape == (2, 128, 192, 3)
