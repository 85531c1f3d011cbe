"""The compiled schema of Caffe's files, or one line on why it cannot be used."""

from __future__ import annotations

from types import ModuleType

from runtime.errors import UnavailableError


def schema() -> ModuleType:
    """The module `caffe_pb2`; raises UnavailableError where protobuf is absent or older than the schema's."""
    try:
        from google.protobuf import runtime_version
    except ImportError as error:
        raise UnavailableError(
            f"reading Caffe files needs the package protobuf ({error}); pip install '.[export]' in the clone"
        ) from error
    try:
        from exporters.caffe import caffe_pb2
    except runtime_version.VersionError as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(
            f"the installed protobuf is older than Caffe's schema: {reason};"
            " pip install '.[export]' in the clone"
        ) from error
    return caffe_pb2
