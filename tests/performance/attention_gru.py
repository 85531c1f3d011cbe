"""DIEN's recurrences said in other ways: what each costs on ONNX Runtime and OpenVINO, over 100 steps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np

from exporters.export import export
from exporters.tensorflow import TensorFlowSource, import_tensorflow
from exporters.tensorflow_marked import onnx_operator
from exporters.tensorflow_scan import scan
from model_zoo.behaviour_layers import Tensor, Tensors
from model_zoo.dien_network import WIDTH, Dien
from model_zoo.dien_recurrence import AS_OPERATORS, AS_STEPS, STEP, Recurrences, gru_tensors
from model_zoo.dien_seeded import seeded_weights
from runtime.backend import Boundary, Query, SessionOptions
from runtime.backends import get_backend
from runtime.errors import UnsupportedError
from runtime.tensors import Feed, TensorSpec
from tests.performance.trials import Row, interleaved

_STEPS = 100
_BATCHES = (1, 512)
_ROUNDS = 5
_NANOSECONDS_EACH = 200_000_000

_WHOLE_STEP = STEP.replace(f"float[batch,{3 * WIDTH}] added", f"float[batch,{WIDTH}] input").replace(
    "{\n", "{\n    product = MatMul(input, kernel)\n    added = Add(product, bias)\n", 1
)
"""The step with the product of its input inside."""


def run() -> list[Row]:
    """Each form of both recurrences as a graph of its own, at the network's size."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for recurrence, forms in _FORMS.items():
            files = {
                form: _written(forms["Loop"], trace, Path(folder) / f"{recurrence}, {form}.onnx")
                for form, trace in forms.items()
            }
            for backend, batch_size in product(("ort", "openvino"), _BATCHES):
                rows += _compared(recurrence, files, backend, batch_size)
    return rows


Trace = Callable[..., Tensor]
"""Of inputs [steps, batch, width], attention [steps, batch, 1], lengths [batch] and weights."""


def _gru(recurrences: Recurrences) -> Trace:
    return lambda inputs, _, lengths, weights: recurrences.gru(inputs, lengths, "gru1", weights)


def _attention_gru(recurrences: Recurrences) -> Trace:
    return lambda inputs, attention, lengths, weights: recurrences.attention_gru(
        inputs, attention, lengths, "gru2", weights
    )


def _gru_with_lengths(inputs: Tensor, _: Tensor, lengths: Tensor, weights: Tensors) -> Tensor:
    """The lengths as the operator's own input, in the place of zeros written over what is behind them."""
    import tensorflow as tf

    (states,) = onnx_operator(
        "GRU",
        [inputs, *gru_tensors("gru1", weights), lengths],
        [(None, 1, None, WIDTH)],
        {"hidden_size": WIDTH},
    )
    return tf.squeeze(states, 1)


def _scan_with_all_inside(inputs: Tensor, attention: Tensor, lengths: Tensor, weights: Tensors) -> Tensor:
    import tensorflow as tf

    gates, candidate = weights["gru2/gates/kernel"], weights["gru2/candidate/kernel"]
    constants = {
        "kernel": tf.concat((gates[:WIDTH], candidate[:WIDTH]), axis=1),
        "bias": tf.concat((weights["gru2/gates/bias"], weights["gru2/candidate/bias"]), axis=0),
        "gates": gates[WIDTH:],
        "candidate": candidate[WIDTH:],
    }
    valid = tf.range(_STEPS)[:, tf.newaxis] < lengths
    kept = tf.cast(tf.logical_not(valid), tf.float32)[..., tf.newaxis]
    zeros = tf.zeros((tf.shape(inputs)[1], WIDTH))
    return scan(_WHOLE_STEP, [zeros], [inputs, 1.0 - attention, kept], constants)[0]


