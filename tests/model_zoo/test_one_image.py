"""One image of a user's, fed as the images of a folder are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo.framing import CentreCrop, Fit, Framing, Warp
from model_zoo.image_feeds import ImageFormat, image_folder_feeds
from model_zoo.photographs import decode
from model_zoo.spec import Split


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, size=(40, 60, 3))
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("framing", [CentreCrop(), Warp(), Fit()])
def test_an_image_is_fed_as_the_same_one_in_a_folder(folder: Path, framing: Framing) -> None:
    image_format = ImageFormat("x", (32, 24), "NCHW", "BGR", (1, 2, 3), 0.5, framing, info="info")
    feeds = image_folder_feeds(folder, image_format)
    feed, frame = feeds.of_image(decode(folder / "1.png"))
    expected = next(feeds.batches(1, Split.EVALUATION))
    assert feed.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(feed[name], array)
    assert frame == framing.whole(60, 40, (32, 24))
