"""PASCAL VOC 2007's test images with their boxes (VOCdevkit/VOC2007)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from model_zoo.datasets.contract import DataSet, Part, Picture, Sample, Tell, text_of
from model_zoo.labels import VOC_CLASSES
from model_zoo.metrics.objects import TrueObjects

_LIST = "ImageSets/Main/test.txt"


def _samples(root: Path, tell: Tell) -> Iterator[Sample]:
    for name in text_of(root / _LIST).split():
        image, notes = root / f"JPEGImages/{name}.jpg", root / f"Annotations/{name}.xml"
        if not image.is_file():
            tell("the image is missing", f"JPEGImages/{name}.jpg")
        elif not notes.is_file():
            tell("the annotation is missing", f"Annotations/{name}.xml")
        else:
            truth = _truth(notes, tell)
            if truth is not None:
                yield Sample(Picture(image), truth, name)


def _truth(path: Path, tell: Tell) -> TrueObjects | None:
    text = text_of(path)
    if "<!" in text:  # entities, which may be huge when they are read; VOC has none
        tell("the annotation declares entities", path.name)
        return None
    try:
        notes = ElementTree.fromstring(text)  # noqa: S314 - declarations are refused above
        size = (int(_of(notes, "size/height")), int(_of(notes, "size/width")))
        rows = [_object(note) for note in notes.iter("object")]
    except (ElementTree.ParseError, ValueError) as error:
        tell("the annotation cannot be read", f"{path.name}: {error}")
        return None
    for label, box, _ in rows:
        if label < 1 or box[0] >= box[2] or box[1] >= box[3] or box[2] > size[1] or box[3] > size[0]:
            tell("a box has no class, is empty or leaves the image", path.name)
    return TrueObjects(
        labels=np.array([label for label, _, _ in rows], np.int64),
        corners=np.array([box for _, box, _ in rows], np.float64).reshape(-1, 4),
        ignored=np.array([difficult for _, _, difficult in rows], bool),
        size=size,
    )


def _object(note: ElementTree.Element) -> tuple[int, list[float], bool]:
    """Class, or 0 where it is unknown, corners and whether it is difficult.

    VOC counts pixels from 1, both ends included; corners here are the edges of these pixels, so that overlaps
    come out as VOC's own, which adds 1 to every size.
    """
    name = _of(note, "name")
    left, top, right, bottom = (float(_of(note, f"bndbox/{end}")) for end in ("xmin", "ymin", "xmax", "ymax"))
    label = VOC_CLASSES.index(name) if name in VOC_CLASSES else 0
    return label, [left - 1, top - 1, right, bottom], note.findtext("difficult", "0").strip() == "1"


def _of(note: ElementTree.Element, name: str) -> str:
    text = note.findtext(name)
    if text is None:
        raise ValueError(f"there is no {name}")
    return text.strip()


def _amounts(sample: Sample) -> Mapping[str, int]:
    ignored = int(np.count_nonzero(sample.truth.ignored))
    return {"objects": len(sample.truth) - ignored, "difficult objects": ignored}


VOC = DataSet(
    name="voc2007",
    title="PASCAL VOC 2007 test",
    folders=("", "VOC2007", "VOCdevkit/VOC2007"),
    parts=(
        Part((_LIST,), "names of the test images"),
        Part(("Annotations/*.xml",), "an annotation an image"),
        Part(("JPEGImages/*.jpg",), "the images"),
    ),
    published={"VOC2007 test": 4_952},
    unit="images",
    metrics=("voc-map",),
    terms="Oxford; the images under the terms of flickr",
    samples=_samples,
    digest=Picture.digest,
    amounts=_amounts,
)
