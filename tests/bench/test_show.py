"""`bench show` from flags to picture, on networks small enough to be worked out beside it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

from bench import cli
from bench.reading import reader_of
from bench.show import ImageTaking, image_size
from model_zoo import catalog
from model_zoo.detection import SINGLE_SHOT
from model_zoo.framing import Warp
from model_zoo.image_feeds import ImageFormat, image_feeds
from model_zoo.spec import ModelSpec, Task, Variant
from model_zoo.tasks import CLASSIFICATION
from runtime.tensors import Array, Feed, TensorSpec
from tests.bench.factories import write_tiny_model

Capture = pytest.CaptureFixture[str]

IMAGES = TensorSpec("images", "float32", ("batch", 3, 8, 8))
CAR, PERSON = (0, 7, 0.9, 0.25, 0.5, 0.75, 1.0), (0, 15, 0.3, 0.0, 0.0, 1.0, 1.0)
SIZE = (640, 480)


class OnnxSource:
    """A source model that is ONNX all along; fulfils exporters.source.Source."""

    framework = "tensorflow"
    inputs = (IMAGES,)
    parameters = 0
    warnings = ()

    def __init__(self, path: Path, output: TensorSpec) -> None:
        self._path = path
        self.outputs = (output,)

    def to_onnx(self) -> ir.Model:
        return ir.load(self._path)

    def run(self, feed: Feed) -> dict[str, Array]:
        (output,) = ReferenceEvaluator(str(self._path)).run(None, dict(feed))
        return {self.outputs[0].name: np.asarray(output)}


def write_detector(path: Path) -> Path:
    """Finds the same car and, less sure, the same person in whatever it sees: rows in SSD's form.

    A convolution by zeros is added to them, so that a backend has something to multiply.
    """
    rows = np.array([CAR, PERSON], np.float32).reshape(1, 1, -1, 7)
    nodes = [
        helper.make_node("Conv", ["images", "zeros"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["found"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, 1, 2, 7])],
        [
            numpy_helper.from_array(rows, "rows"),
            numpy_helper.from_array(np.zeros((1, 3, 8, 8), np.float32), "zeros"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _model(name: str, source: OnnxSource, task: Task) -> ModelSpec:
    image_format = ImageFormat("images", (8, 8), "NCHW", "RGB", scale=1 / 255, framing=Warp())
    network = Variant(
        name, {"tensorflow": lambda weights: source}, {}, lambda framework: image_feeds(image_format), task
    )
    return ModelSpec(name, name, None, {"": network})


ZOO = set(catalog.MODELS)
"""Before the tests add models of their own."""


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts `tiny` (four classes) and `detector` into the zoo; the classifier's graph."""
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    classifier = write_tiny_model(tmp_path / "classifier.onnx")
    detector = write_detector(tmp_path / "detector.onnx")
    scores = TensorSpec("scores", "float32", ("batch", 4))
    found = TensorSpec("found", "float32", (1, 1, 2, 7))
    for name, path, output, task in (
        ("tiny", classifier, scores, CLASSIFICATION),
        ("detector", detector, found, SINGLE_SHOT),
    ):
        monkeypatch.setitem(catalog.MODELS, name, partial(_model, name, OnnxSource(path, output), task))
    return classifier


