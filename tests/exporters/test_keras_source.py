"""Models saved by Keras, judged by Keras itself; and what is said of files that hold none, or code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.keras_source import keras_source, source_of_model
from exporters.parity import open_graph
from exporters.passes import optimise
from exporters.writing import write_file
from runtime.errors import ExportError, UsageError
from runtime.tensors import Feed
from tests.exporters.graphs import random

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras.*")

keras = tf.keras
layers = keras.layers


def two_ends() -> Any:
    """Two inputs, given by name, and a dict of two answers."""
    words = keras.Input((4,), name="words", dtype="int32")
    age = keras.Input((1,), name="age")
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(10, 3)(words)), age])
    x = layers.BatchNormalization()(layers.Dense(6, activation="relu", name="wide")(layers.Dropout(0.5)(x)))
    answers = {"score": layers.Dense(1)(x), "class": layers.Dense(3, activation="softmax")(x)}
    return keras.Model({"age": age, "words": words}, answers)


def feed_of_two() -> Feed:
    return {"age": random(3, 1), "words": np.arange(12).reshape(3, 4).astype(np.int32) % 10}


def image_classifier() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="scores"),
        ]
    )


def answers(source: Any, folder: Path, feed: Feed) -> dict[str, Any]:
    write_file(optimise(source.to_onnx()), folder / "model.onnx")
    return dict(open_graph(folder / "model.onnx")(feed))


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_model_of_named_inputs_and_outputs_keeps_their_names(ending: str, tmp_path: Path) -> None:
    model = two_ends()
    model.save(tmp_path / f"model{ending}")
    source = keras_source(tmp_path / f"model{ending}")
    assert sorted(map(str, source.inputs)) == ["age: float32[batch,1]", "words: int32[batch,4]"]
    assert sorted(source.output_names) == ["class", "score"]
    assert source.parameters == sum(np.prod(weight.shape) for weight in model.trainable_weights)
    got, expected = answers(source, tmp_path, feed_of_two()), model(feed_of_two(), training=False)
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name].numpy(), atol=1e-5)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_sequential_model_answers_as_keras_does(ending: str, tmp_path: Path) -> None:
    model = image_classifier()
    model.save(tmp_path / f"model{ending}")
    source = keras_source(tmp_path / f"model{ending}")
    assert [str(spec) for spec in source.inputs] == ["image: float32[batch,8,8,3]"]
    image = np.abs(random(2, 8, 8, 3)) * 60
    got = answers(source, tmp_path, {"image": image})
    np.testing.assert_allclose(got["scores"], model(image).numpy(), atol=1e-5)


def test_outputs_of_one_layer_are_numbered(tmp_path: Path) -> None:
    x = keras.Input((5, 3), name="x")
    model = keras.Model(x, layers.LSTM(4, return_state=True, name="memory")(x))
    source = source_of_model(model)
    assert source.output_names == ("memory", "memory_1", "memory_2")


def test_an_output_is_not_called_as_an_input_is() -> None:
    x = keras.Input((3,), name="x")
    assert source_of_model(keras.Model(x, {"x": layers.Dense(2)(x)})).output_names == ("x_1",)


def test_layers_that_were_not_trained_count_as_parameters(tmp_path: Path) -> None:
    model = image_classifier()
    model.trainable = False
    model.save(tmp_path / "model.keras")
    assert keras_source(tmp_path / "model.keras").parameters == 3 * 3 * 3 * 4 + 4 + 4 * 5 + 5


def test_weights_keep_the_names_of_their_layers() -> None:
    graph = optimise(source_of_model(two_ends()).to_onnx())
    assert any(name.endswith("wide/kernel") for name in graph.graph.initializers)


SCRIPT = """
import hashlib, sys
from pathlib import Path
from exporters.export import export
from exporters.keras_source import keras_source
export(keras_source(Path(sys.argv[1])), Path(sys.argv[2]), [])
print(hashlib.sha256(Path(sys.argv[2]).read_bytes()).hexdigest())
"""


def test_the_same_file_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """Both directions compute the same of one mask, and tf2onnx merges what is the same in any order."""
    words = keras.Input((5,), name="words", dtype="int32")
    x = layers.Embedding(10, 3, mask_zero=True)(words)
    keras.Model(words, layers.Bidirectional(layers.LSTM(4))(x)).save(tmp_path / "model.keras")
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "model.keras")]
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        subprocess.Popen(
            [*arguments, str(tmp_path / f"{seed}.onnx")],
            env=os.environ | root | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert first == second


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _noise(data: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(data))


@pytest.mark.parametrize("damage", [_cut, _noise, lambda _: b""], ids=["cut short", "noise", "empty"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_file_that_is_damaged_is_refused(
    ending: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"model{ending}"
    image_classifier().save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        UsageError, match=rf"model{ending} is not a sound {ending} file of Keras: .*; save the"
    ):
        keras_source(path)


def _rewritten(path: Path, change: Callable[[Any], None]) -> Path:
    """The archive with another description of its model."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**parts, "config.json": json.dumps(config).encode()}.items():
            archive.writestr(name, part)
    return path


