"""SegLink as layers and in TensorFlow.

Oracles: the counts and sizes of MODELS.md 12, and its decoding written again in NumPy from the formulas.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.export import export
from model_zoo.catalog import get_model, get_variant
from model_zoo.layers_tensorflow import evaluate_several, tensorflow_source
from model_zoo.network import Network
from model_zoo.seglink_layers import Sizes, map_sizes, seglink_network
from model_zoo.spec import Split
from model_zoo.text_boxes import TextBoxes
from runtime.graphs import inspect
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.layers_relatives import noise, weights_of_relative

RELATIVE = seglink_network(Sizes("little-seglink", narrower=16, input_size=(160, 96)))
CELLS = 20 * 12 + 10 * 6 + 5 * 3 + 3 * 2 + 2 * 1 + 1 * 1
HEADS = ("conv4_3", "fc7", "conv8_2", "conv9_2", "conv10_2", "conv11")
ANCHORS = (11.84210526, 23.68421053, 45, 90, 150, 285)


@pytest.mark.parametrize(
    ("size", "macs"), [((1280, 768), 328.12e9), ((768, 1280), 328.12e9), ((512, 512), 87.50e9)]
)
def test_parameters_and_multiply_accumulates_are_those_of_models_md(
    size: tuple[int, int], macs: float
) -> None:
    network = seglink_network(Sizes(input_size=size))
    assert network.parameters == 23_980_280
    assert network.macs == pytest.approx(macs, rel=5e-5)  # figures of four and five digits


def test_maps_have_the_sizes_of_models_md() -> None:
    network = seglink_network(Sizes())
    assert map_sizes(network) == ((160, 96), (80, 48), (40, 24), (20, 12), (10, 6), (5, 3))
    assert network.maps["segments"].height == 20_475
    assert [network.maps[f"{name}_lnk"].channels for name in HEADS] == [16, 24, 24, 24, 24, 24]


def test_weights_are_the_same_at_every_size() -> None:
    assert seglink_network(Sizes()).tensors() == seglink_network(Sizes(input_size=(512, 512))).tensors()


def test_a_relative_exports_like_tensorflow_runs_it(tmp_path: Path) -> None:
    source = tensorflow_source(RELATIVE, weights_of_relative(RELATIVE))
    report = export(source, tmp_path / "model.onnx", [{"images": noise(RELATIVE)}])
    assert source.parameters == RELATIVE.parameters
    assert inspect(tmp_path / "model.onnx").macs == RELATIVE.macs
    assert all(output.relative < 1e-4 for output in report.parity.outputs)
    assert source.outputs == (
        TensorSpec("segments", "float32", ("batch", CELLS, 1)),
        TensorSpec("geometry", "float32", ("batch", CELLS, 6)),
        TensorSpec("local_links", "float32", ("batch", CELLS, 8)),
        TensorSpec("cross_links", "float32", ("batch", CELLS - 240, 4)),
    )


def test_decoding_is_that_of_models_md() -> None:
    weights, images = weights_of_relative(RELATIVE), noise(RELATIVE)
    raw = [f"{name}_{part}" for name in HEADS for part in ("cls", "lnk", "reg")]
    found = evaluate_several(RELATIVE, {"images": images}, weights, [*raw, *RELATIVE.outputs])
    arrays = {name: np.asarray(array, np.float64) for name, array in found.items()}
    expected = [_decoded(RELATIVE, arrays, index) for index in range(len(HEADS))]
    for place, name in enumerate(("segments", "geometry", "local_links")):
        whole = np.concatenate([parts[place] for parts in expected], axis=1)
        np.testing.assert_allclose(arrays[name], whole, rtol=1e-5, atol=1e-5)
    crossing = np.concatenate([parts[3] for parts in expected[1:]], axis=1)
    np.testing.assert_allclose(arrays["cross_links"], crossing, atol=1e-5)
    assert arrays["segments"].std() > 0.01


def test_a_relative_finds_text_that_tells_images_apart() -> None:
    source = tensorflow_source(RELATIVE, weights_of_relative(RELATIVE))
    outputs = source.run({"images": noise(RELATIVE, 4)})
    task = TextBoxes(map_sizes(RELATIVE), segment=0.5)
    assert task.agreeing(outputs, outputs, 4).tolist() == [1, 1, 1, 1]
    swapped = {name: array[::-1] for name, array in outputs.items()}
    assert task.agreeing(outputs, swapped, 4).mean() < 0.9


def test_without_offsets_a_segment_lies_at_its_cells_centre() -> None:
    """And has its map's own size; cell 13 is row 1, column 1 of the first map."""
    weights = {name: np.zeros_like(array) for name, array in weights_of_relative(RELATIVE).items()}
    found = evaluate_several(RELATIVE, {"images": noise(RELATIVE)}, weights, ["geometry", "segments"])
    geometry = np.asarray(found["geometry"])[0]
    np.testing.assert_allclose(geometry[13, :4], [12, 12, ANCHORS[0], ANCHORS[0]], rtol=1e-5)
    np.testing.assert_allclose(geometry[-1, :4], [48, 80, 285, 285], rtol=1e-5)
    assert np.unique(np.asarray(found["segments"])).tolist() == [0.5]


@pytest.mark.parametrize(("variant", "size"), [("", (1280, 768)), ("corrected", (768, 1280))])
def test_feeds_are_whole_scenes_in_bgr(variant: str, size: tuple[int, int]) -> None:
    feeds = get_variant(get_model("seglink"), variant).feeds("tensorflow")
    images = next(feeds.batches(1, Split.EVALUATION))["images"]
    assert images.shape == (1, *size, 3)
    lowest, highest = images.min(axis=(0, 1, 2)), images.max(axis=(0, 1, 2))
    assert (lowest >= [-104, -117, -123]).all()
    assert (highest <= [151, 138, 132]).all()
    assert (highest - lowest > 100).all()


def test_it_takes_images_of_any_size() -> None:
    wide = get_variant(get_model("seglink"), "320x640")
    assert wide.description == "SegLink on VGG-16, 320x640"
    assert isinstance(wide.task, TextBoxes)
    assert wide.task.maps[0] == (40, 80)


def _decoded(network: Network, arrays: dict[str, Array], index: int) -> list[Array]:
    """Segments, geometry, local and cross links of one map, cell by cell."""
    name, anchor = HEADS[index], ANCHORS[index]
    height, width = map_sizes(network)[index]
    scores, links, offsets = (arrays[f"{name}_{part}"] for part in ("cls", "lnk", "reg"))
    geometry = offsets * 0.1
    for row in range(height):
        geometry[:, row, :, 1] = offsets[:, row, :, 1] * 0.1 * anchor + (row + 0.5) * 160 / height
    for column in range(width):
        geometry[:, :, column, 0] = offsets[:, :, column, 0] * 0.1 * anchor + (column + 0.5) * 96 / width
    geometry[..., 2:4] = np.exp(offsets[..., 2:4] * 0.1) * anchor - 1e-6
    chances = [1 / (1 + np.exp(x[..., ::2] - x[..., 1::2])) for x in (scores, links)]
    parts = [chances[0], geometry, chances[1][..., :8], chances[1][..., 8:]]
    return [part.reshape(len(part), height * width, -1) for part in parts]
