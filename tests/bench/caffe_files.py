"""Caffe networks as files in the current folder, and what `bench export` makes of them."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from bench import cli
from bench.manifest import GraphEntry, Manifest, read_manifest
from exporters.caffe.source import CaffeSource
from runtime.tensors import Feed
from tests.exporters.caffe.networks import Blobs, caffemodel, prototxt, run_onnx, values

FLAGS = ("--prototxt", "net.prototxt", "--caffemodel", "net.caffemodel", "--out", "bundle")


def write_network(layers: str, blobs: Blobs, *shape: int) -> None:
    """A network with one input `data`, as net.prototxt and net.caffemodel."""
    write_files(prototxt(layers, *shape), caffemodel(blobs or {"of another network": [values(1)]}))


def write_source(source: CaffeSource) -> None:
    """Its two files, as net.prototxt and net.caffemodel."""
    write_files(source.prototxt, bytes(source.caffemodel))


def write_files(text: str, blobs: bytes) -> None:
    """net.prototxt and net.caffemodel."""
    Path("net.prototxt").write_text(text)
    Path("net.caffemodel").write_bytes(blobs)


def export(*flags: object) -> int:
    """The exit code of `bench export` of these files to `bundle`."""
    return cli.main(["export", *FLAGS, *map(str, flags)])


def manifest(folder: str = "bundle") -> Manifest:
    """What the bundle says of itself."""
    found = read_manifest(Path(folder) / "manifest.json")
    assert found is not None
    return found


def fp32(folder: str = "bundle") -> GraphEntry:
    """What the bundle says of its FP32 graph."""
    return manifest(folder).graphs["fp32"]


def run(feed: Feed, folder: str = "bundle") -> Feed:
    """The outputs of the bundle's FP32 graph in ONNX Runtime."""
    return run_onnx(ir.load(Path(folder) / "fp32.onnx"), feed)