def _rewritten_h5(path: Path, change: Callable[[Any], None]) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_an_archive_without_its_weights_is_refused(tmp_path: Path) -> None:
    image_classifier().save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole:
        config = whole.read("config.json")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", config)
    with pytest.raises(UsageError, match=r"Keras .* cannot load .*model\.keras: .*; save it as"):
        keras_source(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["model.weights.h5", "model.h5"])
def test_weights_alone_are_no_model(name: str, tmp_path: Path) -> None:
    image_classifier().save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "model.weights.h5").rename(tmp_path / name)
    with pytest.raises(
        UsageError, match="holds weights and no model; give what the method save of the model"
    ):
        keras_source(tmp_path / name)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Keras warns of it when it saves
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(ending: str, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Lambda(lambda value: value * 2, name="secret")(x))
    model.save(tmp_path / f"model{ending}")
    with pytest.raises(
        UsageError, match=r"layer 'secret' holds Python code \(a lambda\), which is not run; say"
    ):
        keras_source(tmp_path / f"model{ending}")


def test_a_class_that_keras_lacks_is_named_with_its_layer(tmp_path: Path) -> None:
    image_classifier().save(tmp_path / "model.keras")

    def change(config: Any) -> None:
        layer = config["config"]["layers"][-1]
        layer.update(module="mine", class_name="OfMyOwn", registered_name="mine>OfMyOwn")

    with pytest.raises(
        UsageError, match=r"layer 'scores' needs 'OfMyOwn', which is not Keras's own; .*--saved-m"
    ):
        keras_source(_rewritten(tmp_path / "model.keras", change))


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_recurrent_layers_that_keras_2_saved_are_read(ending: str, tmp_path: Path) -> None:
    """It wrote the order of axes down, which Keras 3 refuses; the rest of its files are Keras 3's."""
    x = keras.Input((5, 3), name="x")
    both = layers.Bidirectional(layers.GRU(4))(layers.LSTM(4, return_sequences=True)(x))
    model = keras.Model(x, layers.Dense(2, name="y")(both))
    path = tmp_path / f"model{ending}"
    model.save(path)
    before = path.read_bytes()

    def change(described: Any) -> None:
        if isinstance(described, dict):
            if described.get("class_name") in ("LSTM", "GRU"):
                described["config"].update(time_major=False, implementation=2)
            described = list(described.values())
        if isinstance(described, list):
            for part in described:
                change(part)

    (_rewritten if ending == ".keras" else _rewritten_h5)(path, change)
    written = path.read_bytes()
    assert written != before
    feed = {"x": random(2, 5, 3)}
    got = answers(keras_source(path), tmp_path, feed)
    np.testing.assert_allclose(got["y"], model(feed["x"]).numpy(), atol=1e-5)
    assert path.read_bytes() == written


def test_code_as_keras_2_wrote_it_is_not_run(tmp_path: Path) -> None:
    image_classifier().save(tmp_path / "model.h5")

    def change(config: Any) -> None:
        layer = config["config"]["layers"][-1]
        layer.update(class_name="Lambda", config={"name": "secret", "function": ["4wEAAAA=", None, None]})

    with pytest.raises(UsageError, match="layer 'secret' holds Python code"):
        keras_source(_rewritten_h5(tmp_path / "model.h5", change))


def test_an_operation_as_a_layer_of_keras_2_is_named(tmp_path: Path) -> None:
    image_classifier().save(tmp_path / "model.h5")

    def change(config: Any) -> None:
        layer = config["config"]["layers"][-1]
        layer.update(class_name="TFOpLambda", config={"name": "tf.math.add", "trainable": True})

    with pytest.raises(
        UsageError, match=r"layer 'tf\.math\.add' needs 'TFOpLambda', which is not Keras's own"
    ):
        keras_source(_rewritten_h5(tmp_path / "model.h5", change))


def test_a_function_that_keras_lacks_is_named_with_its_layer(tmp_path: Path) -> None:
    image_classifier().save(tmp_path / "model.keras")

    def change(config: Any) -> None:
        config["config"]["layers"][-1]["config"]["activation"] = {
            "module": "mine",
            "class_name": "function",
            "config": "swoosh",
            "registered_name": "swoosh",
        }

    with pytest.raises(UsageError, match="layer 'scores' needs 'swoosh', which is not Keras's own"):
        keras_source(_rewritten(tmp_path / "model.keras", change))


def test_another_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pb").write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"Keras writes \.keras, \.h5 or \.hdf5 files; a SavedModel folder goes"
    ):
        keras_source(tmp_path / "model.pb")


def test_a_model_without_known_inputs_is_refused() -> None:
    class Mine(tf.keras.Model):  # type: ignore[misc, name-defined]
        pass

    with pytest.raises(
        ExportError, match=r"model 'mine' \(Mine\) does not say what its inputs are; where the"
    ):
        source_of_model(Mine(name="mine"))


def test_a_sparse_input_is_refused() -> None:
    x = keras.Input((3,), name="words", sparse=True)
    with pytest.raises(ExportError, match="input 'words' is sparse or ragged, and ONNX has dense tensors"):
        source_of_model(keras.Model(x, layers.Dense(2)(x)))
