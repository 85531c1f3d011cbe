"""What the machine is and what runs on it: small collectors, none of which names host or user."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from bench.record import EnvironmentRecord

FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "amx_fp16")
"""Processor features that decide which kernels a runtime picks (names of /proc/cpuinfo)."""

PACKAGES = (
    "aimatrix", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino",
    "tensorrt", "tensorrt-rtx-cu13", "tensorflow", "tensorflow-cpu", "tf2onnx", "protobuf",
    "opencv-python-headless",
)  # fmt: skip


def environment() -> EnvironmentRecord:
    """The machine and its software, as they are now."""
    cpuinfo = _read("/proc/cpuinfo") or ""
    present = set(_field(cpuinfo, "flags").split())
    battery = psutil.sensors_battery()
    return EnvironmentRecord(
        cpu=_field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        cpu_features=tuple(name for name in FEATURES if name in present),
        physical_cores=psutil.cpu_count(logical=False),
        usable_cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=package_versions(PACKAGES),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        on_battery=None if battery is None else not battery.power_plugged,
    )


def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Name to version of the packages that are installed, importing none."""
    return {name: version for name in names if (version := package_version(name))}


def package_version(name: str) -> str | None:
    """A package's version, or None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def usable_cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class LoadMark:
    """Processor time used so far, by this process and by the whole machine, in seconds."""

    at: float
    own: float
    machine: float

    @classmethod
    def now(cls) -> LoadMark:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        return cls(time.perf_counter(), time.process_time(), sum(times[:8]) - idle)

    def others_since(self, earlier: LoadMark) -> float | None:
        """Share (0..1) of all processors that other programs took since then; None below a second.

        NOTE: the kernel counts in ticks of 10 ms, so a shorter window says nothing.
        """
        wall = self.at - earlier.at
        if wall < 1.0:
            return None
        others = (self.machine - earlier.machine) - (self.own - earlier.own)
        return min(1.0, max(0.0, others / (wall * (os.cpu_count() or 1))))


class PeakMemory:
    """How far the process's resident memory rose above where it was, at its highest."""

    def __init__(self) -> None:
        _give_back_free_memory()
        # Starts the kernel's high-water mark again (Linux); elsewhere the figure is what stays held.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = resident_bytes()

    def rise_bytes(self) -> int:
        """The highest rise since this was made."""
        return max(0, _resident_bytes("VmHWM") - self._before)

    def held_bytes(self) -> int:
        """What is held now of that rise."""
        return max(0, resident_bytes() - self._before)


def used_device_bytes(device: str) -> int | None:
    """Bytes of an NVIDIA device's memory that are in use, by whomever; None of other devices.

    None, too, where the driver does not tell: not known is not nothing.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(index or 0))
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    except pynvml.NVMLError:
        return None


def resident_bytes() -> int:
    """What this process holds in memory now."""
    return _resident_bytes("VmRSS")


def _give_back_free_memory() -> None:
    """Without it ResNet50 rose by 250 MB after an export, whose memory it took again, and else by 387."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)


def _resident_bytes(field: str) -> int:
    kilobytes = _field(_read("/proc/self/status") or "", field)
    return int(kilobytes.split()[0]) * 1024 if kilobytes else int(psutil.Process().memory_info().rss)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
