"""Real photographs, folders of images, and the seeded images that stand in for them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo import photographs
from model_zoo.photographs import decode, folder_set, photograph_set, synthetic_image, synthetic_set
from model_zoo.photographs import photographs as real_photographs
from model_zoo.spec import Split
from runtime.errors import FeedError, UnavailableError, UsageError
from runtime.tensors import Array

# ImageNet classes in the file names of foolbox 3.3.4, as its wheel lists them
LABELS = [243, 559, 438, 990, 949, 853, 609, 609, 915, 455, 541, 630, 741, 471, 129, 99, 251, 22, 317, 305]


@pytest.fixture(scope="module")
def found() -> tuple[photographs.Photograph, ...]:
    try:
        return real_photographs()
    except UnavailableError as error:
        pytest.skip(str(error))


def save(path: Path, size: tuple[int, int] = (8, 6), colour: tuple[int, int, int] = (200, 100, 50)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_the_photographs_know_their_imagenet_class(found: tuple[photographs.Photograph, ...]) -> None:
    assert [item.label for item in found if item.label is not None] == LABELS
    assert [item.name for item in found if item.label is None] == [
        "astronaut", "chelsea", "coffee", "motorcycle_left", "rocket",
    ]  # fmt: skip


def test_the_photographs_decode_to_colour(found: tuple[photographs.Photograph, ...]) -> None:
    images = {item.name: decode(item.path) for item in found}
    assert images["imagenet_10_541"].size == (1024, 683)
    assert images["chelsea"].size == (451, 300)
    assert all(np.asarray(image).std(axis=(0, 1)).min() > 10 for image in images.values())


def test_the_splits_share_no_photograph(found: tuple[photographs.Photograph, ...]) -> None:
    images = photograph_set().images
    pixels = [{np.asarray(opened()).tobytes() for opened in images[split]} for split in Split]
    assert [len(split) for split in pixels] == [13, 12]
    assert not pixels[0] & pixels[1]


def test_a_folder_is_split_by_turns_over_sorted_paths(tmp_path: Path) -> None:
    for level, name in enumerate(["c/1.PNG", "b.jpg", "a.png", "d.bmp"]):
        save(tmp_path / name, size=(level + 1, 1))
    (tmp_path / "notes.txt").write_text("no image")
    images = folder_set(tmp_path)
    widths = [[opened().size[0] for opened in images.images[split]] for split in Split]
    assert widths == [[3, 1], [2, 4]]  # a, b, c/1, d
    assert images.origin == f"4 images of {tmp_path.name}"


def test_a_folder_with_another_pixel_has_another_digest(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    before = folder_set(tmp_path).digest
    assert folder_set(tmp_path).digest == before
    save(tmp_path / "b.png", colour=(200, 100, 51))
    assert folder_set(tmp_path).digest != before


@pytest.mark.parametrize("count", [0, 1])
def test_a_folder_with_too_few_images_is_refused(tmp_path: Path, count: int) -> None:
    for number in range(count):
        save(tmp_path / f"{number}.png")
    with pytest.raises(UsageError, match=f"holds {count} images .*expected two or more"):
        folder_set(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.png is not a folder; give one with images \(\.bmp, \.jpeg"):
        folder_set(save(tmp_path / "a.png"))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"not an image at all"])
def test_a_broken_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(FeedError, match=r"broken\.png is not an image that can be read"):
        decode(path)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "half.bmp", size=(64, 64))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(FeedError, match=r"half\.bmp"):
        decode(path)


def test_an_image_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # EXIF orientation: turn by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decode(tmp_path / "turned.jpg").size == (4, 6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new(mode, (4, 4)).save(path)
    assert decode(path).mode == "RGB"


def test_synthetic_images_say_why_and_that_they_are() -> None:
    images = synthetic_set("no network")
    assert images.synthetic
    assert images.origin == "synthetic (seed 0): no network"


def spectrum_slope(plane: Array) -> float:
    """Slope of log amplitude over log frequency: -1 for natural images, 0 for white noise."""
    amplitude = np.abs(np.fft.fft2(plane - plane.mean()))
    down, across = np.meshgrid(*(np.fft.fftfreq(side) for side in plane.shape), indexing="ij")
    radius = np.hypot(down, across)
    rings = np.geomspace(4 / plane.shape[0], 0.25, 12)
    levels = [amplitude[(radius >= low) & (radius < high)].mean() for low, high in pairwise(rings)]
    return float(np.polyfit(np.log(np.sqrt(rings[:-1] * rings[1:])), np.log(levels), 1)[0])


def test_synthetic_images_have_the_spectrum_of_natural_ones() -> None:
    # Field 1987 and Tolhurst et al. 1992 find -0.8 to -1.5 from photograph to photograph
    slopes = [spectrum_slope(np.asarray(synthetic_image(Split.EVALUATION, k))[..., 1]) for k in range(4)]
    assert all(-1.5 < slope < -0.8 for slope in slopes)


def test_the_spectrum_tells_white_noise_apart() -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(512, 512))
    assert abs(spectrum_slope(noise)) < 0.1


def test_synthetic_images_are_repeatable_and_all_different() -> None:
    first = [np.asarray(opened()) for opened in synthetic_set("").images[Split.CALIBRATION][:3]]
    again = [np.asarray(opened()) for opened in synthetic_set("").images[Split.CALIBRATION][:3]]
    other = np.asarray(synthetic_image(Split.EVALUATION, 0))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert len({image.tobytes() for image in [*first, other]}) == 4
    assert first[0].shape == (512, 512, 3)
    assert np.corrcoef(first[0][..., 0].ravel(), first[0][..., 1].ravel())[0, 1] > 0.7
