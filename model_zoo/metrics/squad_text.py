"""How SQuAD compares texts: what is left of an answer when its form no longer counts (evaluate-v1.1)."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, without ASCII punctuation, then without articles, single spaces between words."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def best_of(truths: Sequence[str], answer: str, compare: Callable[[str, str], float]) -> float:
    """How well an answer compares with the truth it is closest to; 0 where there is none."""
    return max((compare(truth, answer) for truth in truths), default=0.0)
