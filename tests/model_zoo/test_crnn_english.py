"""english_g2: EasyOCR's shapes and counts, torch's formulas in NumPy, and words that it reads."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_zoo import crnn, word_images
from model_zoo.crnn_english import BLANK, CHARACTERS, EnglishSizes, english_network
from model_zoo.crnn_english_weights import state_dict_shapes, weights_of
from model_zoo.layers import FeatureMap
from model_zoo.spec import Split
from model_zoo.text_recognition import texts
from runtime.errors import UnavailableError, UsageError
from runtime.tensors import Array, TensorSpec
from tests.model_zoo import torch_archives
from tests.model_zoo.torch_layers import (
    StateDict,
    Values,
    batch_norm2d,
    bidirectional_lstm,
    conv2d,
    linear,
    max_pool2d,
)

RELATIVE = english_network(EnglishSizes("little-english", input_size=(64, 40), channels=16, characters=11))

# Sums of up to 2304 products in float32: sqrt(2304) * 6e-8 each, of values of 1 and less behind a tanh
ROUNDING = 1e-5


def stored_weights() -> dict[str, Array]:
    """A state dict of the relative that lets signals through: rectifiers halve a sum's variance."""
    rng = np.random.default_rng(0)
    drawn = {}
    for name, shape in state_dict_shapes(RELATIVE).items():
        scale = 1.4 / np.sqrt(prod(shape[1:])) if len(shape) > 1 else 0.3
        drawn[name] = rng.normal(0, scale, shape).astype(np.float32)
        if name.endswith("running_var"):
            drawn[name] = rng.uniform(0.5, 2, shape).astype(np.float32)
    return drawn


def images(number: int = 2) -> Array:
    return np.random.default_rng(1).uniform(-1, 1, (number, *RELATIVE.input_size, 1)).astype(np.float32)


def in_numpy(state: StateDict, x: Values) -> Values:
    """EasyOCR's easyocr/model/vgg_model.py: [batch, 1, height, width] to [batch, columns, classes]."""
    features = "FeatureExtraction.ConvNet"
    x = max_pool2d(relu(conv2d(x, state, f"{features}.0", 1)), 2, 2)
    x = max_pool2d(relu(conv2d(x, state, f"{features}.3", 1)), 2, 2)
    x = relu(conv2d(x, state, f"{features}.6", 1))
    x = max_pool2d(relu(conv2d(x, state, f"{features}.8", 1)), 2, 1)
    x = relu(batch_norm2d(conv2d(x, state, f"{features}.11", 1), state, f"{features}.12"))
    x = relu(batch_norm2d(conv2d(x, state, f"{features}.14", 1), state, f"{features}.15"))
    x = relu(conv2d(max_pool2d(x, 2, 1), state, f"{features}.18", 0))
    x = x.mean(axis=2).transpose(0, 2, 1)
    for index in range(2):
        scope = f"SequenceModeling.{index}"
        x = linear(bidirectional_lstm(x, state, f"{scope}.rnn"), state, f"{scope}.linear")
    return linear(x, state, "Prediction")


def relu(x: Values) -> Values:
    return np.maximum(x, 0)


# The description


def test_the_state_dict_has_the_shapes_of_easyocrs() -> None:
    """Written down from easyocr/model/{vgg_model,modules}.py, with 1 channel in, 256 out, 97 classes."""
    convolutions = {0: (32, 1, 3, 3), 3: (64, 32, 3, 3), 6: (128, 64, 3, 3), 8: (128, 128, 3, 3),
                    11: (256, 128, 3, 3), 14: (256, 256, 3, 3), 18: (256, 256, 2, 2)}  # fmt: skip
    expected: dict[str, tuple[int, ...]] = {}
    for index, shape in convolutions.items():
        expected[f"FeatureExtraction.ConvNet.{index}.weight"] = shape
        if index not in (11, 14):
            expected[f"FeatureExtraction.ConvNet.{index}.bias"] = shape[:1]
    for index in (12, 15):
        for part in ("weight", "bias", "running_mean", "running_var"):
            expected[f"FeatureExtraction.ConvNet.{index}.{part}"] = (256,)
    for index in range(2):
        for ending in ("l0", "l0_reverse"):
            for part in ("weight_ih", "weight_hh"):
                expected[f"SequenceModeling.{index}.rnn.{part}_{ending}"] = (1024, 256)
            for part in ("bias_ih", "bias_hh"):
                expected[f"SequenceModeling.{index}.rnn.{part}_{ending}"] = (1024,)
        expected[f"SequenceModeling.{index}.linear.weight"] = (256, 512)
        expected[f"SequenceModeling.{index}.linear.bias"] = (256,)
    expected |= {"Prediction.weight": (97, 256), "Prediction.bias": (97,)}
    assert state_dict_shapes(crnn.ENGLISH) == expected


