"""Images to feed a network with: real photographs, a user's own, or seeded ones that look natural enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives
from model_zoo.samples import alternate, digest_of, uniforms
from model_zoo.spec import Split
from runtime import files
from runtime.errors import FeedError, UnavailableError, UsageError
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})

PHOTOGRAPH_ARCHIVES = ("imagenet-photographs", "colour-photographs")
_SYNTHETIC_PER_SPLIT = 32
_SYNTHETIC_SIDE = 512  # as the real ones
_OCTAVES = (2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Photograph:
    """A photograph in a file; `label` is its ImageNet class (0..999) where that is known."""

    path: Path
    label: int | None

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class ImageSet:
    """Images per split; `digest` covers their bytes. Opening one decodes it: nothing is kept in memory."""

    origin: str
    synthetic: bool
    digest: str
    images: dict[Split, tuple[Callable[[], Image], ...]]


def photographs(progress: Progress = silent) -> tuple[Photograph, ...]:
    """The 20 ImageNet photographs of foolbox and 5 of scikit-image, in the order of their names.

    Raises UnavailableError where an archive cannot be fetched.
    """
    found = []
    for archive in PHOTOGRAPH_ARCHIVES:
        folder = archives.fetch(archive, progress)
        found += [Photograph(folder / member, _label(member)) for member in archives.contents(folder)]
    return tuple(sorted(found, key=lambda photograph: photograph.name))


def photograph_set(progress: Progress = silent) -> ImageSet:
    """The real photographs; where they cannot be had, seeded images whose origin says why."""
    try:
        found = photographs(progress)
    except UnavailableError as error:
        return synthetic_set(str(error))
    origin = f"{len(found)} photographs: 20 of ImageNet (foolbox), {len(found) - 20} of scikit-image"
    members = [archives.contents(archives.fetch(name)) for name in PHOTOGRAPH_ARCHIVES]
    return ImageSet(origin, False, digest_of(members), _openers([item.path for item in found]))


def folder_set(folder: Path) -> ImageSet:
    """A user's own images: every image file in `folder` and below it, in the order of their paths.

    Raises UsageError for anything that is not a folder with two images or more (one for each split).
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give one with images ({', '.join(sorted(SUFFIXES))})")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(paths) < 2:
        raise UsageError(
            f"{folder} holds {len(paths)} images ({', '.join(sorted(SUFFIXES))}), expected two or more:"
            " half find the ranges, half judge the result"
        )
    digest = digest_of([files.sha256_of_file(path) for path in paths])
    return ImageSet(f"{len(paths)} images of {folder.name}", False, digest, _openers(paths))


def synthetic_set(reason: str) -> ImageSet:
    """Seeded images instead of photographs; `reason` says why in the origin."""
    images: dict[Split, tuple[Callable[[], Image], ...]] = {
        split: tuple(partial(synthetic_image, split, index) for index in range(_SYNTHETIC_PER_SPLIT))
        for split in Split
    }
    return ImageSet(
        f"synthetic (seed 0): {reason}", True, digest_of("synthetic images", _SYNTHETIC_PER_SPLIT), images
    )


def decode(path: Path) -> Image:
    """The image in a file as RGB; raises FeedError for a file that is broken or no image."""
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(path) as image:
            return PIL.ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise FeedError(f"{path} is not an image that can be read: {error}; remove or replace it") from error


def synthetic_image(split: Split, index: int) -> Image:
    """A seeded RGB image with the two statistics of natural ones that activations notice most.

    Amplitude falls with 1 / frequency (Field 1987, "Relations between the statistics of natural images and
    the response properties of cortical cells"), and the channels are nearly alike. White noise has neither:
    its activations average out, and ranges found on it are too narrow.
    """
    import PIL.Image

    luminance, *chroma = (_fractal(split.value, index, plane) for plane in range(4))
    planes = [118 + 52 * (0.95 * luminance + 0.3 * colour) for colour in chroma]
    pixels = np.stack(planes, axis=-1).round().clip(0, 255).astype(np.uint8)
    return PIL.Image.fromarray(pixels)


def _fractal(*key: object) -> NDArray[np.float64]:
    """A [side, side] field of mean 0 and variance 1: octaves of noise, all equally strong."""
    import PIL.Image

    side = _SYNTHETIC_SIDE
    field = np.zeros((side, side))
    for octave in _OCTAVES:
        grid = uniforms((octave + 1) ** 2, "fractal", *key, octave).reshape(octave + 1, octave + 1)
        image = PIL.Image.fromarray((grid - 0.5).astype(np.float32))
        field += np.asarray(image.resize((side, side), PIL.Image.Resampling.BICUBIC))
    normal: NDArray[np.float64] = (field - field.mean()) / field.std()
    return normal


def _openers(paths: Sequence[Path]) -> dict[Split, tuple[Callable[[], Image], ...]]:
    return {split: tuple(partial(decode, path) for path in alternate(paths, split)) for split in Split}


def _label(member: str) -> int | None:
    """The class in a name such as imagenet_NN_LABEL.jpg, as foolbox calls them."""
    name = Path(member).stem
    return int(name.split("_")[-1]) if name.startswith("imagenet_") else None
