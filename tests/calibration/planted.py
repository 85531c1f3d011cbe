"""A network with one bad layer: a channel of what it reads is a thousand times as large as the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.calibration import tiny

BAD = "bad"
_TEXT = """
<ir_version: 10, opset_import: ["": 22]>
planted (float[batch,3,16,16] images) => (float[batch,10] logits) {
    [stem] c1 = Conv<pads=[1,1,1,1]>(images, w1)
    [stem_relu] r1 = Relu(c1)
    [second] c2 = Conv<pads=[1,1,1,1]>(r1, w2)
    [second_relu] r2 = Relu(c2)
    [outlier] s2 = Mul(r2, gains)
    [bad] c3 = Conv<pads=[1,1,1,1]>(s2, w3)
    [bad_relu] r3 = Relu(c3)
    [fourth] c4 = Conv<pads=[1,1,1,1]>(r3, w4)
    [fourth_relu] r4 = Relu(c4)
    [gap] g = GlobalAveragePool(r4)
    [flat] f = Flatten(g)
    [classify] logits = MatMul(f, w5)
}
"""
_CHANNEL, _FACTOR = 3, np.float32(1000)


def planted(folder: Path) -> Path:
    """Reads tiny.images. The weights of the large channel are small, so that all channels count alike.

    One scale for all channels leaves nothing of the other seven.
    """
    random = np.random.default_rng(5)
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8, 3, 3), "w4": (8, 8, 3, 3), "w5": (8, 10)}
    weights = {
        name: (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes.items()
    }
    gains = np.ones((1, 8, 1, 1), np.float32)
    gains[0, _CHANNEL] = _FACTOR
    weights["w3"][:, _CHANNEL] /= _FACTOR
    return tiny.write(folder / "planted.onnx", _TEXT, {}, gains=gains, **weights)
