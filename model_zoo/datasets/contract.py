"""Official data sets in a user's folder: what is expected where, and a stream of samples with their truths.

Nothing is fetched, and nothing is skipped in silence: what is wrong with a sample is told to a `Tell`, which
refuses it unless somebody counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from model_zoo.photographs import decode
from runtime import files
from runtime.errors import StoreError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Tell = Callable[[str, str], None]
"""Takes what is wrong ("the image is missing") and where (a path, a line)."""


class Sample(NamedTuple):
    """What a network is asked, what is right, and which sample of the set it is."""

    raw: Any
    truth: Any
    name: str


@dataclass(frozen=True)
class Picture:
    """An image in a file, decoded when it is asked for."""

    path: Path

    def open(self) -> Image:
        """As RGB; raises FeedError, naming the file, where it does not decode."""
        return decode(self.path)

    def digest(self) -> str:
        """SHA-256 of the file."""
        return files.sha256_of_file(self.path)


@dataclass(frozen=True)
class Part:
    """A file or folder that a set consists of.

    patterns: globs below the set's folder, any of which will do, the usual one first.
    what:     what it holds.
    optional: whether samples can be read without it.
    """

    patterns: tuple[str, ...]
    what: str
    optional: bool = False

    def found(self, folder: Path) -> bool:
        return any(next(folder.glob(pattern), None) is not None for pattern in self.patterns)


@dataclass(frozen=True)
class DataSet:
    """One official data set in its official layout.

    folders:   where below the folder given the set may begin, "" being that folder itself.
    parts:     of which it consists.
    published: how many samples its authors say it has, by the name of the edition.
    unit:      what a sample is, in the plural.
    metrics:   names of model_zoo.metrics that its truths are for.
    terms:     who publishes it, and under which terms as far as known.
    samples:   from the set's folder and a Tell to all samples, always in the same order.
    digest:    of a sample's `raw`, by which doubles are found.
    amounts:   what else is counted, of one sample.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    parts: tuple[Part, ...]
    published: Mapping[str, int]
    unit: str
    metrics: tuple[str, ...]
    terms: str
    samples: Callable[[Path, Tell], Iterator[Sample]]
    digest: Callable[[Any], str] = repr
    amounts: Callable[[Sample], Mapping[str, int]] = field(default=lambda sample: {})

    def root(self, folder: Path) -> Path | None:
        """The folder where most of its parts are; None where there is none of them."""
        roots = [folder / below for below in self.folders]
        best = max(roots, key=lambda root: sum(part.found(root) for part in self.parts))
        return best if any(part.found(best) for part in self.parts) else None

    def missing(self, root: Path) -> tuple[Part, ...]:
        """Parts that are not there and have to be."""
        return tuple(part for part in self.parts if not part.optional and not part.found(root))


def refuse(what: str, where: str) -> None:
    """The Tell that goes no further; raises UsageError."""
    raise UsageError(f"{where}: {what}; mend it, or see all that is wrong with `bench data doctor`")


def text_of(path: Path) -> str:
    """UTF-8 text, without a byte order mark; raises StoreError or UsageError where it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason}); fetch it again") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error


def first_of(root: Path, *patterns: str) -> Path | None:
    """The first file, by name, of the first pattern that has any."""
    return next((path for pattern in patterns for path in sorted(root.glob(pattern))), None)
