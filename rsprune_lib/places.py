"""Where the project lies on this machine, and its trained bundles."""

import os
from pathlib import Path

import rsprune_lib

__all__ = ["bundle_path", "bundles_folder", "project_root"]


def project_root() -> Path:
    """Returns the clone of the project: the folder above this package, else the current one or one above."""
    here = Path.cwd()
    for folder in (Path(rsprune_lib.__file__).resolve().parents[1], here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "rsprune_lib").is_dir():
            return folder
    return here


def bundles_folder() -> Path:
    """Returns the folder of the bundles that come with the project; ``RSPRUNE_BUNDLES`` names another one."""
    return Path(os.environ.get("RSPRUNE_BUNDLES") or project_root() / "bundles")


def bundle_path(name: str) -> Path | None:
    """Returns the folder of a trained bundle that comes with the project, or None where it is not there.

    Args:
        name: Name of the folder below `bundles_folder`.
    """
    folder = bundles_folder() / name
    return folder if (folder / "config.json").is_file() else None
