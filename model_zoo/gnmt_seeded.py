"""Seeded weights for a GNMT that translates: word for word, and not quite in the dictionary's words.

Random weights alone give a decoder that hardly looks at its sentence, ends at no sensible place, and chooses
between words whose logits are a quarter of a deviation apart: no precision could be judged by what it says.
A trained network's answer hangs on the sentence, and most of its choices are clear. So do these:

- Content. Half of the units carry a word, feature by feature, from its embedding through the encoder, the
  attention and the decoder to the logits, where each target word's column resembles the embedding of the
  source word it stands for.
- Clock. Pairs of units turn into each other, every pair at another speed, in the encoder's second layer and
  in the decoder's first, from the same start. The attention compares the two: it looks at word after word.
- Countdown. One unit counts the words as the encoder reads backwards; the decoder's first layer starts from
  that count and takes off for each word about one, how much being a feature of the word. Below zero, `</s>`
  is the likeliest.
- Context. All other units are random cells. They read all that there is and say something of every logit,
  which decides where the dictionary is in doubt.

Made of IEEE operations on single elements only, in a fixed order: the same bytes on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_zoo.gnmt import (
    ATTENTION,
    BACKWARD,
    END,
    FIRST_WORD,
    FORGET_BIAS,
    FORWARD,
    MEMORY_LAYER,
    PROJECTION,
    SOURCE_EMBEDDING,
    TARGET_EMBEDDING,
    Gnmt,
    decoder_scope,
    encoder_scope,
)
from model_zoo.seeded import seeded_normal

Tensor = NDArray[np.float32]

_ENTER, _CANDIDATE, _FORGET, _LEAVE = range(4)

_OPEN = 6.0
"""Bias of a gate that is always open, or with the other sign always shut: 0.9975 of what there is passes."""

_CONTEXT_GATE = 1.5
"""Deviation of a random cell's gates before their sigmoid."""

_CONTENT_GAIN = 1.5
"""What a content unit reads is multiplied with, so that it does not fade from layer to layer."""

_SLOWEST, _FASTEST = 0.04, 0.5
"""Radians that a pair of the clock turns in a step; sentences are up to 50 words."""

_CLOCK_RADIUS = 0.5
_CLOCK_KEPT = 4.0
"""Bias of the clock's forget gates: what turns in steps would grow otherwise."""

_COUNT = 0.1
"""What the countdown takes for a word, and the deviation of it that words have."""
_COUNT_DEVIATION = 0.03
_COUNT_GAIN = 20.0

_WIDTH = 1.0
"""Half the width of the attention's bumps tanh(z + 1) - tanh(z - 1), z the difference of two clocks."""
_BUMP = 1.5231884
"""Their height, 2 tanh(1)."""
_CLOCK_GAIN = 4.0
_SCORE = 20.0
"""Of the attention, where the clocks agree; over the next words it falls by a third."""
_DISTRACTION = 0.1
"""Deviation of what else keys and queries hold."""

_CONTENT_LOGIT = 9.0
_CONTEXT_LOGIT = 1.5
_END_LOGIT = 40.0
_CONTENT_PRODUCT = 0.45
"""Mean product of a word's feature and what the last layer says of it."""
_CONTEXT_DEVIATION = 0.5
"""Of what a random cell says, with the residuals."""


def seeded_weights(network: Gnmt) -> dict[str, Tensor]:
    """Every tensor of `network.shapes()`."""
    weights = {
        SOURCE_EMBEDDING: _normal(SOURCE_EMBEDDING, (network.source_vocabulary, network.units)),
        TARGET_EMBEDDING: _normal(TARGET_EMBEDDING, (network.target_vocabulary, network.units)),
        **_encoder(network),
        **_decoder(network),
        **_attention(network),
    }
    return weights | {PROJECTION: _projection(network, weights[SOURCE_EMBEDDING])}


