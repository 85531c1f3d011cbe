"""TensorRT's parser types every product as the file does: tiny graphs here, the zoo's in test_models.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.trt_library import RTX, Library, library
from tests.models import MODELS, TinyModel
from tests.runtime.trt_types import Typed, differences, products_of_file, products_of_network


@pytest.fixture
def rtx() -> Library:
    pytest.importorskip(RTX)
    return library(RTX)


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_a_network_has_the_types_of_its_file(model: TinyModel, rtx: Library, tmp_path: Path) -> None:
    path = model.write(tmp_path)
    file = products_of_file(path)
    assert bool(file) == bool(model.computes)
    assert differences(file, products_of_network(rtx, path)) == []


@pytest.mark.parametrize(
    ("name", "product", "typed"),
    [
        ("fp16_conv", "conv", Typed("HALF", ("HALF",))),
        ("bf16_conv", "conv", Typed("BF16", ("BF16",))),
        ("int8_conv", "conv1", Typed("FLOAT", ("INT8", "INT8"))),
        ("transformer", "up", Typed("FLOAT", ("FLOAT", "FLOAT"))),
    ],
)
def test_a_product_is_read_as_it_is_stored(
    name: str, product: str, typed: Typed, rtx: Library, tmp_path: Path
) -> None:
    assert products_of_network(rtx, MODELS[name].write(tmp_path))[product] == typed


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"n": Typed("FLOAT", ("INT8", "INT8"))},
        {"n": Typed("HALF", ("FLOAT", "INT8"))},
        {"n": Typed("HALF", ("INT8", "FLOAT"))},
    ],
    ids=["none", "another type", "another activation", "other weights"],
)
def test_a_network_that_is_typed_otherwise_is_noticed(found: dict[str, Typed]) -> None:
    (line,) = differences({"n": Typed("HALF", ("INT8", "INT8"))}, found)
    assert line.startswith("n: the file has Typed(computes='HALF', reads=('INT8', 'INT8')), the network ")


def test_weights_that_a_convolution_holds_itself_are_its_own() -> None:
    assert differences({"n": Typed("HALF", ("HALF", "HALF"))}, {"n": Typed("HALF", ("HALF",))}) == []
