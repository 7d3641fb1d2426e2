"""A row of a results table: numbers, and where they come from."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import rsprune_lib
from rsprune_lib.device import describe_device
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure.cost import cost, deployed_cost
from rsprune_lib.measure.latency import Latency, latencies, latency
from rsprune_lib.measure.quality import evaluate
from rsprune_lib.measure.speed import Speed
from rsprune_lib.models import placement

__all__ = ["Result", "git_state", "measure", "measure_in_turn", "provenance"]

_REPOSITORY = Path(rsprune_lib.__file__).resolve().parents[1]


@dataclass(frozen=True)
class Result:
    """The measured numbers of one network, with their provenance; what was not measured is None.

    Attributes:
        name: what the row is about, such as ``"resnet18_se, ratio 0.7, attention"``.
        params: parameters.
        macs: multiply-accumulates for one image (convention: `rsprune_lib.measure.cost`).
        accuracy: share of right answers (images, or labelled pixels), in [0, 1].
        ci: 95 % interval of the leading number.
        ece: expected calibration error.
        nll: mean negative log-likelihood, nats.
        n: images behind the accuracy.
        per_class: leading number of each class, None for a class that does not occur.
        latency_ms: median time of a batch.
        latency_iqr_ms: its interquartile range.
        latency_least_ms: its shortest.
        speed: how much faster than the first network that was timed in turn with it, in words; "not clear: ..." where
            the spread is wider than the difference.
        batch: images a timed batch.
        part: part of the data set behind the accuracy: ``"train"``, ``"val"``, ``"test"``, or None for a mixture.
        metric: name of the leading number: ``"accuracy"`` or a key of ``metrics``.
        metrics: further numbers of the task, see `rsprune_lib.tasks`.
        deployed: ``params`` and ``macs`` without heads that only a loss reads, which is what was timed; None where the
            network has no such heads.
        provenance: see `provenance`.
    """

    name: str
    params: int
    macs: int
    accuracy: float | None = None
    ci: tuple[float, float] | None = None
    ece: float | None = None
    nll: float | None = None
    n: int | None = None
    per_class: tuple[float | None, ...] | None = None
    latency_ms: float | None = None
    latency_iqr_ms: float | None = None
    latency_least_ms: float | None = None
    speed: str | None = None
    batch: int | None = None
    part: str | None = None
    metric: str = "accuracy"
    metrics: dict[str, float | None] = field(default_factory=dict)
    deployed: dict[str, int] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; ``Result(**row)`` makes it a Result again."""
        row = asdict(self)
        if not self.metrics:  # a plain classifier has nothing else to say
            del row["metric"], row["metrics"]
        for key in ("speed", "deployed"):
            if row[key] is None:
                del row[key]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}


def measure(
    name: str,
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]] | None,
    *,
    image_size: int | None = None,
    seed: int | None = None,
    profile: str | None = None,
    timed: bool = True,
    threads: int | None = None,
    progress: bool = True,
) -> Result:
    """Measure everything about a network once.

    Args:
        name: name of the row.
        model: the network.
        batches: images with labels to judge it on; None leaves quality out.
        image_size: pixels a side for cost and latency; by default that of the data set behind ``batches``.
        seed: seed of the training behind the network; only recorded.
        profile: profile of the run; only recorded.
        timed: measure latency too (batch 1, on the network's device).
        threads: CPU threads of the latency.
        progress: show a progress bar.

    Raises:
        RspruneError: neither ``image_size`` nor the batches tell the size of an image.
    """
    data = getattr(batches, "data", None)
    size = image_size or getattr(data, "image_size", None)
    if size is None:
        raise RspruneError("The size of an image is not known; give image_size, or batches of a data set.")
    numbers: dict[str, Any] = asdict(cost(model, size))
    if (less := deployed_cost(model, size)) is not None:
        numbers["deployed"] = asdict(less)
    if batches is not None:
        row = evaluate(model, batches, progress=progress).to_dict()
        del row["confusion"]
        numbers |= row | {"ci": tuple(row["ci"]), "per_class": tuple(row["per_class"]), "part": _part(batches)}
    if timed:
        numbers |= times_of(latency(model, size, threads=threads))
    info = data.info() if data is not None else None
    origin = provenance(info, seed=seed, profile=profile, device=placement(model)[0])
    return Result(name, **numbers, provenance=origin)


def measure_in_turn(
    models: Mapping[str, nn.Module],
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    seeds: Mapping[str, int] | int | None = None,
    profile: str | None = None,
    rounds: int = 10,
    progress: bool = True,
) -> list[Result]:
    """Measures networks that are compared: their times are taken in turn, in the same minute.

    Args:
        models: name of the row -> network; the first one is what the others' speed is stated against.
        batches: images with labels of a data set, to judge them on.
        seeds: seed of the training behind all, or behind each; only recorded.
        profile: profile of the run; only recorded.
        rounds: how often each is timed, see `latencies`.
        progress: show progress bars.

    Returns:
        One row a network.
    """
    times = latencies(list(models.values()), batches.data.image_size, rounds=rounds)
    rows = []
    for (name, model), took in zip(models.items(), times, strict=True):
        seed = seeds.get(name) if isinstance(seeds, Mapping) else seeds
        row = measure(name, model, batches, seed=seed, profile=profile, timed=False, progress=progress)
        words = str(Speed.of(times[0], took)) if rows else None
        rows.append(replace(row, **times_of(took), speed=words))
    return rows


def times_of(took: Latency) -> dict[str, float | int]:
    """A latency as fields of a `Result`."""
    return {
        "latency_ms": took.median_ms,
        "latency_iqr_ms": took.iqr_ms,
        "latency_least_ms": took.least_ms,
        "batch": took.batch,
    }


def _part(batches: object) -> str | None:
    """Name of the part that all images of the batches come from, found by their indices; None if there is none."""
    indices, split = getattr(batches, "indices", None), getattr(getattr(batches, "data", None), "split", None)
    if indices is None or split is None:
        return None
    return next((part for part in ("train", "val", "test") if np.isin(indices, getattr(split, part)).all()), None)


def provenance(
    data_info: dict[str, Any] | None,
    *,
    seed: int | None,
    profile: str | None = None,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Where numbers come from; JSON-able.

    Args:
        data_info: `Dataset.info`, of which name, synthetic, image_size, content_hash and split_hash are kept.
        seed: seed of the run.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``.
        device: where it ran; the CPU by default.

    Returns:
        ``data``, ``seed``, ``profile``, ``device`` (in words), ``threads``, ``versions``, ``git`` (see `git_state`) and
        ``date`` (UTC, ISO 8601).
    """
    kept = ("name", "synthetic", "image_size", "content_hash", "split_hash")
    return {
        "data": None if data_info is None else {key: data_info[key] for key in kept if key in data_info},
        "seed": seed,
        "profile": profile,
        "device": describe_device(device or torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "versions": _versions(),
        "git": git_state(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_state(folder: Path = _REPOSITORY) -> dict[str, Any] | None:
    """Commit of the repository that this library was loaded from, whatever the current folder is.

    Returns:
        ``commit`` (40 hexadecimal digits) and ``dirty`` (True if a tracked file differs from it). None where ``folder``
        is no repository of its own (an installed package), has no commit yet, or git is missing.
    """
    if not (folder / ".git").exists():  # git itself would climb to whatever repository is around
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *command: str) -> str:
    """Output of a git command; variables such as GIT_DIR would point it elsewhere, and no lock is taken."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *command],
        env=clean | {"GIT_OPTIONAL_LOCKS": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version(), "rsprune": rsprune_lib.__version__}
    for package in ("torch", "torch-pruning"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions
