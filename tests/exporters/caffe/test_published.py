"""A published network with its trained weights: OpenCV's face detector, an SSD on a small ResNet.

Oracles: OpenCV blob by blob, and photographs that show a face or do not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.caffe.layerwise import compare_blobs, first_difference
from exporters.caffe.source import CaffeSource
from exporters.export import export
from exporters.parity import open_graph
from model_zoo import archives
from model_zoo.framing import Warp
from model_zoo.image_feeds import ImageFormat, preprocess
from model_zoo.photographs import decode
from runtime.errors import UnavailableError
from runtime.tensors import Feed

FORMAT = ImageFormat("data", (300, 300), "NCHW", "BGR", mean=(104.0, 177.0, 123.0), framing=Warp())

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def source() -> CaffeSource:
    folder = _fetched("face-detector")
    prototxt, caffemodel = sorted(archives.contents(folder))
    return CaffeSource.from_files(folder / prototxt, folder / caffemodel)


@pytest.fixture(scope="module")
def photographs() -> dict[str, Feed]:
    folder = _fetched("colour-photographs")
    return {
        Path(member).stem: {"data": preprocess(image, Warp().whole(*image.size, FORMAT.size), FORMAT)[None]}
        for member in archives.contents(folder)
        for image in [decode(folder / member)]
    }


def test_every_blob_is_opencvs(source: CaffeSource, photographs: dict[str, Feed]) -> None:
    found = compare_blobs(source, photographs["astronaut"])
    assert len(found) > 100
    assert first_difference(found, 1e-5) is None


def test_a_face_is_found_where_there_is_one(
    source: CaffeSource, photographs: dict[str, Feed], tmp_path: Path
) -> None:
    """The astronaut's is in the upper half of the photograph, a cat has one; a cup or a rocket has none."""
    graph = open_graph(export(source, tmp_path / "face.onnx", list(photographs.values())).path)
    best = {
        name: max(graph(feed)["detection_out"].reshape(-1, 7), key=lambda row: row[2])
        for name, feed in photographs.items()
    }
    faces = {name for name, row in best.items() if row[2] > 0.5}
    assert faces == {"astronaut", "chelsea"}
    x1, y1, x2, y2 = best["astronaut"][3:]
    assert 0.3 < x1 < x2 < 0.6
    assert 0.05 < y1 < y2 < 0.45


def _fetched(name: str) -> Path:
    try:
        return archives.fetch(name)
    except UnavailableError as error:
        pytest.skip(str(error))
