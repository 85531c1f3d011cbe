"""EasyOCR's second recogniser of English, english_g2, as data: a relative of CRNN that was trained by others.

Its layers are called as in its state dict, with "/" for ".", so that names and numbers are EasyOCR's own: a
convolution's number counts the activations and pools between as well. Images are grey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from model_zoo.crnn_layers import (
    INPUT_DEVIATION,
    AverageRows,
    BidirectionalLstm,
    Columns,
    PoolRows,
    Projection,
)
from model_zoo.layers import SAME, BatchNorm, Convolution, Layer, Pool, Relu
from model_zoo.network import Network

CHARACTERS = (
    "\0"
    "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ €"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "abcdefghijklmnopqrstuvwxyz"
)  # fmt: skip
"""One for each class, the blank first (english_g2 in EasyOCR's easyocr/config.py)."""

BLANK = 0

_BATCH_NORM_EPSILON = 1e-5
"""Torch's own."""

_FORGET_BIAS = 0.0
"""Torch adds none."""


@dataclass(frozen=True)
class EnglishSizes:
    """What a relative may change; `characters` counts the blank, `channels` is also the LSTMs' units.

    EasyOCR makes its inputs as wide as the widest line. 320 holds nine of ten rendered words unsqueezed: of
    600 as many are read as at 400, and 2 more than at 256.
    """

    name: str = "english-g2"
    input_size: tuple[int, int] = (64, 320)
    channels: int = 256
    characters: int = len(CHARACTERS)


def english_network(sizes: EnglishSizes) -> Network:
    """Images [batch, height, width, 1] to `logits` [batch, columns, characters]; one column for 4 pixels."""
    layers = tuple(_layers(sizes))
    return Network(sizes.name, "", "images", sizes.input_size, INPUT_DEVIATION, layers, input_channels=1)


def _layers(sizes: EnglishSizes) -> Iterator[Layer]:
    *features, last = _features("FeatureExtraction/ConvNet", "images", sizes.channels)
    yield from (*features, last)
    yield AverageRows("AdaptiveAvgPool", (last.name,))
    yield Columns("columns", ("AdaptiveAvgPool",))
    bottom = "columns"
    for index in range(2):
        scope = f"SequenceModeling/{index}"
        yield BidirectionalLstm(f"{scope}/rnn", (bottom,), sizes.channels, _FORGET_BIAS)
        yield Projection(f"{scope}/linear", (f"{scope}/rnn",), sizes.channels)
        bottom = f"{scope}/linear"
    yield Projection("Prediction", (bottom,), sizes.characters)


def _features(scope: str, bottom: str, channels: int) -> Iterator[Layer]:
    """Convolutions, activations and pools, numbered in the order they run."""
    convolution = partial(Convolution, kernel=3, padding=SAME)
    halves = partial(Pool, kind="MAX", kernel=2, stride=2)
    norm = partial(BatchNorm, scale="", epsilon=_BATCH_NORM_EPSILON)
    parts: tuple[Callable[[str, tuple[str]], Layer], ...] = (
        *(partial(convolution, channels=channels // 8), Relu, halves),
        *(partial(convolution, channels=channels // 4), Relu, halves),
        *(partial(convolution, channels=channels // 2), Relu),
        *(partial(convolution, channels=channels // 2), Relu, PoolRows),
        *(partial(convolution, channels=channels, bias=False), norm, Relu),
        *(partial(convolution, channels=channels, bias=False), norm, Relu, PoolRows),
        *(partial(Convolution, channels=channels, kernel=2), Relu),
    )
    for index, part in enumerate(parts):
        layer = part(f"{scope}/{index}", (bottom,))
        yield layer
        bottom = layer.name
