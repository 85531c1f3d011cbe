"""GNMT with 4 layers, German to English, as AI Matrix runs it (MODELS.md 19), and a small trained one.

The reference is greedy: the settings of AI Matrix name a beam of 10, but leave the mode at "greedy".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo import pronunciation
from model_zoo.gnmt import Beam, Gnmt
from model_zoo.gnmt_sources import Form
from model_zoo.pronunciation_exam import exam
from model_zoo.spec import Counts, FeedSource, Lesson, ModelSpec, PaperRow, Task, Training, Variant
from model_zoo.translation import NEXT_WORD, READING, TRANSLATION
from model_zoo.translation_exam import judged_on_wmt
from runtime.errors import unknown_name
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source

NETWORK = Gnmt(layers=4, units=1024, source_vocabulary=36548, target_vocabulary=36548)

SIZES: Mapping[str, int] = {"source": 50, "target": 50}
"""Words of a sentence; Table I's FLOPs are those of 74, the longest of 128 sentences (MODELS.md 19)."""

_WORDS_SAID = "target_1"
"""What an export calls the second dimension of the output `target`, which the data decide."""

_DESCRIPTIONS: Mapping[Form, str] = {
    Form.ENCODER: "a sentence to what its decoder looks at and starts from",
    Form.STEP: "one word more",
    Form.GREEDY: "a sentence to the likeliest word at every step",
    Form.BEAM: "a sentence to its 10 best translations",
}

_TASKS: Mapping[Form, Task] = {
    Form.ENCODER: READING,
    Form.STEP: NEXT_WORD,
    Form.GREEDY: TRANSLATION,
    Form.BEAM: TRANSLATION,
}


def build(network: Gnmt, form: Form, weights: Path | None = None) -> Source:
    """A form of the network in TensorFlow, with seeded weights or those of a file."""
    from model_zoo.gnmt_sources import source_of
    from model_zoo.gnmt_weights import weights_of

    return source_of(network, form, weights_of(network, weights))


def macs(network: Gnmt, form: Form, sizes: Mapping[str, int]) -> int:
    """Multiply-accumulates of one sentence of `sizes`; of a step, those of one word."""
    read, say = network.encoder_macs(sizes["source"]), network.step_macs(sizes["source"])
    match form:
        case Form.ENCODER:
            return read
        case Form.STEP:
            return say
        case Form.GREEDY:
            return read + sizes["target"] * say
        case Form.BEAM:
            return read + Beam().width * sizes["target"] * say


def variant_of(
    network: Gnmt,
    form: Form,
    title: str,
    sizes: Mapping[str, int],
    sentences: Callable[[], FeedSource],
) -> Variant:
    """One form of a network; `sentences` are what all but the step are fed."""
    said = {_WORDS_SAID: sizes["target"]} if form in (Form.GREEDY, Form.BEAM) else {}
    return Variant(
        description=f"{title}: {_DESCRIPTIONS[form]}",
        build={"tensorflow": partial(build, network, form)},
        counts={"tensorflow": Counts(network.parameters, macs(network, form, sizes))},
        feeds=partial(_feeds, network, form, sizes, sentences),
        task=_TASKS[form],
        calibration_method="mean-squared-error",  # entropy clips embeddings: 0.8 dB for a step, not 39 dB
        sizes={"source": sizes["source"], **said},
        check=partial(_check, network, form),
    )


def _feeds(
    network: Gnmt, form: Form, sizes: Mapping[str, int], sentences: Callable[[], FeedSource], framework: str
) -> FeedSource:
    from model_zoo.gnmt_feeds import step_feeds

    if framework != "tensorflow":
        raise unknown_name("framework of nmt", framework, ("tensorflow",))
    return step_feeds(network, sizes["source"]) if form is Form.STEP else sentences()


def _check(network: Gnmt, form: Form, feed: Feed) -> None:
    from model_zoo.gnmt_feeds import check_sentences, check_step

    (check_step if form is Form.STEP else check_sentences)(network, feed)


def _sentences() -> FeedSource:
    from model_zoo.gnmt_feeds import sentence_feeds

    return sentence_feeds(NETWORK, SIZES["source"])


def _of_sentences(form: Form) -> Variant:
    """A form of AI Matrix's network."""
    variant = variant_of(NETWORK, form, "GNMT, 4 layers of 1024", SIZES, _sentences)
    return judged_on_wmt(variant, NETWORK) if _TASKS[form] is TRANSLATION else variant


def _lesson(seed: int, progress: Progress) -> Lesson:
    from model_zoo.pronunciation_lesson import PronunciationLesson

    return PronunciationLesson.from_dictionary(seed, progress)


def _of_letters(form: Form) -> Variant:
    """A form of the small network, which says English words."""
    network = pronunciation.NETWORK
    title = f"GNMT, {network.layers} layers of {network.units}, from letters to phonemes"
    sizes = {"source": pronunciation.MOST_LETTERS, "target": pronunciation.MOST_LETTERS}
    variant = variant_of(network, form, title, sizes, pronunciation.letter_feeds)
    return replace(variant, exams=(exam(),)) if _TASKS[form] is TRANSLATION else variant


SPEC = ModelSpec(
    "nmt",
    "NMT (GNMT, 4 layers)",
    PaperRow(batch_size=128, flops=2.59e12, seconds=0.676),
    {
        **{form.value: _of_sentences(form) for form in Form},
        "cmudict": replace(
            _of_letters(Form.GREEDY),
            training=Training(pronunciation.DATA, _lesson),
            tell=pronunciation.tell,
        ),
        **{f"cmudict-{form}": _of_letters(form) for form in Form if form is not Form.GREEDY},
    },
    reference=Form.GREEDY.value,
)
