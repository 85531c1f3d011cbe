"""The same cases over every model of the catalog.

The light ones read the description. The heavy ones build each network at full size in each framework, and
hold it against the counts of MODELS.md, its own feeds and its own task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model_zoo.catalog import MODELS, get_model, get_variant
from model_zoo.spec import Split, Variant
from model_zoo.translation import Translation
from runtime.tensors import Feed, batch_size, check_feed

if TYPE_CHECKING:
    from calibration.precision import Precision
    from calibration.ranges import Ranges
    from exporters.source import Source


@dataclass(frozen=True)
class Case:
    """One network in one framework."""

    model: str
    variant: str
    framework: str

    def __str__(self) -> str:
        return "-".join(filter(None, (self.model, self.variant, self.framework)))

    @property
    def described(self) -> Variant:
        return get_variant(get_model(self.model), self.variant)


CASES = [
    Case(model, variant, framework)
    for model in MODELS
    for variant, described in get_model(model).variants.items()
    for framework in described.build
]

FULL_CASES = [case for case in CASES if not case.variant.endswith(("-centred", "large", "paper-length"))]
"""Centred prior boxes are other numbers in one constant, large tables have more rows, and long histories more
steps; the graph around them is their namesake's."""

STOPS_TENSORRT = {
    "dssd": ("deconv",),
    "faster-rcnn": ("K exceeds the maximum value allowed (3840)",),
    "gcn": ("ScatterND with reduction",),
    "mask-rcnn": ("RoiAlign",),
    "nmt": ("makeScopeNodesContiguous",),
    "wide-deep": ("convertDtype",),
}
"""Model to what TensorRT-RTX 1.7 says of an operator or a type that it cannot read or build, in some variants
or precisions: it has no deconvolution in BF16, keeps 3840 proposals at most (the network 6000), and fails on
the loop of a beam search."""

NO_KERNEL = "NonMaxSuppression"
"""What TensorRT-RTX reads of a detector and does not build."""

NOTHING_TO_STORE = {"fp8": "has nothing to store as fp8", "int4": "has no weights to store as int4"}
"""Precision to what is said of a network without an operator for it, as one of convolutions alone at INT4."""

every_model = pytest.mark.parametrize("name", MODELS)
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_full_case = pytest.mark.parametrize("case", FULL_CASES, ids=str)


@every_model
def test_a_model_bears_the_name_it_is_listed_under(name: str) -> None:
    spec = get_model(name)
    assert spec.name == name
    assert spec.title
    assert spec.reference in spec.variants


@every_model
def test_its_paper_row_is_one_of_table_i(name: str) -> None:
    """MODELS.md 1: batch, FLOPs and seconds of the rows that are in the zoo so far."""
    table = {
        "bert": (2, 5.39e11, 0.056),
        "cpn": (8, 6.34e11, 0.444),
        "crnn": (256, 5.23e11, 0.086),
        "densenet121": (32, 9.19e10, 0.029),
        "dien": (512, 1.13e11, 0.051),
        "din": (512, 4.01e9, 0.004),
        "dssd": (2, 5.38e11, 0.091),
        "faster-rcnn": (1, 3.91e11, 0.071),
        "gcn": (1, 2.72e7, None),
        "googlenet": (32, 7.78e10, 0.014),
        "mask-rcnn": (1, 4.87e11, 0.138),
        "ncf": (256, 1.66e8, 0.001),
        "nmt": (128, 2.59e12, 0.676),
        "resnet50": (32, 2.14e11, 0.029),
        "seglink": (8, 2.75e12, 0.421),
        "ssd": (16, 1.13e12, 0.250),
        "wide-deep": (2048, 1.30e8, 0.057),
    }
    paper = get_model(name).paper
    row = None if paper is None else (paper.batch_size, paper.flops, paper.seconds)
    assert row == table.get(name)


@every_case
def test_a_variant_counts_and_describes_every_framework(case: Case) -> None:
    counts = case.described.counts[case.framework]
    assert counts.parameters > 0
    assert counts.macs > 0
    assert case.described.description
    assert set(case.described.counts) == set(case.described.build)


@every_case
def test_feeds_are_endless_repeatable_and_share_no_sample(case: Case) -> None:
    feeds = case.described.feeds(case.framework)
    first, again = (next(islice(feeds.batches(2, Split.CALIBRATION), 1, 2)) for _ in range(2))
    other = next(feeds.batches(2, Split.EVALUATION))
    assert batch_size(first) == 2
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
        assert array.shape == other[name].shape
    assert any(not np.array_equal(array, other[name]) for name, array in first.items())
    assert len(feeds.digest) == 64
    assert feeds.origin


@every_case
def test_a_sample_does_not_depend_on_the_batch_size(case: Case) -> None:
    feeds = case.described.feeds(case.framework)
    two = next(feeds.batches(2, Split.EVALUATION))
    second = next(islice(feeds.batches(1, Split.EVALUATION), 1, 2))
    for name, array in two.items():
        np.testing.assert_array_equal(array[1:], second[name])


