"""What is complete of a data set and what is wrong with it: every sample is read, everything counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model_zoo.datasets.contract import DataSet, Picture, Sample
from runtime.errors import FeedError, HarnessError
from runtime.progress import Progress, silent

_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """Something that is wrong or odd, how often, and where the first few times."""

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What came of reading a set from its beginning to its end.

    missing:  parts that are not there; where there are any nothing was read.
    problems: what stands between a user and the set's figure.
    remarks:  what is to be known, and no mistake.
    """

    name: str
    folder: str
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    problems: tuple[Finding, ...] = ()
    remarks: tuple[Finding, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.missing and not self.problems

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"complete": self.complete}


class Tally:
    """Counts what is told, in the order in which it is first told."""

    def __init__(self) -> None:
        self._where: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def tell(self, what: str, where: str) -> None:
        self._counts[what] += 1
        examples = self._where.setdefault(what, [])
        if len(examples) < _EXAMPLES:
            examples.append(where)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(what, self._counts[what], tuple(examples)) for what, examples in self._where.items()
        )


def check(data_set: DataSet, root: Path, *, decode: bool = True, progress: Progress = silent) -> Report:
    """Read all of a set in its folder (`DataSet.root`).

    decode: also decode every image and look for equal files, which takes minutes where there are many.
    """
    missing = data_set.missing(root)
    if missing:
        names = tuple(f"{' or '.join(part.patterns)} ({part.what})" for part in missing)
        return Report(data_set.name, str(root), missing=names)
    reader = _Reader(data_set, decode)
    reader.read(root, progress)
    return reader.report(root)


class _Reader:
    def __init__(self, data_set: DataSet, decode: bool) -> None:
        self._set = data_set
        self._decode = decode
        self._problems, self._remarks = Tally(), Tally()
        self._counts: Counter[str] = Counter({data_set.unit: 0})
        self._names: set[str] = set()
        self._digests: dict[str, str] = {}

    def read(self, root: Path, progress: Progress) -> None:
        samples = self._set.samples(root, self._problems.tell)
        published = tuple(self._set.published.values())
        total = published[0] if len(published) == 1 else None
        try:
            for sample in progress(samples, f"reading {self._set.title}", total):
                self._take(sample)
        except HarnessError as error:  # of a file that all samples need
            self._problems.tell("it cannot be read", str(error))

    def report(self, root: Path) -> Report:
        published = self._set.published
        number = self._counts[self._set.unit]
        if published and number not in published.values():
            known = ", ".join(f"{edition} has {count:,}" for edition, count in published.items())
            self._remarks.tell(f"{number:,} {self._set.unit}, and {known}", str(root))
        return Report(
            self._set.name,
            str(root),
            counts=dict(self._counts),
            problems=self._problems.findings(),
            remarks=self._remarks.findings(),
        )

    def _take(self, sample: Sample) -> None:
        self._counts[self._set.unit] += 1
        self._counts.update(self._set.amounts(sample))
        if sample.name in self._names:
            self._problems.tell("the sample is there twice", sample.name)
        self._names.add(sample.name)
        if isinstance(sample.raw, Picture):
            if not self._decode:
                return
            try:
                sample.raw.open()
            except FeedError:
                self._problems.tell("the image does not decode", str(sample.raw.path))
        self._compare(sample)

    def _compare(self, sample: Sample) -> None:
        digest = self._set.digest(sample.raw)
        same = self._digests.setdefault(digest, sample.name)
        if same != sample.name:
            self._remarks.tell("two samples hold the same", f"{sample.name} and {same}")
