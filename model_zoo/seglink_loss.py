"""What SegLink learns by (Shi et al. 2017, section 3.3): segments and their places, and links."""

from __future__ import annotations

from typing import Any

from model_zoo.single_shot_loss import counted, number_of, smooth_l1

Tensor = Any  # TensorFlow ships no types


def loss(segments: Tensor, offsets: Tensor, links: Tensor, wanted: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Equation 6, with weights of 1, over a batch.

    segments: [batch, cells, 2], the scores of "no" and "yes".     offsets: [batch, cells, 6].
    links:    [batch, links, 2], local and cross ones alike.
    wanted:   segments [batch, cells], offsets [batch, cells, 6] and links [batch, links]; 0 or 1.
    """
    import tensorflow as tf

    there, places, joined = wanted
    distances = smooth_l1(offsets, places) * tf.cast(there, tf.float32)
    located = tf.reduce_sum(distances) / number_of(there > 0)
    return _mined_entropy(segments, there) + located + _mined_entropy(links, joined)


def _mined_entropy(scores: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy over the positive ones and the worst negative ones, divided by the positive ones."""
    import tensorflow as tf

    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, scores)
    positive = wanted > 0
    return tf.reduce_sum(entropy * counted(entropy, positive)) / number_of(positive)