@pytest.mark.heavy
@every_full_case
def test_a_full_network_has_the_parameters_of_models_md_and_answers_its_feeds(case: Case) -> None:
    source = case.described.build[case.framework](None)
    assert source.framework == case.framework
    assert source.parameters == case.described.counts[case.framework].parameters
    feed = next(case.described.feeds(case.framework).batches(2, Split.EVALUATION))
    check_feed(feed, source.inputs)
    outputs = source.run(feed)
    assert set(outputs) == {spec.name for spec in source.outputs}
    assert all(np.isfinite(array).all() for array in outputs.values())
    assert case.described.task.agreeing(outputs, outputs, 2).tolist() == [1, 1]


@pytest.mark.heavy
@every_full_case
def test_a_full_network_exports_with_the_macs_of_models_md(case: Case, tmp_path: Path) -> None:
    from exporters.export import export
    from runtime.graphs import inspect

    source = case.described.build[case.framework](None)
    feed = next(case.described.feeds(case.framework).batches(1, Split.EVALUATION))
    export(source, tmp_path / "model.onnx", [feed])
    facts = inspect(tmp_path / "model.onnx", case.described.sizes)
    assert facts.macs == case.described.counts[case.framework].macs
    assert {spec.name: spec.dtype for spec in facts.inputs} == {s.name: s.dtype for s in source.inputs}
    assert [prod(d for d in spec.shape if isinstance(d, int)) for spec in facts.outputs] == [
        prod(d for d in spec.shape if isinstance(d, int)) for spec in source.outputs
    ]
    assert all(spec.shape[0] == "batch" for spec in facts.inputs)
    if case.described.task.numeric:  # a detector answers with as many rows as it finds
        assert all(spec.shape[0] == "batch" for spec in facts.outputs)


def _written(fp32: Path, precision: Precision, ranges: Ranges) -> Path | None:
    """`fp32` at `precision`; None where the network has nothing that could be."""
    from calibration.write import write_precision
    from runtime.errors import CalibrationError

    try:
        return write_precision(fp32, precision, fp32.with_name(f"{precision}.written.onnx"), ranges).path
    except CalibrationError as error:
        if precision in NOTHING_TO_STORE and NOTHING_TO_STORE[precision] in str(error):
            return None
        raise


def _rescaled(fp32: Path, case: Case, samples: Sequence[Feed]) -> Path:
    """The float graph that the case's INT8 is made of: another one where its recipe changes that."""
    from calibration.prepare import rescale
    from calibration.recipe import Recipe

    recipe, changed = Recipe.parse(case.described.calibration_method), fp32.with_name("rescaled.onnx")
    if not recipe.changes_graph or not rescale(fp32, changed, lambda: samples, recipe):
        return fp32
    return changed


def _refusals(source: Source, feeds: Sequence[Feed], case: Case, fp32: Path) -> Iterator[str]:
    """What TensorRT-RTX says against each precision of a case's network, "" where it builds that.

    Two samples give the INT8 graph its form, not its best scales or weights. Raises MemoryError.
    """
    from calibration.collect import calibrate
    from calibration.precision import Precision
    from exporters.export import LARGEST_FILE, write
    from exporters.passes import optimise
    from tests.runtime.trt_zoo import LARGEST_TRANSLATION, refusal

    write(optimise(source.to_onnx()), fp32, LARGEST_FILE)
    sizes = {"batch": 4, **case.described.sizes}
    short = not isinstance(case.described.task, Translation) or fp32.stat().st_size <= LARGEST_TRANSLATION
    samples = [{spec.name: feed[spec.name] for spec in source.inputs} for feed in feeds]
    ranges = calibrate(fp32, samples)
    for precision in (each for each in Precision if each is not Precision.INT8_MIXED):  # INT8 with less of it
        made_of = _rescaled(fp32, case, samples) if precision is Precision.INT8 else fp32
        graph = _written(made_of, precision, ranges if made_of == fp32 else calibrate(made_of, samples))
        if graph is not None:
            yield refusal(graph, precision, sizes, build=short)
            graph.unlink()


def _is_known(refusal: str, model: str) -> bool:
    return not refusal or any(reason in refusal for reason in STOPS_TENSORRT.get(model, ()))


@pytest.mark.heavy(once_in=4)
@every_full_case
def test_tensorrt_types_and_builds_every_precision_of_it(case: Case, tmp_path: Path) -> None:
    """TensorRT-RTX does so without a GPU, or says why not; of a detector it builds what is before that."""
    from exporters.source import Cuttable

    pytest.importorskip("tensorrt_rtx")
    described = case.described
    feeds = list(islice(described.feeds(case.framework).batches(1, Split.CALIBRATION), 2))
    source = described.build[case.framework](None)
    detects = not described.task.numeric and not isinstance(described.task, Translation)
    try:
        for said in _refusals(source, feeds, case, tmp_path / "fp32.onnx"):
            assert _is_known(said, case.model) or (detects and NO_KERNEL in said)
        if isinstance(source, Cuttable) and detects:
            cut = source.without_post_processing()
            for said in _refusals(cut, feeds, case, tmp_path / "cut.onnx"):
                assert _is_known(said, case.model)
    except MemoryError as error:
        pytest.skip(str(error))


@every_case
def test_a_weights_file_that_is_none_is_refused_in_a_line(case: Case, tmp_path: Path) -> None:
    from runtime.errors import HarnessError

    broken = tmp_path / "weights.npz"
    broken.write_bytes(b"no weights")
    with pytest.raises(HarnessError, match=r"weights\.npz"):
        case.described.build[case.framework](broken)
