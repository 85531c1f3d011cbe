"""ICDAR 2015, challenge 4: 500 test photographs with the text in them (gt_img_N.txt)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from model_zoo.datasets.contract import DataSet, Part, Picture, Sample, Tell, first_of, text_of
from model_zoo.metrics.objects import TrueText

NOT_CARED_FOR = "###"

_IMAGES = ("", "ch4_test_images/", "images/")
_TRUTHS = ("", "Challenge4_Test_Task1_GT/", "gt/")
_CORNERS = 4


def _samples(root: Path, tell: Tell) -> Iterator[Sample]:
    """By the number of the image."""
    images, truths = _numbered(root, _IMAGES, "img_", ".jpg"), _numbered(root, _TRUTHS, "gt_img_", ".txt")
    for number in sorted(images.keys() | truths.keys()):
        if number not in images:
            tell("the image is missing", f"img_{number}.jpg")
        elif number not in truths:
            tell("the annotation is missing", f"gt_img_{number}.txt")
        else:
            yield Sample(Picture(images[number]), _truth(truths[number], tell), f"img_{number}")


def _numbered(root: Path, folders: tuple[str, ...], prefix: str, suffix: str) -> Mapping[int, Path]:
    first = first_of(root, *(f"{folder}{prefix}*{suffix}" for folder in folders))
    paths = first.parent.glob(f"{prefix}*{suffix}") if first else iter(())
    numbers = {path.name.removeprefix(prefix).removesuffix(suffix): path for path in paths}
    return {int(number): path for number, path in numbers.items() if number.isdecimal()}


def _truth(path: Path, tell: Tell) -> TrueText:
    """Of lines x1,y1,x2,y2,x3,y3,x4,y4,text; the text may hold commas."""
    outlines, cared_for = [], []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip():
            continue
        *numbers, text = line.split(",", 2 * _CORNERS)
        try:
            corners = np.array(numbers, np.float64).reshape(_CORNERS, 2)
        except ValueError:
            tell("a line is not eight numbers and a text", f"{path.name}, line {number}")
            continue
        outlines.append(corners)
        cared_for.append(text.strip() != NOT_CARED_FOR)
    return TrueText(tuple(outlines), np.array(cared_for, bool))


def _amounts(sample: Sample) -> Mapping[str, int]:
    cared_for = int(np.count_nonzero(sample.truth.cared_for))
    return {"texts": cared_for, "texts not cared for": len(sample.truth.outlines) - cared_for}


ICDAR15 = DataSet(
    name="icdar15",
    title="ICDAR 2015 incidental scene text, test",
    folders=("", "icdar15", "icdar2015"),
    parts=(
        Part(tuple(f"{folder}img_*.jpg" for folder in _IMAGES), "500 images"),
        Part(tuple(f"{folder}gt_img_*.txt" for folder in _TRUTHS), "the text in each"),
    ),
    published={"challenge 4 test": 500},
    unit="images",
    metrics=("text-f-measure",),
    terms="the Robust Reading Competition, after registration; CC BY 4.0",
    samples=_samples,
    digest=Picture.digest,
    amounts=_amounts,
)
