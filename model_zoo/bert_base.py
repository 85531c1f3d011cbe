"""BERT-Base with BERT-Large's task: the smaller of the two networks of Devlin et al. 2018."""

from __future__ import annotations

from model_zoo.bert import model_of
from model_zoo.bert_network import Bert, BertSize

BASE = Bert(BertSize(layers=12, hidden=768, heads=12, intermediate=3072), sequence_length=384)

SPEC = model_of("bert-base", "BERT-Base", BASE, None, {})
