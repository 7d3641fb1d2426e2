"""A whole session of the live tool as one small JSON file: where it stands, where it has been, what was scanned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning.scan import Scan
from rsprune_studio.engine.history import History
from rsprune_studio.engine.scans import digest
from rsprune_studio.engine.studio import Studio

__all__ = ["LARGEST", "Session"]

SCHEMA, VERSION = "rsprune-session", 1
LARGEST = 20_000_000  # bytes; a session of an afternoon has a few hundred thousand


@dataclass(frozen=True)
class Session:
    """What a session file holds. Fine-tuned networks are not in it: they belong into a bundle.

    Attributes:
        network: digest of the trained network's weights.
        data: content hash of the images.
        split: hash of the split.
        history: path and points.
        scans: criterion -> sensitivity scan.
        bundle: name of the bundle that was open, for people.
    """

    network: str
    data: str
    split: str
    history: History
    scans: Mapping[str, Scan] = field(default_factory=dict)
    bundle: str = ""

    @classmethod
    def of(cls, studio: Studio, history: History, bundle: str = "") -> Session:
        """The session of a studio."""
        network = digest(studio.model, studio.gates)
        return cls(network, studio.data.content_hash, studio.data.split.hash, history, dict(studio.scans), bundle)

    def to_json(self) -> str:
        """The session as JSON text."""
        head = {"schema": SCHEMA, "version": VERSION, "bundle": self.bundle}
        names = {"network": self.network, "data": self.data, "split": self.split}
        scans = {criterion: scan.to_dict() for criterion, scan in self.scans.items()}
        return json.dumps(head | names | {"history": self.history.to_dict(), "scans": scans}, allow_nan=False)

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
        return cls(**names, history=History.from_dict(raw.get("history")), scans=read)

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
            if scan.accuracy.keys() != {group.name for group in studio.groups}:
                raise RspruneError("The session's sensitivity scan has other groups than this network; scan again.")
        studio.apply(self.history.now)


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > LARGEST:
        raise RspruneError(f"The file has {len(text):,} characters, far more than a session; take one the app wrote.")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RspruneError(f"The file is no valid JSON ({error}); take a session that the app wrote.") from None
    if not isinstance(raw, dict):
        raise RspruneError("The file is no session; take one that the app wrote.")
    return raw
