"""SQuAD 1.1's F1 of words (Rajpurkar et al. 2016, section 6.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from model_zoo.metrics.squad_text import best_of, normalised
from model_zoo.metrics.sums import MeanMetric


class WordF1(MeanMetric):
    """truth: the answers that people gave.     answer: a text. The best F1 of its words with theirs."""

    def score(self, truth: Sequence[str], answer: str) -> float:
        return best_of(truth, answer, word_f1)


def word_f1(truth: str, answer: str) -> float:
    """2PR / (P + R) of the normalised words, each as often as it occurs; 0 where none is shared."""
    wanted, given = normalised(truth).split(), normalised(answer).split()
    shared = sum((Counter(wanted) & Counter(given)).values())
    return 2 * shared / (len(wanted) + len(given)) if shared else 0.0
