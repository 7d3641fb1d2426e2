"""What the numbers of a notebook depend on: its source, parameters, data, library, versions and device."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rsprune_lib.code_version import code_hash
from rsprune_lib.files import sha256
from rsprune_lib.places import bundles_folder, project_root

__all__ = ["changes", "identity", "library_hash", "mixtures"]

_CHANGED = {
    "source": "the notebook changed",
    "wanted": "other parameters are wanted",
    "data": "the data changed",
    "library": "the library, its bundles or its measured tables changed",
    "versions": "other versions of Python or PyTorch are installed",
    "device": "it ran on another device",
}


def library_hash() -> str:
    """Returns 12 hex digits over all that a notebook reads of the project: code, bundles, measured tables.

    A bundle counts with its ``config.json``, which holds the hashes of its other files.
    """
    tables = (project_root() / "results").glob("*.json")
    return code_hash("rsprune_lib", "rsprune_studio", files=[*bundles_folder().glob("*/config.json"), *tables])


def identity(notebook: Path, wanted: Mapping[str, str], about: Mapping[str, object], library: str) -> dict:
    """Returns what has to be the same for an executed copy to be still good; plain JSON.

    Args:
        notebook: The source.
        wanted: Its parameters.
        about: `rsprune_lib.measure.provenance` of the run.
        library: From `library_hash`.
    """
    outside = {key: about.get(key) for key in ("data", "versions", "device")}
    return {"source": sha256(notebook), "wanted": dict(wanted), "library": library, **outside}


def changes(old: Mapping, new: Mapping) -> str:
    """Says what differs between two identities, for the line that tells why a notebook runs again; empty if nothing."""
    return " and ".join(words for key, words in _CHANGED.items() if old.get(key) != new.get(key))


def mixtures(rows: Sequence[Mapping], about: Mapping[str, object]) -> list[str]:
    """Says where the rows of a report do not have one origin: other images, split or commit.

    Args:
        rows: As recorded, each with its ``notebook`` and, where it was measured, its ``provenance``.
        about: Provenance of the run; counts as one more origin.

    Returns:
        One sentence per kind of mixture; none where everything has one origin.
    """
    notes = []
    for word, origin, name in (("data sets or splits", _data, _name), ("commits", _commit, lambda _origin: "")):
        kinds: dict[str, dict[str, list[str]]] = {}  # notebooks about masks have other data, which mixes nothing
        for provenance, notebook in [(about, ""), *((row.get("provenance") or {}, row["notebook"]) for row in rows)]:
            if text := origin(provenance):
                names = kinds.setdefault(name(provenance), {}).setdefault(text, [])
                names += [notebook] if notebook and notebook not in names else []
        for found in (found for found in kinds.values() if len(found) > 1):
            parts = [f"{text} ({', '.join(names) or 'this run'})" for text, names in found.items()]
            notes.append(f"These rows come from {len(found)} {word}: {'; '.join(parts)}.")
    return notes


def _name(provenance: Mapping) -> str:
    return str((provenance.get("data") or {}).get("name"))


def _data(provenance: Mapping) -> str:
    data = provenance.get("data") or {}
    if not data:
        return ""
    return f"{data.get('name')}, content {str(data.get('content_hash'))[:12]}, split {data.get('split_hash')}"


def _commit(provenance: Mapping) -> str:
    git = provenance.get("git") or {}
    return str(git["commit"])[:12] + (" with local changes" if git.get("dirty") else "") if git.get("commit") else ""
