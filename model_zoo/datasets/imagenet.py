"""ImageNet's validation set (ILSVRC 2012): a folder a synset, or one folder of images and a list of labels.

A class's number is the place of its synset among all 1,000 in alphabetical order, as in Caffe's
synset_words.txt; the development kit has an order of its own, which meta.mat translates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from model_zoo.datasets.contract import DataSet, Part, Picture, Sample, Tell, first_of, text_of
from model_zoo.photographs import SUFFIXES
from runtime.errors import UsageError

CLASSES = 1000

_SYNSET = "n????????"
_IMAGES = ("ILSVRC2012_val_*.JPEG", "val/ILSVRC2012_val_*.JPEG")
_NAMED = "val.txt"
_SYNSETS = "imagenet_2012_validation_synset_labels.txt"
_NUMBERS = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"
_KIT = "ILSVRC2012_devkit_t12/data"
_PUBLISHED = {"ILSVRC 2012": 50_000}
_TERMS = "the ImageNet project, after registration; for research that is not commercial"

LabelOf = Callable[[Path], int | None]


def _folder_samples(root: Path, tell: Tell) -> Iterator[Sample]:
    synsets = sorted(path.name for path in root.glob(_SYNSET) if path.is_dir())
    if len(synsets) != CLASSES:
        tell(
            f"{len(synsets)} folders of synsets, expected {CLASSES:,}: places among them are labels",
            str(root),
        )
    for label, synset in enumerate(synsets):
        paths = sorted(path for path in (root / synset).iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            tell("a synset has no images", synset)
        for path in paths:
            yield Sample(Picture(path), label, f"{synset}/{path.name}")


def _flat_samples(root: Path, tell: Tell) -> Iterator[Sample]:
    paths = sorted(path for pattern in _IMAGES for path in root.glob(pattern))
    label_of = _labels(root, paths, tell)
    for path in paths:
        label = label_of(path)
        if label is None:
            tell("the image has no label", path.name)
        elif not 0 <= label < CLASSES:
            tell(f"a label is not within 0 to {CLASSES - 1}", f"{path.name}: {label}")
        else:
            yield Sample(Picture(path), label, path.name)


def _labels(root: Path, paths: Sequence[Path], tell: Tell) -> LabelOf:
    """Of the first list of labels that is there."""
    named = first_of(root, _NAMED, f"val/{_NAMED}")
    if named is not None:
        return _by_name(named, paths, tell)
    synsets = first_of(root, _SYNSETS)
    if synsets is not None:
        return _by_number(synsets, _numbered_synsets(synsets, tell), len(paths), tell)
    numbers = first_of(root, _NUMBERS, f"{_KIT}/{_NUMBERS}")
    if numbers is None:
        raise UsageError(f"{root} holds no list of labels; expected {_NAMED}, {_SYNSETS} or {_NUMBERS}")
    order = _kit_order(numbers.parent / _META)
    lines = text_of(numbers).split()
    labels = [order.get(int(line), -1) if line.isdecimal() else -1 for line in lines]
    return _by_number(numbers, labels, len(paths), tell)


def _by_name(file: Path, paths: Sequence[Path], tell: Tell) -> LabelOf:
    """Caffe's: a file name and a number a line."""
    labels: dict[str, int] = {}
    for number, line in enumerate(text_of(file).splitlines(), 1):
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            tell("a line is not NAME LABEL", f"{file.name}, line {number}")
        elif Path(name).name in labels:
            tell("an image is listed twice", f"{file.name}, line {number}: {name}")
        else:
            labels[Path(name).name] = int(label)
    for name in sorted(labels.keys() - {path.name for path in paths}):
        tell("a listed image is missing", name)
    return lambda path: labels.get(path.name)


def _by_number(file: Path, labels: Sequence[int], images: int, tell: Tell) -> LabelOf:
    """A line an image, in the order of the numbers in their names."""
    if len(labels) < images:
        tell(f"{len(labels):,} labels for {images:,} images", file.name)

    def label_of(path: Path) -> int | None:
        number = path.stem.rpartition("_")[2]
        place = int(number) if number.isdecimal() else 0
        return labels[place - 1] if 0 < place <= len(labels) else None

    return label_of


def _numbered_synsets(file: Path, tell: Tell) -> list[int]:
    synsets = text_of(file).split()
    order = {synset: place for place, synset in enumerate(sorted(set(synsets)))}
    if len(order) != CLASSES:
        tell(f"it names {len(order)} synsets, expected {CLASSES:,}: places among them are labels", file.name)
    return [order[synset] for synset in synsets]


def _kit_order(meta: Path) -> Mapping[int, int]:
    """From the kit's numbers to places in alphabetical order; raises UsageError without meta.mat."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        numbers = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{meta} does not say which synset a number of {_NUMBERS} is ({error}); expected the"
            f" development kit's {_META} beside it"
        ) from error
    known = sorted(synset for number, synset in numbers.items() if number <= CLASSES)
    return {number: known.index(synset) for number, synset in numbers.items() if number <= CLASSES}


IMAGENET = DataSet(
    name="imagenet",
    title="ImageNet validation images with a list of labels",
    folders=("", "val", "ILSVRC2012", "imagenet"),
    parts=(
        Part(_IMAGES, "50,000 images"),
        Part(
            (_NAMED, f"val/{_NAMED}", _SYNSETS, _NUMBERS, f"{_KIT}/{_NUMBERS}"),
            "a label an image; the last two want the development kit's meta.mat beside them",
        ),
    ),
    published=_PUBLISHED,
    unit="images",
    metrics=("top-1", "top-5"),
    terms=_TERMS,
    samples=_flat_samples,
    digest=Picture.digest,
)

IMAGENET_FOLDERS = DataSet(
    name="imagenet-folders",
    title="ImageNet validation images, a folder a synset",
    folders=("", "val", "ILSVRC2012/val", "imagenet/val"),
    parts=(Part((f"{_SYNSET}/*",), "images of one synset"),),
    published=_PUBLISHED,
    unit="images",
    metrics=("top-1", "top-5"),
    terms=_TERMS,
    samples=_folder_samples,
    digest=Picture.digest,
)