@pytest.fixture(autouse=True)
def photograph(zoo: Path) -> Image.Image:
    pixels = np.random.default_rng(0).integers(90, 110, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.save("photo.png")
    return image


def show(*flags: str, model: str = "tiny") -> int:
    return cli.main(
        [
            "show",
            "--model",
            model,
            "--image",
            "photo.png",
            "--out",
            "result.png",
            "--backend",
            "reference",
            *flags,
        ]
    )


def opened(name: str) -> tuple[Array, str | None]:
    """The pixels of a picture, and its format."""
    with Image.open(name) as picture:
        return np.asarray(picture), picture.format


def test_the_classes_told_are_those_of_the_graph_itself(
    zoo: Path, photograph: Image.Image, capsys: Capture
) -> None:
    assert show("--json") == 0
    document = json.loads(capsys.readouterr().out)
    seen = np.asarray(photograph.resize((8, 8), Image.Resampling.BILINEAR), np.float32).transpose(2, 0, 1)
    (scores,) = ReferenceEvaluator(str(zoo)).run(None, {"images": seen[np.newaxis] / np.float32(255)})
    powers = np.exp(np.asarray(scores)[0].astype(np.float64))
    for finding in document["findings"]:
        expected = (powers / powers.sum())[finding["class_index"]]
        assert finding["probability"] == pytest.approx(expected, rel=1e-4)
    assert [finding["class_index"] for finding in document["findings"]] == np.argsort(-powers).tolist()


def test_the_document_tells_what_was_run(capsys: Capture) -> None:
    assert show("--json", "--precision", "fp16") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["model"], document["framework"], document["precision"]) == ("tiny", "tensorflow", "fp16")
    assert (document["image"], document["width"], document["height"]) == ("photo.png", *SIZE)
    assert document["weights"] == "seeded weights: the answer means nothing"
    assert document["part"] is None
    (graph,) = Path("home").rglob("fp16-*.onnx")
    import hashlib

    assert document["graph_sha256"] == hashlib.sha256(graph.read_bytes()).hexdigest()


def test_a_box_is_drawn_where_it_is_in_the_photograph(photograph: Image.Image, capsys: Capture) -> None:
    assert show(model="detector") == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1:] == [
        "seeded weights: the answer means nothing",
        "objects: 1; with a score below 0.5, not shown: 1",
        "car 0.90: (160.0, 240.0) to (480.0, 480.0)",
    ]
    assert told.out.startswith("detector (tensorflow), fp32, ")
    assert told.err.endswith("saved result.png\n")
    picture, kind = opened("result.png")
    assert kind == "PNG"
    assert picture.shape[1] == SIZE[0]
    assert picture.shape[0] > SIZE[1]
    changed = (picture[: SIZE[1]] != np.asarray(photograph)).any(axis=-1)
    assert changed[300:400, 160].all()
    assert changed[300:400, 480].all()
    assert not changed[:, :150].any()
    assert not changed[:, 490:].any()
    assert not changed[250:470, 170:470].any()


def test_a_box_is_numbers_in_the_document(capsys: Capture) -> None:
    assert show("--json", model="detector") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["findings"] == [
        {
            "class_index": 7,
            "class_name": "car",
            "score": pytest.approx(0.9),
            "box": [160.0, 240.0, 480.0, 480.0],
        }
    ]
    assert document["remark"] == "objects: 1; with a score below 0.5, not shown: 1"


def test_weights_of_a_file_are_named(capsys: Capture) -> None:
    Path("mine.npz").write_bytes(b"weights")
    assert show("--weights", "mine.npz") == 0
    out = capsys.readouterr().out
    assert "weights: mine.npz\n" in out
    assert "seeded" not in out