class _Units:
    """Which units of every layer do what."""

    def __init__(self, units: int) -> None:
        self.clock = slice(0, units // 8)
        self.count = units // 8
        self.context = slice(units // 8 + 1, units // 2)
        self.content = slice(units // 2, units)


class _LstmCell:
    """A cell being made: of random units at first, some of which become others.

    kernel: [rows, 4, units], rows being what it reads, `units` at a time, and then its own state.
    """

    def __init__(self, scope: str, units: int, inputs: int) -> None:
        self.scope, self.units = scope, units
        rows = (inputs + 1) * units
        self.kernel = _normal(f"{scope}/kernel", (rows, 4, units), _CONTEXT_GATE / math.sqrt(rows))
        self.bias = np.zeros((4, units), np.float32)

    def repeat(self, mine: slice | int, rows: slice | int | None = None, gain: float = 1.0) -> None:
        """Units that say what stands in `rows`, one for one, times `gain`; without rows, nothing."""
        self._open(mine, -_OPEN)
        if rows is not None:
            self.kernel[_numbers(rows), _CANDIDATE, _numbers(mine)] = gain

    def count(self, mine: int, each: float) -> None:
        """A unit that keeps a sum, and adds `each` in every step."""
        self._open(mine, 2 * _OPEN)
        self.bias[_CANDIDATE, mine] = each

    def turn(self, mine: slice) -> None:
        """Pairs of units that turn into each other, around a point they do not start from."""
        self._open(mine, _CLOCK_KEPT)
        first, second = _numbers(mine)[::2], _numbers(mine)[1::2]
        speeds = _speeds(len(first))
        own = len(self.kernel) - self.units
        self.kernel[own + first, _CANDIDATE, second] = speeds
        self.kernel[own + second, _CANDIDATE, first] = -speeds
        self.bias[_CANDIDATE, first] = speeds * np.float32(_CLOCK_RADIUS)

    def tensors(self) -> dict[str, Tensor]:
        shape = (len(self.kernel), 4 * self.units)
        return {
            f"{self.scope}/kernel": self.kernel.reshape(shape),
            f"{self.scope}/bias": self.bias.reshape(-1),
        }

    def _open(self, mine: slice | int, forget: float) -> None:
        self.kernel[:, :, mine] = 0
        self.bias[_ENTER, mine] = self.bias[_LEAVE, mine] = _OPEN
        self.bias[_FORGET, mine] = forget - FORGET_BIAS


def _encoder(network: Gnmt) -> dict[str, Tensor]:
    roles = _Units(network.units)
    ahead, back = (_LstmCell(scope, network.units, 1) for scope in (FORWARD, BACKWARD))
    ahead.repeat(roles.content, roles.content)
    back.repeat(roles.clock)  # the decoder's clock starts from its state
    back.count(roles.count, _COUNT)
    second = _LstmCell(encoder_scope(1), network.units, 2)
    second.repeat(roles.content, roles.content, _CONTENT_GAIN)
    second.turn(roles.clock)
    second.repeat(roles.count)
    rest = [_LstmCell(encoder_scope(layer), network.units, 1) for layer in range(2, network.layers)]
    return _tensors([ahead, back, second, *(_context_only(cell) for cell in rest)])


def _decoder(network: Gnmt) -> dict[str, Tensor]:
    units, roles = network.units, _Units(network.units)
    first, second, *rest = (_LstmCell(decoder_scope(layer), units, 2) for layer in range(network.layers))
    first.turn(roles.clock)
    first.count(roles.count, -_COUNT)
    first.kernel[roles.count, _CANDIDATE, roles.count] = _COUNT_DEVIATION
    attended = slice(units + roles.content.start, units + roles.content.stop)
    second.repeat(roles.content, attended, _CONTENT_GAIN)
    second.repeat(roles.count, roles.count, _COUNT_GAIN)
    second.repeat(roles.clock)
    return _tensors([first, second, *(_context_only(cell) for cell in rest)])


def _context_only(cell: _LstmCell) -> _LstmCell:
    """A cell of a layer with a residual, which leaves all that is no context as it is."""
    roles = _Units(cell.units)
    for mine in (roles.clock, roles.count, roles.content):
        cell.repeat(mine)
    return cell


def _attention(network: Gnmt) -> dict[str, Tensor]:
    units, clock = network.units, _Units(network.units).clock
    query = f"{ATTENTION}/query_layer/kernel"
    distraction = _DISTRACTION / math.sqrt(units)
    kernels = {name: _normal(name, (units, units), distraction) for name in (MEMORY_LAYER, query)}
    pairs = units // 2
    gain = _CLOCK_GAIN / math.sqrt(clock.stop)
    # two units of the attention read the same, and stand for the two flanks of a bump
    seen = np.repeat(_normal(f"{ATTENTION}/clock", (clock.stop, pairs), gain), 2, axis=1)
    kernels[MEMORY_LAYER][clock], kernels[query][clock] = seen, -seen
    flanks = np.tile(np.array([1, -1], np.float32), pairs)
    return {
        **kernels,
        f"{ATTENTION}/attention_v": flanks,
        f"{ATTENTION}/attention_b": flanks * np.float32(_WIDTH),
        f"{ATTENTION}/attention_g": np.array(_SCORE * math.sqrt(units) / (pairs * _BUMP), np.float32),
    }


def _projection(network: Gnmt, source: Tensor) -> Tensor:
    """[units, vocabulary]: the dictionary, what the context says, and the end."""
    roles, words = _Units(network.units), network.target_vocabulary
    meant = FIRST_WORD + np.arange(words - FIRST_WORD)[::-1] % (network.source_vocabulary - FIRST_WORD)
    content = source[meant, roles.content].T
    context = roles.context.stop - roles.context.start
    projection = np.zeros((network.units, words), np.float32)
    projection[roles.content, FIRST_WORD:] = content * np.float32(
        _CONTENT_LOGIT / (len(content) * _CONTENT_PRODUCT)
    )
    projection[roles.context, FIRST_WORD:] = _normal(
        PROJECTION,
        (context, words - FIRST_WORD),
        _CONTEXT_LOGIT / (_CONTEXT_DEVIATION * math.sqrt(context)),
    )
    projection[roles.count, END] = -_END_LOGIT
    return projection


def _speeds(pairs: int) -> Tensor:
    """Radians a step, evenly from the slowest to the fastest."""
    steps = np.arange(pairs, dtype=np.float32) / np.float32(max(pairs - 1, 1))
    speeds: Tensor = np.float32(_SLOWEST) + steps * np.float32(_FASTEST - _SLOWEST)
    return speeds


def _numbers(units: slice | int) -> NDArray[np.int64]:
    return np.arange(units.start, units.stop) if isinstance(units, slice) else np.array([units])


def _tensors(cells: list[_LstmCell]) -> dict[str, Tensor]:
    return {name: tensor for cell in cells for name, tensor in cell.tensors().items()}


def _normal(name: str, shape: tuple[int, ...], deviation: float = 1.0) -> Tensor:
    values = seeded_normal(name, shape)
    values *= np.float32(deviation)
    return values
