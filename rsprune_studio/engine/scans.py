"""Sensitivity scans of a studio's network, made once and kept in a file beside the bundle."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rsprune_lib.data import Batches, data_root
from rsprune_lib.errors import PlanError, RspruneError
from rsprune_lib.files import read_json, write_json
from rsprune_lib.pruning import CRITERIA, Gates, Scan, sensitivity_scan
from rsprune_lib.pruning.calibration import device_of
from rsprune_studio.engine.network_cache import private_copy
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["RATIOS", "Scanner", "digest"]

SCHEMA, VERSION = "rsprune-sensitivity", 1
RATIOS = (0.0, 0.3, 0.5, 0.7, 0.85, 0.95)  # closer where curves bend
_BATCH = 64
_LARGEST = 1_000_000  # bytes; a scan of a hundred groups has a hundredth of that


class Scanner:
    """Makes sensitivity scans, keeps them in files and reads them back; what is there is in ``studio.scans``.

    A file belongs to one network (a digest of its weights), one data set and split; another one is refused and the
    scan made again. It lies in the bundle's folder, or in the user's cache where that cannot be written.

    Args:
        studio: the network with its data.
        folder: the bundle's folder; None for a network that did not come from one.

    Attributes:
        refused: criterion -> why the file that was found does not count.
        saved: where the last scan was written; None if nowhere.

    Example:
        >>> scanner = Scanner(studio, bundle.path)
        >>> scanner.restore()
        >>> scanner.scan("l2").fragile[0]
        'conv1'
    """

    def __init__(self, studio: Studio, folder: str | Path | None = None) -> None:
        self.studio, self.folder = studio, None if folder is None else Path(folder)
        self.refused: dict[str, str] = {}
        self.saved: Path | None = None

    @cached_property
    def network(self) -> str:
        """What tells this network from all others; a tenth of a second for a ResNet-18."""
        return digest(self.studio.model, self.studio.gates)

    def places(self, criterion: str) -> list[Path]:
        """Where the file of a criterion may lie, the best place first."""
        name = f"sensitivity_{criterion}.json"
        own = [] if self.folder is None else [self.folder / name]
        return [*own, data_root() / "scans" / self.network[:16] / name]

    def restore(self) -> list[str]:
        """Reads all scans that were made before into ``studio.scans``; what does not fit is noted in ``refused``.

        Returns:
            The criteria that were read.
        """
        found = []
        for criterion in self.studio.criteria:
            for path in self.places(criterion):
                if criterion in found or not path.is_file():
                    continue
                try:
                    self.studio.scans[criterion] = self.read(path, criterion)
                    found.append(criterion)
                    self.refused.pop(criterion, None)
                except RspruneError as error:
                    self.refused[criterion] = str(error)
        return found

    def scan(
        self,
        criterion: str,
        *,
        options: Mapping[str, Any] | None = None,
        images: int = 256,
        ratios: Sequence[float] = RATIOS,
        watch: Watch = UNWATCHED,
    ) -> Scan:
        """Scans all groups by a criterion on validation images, and keeps the result; nothing is kept of half a scan.

        Args:
            criterion: key of `CRITERIA`.
            options: of the criterion, see `Setting.options`.
            images: validation images, class-balanced.
            ratios: shares of a group's channels to remove.
            watch: of the work.

        Raises:
            Stopped: it is no longer wanted.
            RspruneError: the criterion is unknown or not for this network, or there is no image.
        """
        studio = self.studio
        scores = studio.scoring.scores(criterion, watch, **(options or {}))
        size = min(_BATCH, studio.trained.batch_size)
        batches = Batches(studio.data, "val", size, limit=images, device=device_of(studio.model))
        steps = len(batches) * (1 + len(studio.groups) * len(ratios))
        batches = watch.over(batches, f"Scanning {len(studio.groups)} groups by {criterion}", steps)
        with studio.trained.using:
            network = private_copy(studio.plain)
        made = sensitivity_scan(network, studio.groups, scores, batches, ratios, progress=False)
        made = replace(made, options=dict(options or {}))
        studio.scans[criterion] = made
        self.refused.pop(criterion, None)
        self.saved = self._save(made)
        return made

    def _identity(self, criterion: str) -> dict[str, Any]:
        """What a file must say to belong here."""
        data = self.studio.data
        judged_on = self.studio.trained.images if "images" in CRITERIA[criterion].needs else None
        return {
            "schema": SCHEMA, "version": VERSION, "network": self.network, "data": data.content_hash,
            "split": data.split.hash, "criterion": criterion, "scored_on": judged_on,
        }  # fmt: skip

    def _save(self, scan: Scan) -> Path | None:
        for path in self.places(scan.criterion):
            if path.parent == self.folder and not path.parent.is_dir():
                continue  # a bundle that is gone does not come back as a folder with nothing but a scan
            try:
                return write_json(path, self._identity(scan.criterion) | {"scan": scan.to_dict()})
            except OSError:
                continue
        return None

    def read(self, path: str | Path, criterion: str) -> Scan:
        """Reads the scan of a criterion from a file.

        Raises:
            RspruneError: the file is broken, or belongs to another network, data set or criterion.
        """
        path = Path(path)
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise RspruneError(f"{path} is far too large for a sensitivity scan; delete it and scan again.")
        saved = read_json(path, "a sensitivity scan")
        for key, wanted in self._identity(criterion).items():
            if saved.get(key) != wanted:
                raise RspruneError(
                    f"The scan in {path} was made for another {_WORDS.get(key, key)} ({str(saved.get(key))[:16]!r} "
                    f"instead of {str(wanted)[:16]!r}); scan again to replace it."
                )
        names = [group.name for group in self.studio.groups]
        try:
            scan = Scan.from_dict(saved.get("scan"))
        except PlanError as error:
            raise RspruneError(f"The scan in {path} is broken: {error}") from None
        if sorted(scan.curves) != sorted(names) or scan.criterion != criterion:
            raise RspruneError(f"The scan in {path} has other groups than this network; scan again to replace it.")
        return replace(scan, curves={name: scan.curves[name] for name in names})


_WORDS = {"data": "data set", "schema": "purpose", "scored_on": "number of scored images"}


def _tensors(model: nn.Module, gates: Gates | None) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.state_dict().items()
    for kind in ("mean", "var") if gates is not None else ():
        yield from ((f"{kind}/{name}", tensor) for name, tensor in getattr(gates, kind).items())


def digest(model: nn.Module, gates: Gates | None = None) -> str:
    """SHA-256 of a network's weights, with its gate statistics, whatever its layout in memory.

    Args:
        model: the network.
        gates: SE gate statistics that are folded into it.

    Returns:
        64 hexadecimal digits.
    """
    hashed = hashlib.sha256()
    for name, tensor in _tensors(model, gates):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if math.prod(tensor.shape):
            hashed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return hashed.hexdigest()
