from __future__ import annotations

import inspect

import pytest

from runtime import errors


def test_every_error_is_a_harness_error_and_stands_in_the_tree_at_the_top() -> None:
    classes = [
        cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__
    ]
    assert all(issubclass(cls, errors.HarnessError) for cls in classes)
    assert all(f"{cls.__name__} " in (errors.__doc__ or "") for cls in classes)


def test_only_a_failed_check_exits_with_1() -> None:
    codes = {cls: cls.exit_code for cls in errors.HarnessError.__subclasses__()}
    assert codes.pop(errors.CheckFailed) == 1
    assert set(codes.values()) == {2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet5O",
            "unknown model 'resnet5O': did you mean resnet50 or resnet101? valid: bert, resnet101, resnet50",
        ),
        ("xyzzy", "unknown model 'xyzzy': valid: bert, resnet101, resnet50"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_ones(name: str, message: str) -> None:
    assert str(errors.unknown_name("model", name, ["resnet50", "bert", "resnet101"])) == message
