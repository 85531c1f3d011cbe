"""bench show in words: GCN on a network of papers small enough to be followed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from model_zoo import catalog, gcn
from model_zoo.gcn_network import FIRST, SECOND, Gcn
from model_zoo.spec import ModelSpec

NETWORK = Gcn("cora", papers=60, vocabulary=3, classes=3, edges=60, words=60)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Papers without links; each has the word of its class."""
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    variant = gcn._variant(NETWORK)
    monkeypatch.setitem(catalog.MODELS, "gcn", lambda: ModelSpec("gcn", "GCN", None, {"": variant}))
    lines = [f"p{n} {' '.join('1' if w == n % 3 else '0' for w in range(3))} c{n % 3}" for n in range(60)]
    (tmp_path / "tiny.content").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "tiny.cites").write_text("", encoding="utf-8")
    # 20 papers a class are to learn from, so nothing would be left to be judged on
    monkeypatch.setattr("model_zoo.citations.TRAINED_PER_CLASS", 5)
    monkeypatch.setattr("model_zoo.citations.VALIDATED", 0)
    first, second = np.zeros((3, 16), np.float32), np.zeros((16, 3), np.float32)
    first[range(3), range(3)] = second[range(3), range(3)] = 1
    np.savez(tmp_path / "w.npz", **{FIRST: first, SECOND: second})  # type: ignore[arg-type]
    return tmp_path


def test_the_answers_are_told_one_by_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["show", "--model", "gcn", "--data", str(folder), "--weights", str(folder / "w.npz")]
    assert main([*command, "--samples", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["told"]) == 3
    for told in said["told"]:
        assert told["more"] == [f"labelled {told['answer']}"]
    assert main([*command, "--samples", "2"]) == 0
    out = capsys.readouterr().out
    assert "weights: w.npz" in out
    assert out.count("labelled") == 2


def test_data_of_another_size_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tiny.content").write_text("p1 1 0 a\np2 0 1 b\n", encoding="utf-8")
    assert main(["show", "--model", "gcn", "--data", str(folder)]) == 2
    assert "2 papers, 2 words and 2 classes, the network 60, 3 and 3" in capsys.readouterr().err


def test_feeds_of_the_users_own_go_through_the_models_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from model_zoo.gcn_network import Form

    edges = gcn._variant(replace(NETWORK, form=Form.EDGES))
    monkeypatch.setitem(catalog.MODELS, "gcn", lambda: ModelSpec("gcn", "GCN", None, {"": edges}))
    feed = {
        "features": np.ones((1, 60, 3), np.float32),
        "adjacency_places": np.full((1, 4, 2), 60, np.int32),
        "adjacency_values": np.ones((1, 4), np.float32),
    }
    np.savez(folder / "feed.npz", **feed)  # type: ignore[arg-type]
    assert main(["ort", "--model", "gcn", "--feeds", str(folder / "feed.npz")]) == 2
    err = capsys.readouterr().err
    assert "input 'adjacency_places' at [0, 0]: row 60 is not within 0 to 59; mend this and 3 others" in err
