"""The table of models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from model_zoo.spec import ModelSpec, Variant
from runtime.errors import unknown_name

SIZE_NAME = "HEIGHTxWIDTH"
"""What a variant for images of another size is called, in numbers."""

_SIZE = re.compile(r"(?P<height>[1-9]\d{0,4})x(?P<width>[1-9]\d{0,4})")
_DIGESTED_PACKAGES = ("exporters", "model_zoo")
_DIGESTED_SUFFIXES = frozenset({".npz", ".proto", ".py"})


def _cpn() -> ModelSpec:
    from model_zoo import cpn

    return cpn.SPEC


def _crnn() -> ModelSpec:
    from model_zoo import crnn

    return crnn.SPEC


def _densenet121() -> ModelSpec:
    from model_zoo import densenet121

    return densenet121.SPEC


def _dien() -> ModelSpec:
    from model_zoo import dien

    return dien.SPEC


def _din() -> ModelSpec:
    from model_zoo import din

    return din.SPEC


def _dssd() -> ModelSpec:
    from model_zoo import dssd

    return dssd.SPEC


def _faster_rcnn() -> ModelSpec:
    from model_zoo import faster_rcnn

    return faster_rcnn.SPEC


def _gcn() -> ModelSpec:
    from model_zoo import gcn

    return gcn.SPEC


def _googlenet() -> ModelSpec:
    from model_zoo import googlenet

    return googlenet.SPEC


def _mask_rcnn() -> ModelSpec:
    from model_zoo import mask_rcnn

    return mask_rcnn.SPEC


def _ncf() -> ModelSpec:
    from model_zoo import ncf

    return ncf.SPEC


def _nmt() -> ModelSpec:
    from model_zoo import nmt

    return nmt.SPEC


def _resnet50() -> ModelSpec:
    from model_zoo import resnet50

    return resnet50.SPEC


def _resnet101() -> ModelSpec:
    from model_zoo import resnet101

    return resnet101.SPEC


def _seglink() -> ModelSpec:
    from model_zoo import seglink

    return seglink.SPEC


def _ssd() -> ModelSpec:
    from model_zoo import ssd

    return ssd.SPEC


def _bert() -> ModelSpec:
    from model_zoo import bert

    return bert.SPEC


def _bert_base() -> ModelSpec:
    from model_zoo import bert_base

    return bert_base.SPEC


def _wide_deep() -> ModelSpec:
    from model_zoo import wide_deep

    return wide_deep.SPEC


MODELS: dict[str, Callable[[], ModelSpec]] = {
    "bert": _bert,
    "bert-base": _bert_base,
    "cpn": _cpn,
    "crnn": _crnn,
    "densenet121": _densenet121,
    "dien": _dien,
    "din": _din,
    "dssd": _dssd,
    "faster-rcnn": _faster_rcnn,
    "gcn": _gcn,
    "googlenet": _googlenet,
    "mask-rcnn": _mask_rcnn,
    "ncf": _ncf,
    "nmt": _nmt,
    "resnet101": _resnet101,
    "resnet50": _resnet50,
    "seglink": _seglink,
    "ssd": _ssd,
    "wide-deep": _wide_deep,
}
"""Model name to a function that imports its module; nothing heavy is loaded before a network is built."""


def get_model(name: str) -> ModelSpec:
    """The model called `name`; raises UsageError with the nearest names."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]()


def get_variant(spec: ModelSpec, variant: str) -> Variant:
    """A model's network called `variant` ("" is the reference); raises UsageError with the nearest names."""
    name = variant or spec.reference
    size = _SIZE.fullmatch(name)
    if spec.at_size is not None and size is not None:
        return spec.at_size(int(size["height"]), int(size["width"]))
    if name not in spec.variants:
        named = [known or '""' for known in spec.variants] + ([SIZE_NAME] if spec.at_size else [])
        raise unknown_name(f"variant of {spec.name}", variant, named)
    return spec.variants[name]


@cache
def source_digest() -> str:
    """The digest of the code and data that decide the bytes of an exported model; see digest_of_tree."""
    return digest_of_tree(Path(__file__).resolve().parent.parent)


def digest_of_tree(root: Path) -> str:
    """SHA-256 over names and contents of the .py, .npz and .proto files of `model_zoo` and `exporters`.

    The store's keys hold it, so that what an edit may have changed is built anew.
    """
    digest = hashlib.sha256()
    for name in sorted(_digested_files(root)):
        content = (root / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _digested_files(root: Path) -> Iterator[str]:
    for package in _DIGESTED_PACKAGES:
        for path in (root / package).rglob("*"):
            if path.suffix in _DIGESTED_SUFFIXES and path.is_file():
                yield path.relative_to(root).as_posix()
