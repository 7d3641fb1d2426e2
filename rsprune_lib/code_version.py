"""Which code made a result: a hash over source files, with the versions behind it."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import rsprune_lib
from rsprune_lib.files import sha256

__all__ = ["code_hash", "code_version"]


def code_hash(*packages: str, files: Iterable[Path] = ()) -> str:
    """Returns 12 hex digits over the sources of packages of this project, and over other files.

    Args:
        *packages: such as ``"rsprune_lib"`` or ``"rsprune_lib/training"``.
        files: that count too.
    """
    root = Path(rsprune_lib.__file__).resolve().parents[1]
    sources = [file for package in packages for file in (root / package).rglob("*.py")]
    digest = hashlib.sha256()
    for file in sorted([*sources, *files]):
        digest.update(f"{file.parent.name}/{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()[:12]


def code_version(*packages: str) -> str:
    """Returns e.g. ``"rsprune 0.3.0, source 1f2e3d4c5b6a, torch 2.13.0"``; a changed source file changes it."""
    return f"rsprune {rsprune_lib.__version__}, source {code_hash(*packages)}, torch {version('torch')}"