def test_weights_of_others_are_not_called_seeded(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    spec = catalog.get_model("tiny")
    trained = {name: replace(variant, trained="of others") for name, variant in spec.variants.items()}
    monkeypatch.setitem(catalog.MODELS, "tiny", lambda: replace(spec, variants=trained))
    assert show() == 0
    assert "weights: of others\n" in capsys.readouterr().out


def test_a_photograph_is_turned_as_its_camera_says(capsys: Capture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: EXIF 2.3, Orientation
    Image.new("RGB", (60, 40), (200, 0, 0)).save("turned.jpg", exif=exif)
    assert show("--image", "turned.jpg", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["width"], document["height"]) == (40, 60)


@pytest.mark.parametrize(("name", "kind"), [("a.PNG", "PNG"), ("a.jpg", "JPEG"), ("a.jpeg", "JPEG")])
def test_the_suffix_is_the_format(name: str, kind: str) -> None:
    assert show("--out", name) == 0
    assert opened(name)[1] == kind


def test_an_older_picture_is_replaced_and_nothing_else_left() -> None:
    Path("result.png").write_text("an older one")
    assert show() == 0
    assert opened("result.png")[1] == "PNG"
    assert [path.name for path in Path().iterdir() if "result" in path.name] == ["result.png"]


def test_what_was_not_computed_is_told(capsys: Capture) -> None:
    assert show("--backend", "null", "--json") == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == ["the backend reports no multiply-accumulates"]
    assert show("--backend", "null") == 0
    assert "warning: the backend reports no multiply-accumulates" in capsys.readouterr().out


def test_a_bundle_is_shown_by_its_folder(capsys: Capture) -> None:
    assert cli.main(["export", "--model", "detector", "--out", "bundle"]) == 0
    capsys.readouterr()
    assert show(model="bundle") == 0
    assert "car 0.90" in capsys.readouterr().out


def test_weights_of_a_bundle_are_named(capsys: Capture) -> None:
    Path("mine.npz").write_bytes(b"weights")
    assert cli.main(["export", "--model", "tiny", "--weights", "mine.npz", "--out", "bundle"]) == 0
    capsys.readouterr()
    assert show(model="bundle") == 0
    assert re.search(r"weights: the file with SHA-256 [0-9a-f]{64}\n", capsys.readouterr().out)


BAD_INPUT = {
    "no such photograph": (["--image", "none.png"], "--image none.png: no such file; give a photograph"),
    "no photograph": (["--image", "text.png"], "text.png is not an image that can be read: .*; remove or"),
    "half a photograph": (["--image", "half.png"], "half.png is not an image that can be read"),
    "another format": (
        ["--out", "result.gif"],
        r"--out result.gif: a picture is written as \.jpeg, \.jpg, \.png; give such a name",
    ),
    "no format": (["--out", "result"], "--out result: a picture is written as"),
    "no folder": (["--out", "none/result.png"], "--out none/result.png: there is no folder none; make it"),
    "a folder": (["--out", "folder.png"], "--out folder.png is a folder; give another name"),
    "the photograph": (["--out", "photo.png"], "--out photo.png is the photograph itself; give another name"),
    "unknown model": (["--model", "detectr"], "unknown model 'detectr': did you mean detector"),
    "unknown backend": (["--backend", "otr"], "unknown backend 'otr': did you mean trt or ort"),
    "unknown device": (["--device", "cuda:7"], "unknown device of reference 'cuda:7': valid: cpu"),
    "no such weights": (["--weights", "none.npz"], "--weights none.npz: no such file"),
    "a graph": (
        ["--model", "classifier.onnx"],
        r"--model: classifier \(onnx\) has outputs that nothing describes, which cannot be drawn on a"
        " photograph; give one of .*resnet50.*",
    ),
    "a model of text": (
        ["--model", "bert-base"],
        r"--model: bert-base \(tensorflow\) answers with (embedding|span), which cannot be drawn on a"
        " photograph; give one of cpn, .*tiny",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_told_in_one_line_before_anything_is_built(case: str, capsys: Capture) -> None:
    flags, message = BAD_INPUT[case]
    Path("text.png").write_text("no image")
    Path("half.png").write_bytes(Path("photo.png").read_bytes()[:5000])
    Path("folder.png").mkdir()
    assert show(*flags) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert re.search(message, told.err), told.err
    assert not Path("home").exists()


def test_models_that_are_named_in_the_refusal_can_be_shown(capsys: Capture) -> None:
    assert show("--model", "bert-base") == 2
    names = capsys.readouterr().err.strip().partition("give one of ")[2].split(", ")
    seeing = "cpn crnn densenet121 dssd faster-rcnn googlenet mask-rcnn resnet101 resnet50 seglink ssd"
    assert set(names) & ZOO == set(seeing.split())


def test_what_can_be_read_takes_images() -> None:
    for spec in (find() for find in catalog.MODELS.values()):
        for variant in spec.variants.values():
            if reader_of(variant.task):
                assert all(isinstance(variant.feeds(each), ImageTaking) for each in variant.build), spec.name


@pytest.mark.parametrize("shape", [("batch", 3, 20, 30), ("batch", 20, 30, 3), (1, 20, 30, 1)])
def test_the_image_among_the_inputs_has_its_channels_first_or_last(shape: tuple[int | str, ...]) -> None:
    inputs = (TensorSpec("info", "float32", ("batch", 4)), TensorSpec("images", "float32", shape))
    assert image_size(inputs) == (20, 30)
