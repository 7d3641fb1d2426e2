"""The one place that knows device names. Nothing needs a GPU, everything can use one."""

import ctypes
import gc
import os
import platform
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from rsprune_lib.errors import RspruneError

__all__ = [
    "describe_device",
    "give_memory_back",
    "give_way",
    "pick_device",
    "seeded",
    "settle_memory",
    "supports_bf16",
    "synchronize",
]


def pick_device() -> torch.device:
    """Returns the device to compute on: ``RSPRUNE_DEVICE`` if set, else a GPU if there is one, else the CPU.

    Raises:
        RspruneError: ``RSPRUNE_DEVICE`` names a device that is not here.
    """
    wanted = os.environ.get("RSPRUNE_DEVICE")
    if not wanted:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        torch.empty(0, device=wanted).tolist()  # also of "meta", which holds no values
    except (RuntimeError, AssertionError):
        raise RspruneError(
            f"RSPRUNE_DEVICE={wanted!r} is no device of this machine; set it to 'cpu', or unset it to choose by itself."
        ) from None
    return torch.device(wanted)


def supports_bf16(device: torch.device) -> bool:
    """Returns whether bfloat16 is computed by the hardware, not emulated (which would be slower than float32)."""
    if device.type == "cpu":
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


@contextmanager
def seeded(device: torch.device, *key: int) -> Iterator[None]:
    """Seeds the global generators of PyTorch, NumPy and Python inside; afterwards they are as they were.

    Args:
        device: its generator is seeded along with the CPU's.
        key: whole numbers of at least 0 that the draws depend on, e.g. seed and epoch.

    Example:
        >>> with seeded(torch.device("cpu"), 0, 3):
        ...     mask = torch.rand(4)
    """
    number = int(np.random.SeedSequence(key).generate_state(1)[0])
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - libraries draw from the global one
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002
        random.seed(number)
        try:
            yield
        finally:
            np.random.set_state(legacy)  # noqa: NPY002
            random.setstate(python)


def synchronize(device: torch.device) -> None:
    """Waits until everything queued on ``device`` is done (nothing to do on the CPU)."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def describe_device(device: torch.device) -> str:
    """Returns the hardware in words, e.g. ``"AMD EPYC, 2 cores"`` or ``"NVIDIA H200"``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def give_way() -> None:
    """Lets this thread, and those that PyTorch starts for it, work where a core is free; only Linux can do that.

    For work behind a page: the thread that answers the page, its server and its browser come first.
    """
    if platform.system() == "Linux":  # elsewhere a priority is the whole process's
        thread = threading.get_native_id()  # never up: who was started with less has no right to more
        os.setpriority(os.PRIO_PROCESS, thread, max(10, os.getpriority(os.PRIO_PROCESS, thread)))


def settle_memory() -> None:
    """For a program that is ready to answer a person: what can be freed is freed, what is there is left alone.

    A collection of all objects that PyTorch and its users make takes a quarter of a second, in the middle of a move;
    those that are there by now are taken out of it until the next call. And glibc keeps what was freed, for the next
    tensors: some hundred MB after calibration; here it goes back to the operating system.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    give_memory_back()


def give_memory_back() -> None:
    """Returns memory that was freed to the operating system; does nothing where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if platform.system() == "Linux" else None
    if trim is not None:
        trim(0)
