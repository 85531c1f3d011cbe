"""What MaybeShewill-CV/CRNN_Tensorflow calls its tensors (crnn_model/crnn_net.py and cnn_basenet.py).

All below the scope `shadow_net`. Not certain: of cnn_basenet.py, which names normalisations, only copies in
other projects could be read. The cell's name is TensorFlow's own and depends on its class, so that both that
were used are tried.
"""

from __future__ import annotations

from model_zoo.crnn_layers import DIRECTIONS

_FEATURES = "feature_extraction_module"
_SEQUENCE = "sequence_rnn_module"

_WHOLE_STAGES = frozenset({"conv1", "conv2"})
"""Convolution, normalisation and pooling below one scope; of the others each is on its own."""

_PARTS = {"kernel": "W", "bias": "b"}
_DIRECTIONS = dict(zip(DIRECTIONS, ("fw", "bw"), strict=True))
_CELLS = ("lstm_cell", "basic_lstm_cell")


def original_names(name: str) -> tuple[str, ...]:
    """Of a tensor of `crnn_layers`: the names it may have."""
    layer, *scopes, part = name.split("/")
    if layer == "logits":
        return (f"{_SEQUENCE}/w",)
    if layer.startswith("lstm"):
        cell = int(layer.removeprefix("lstm")) - 1
        scope = f"stack_bidirectional_rnn/cell_{cell}/bidirectional_rnn/{_DIRECTIONS[scopes[0]]}"
        return tuple(f"{_SEQUENCE}/{scope}/{kind}/{part}" for kind in _CELLS)
    if scopes == ["bn"]:
        own = f"{layer}/bn" if layer in _WHOLE_STAGES else layer.replace("conv", "bn")
        return (f"{_FEATURES}/{own}/{part}",)
    own = f"{layer}/conv" if layer in _WHOLE_STAGES else layer
    return (f"{_FEATURES}/{own}/{_PARTS[part]}",)
