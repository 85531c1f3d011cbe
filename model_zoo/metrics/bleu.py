"""Corpus BLEU by sacreBLEU (Papineni et al. 2002; Post 2018), on texts that are tokenised already."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.contract import not_installed
from model_zoo.metrics.sums import SumMetric

_ORDERS = 4


class Bleu(SumMetric):
    """truth, answer: a sentence, words apart by spaces.

    Pieces of words that end in "@@" are joined with what follows (MODELS.md 2.6). The signature is
    case:mixed, tok:none, smooth:exp. Raises UnavailableError where sacreBLEU is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counting = _sacrebleu()(tokenize="none", force=True)

    def parts(self, truth: str, answer: str) -> tuple[float, ...]:
        """Lengths of answer and truth, n-grams that are right, n-grams there are."""
        counted = self._counting.corpus_score([joined(answer)], [[joined(truth)]])
        lengths = float(counted.sys_len), float(counted.ref_len)
        return *lengths, *map(float, counted.counts), *map(float, counted.totals)

    def worst(self, truth: str) -> tuple[float, ...]:
        return self.parts(truth, "")

    def of_sums(self, sums: NDArray[np.float64]) -> float:
        answer, truth, *counts = np.rint(sums).astype(np.int64).tolist()
        found = self._counting.compute_bleu(
            correct=counts[:_ORDERS],
            total=counts[_ORDERS:],
            sys_len=answer,
            ref_len=truth,
            smooth_method="exp",
        )
        return float(found.score) / 100


def joined(sentence: str) -> str:
    """Words whole again, of pieces as subword-nmt marks them."""
    return f"{sentence} ".replace("@@ ", "").strip()


def _sacrebleu() -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise not_installed(error) from error
    return BLEU