def _written_out(inputs: Tensor, attention: Tensor, lengths: Tensor, weights: Tensors) -> Tensor:
    """Every step's nodes one after the other, the product of the inputs before them."""
    import tensorflow as tf

    gates, candidate = weights["gru2/gates/kernel"], weights["gru2/candidate/kernel"]
    kernel = tf.concat((gates[:WIDTH], candidate[:WIDTH]), axis=1)
    added = tf.matmul(inputs, kernel) + tf.concat(
        (weights["gru2/gates/bias"], weights["gru2/candidate/bias"]), axis=0
    )
    state = tf.zeros((tf.shape(inputs)[1], WIDTH))
    for step in range(_STEPS):
        opened = tf.sigmoid(added[step, :, : 2 * WIDTH] + tf.matmul(state, gates[WIDTH:]))
        reset, update = opened[:, :WIDTH], opened[:, WIDTH:]
        new = tf.tanh(added[step, :, 2 * WIDTH :] + tf.matmul(reset * state, candidate[WIDTH:]))
        update = (1.0 - attention[step]) * update
        after = update * state + (1.0 - update) * new
        state = tf.where(step < lengths[:, tf.newaxis], after, state)
    return state


_FORMS: Mapping[str, Mapping[str, Trace]] = {
    "GRU": {
        "the zoo's": _gru(AS_OPERATORS),
        "lengths as an input": _gru_with_lengths,
        "Loop": _gru(AS_STEPS),
    },
    "attention GRU": {
        "the zoo's": _attention_gru(AS_OPERATORS),
        "Scan, all inside": _scan_with_all_inside,
        "written out": _written_out,
        "Loop": _attention_gru(AS_STEPS),
    },
}
"""What tf2onnx makes of TensorFlow's steps is the Loop; the steps are also what all are held against."""


def _written(oracle: Trace, trace: Trace, path: Path) -> Path:
    """The form as a graph of its own; raises CheckFailed where it differs from TensorFlow's steps."""
    tensorflow = import_tensorflow()
    weights = {
        name: tensorflow.Variable(array, name=name)
        for name, array in seeded_weights(Dien(1, 1, 1)).items()
        if name.startswith("gru")
    }
    source = TensorFlowSource(
        partial(_traced, oracle, weights),
        (
            TensorSpec("inputs", "float32", ("batch", _STEPS, WIDTH)),
            TensorSpec("attention", "float32", ("batch", _STEPS, 1)),
            TensorSpec("lengths", "int32", ("batch",)),
        ),
        ("state",),
        convertible=partial(_traced, trace, weights),
    )
    export(source, path, [_feed(1), _feed(3)])
    return path


def _traced(
    trace: Trace, weights: Tensors, inputs: Tensor, attention: Tensor, lengths: Tensor
) -> tuple[Tensor]:
    """The last state, or all summed; sequences, as every input of a graph, begin with the batch."""
    import tensorflow as tf

    by_step = (tf.transpose(tensor, (1, 0, 2)) for tensor in (inputs, attention))
    states = trace(*by_step, lengths, weights)
    return (tf.reduce_sum(states, axis=0) if states.shape.rank == 3 else states,)


def _feed(batch_size: int) -> Feed:
    generator = np.random.Generator(np.random.Philox(0))
    attention = generator.random((batch_size, _STEPS, 1), np.float32)
    return {
        "inputs": generator.standard_normal((batch_size, _STEPS, WIDTH), np.float32),
        "attention": attention / attention.sum(axis=1, keepdims=True),
        "lengths": generator.integers(1, _STEPS + 1, batch_size).astype(np.int32),
    }


def _compared(recurrence: str, files: Mapping[str, Path], backend: str, batch_size: int) -> Iterator[Row]:
    """One row for each form, beside the zoo's."""
    contenders: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        for form, path in files.items():
            what = f"{recurrence}, {form}: {backend}, batch {batch_size}"
            try:
                session = get_backend(backend).open(path, "cpu", SessionOptions(threads=2))
            except UnsupportedError as error:
                yield Row(what, "refused", result=str(error).partition(": ")[2][:60])
                continue
            query = stack.enter_context(session).bind(_feed(batch_size), Boundary.DEVICE)
            contenders[what] = partial(_milliseconds, query)
        taken = interleaved(contenders, _ROUNDS)
    ours = next(iter(taken.values()))
    for what, milliseconds in taken.items():
        yield Row(what, f"{milliseconds:.2f} ms", f"the zoo's {ours:.2f} ms", milliseconds / ours)


def _milliseconds(query: Query) -> float:
    """Median of a query, over a fifth of a second."""
    taken: list[int] = []
    while sum(taken) < _NANOSECONDS_EACH or len(taken) < 2:
        start = time.perf_counter_ns()
        query.run()
        taken.append(time.perf_counter_ns() - start)
    return median(taken) / 1e6
