"""A test set of WMT: German and English sentences, line by line, in two files of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from model_zoo.datasets.contract import DataSet, Part, Sample, Tell, text_of
from runtime.errors import UsageError

_SOURCE, _TARGET = ".de", ".en"
_VOCABULARY = "vocab"  # tensorflow/nmt's scripts put it beside the sentences, with the same ends


def _samples(root: Path, tell: Tell) -> Iterator[Sample]:
    """raw: a German sentence.     truth: the English one. Of all pairs of files, by their names."""
    sources, targets = (
        {path.stem: path for path in root.glob(f"*{end}") if not path.name.startswith(_VOCABULARY)}
        for end in (_SOURCE, _TARGET)
    )
    for name in sorted(sources.keys() ^ targets.keys()):
        tell("a file has no counterpart", name + (_SOURCE if name in sources else _TARGET))
    both = sorted(sources.keys() & targets.keys())
    if not both:
        raise UsageError(
            f"{root} holds no pair such as newstest2014{_SOURCE} and newstest2014{_TARGET}:"
            " expected two files that differ in their ends only"
        )
    for name in both:
        yield from _pairs(name, sources[name], targets[name], tell)


def _pairs(name: str, source: Path, target: Path, tell: Tell) -> Iterator[Sample]:
    # split at line feeds only: sentences may hold other separators of lines
    rows = [text_of(path).removesuffix("\n").split("\n") for path in (source, target)]
    if len(rows[0]) != len(rows[1]):
        tell(f"{len(rows[0]):,} lines against {len(rows[1]):,}", f"{source.name} and {target.name}")
    for number, (one, other) in enumerate(zip_longest(*rows), 1):
        if not (one or "").strip() or not (other or "").strip():
            tell("a sentence is missing or empty", f"{name}, line {number}")
        else:
            yield Sample(one.strip(), other.strip(), f"{name}, line {number}")


WMT = DataSet(
    name="wmt",
    title="WMT news test, German to English",
    folders=("", "wmt16_de_en", "wmt"),
    parts=(
        Part((f"newstest*{_SOURCE}", f"*{_SOURCE}"), "German, a sentence a line"),
        Part((f"newstest*{_TARGET}", f"*{_TARGET}"), "English, a sentence a line"),
    ),
    published={"newstest2013": 3_000, "newstest2014": 3_003, "newstest2015": 2_169, "newstest2016": 2_999},
    unit="sentences",
    metrics=("bleu",),
    terms="WMT; for research",
    samples=_samples,
)