def test_it_counts_what_easyocrs_file_holds() -> None:
    """3 782 371 values: two count batches, every LSTM has a second bias, statistics are not learned."""
    stored = sum(map(prod, state_dict_shapes(crnn.ENGLISH).values()))
    assert stored == 3_782_371 - 2
    assert crnn.ENGLISH.parameters == stored - 2 * 2 * 4 * 256 - 2 * 2 * 256


def test_macs_are_those_of_the_closed_form() -> None:
    height, width = crnn.ENGLISH.input_size
    pixels = height * width
    convolutions = 9 * (
        pixels * 1 * 32
        + pixels // 4 * 32 * 64
        + pixels // 16 * (64 * 128 + 128 * 128)
        + pixels // 32 * (128 * 256 + 256 * 256)
    )
    columns = width // 4 - 1
    joined = 4 * 3 * columns * 256 * 256
    sequence = 2 * columns * (2 * (256 + 256) * 1024 + 512 * 256) + columns * 256 * 97
    assert crnn.ENGLISH.macs == convolutions + joined + sequence


def test_a_column_stands_for_four_pixels() -> None:
    width = crnn.ENGLISH.input_size[1]
    assert crnn.ENGLISH.maps["FeatureExtraction/ConvNet/19"] == FeatureMap(256, 3, width // 4 - 1)
    assert crnn.ENGLISH.maps["AdaptiveAvgPool"] == FeatureMap(256, 1, width // 4 - 1)
    assert crnn.ENGLISH.maps["Prediction"] == FeatureMap(97, 1, width // 4 - 1)


def test_its_characters_are_those_of_ascii_that_print_and_the_euro() -> None:
    assert len(CHARACTERS) == 97
    assert set(CHARACTERS) - set(CHARACTERS[BLANK]) == {chr(code) for code in range(32, 127)} | {"€"}


# The network


def test_tensorflow_computes_what_torch_does(tmp_path: Path) -> None:
    stored = stored_weights()
    path = torch_archives.save(tmp_path / "relative.pth", torch_archives.state_dict(stored))
    source = crnn.build_english(RELATIVE, path)
    state = {name: array.astype(np.float64) for name, array in stored.items()}
    expected = in_numpy(state, images().astype(np.float64).transpose(0, 3, 1, 2))
    assert expected.std() > 0.1
    np.testing.assert_allclose(source.run({"images": images()})["logits"], expected, atol=ROUNDING)


@pytest.mark.parametrize("swapped", [("weight_ih_l0", "weight_ih_l0_reverse"), ("running_mean", "bias")])
def test_the_oracle_would_notice_tensors_in_each_others_place(swapped: tuple[str, str]) -> None:
    state = {name: array.astype(np.float64) for name, array in stored_weights().items()}
    x = images().astype(np.float64).transpose(0, 3, 1, 2)
    scope = "SequenceModeling.0.rnn" if "_l0" in swapped[0] else "FeatureExtraction.ConvNet.12"
    first, second = (f"{scope}.{part}" for part in swapped)
    other = {**state, first: state[second], second: state[first]}
    assert np.abs(in_numpy(state, x) - in_numpy(other, x)).max() > 100 * ROUNDING


def test_a_relative_exports_with_one_lstm_for_each_layer(tmp_path: Path) -> None:
    from exporters.export import export
    from runtime.graphs import inspect

    path = torch_archives.save(tmp_path / "relative.pth", torch_archives.state_dict(stored_weights()))
    source = crnn.build_english(RELATIVE, path)
    report = export(source, tmp_path / "model.onnx", [{"images": images()}])
    assert source.parameters == report.parameters == RELATIVE.parameters
    assert inspect(tmp_path / "model.onnx").macs == RELATIVE.macs
    assert source.inputs == (TensorSpec("images", "float32", ("batch", 64, 40, 1)),)
    assert source.outputs == (TensorSpec("logits", "float32", ("batch", 9, 11)),)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    lstms = [node for node in nodes if node.op_type == "LSTM"]
    said = [{part.name: onnx.helper.get_attribute_value(part) for part in node.attribute} for node in lstms]
    assert said == [{"direction": b"bidirectional", "hidden_size": 16}] * 2
    assert {node.op_type for node in nodes}.isdisjoint({"BatchNormalization", "Gather", "If", "Loop", "Scan"})


# Weights files


def test_names_of_parallel_training_lead_to_the_same_weights(tmp_path: Path) -> None:
    stored = stored_weights()
    parallel = {f"module.{name}": array for name, array in stored.items()}
    read = [
        weights_of(RELATIVE, torch_archives.save(tmp_path / f"{index}.pth", torch_archives.state_dict(given)))
        for index, given in enumerate((stored, parallel))
    ]
    assert set(read[0]) == set(read[1]) == set(RELATIVE.tensors())
    for name, shape in RELATIVE.tensors().items():
        np.testing.assert_array_equal(read[0][name], read[1][name], err_msg=name)
        assert read[0][name].shape == shape


def test_a_state_dict_may_be_in_another_format(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(stored_weights(), tmp_path / "relative.safetensors")
    assert set(weights_of(RELATIVE, tmp_path / "relative.safetensors")) == set(RELATIVE.tensors())


def test_a_state_dict_without_a_direction_is_refused(tmp_path: Path) -> None:
    forward = {name: array for name, array in stored_weights().items() if "_reverse" not in name}
    path = torch_archives.save(tmp_path / "forward.pth", torch_archives.state_dict(forward))
    with pytest.raises(UsageError, match=r"lack 8 of .*: SequenceModeling\.0\.rnn\.weight_ih_l0_reverse, "):
        weights_of(RELATIVE, path)


def test_a_recogniser_of_other_characters_is_refused(tmp_path: Path) -> None:
    path = torch_archives.save(tmp_path / "relative.pth", torch_archives.state_dict(stored_weights()))
    with pytest.raises(UsageError, match=r"Prediction\.weight is \[11, 16\], expected \[12, 16\]"):
        weights_of(english_network(EnglishSizes(channels=16, characters=12)), path)


def test_english_g2_that_cannot_be_fetched_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    with pytest.raises(
        UnavailableError, match=r"easyocr-en-offline.*or give --weights english_g2\.pth"
    ) as error:
        crnn.SPEC.variants["english-g2"].build["tensorflow"](None)
    assert "\n" not in str(error.value)


def test_another_framework_is_refused_by_the_feeds() -> None:
    with pytest.raises(UsageError, match="unknown framework of crnn 'caffe'"):
        crnn.SPEC.variants["english-g2"].feeds("caffe")


# EasyOCR's weights


def test_it_reads_the_words_that_were_rendered() -> None:
    """Of the first 1000 it read 98.9 % to the letter and the case, and missed 0.2 % of the characters."""
    variant = crnn.SPEC.variants["english-g2"]
    try:
        source = variant.build["tensorflow"](None)
        word_images.words()
    except UnavailableError as error:
        pytest.skip(str(error))
    rendered = word_images.word_set().images[Split.EVALUATION][:100]
    feed = next(variant.feeds("tensorflow").batches(100, Split.EVALUATION))
    read = texts(crnn.ENGLISH_TASK.answers(source.run(feed)), crnn.ENGLISH_TASK.characters)
    right = [word.text == text for word, text in zip(rendered, read, strict=True)]  # type: ignore[attr-defined]
    assert sum(right) >= 95
