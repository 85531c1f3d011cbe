"""CRNN (Shi et al. 2016, "An end-to-end trainable neural network for image-based sequence recognition").

The network, its size and its double normalisation are those that AI Matrix runs (MODELS.md 13). Logits are
[batch, columns, characters], as every output of the zoo begins with the batch; the reference turns them to
[columns, batch, characters] for TensorFlow's decoder, which moves values and computes nothing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.crnn_english import BLANK, CHARACTERS, EnglishSizes, english_network
from model_zoo.crnn_layers import Sizes, crnn_network
from model_zoo.framing import Warp
from model_zoo.network import Network
from model_zoo.spec import Counts, Exam, FeedSource, ModelSpec, PaperRow, Variant
from model_zoo.synth90k_exam import exam_of as synth90k_exam
from model_zoo.text_recognition import BEST_PATH, BestPath
from runtime.errors import unknown_name

if TYPE_CHECKING:
    from exporters.source import Source

NETWORK = crnn_network(Sizes())

ENGLISH = english_network(EnglishSizes())
"""EasyOCR's english_g2, whose trained weights can be had (DATA.md A3)."""

ENGLISH_TASK = BestPath(blank=BLANK, characters=CHARACTERS)

_PIXEL_CENTRE = 127.5


def build(network: Network, weights: Path | None) -> Source:
    """The network in TensorFlow, with seeded weights or those of a file (see `crnn_layers`)."""
    from model_zoo.crnn_seeded import weights_of
    from model_zoo.layers_tensorflow import tensorflow_source

    return tensorflow_source(network, weights_of(network, weights))


def build_english(network: Network, weights: Path | None) -> Source:
    """The network in TensorFlow, with EasyOCR's weights or those of a file (see `crnn_english_weights`)."""
    from model_zoo.crnn_english_weights import weights_of
    from model_zoo.layers_tensorflow import tensorflow_source

    return tensorflow_source(network, weights_of(network, weights))


def _feeds(framework: str) -> FeedSource:
    """Rendered words as x / 127.5 - 1, BGR; raises UsageError for another framework than TensorFlow."""
    from model_zoo.image_feeds import ImageFormat
    from model_zoo.word_images import word_feeds

    _check_framework(framework)
    return word_feeds(
        ImageFormat(
            NETWORK.input_name,
            NETWORK.input_size,
            "NHWC",
            "BGR",
            mean=(_PIXEL_CENTRE,) * 3,
            scale=1 / _PIXEL_CENTRE,
            framing=Warp(),
        )
    )


def _english_feeds(framework: str) -> FeedSource:
    """Rendered words as x / 127.5 - 1, grey; raises UsageError for another framework than TensorFlow."""
    from model_zoo.text_lines import LineFeeds, LineFormat

    _check_framework(framework)
    return LineFeeds(LineFormat(ENGLISH.input_name, ENGLISH.input_size))


def _english_exam() -> Exam:
    """Rendered words; see `crnn_english_exam`."""
    from model_zoo.crnn_english_exam import exam_of
    from model_zoo.text_lines import LineFeeds, LineFormat

    return exam_of(LineFeeds(LineFormat(ENGLISH.input_name, ENGLISH.input_size)), ENGLISH_TASK)


def _check_framework(name: str) -> None:
    if name != "tensorflow":
        raise unknown_name("framework of crnn", name, ("tensorflow",))


SPEC = ModelSpec(
    "crnn",
    "CRNN",
    PaperRow(batch_size=256, flops=5.23e11, seconds=0.086),
    {
        "": Variant(
            "CRNN, 32x100, two bidirectional LSTMs of 256 units, 36 characters and a blank",
            build={"tensorflow": partial(build, NETWORK)},
            counts={"tensorflow": Counts(NETWORK.parameters, NETWORK.macs)},
            feeds=_feeds,
            task=BEST_PATH,
            exams=(synth90k_exam(partial(_feeds, "tensorflow"), BEST_PATH),),
        ),
        "english-g2": Variant(
            "EasyOCR's english_g2, trained: 64x320, grey, two bidirectional LSTMs of 256 units, 96 characters"
            " and a blank",
            build={"tensorflow": partial(build_english, ENGLISH)},
            counts={"tensorflow": Counts(ENGLISH.parameters, ENGLISH.macs)},
            feeds=_english_feeds,
            task=ENGLISH_TASK,
            calibration_method="percentile:99.95+equalise:0.5+feedback",  # 35.3 dB for 31.6
            trained="EasyOCR's own",
            exams=(_english_exam(),),
        ),
    },
)
