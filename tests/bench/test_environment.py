"""The machine, against the standard library's own view of it."""

from __future__ import annotations

import os
import platform

import numpy as np
import pytest

from bench.environment import (
    LoadMark,
    PeakMemory,
    environment,
    package_versions,
)


def test_the_environment_is_this_machine() -> None:
    here = environment()
    assert here.python == platform.python_version()
    assert here.usable_cores <= (os.cpu_count() or 1)
    assert here.memory_bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert here.packages["numpy"] == np.__version__


def test_an_absent_package_has_no_version() -> None:
    assert package_versions(("numpy", "no-such-package")) == {"numpy": np.__version__}


def test_others_share_is_what_the_machine_did_beyond_this_process() -> None:
    cores = os.cpu_count() or 1
    earlier, later = LoadMark(0.0, 1.0, 10.0), LoadMark(10.0, 6.0, 10.0 + 5.0 + 2.0 * cores)
    assert later.others_since(earlier) == pytest.approx(0.2)


@pytest.mark.parametrize("machine", [10.0, 14.9])
def test_others_share_is_never_below_zero(machine: float) -> None:
    assert LoadMark(10.0, 6.0, machine).others_since(LoadMark(0.0, 1.0, 10.0)) == 0.0


def test_a_window_of_few_ticks_says_nothing() -> None:
    assert LoadMark(0.9, 0.0, 99.0).others_since(LoadMark(0.0, 0.0, 0.0)) is None


def test_the_load_so_far_grows() -> None:
    earlier = LoadMark.now()
    later = LoadMark.now()
    assert later.at >= earlier.at
    assert later.machine >= earlier.machine


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux can start the peak again")
def test_the_peak_of_memory_starts_again_and_sees_an_allocation() -> None:
    size = 64 << 20
    block = np.ones(4 * size, np.uint8)
    del block
    peak = PeakMemory()
    block = np.ones(size, np.uint8)
    del block
    assert 0.9 * size < peak.rise_bytes() < 2 * size
