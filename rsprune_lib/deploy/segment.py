"""Classes for every pixel of a scene of any size, with a network that was trained on windows of one size."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from rsprune_lib.deploy.map_files import MAPS, is_map, write_geotiff, write_png
from rsprune_lib.deploy.partial import Partial, folder_of
from rsprune_lib.deploy.scenes import Scene, available, open_scene, room_for
from rsprune_lib.deploy.segmenter import Segmenter
from rsprune_lib.deploy.truth import check_labels
from rsprune_lib.deploy.windows import Grid, strips
from rsprune_lib.device import pick_device
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic, remove_leftovers
from rsprune_lib.models import evaluating

__all__ = ["Segmented", "segment_scene"]

_STEP = 1 / 250  # of probabilities in a file; 255 is no data


@dataclass(frozen=True)
class Segmented:
    """What `segment_scene` did.

    Attributes:
        out: the map of classes.
        size: (height, width).
        pixels: of each class, K.
        nodata: pixels without data.
        windows: of the whole scene.
        seconds: of this run.
        note: which bands were taken, where that is a choice.
    """

    out: Path
    size: tuple[int, int]
    pixels: tuple[int, ...]
    nodata: int
    windows: int
    seconds: float
    note: str | None


def segment_scene(
    segmenter: Segmenter,
    path: str | Path,
    out: str | Path,
    *,
    window: tuple[int, int] | None = None,
    overlap: int | None = None,
    blend: bool = True,
    bands: str | None = None,
    probabilities: str | Path | None = None,
    truth: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
) -> Segmented:
    """Writes the map of classes of a scene: a cloud-optimised GeoTIFF with the scene's place, or a PNG.

    Memory is bounded, however high the scene (see `strips`). What is finished stands in a folder ``OUT.part`` and is
    taken up by ``resume``, to the same map; under its own name a map appears when it is whole. Pixels without data in
    the scene have none in the map.

    Args:
        segmenter: the network.
        path: the scene: GeoTIFF, JPEG 2000, PNG, JPEG.
        out: the map, ``.tif`` or ``.png``.
        window: see `segment_array`.
        overlap: see `segment_array`.
        blend: see `segment_array`.
        bands: in place of the segmenter's.
        probabilities: a ``.tif`` for the class probabilities too, a band a class.
        truth: labels that the map shall be compared with; their size is checked first.
        resume: go on with an interrupted run.
        force: replace maps, and drop an interrupted run.
        progress: show a bar.

    Raises:
        DataError: the scene cannot be read.
        RspruneError: the map cannot be written, or is there already.
    """
    out, shares_out, began = Path(out), probabilities and Path(probabilities), time.monotonic()
    if resume and not folder_of(out).is_dir():
        raise RspruneError(f"Found no interrupted run {folder_of(out)} to go on with; leave --resume out.")
    # With an interrupted run, a map that is there may be one of two that were to be written.
    _check_out(out, shares_out, [path, *([truth] if truth is not None else [])], force or resume)
    with open_scene(path, bands or segmenter.bands) as scene:
        if truth is not None:
            check_labels(truth, scene.size, segmenter.classes, segmenter.palette)
        job = _Job(segmenter, scene, out, shares_out, segmenter.grid(scene.size, window, overlap, blend))
        job.check_memory()
        with job.partial(resume=resume, force=force) as partial:
            room_for(partial.folder, job.needed(partial.rows), "The map")
            job.run(partial, progress)
            job.write(partial)
            counts = job.counted(partial)
    windows = len(job.grid.starts(0)) * len(job.grid.starts(1))
    pixels = tuple(counts[: len(segmenter.classes)].tolist())
    return Segmented(out, scene.size, pixels, int(counts[job.nodata]), windows, time.monotonic() - began, scene.note)


def _check_out(out: Path, shares_out: Path | None, inputs: Sequence[str | Path], force: bool) -> None:
    """Refuses names that are no maps, and files that are not ours to replace."""
    if shares_out is not None and out.resolve() == shares_out.resolve():
        raise RspruneError(f"Got {out} for both the map and the probabilities; choose two names.")
    for made, kinds in ((out, MAPS), (shares_out, MAPS[:2])):
        if made is None:
            continue
        if made.suffix.lower() not in kinds:
            raise RspruneError(f"Got {made} for a map; expected a name that ends in {' or '.join(kinds)}.")
        if not os.path.lexists(made):
            continue
        if same := [path for path in map(Path, inputs) if path.exists() and made.exists() and made.samefile(path)]:
            raise RspruneError(f"The map {made} is the input {same[0]}; choose another name.")
        if not force:
            raise RspruneError(f"{made} is there already; choose another name, or pass --force to replace a map.")
        if not is_map(made):
            raise RspruneError(f"{made} was not written by rsprune segment and stays; choose another name.")


class _Job:
    """One scene, one network, one map."""

    def __init__(
        self, segmenter: Segmenter, scene: Scene, out: Path, shares_out: Path | None, how: tuple[Grid, int]
    ) -> None:
        self.segmenter, self.scene, self.out, self.shares_out = segmenter, scene, out, shares_out
        (self.grid, self.batch), self.K = how, len(segmenter.classes)
        kept = scene.nodata is not None and self.K <= scene.nodata <= 255 and float(scene.nodata).is_integer()
        self.nodata = int(scene.nodata) if kept else 255  # the scene's own value, unless it is a class here

    def identity(self) -> dict[str, Any]:
        file, digest = self.scene.path.stat(), hashlib.sha256()
        for name, tensor in self.segmenter.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return {
            "scene": [self.scene.path.name, file.st_size, file.st_mtime_ns], "bands": self.scene.note,
            "network": digest.hexdigest()[:16], "classes": list(self.segmenter.classes),
            "windows": [*self.grid.window, *self.grid.overlap, self.grid.blend],
            "probabilities": self.shares_out is not None, "rows": self.scene.size[0],
        }  # fmt: skip

    def check_memory(self) -> None:
        """Refuses windows across a scene that is too wide for this machine."""
        needed, free = 3 * 4 * self.K * self.grid.window[0] * max(self.scene.size[1], self.grid.window[1]), available()
        if free is not None and needed > free:
            raise RspruneError(
                f"A row of windows across this scene needs about {needed / 1e6:,.0f} MB of memory, but only "
                f"{free / 1e6:,.0f} MB are free; give a smaller --window, or cut the scene into narrower ones."
            )

    def partial(self, *, resume: bool, force: bool) -> Partial:
        """Where the map grows."""
        across = max(self.scene.size[1], self.grid.window[1])
        how = {"resume": resume, "force": force}
        return Partial(self.out, self.identity(), self.widths(), self.grid.starts(0), (self.K, across), **how)

    def widths(self) -> dict[str, int]:
        """Bytes of a row in the files of the partial result."""
        W = self.scene.size[1]
        return {"classes": W} | ({"probabilities": W * self.K} if self.shares_out else {})

    def needed(self, rows: int) -> int:
        """Bytes on disk for what is still to be written: raw rows, then at most twice as much compressed."""
        H, W = self.scene.size
        row = sum(self.widths().values())
        return row * (H - rows) + 2 * row * H // 4 + self.K * self.grid.window[0] * W * 8

    def run(self, partial: Partial, progress: bool) -> None:
        rows, columns = (len(self.grid.starts(axis)) for axis in (0, 1))
        model = self.segmenter.model.to(pick_device())
        bar = tqdm(
            total=rows * columns, initial=partial.first * columns, desc="segment", unit="window", leave=False,
            disable=not progress,
        )  # fmt: skip
        how = {"first": partial.first, "waiting": partial.waiting, "batch": self.batch, "done": bar.update}
        try:
            with evaluating(model), bar:
                for strip in strips(self.grid, self.scene.read, self.segmenter.predict, self.K, **how):
                    classes = np.where(strip.valid, strip.shares.argmax(0), self.nodata).astype(np.uint8)
                    values = {"classes": classes}
                    if self.shares_out:  # (rows, K, W)
                        steps = np.rint(strip.shares / _STEP).astype(np.uint8)
                        values["probabilities"] = np.where(strip.valid, steps, 255).astype(np.uint8).transpose(1, 0, 2)
                    partial.add(values, strip.waiting)
        except OSError as error:
            raise RspruneError(
                f"Cannot write to {partial.folder} ({error.strerror}); {partial.rows:,} of {self.scene.size[0]:,} rows "
                "are kept there: make room, and go on with --resume."
            ) from error

    def write(self, partial: Partial) -> None:
        """The finished maps, each whole or not there at all."""
        (H, W), names = self.scene.size, self.segmenter.classes
        for made in (self.out, self.shares_out):
            if made is not None:
                remove_leftovers(made)
        with atomic(self.out) as temporary:
            if self.out.suffix.lower() == ".png":
                write_png(temporary, partial.read("classes", 0, H), self.nodata, self.segmenter.palette)
            else:
                read = lambda top, bottom: partial.read("classes", top, bottom)[None]  # noqa: E731
                tags = {"CLASSES": ", ".join(f"{number} {name}" for number, name in enumerate(names))}
                write_geotiff(
                    temporary, (H, W), 1, read, self.scene.place, nodata=self.nodata, names=("class",),
                    palette=self.segmenter.palette, tags=tags,
                )  # fmt: skip
        if self.shares_out is not None:
            shares: Callable[[int, int], np.ndarray] = lambda top, bottom: (  # noqa: E731
                partial.read("probabilities", top, bottom).reshape(bottom - top, self.K, W).transpose(1, 0, 2)
            )
            with atomic(self.shares_out) as temporary:
                write_geotiff(
                    temporary, (H, W), self.K, shares, self.scene.place, nodata=255, names=names, scale=_STEP
                )  # fmt: skip

    def counted(self, partial: Partial) -> np.ndarray:
        """(256,) pixels of each value of the map."""
        H = self.scene.size[0]
        steps = (partial.read("classes", top, min(top + 1024, H)) for top in range(0, H, 1024))
        return sum((np.bincount(rows.ravel(), minlength=256) for rows in steps), np.zeros(256, np.int64))
