"""Synth90k (MJSynth): words rendered in many fonts, and the list of those that are for testing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_zoo.datasets.contract import DataSet, Part, Picture, Sample, Tell, text_of

_LIST, _LEXICON = "annotation_test.txt", "lexicon.txt"


def _samples(root: Path, tell: Tell) -> Iterator[Sample]:
    """In the order of the list; the truth is in lower case, as networks read it."""
    lexicon = text_of(root / _LEXICON).split() if (root / _LEXICON).is_file() else None
    with (root / _LIST).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            name, _, place = line.strip().rpartition(" ")
            parts = Path(name).stem.split("_")
            if not place.isdecimal() or len(parts) != 3:
                tell("a line is not FOLDER/NUMBER_WORD_PLACE.jpg PLACE", f"{_LIST}, line {number}")
                continue
            word = parts[1].lower()
            if lexicon is not None and _word(lexicon, int(place)) != word:
                tell("the lexicon has another word at that place", f"{_LIST}, line {number}: {name}")
            elif not (root / name).is_file():
                tell("the image is missing", name)
            else:
                yield Sample(Picture(root / name), word, name)


def _word(lexicon: list[str], place: int) -> str:
    return lexicon[place].lower() if place < len(lexicon) else ""


SYNTH90K = DataSet(
    name="synth90k",
    title="Synth90k words, test",
    folders=("", "90kDICT32px", "mnt/ramdisk/max/90kDICT32px"),
    parts=(
        Part((_LIST,), "a path and a place in the lexicon a line"),
        Part((_LEXICON,), "the words, in order; checked where it is there", optional=True),
        Part(("*/*/*_*_*.jpg",), "the images"),
    ),
    published={"annotation_test.txt": 891_927},
    unit="images",
    metrics=("word-accuracy", "character-accuracy", "character-error-rate"),
    terms="Visual Geometry Group, Oxford; for research that is not commercial",
    samples=_samples,
    digest=Picture.digest,
)
