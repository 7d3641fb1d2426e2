"""A whole session of the live tool as one small JSON file: where it stands, where it has been, what was scanned.

Tables of plain values in it (measured points, the note of a training) are checked by pydantic; settings, plans and
scans by their own classes, which check them wherever they come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import parse_json
from rsprune_lib.pruning.scan import Scan
from rsprune_studio.engine.history import History
from rsprune_studio.engine.scans import digest
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.tuned_file import MOST_WEIGHTS, TunedFile

__all__ = ["LARGEST", "Session"]

SCHEMA, VERSION = "rsprune-session", 1
LARGEST = 40_000_000  # bytes; an afternoon has a few hundred thousand, a fine-tuned network of 4 M parameters 22 M


@dataclass(frozen=True)
class Session:
    """What a session file holds, the fine-tuned network where it ends with one included.

    Attributes:
        network: digest of the trained network's weights.
        data: content hash of the images.
        split: hash of the split.
        history: path and points.
        scans: criterion -> sensitivity scan.
        bundle: name of the bundle that was open, for people.
        tuned: the fine-tuned network that the session ends with; None if it ends with another.
    """

    network: str
    data: str
    split: str
    history: History
    scans: Mapping[str, Scan] = field(default_factory=dict)
    bundle: str = ""
    tuned: TunedFile | None = None

    @classmethod
    def of(cls, studio: Studio, history: History, bundle: str = "", snapshot: Snapshot | None = None) -> Session:
        """The session of a studio.

        Args:
            studio: the state.
            history: where it has been.
            bundle: name of the bundle that is open.
            snapshot: what is on the screen; its network goes along if it is a fine-tuned one.
        """
        network, tuned = digest(studio.model, studio.gates), None
        if (
            snapshot is not None
            and snapshot.setting.recovery == "tuned"
            and studio.networks.kept.has_tuned(snapshot.plan)
        ):
            kept = studio.networks.kept.tuned(snapshot.plan)
            tuned = TunedFile.of(snapshot.plan, kept.model, kept.note)
        data = studio.data
        return cls(network, data.content_hash, data.split.hash, history, dict(studio.scans), bundle, tuned)

    def to_json(self) -> str:
        """The session as JSON text."""
        head = {"schema": SCHEMA, "version": VERSION, "bundle": self.bundle}
        names = {"network": self.network, "data": self.data, "split": self.split}
        scans = {criterion: scan.to_dict() for criterion, scan in self.scans.items()}
        more = {} if self.tuned is None else {"tuned": self.tuned.to_dict()}
        return json.dumps(head | names | {"history": self.history.to_dict(), "scans": scans} | more, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Session:
        """Reads a session.

        Raises:
            RspruneError: the text is no session of this version, or a part of it is impossible.
        """
        raw = _parsed(text)
        if raw.get("schema") != SCHEMA:
            raise RspruneError(f'The file is no session (no "schema": "{SCHEMA}"); take one that the app wrote.')
        if raw.get("version") != VERSION or isinstance(raw["version"], bool):
            raise RspruneError(
                f"The session has version {raw.get('version')!r}, but this app reads {VERSION}; make it again, or use "
                "the version of the app that wrote it."
            )
        names = {key: raw.get(key) for key in ("network", "data", "split", "bundle")}
        scans = raw.get("scans")
        if not all(isinstance(name, str) for name in names.values()) or not isinstance(scans, dict):
            raise RspruneError("The session does not say what it belongs to; take an unbroken file.")
        read = {str(criterion): Scan.from_dict(scan) for criterion, scan in scans.items()}
        tuned = None if raw.get("tuned") is None else TunedFile.from_dict(raw["tuned"])
        return cls(**names, history=History.from_dict(raw.get("history")), scans=read, tuned=tuned)

    def check(self, studio: Studio) -> None:
        """Makes sure that the session belongs to a studio's network and data.

        Raises:
            RspruneError: it belongs to others.
        """
        if self.network != digest(studio.model, studio.gates):
            raise RspruneError(
                f"The session belongs to another network ({self.bundle or 'unnamed'}); open that bundle first."
            )
        if (self.data, self.split) != (studio.data.content_hash, studio.data.split.hash):
            raise RspruneError("The session belongs to other images or another split; open its data set first.")
        for scan in self.scans.values():
            if scan.curves.keys() != {group.name for group in studio.groups}:
                raise RspruneError("The session's sensitivity scan has other groups than this network; scan again.")
        for setting in (self.history.start, *self.history.path, *(point.setting for point in self.history.points)):
            if setting.criterion not in studio.criteria:
                raise RspruneError(f"The session goes by {setting.criterion}, for which this network has no scores.")
        studio.apply(self.history.now)
        if self.tuned is not None:
            self.tuned.plan.check(studio.groups)

    def restore(self, studio: Studio) -> str:
        """Takes scans and the fine-tuned network into a studio, see `check`, and prepares the path for it.

        A setting that shows a fine-tuned network which is not there goes back to what the training began with.

        Returns:
            A sentence on what could not be brought back; empty if nothing is missing.

        Raises:
            RspruneError: the session belongs to another studio, or its network does not fit its plan.
        """
        self.check(studio)
        if self.tuned is not None:
            self.tuned.restore(studio)
        studio.scans.update(self.scans)
        lost = self.history.replace(
            lambda setting: setting.recovery == "tuned" and not _has_tuned(studio, setting),
            lambda setting: replace(setting, recovery="live"),
        )
        if not lost:
            return ""
        return (
            "A session file holds no other fine-tuned network than the one it ends with, and none of more than "
            f"{MOST_WEIGHTS / 4e6:.0f} million parameters; the settings that showed one go on from before the training."
        )


def _has_tuned(studio: Studio, setting: Setting) -> bool:
    return studio.scoring.knows(setting) and studio.networks.kept.has_tuned(studio.apply(setting).plan)


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > LARGEST:
        raise RspruneError(f"The file has {len(text):,} characters, far more than a session; take one the app wrote.")
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise RspruneError(f"The file is no valid JSON ({error}); take a session that the app wrote.") from None
    if not isinstance(raw, dict):
        raise RspruneError("The file is no session; take one that the app wrote.")
    return raw
