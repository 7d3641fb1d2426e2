"""Where the project lies on this machine, its trained bundles, and the folders that the environment names."""

import os
from pathlib import Path

import rsprune_lib
from rsprune_lib.errors import RspruneError

__all__ = ["absolute", "bundle_path", "bundles_folder", "project_root", "settle"]

VARIABLES = ("RSPRUNE_HOME", "RSPRUNE_MIRROR", "RSPRUNE_BUNDLES")


def absolute(path: str | Path) -> Path:
    """Returns the full path: ``~`` is the user's folder, and a relative path starts in the current folder.

    Raises:
        RspruneError: it cannot be the path of anything.
    """
    try:
        found = Path(path).expanduser().absolute()
        found.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long; the folder of an unknown user; a zero byte
        reason = getattr(error, "strerror", None) or str(error).rstrip(".").lower()
        raise RspruneError(f"Got {str(path)[:80]!r}, which is no path here ({reason}); correct it.") from None
    return found


def settle() -> None:
    """Makes the folders that the environment names absolute, so that they mean the same in every later process.

    Kernels of notebooks run in the folder of the notebook, not where the user named a relative folder; that one the
    shell noted in ``PWD``.
    """
    noted = Path(os.environ.get("PWD") or ".") if "JPY_PARENT_PID" in os.environ else Path.cwd()
    for name in VARIABLES:
        value = (os.environ.get(name) or "").removeprefix("file://")
        if value and "://" not in value:
            os.environ[name] = str(absolute(noted / Path(value).expanduser()))


def project_root() -> Path:
    """Returns the clone of the project: the folder above this package, else the current one or one above."""
    here = Path.cwd()
    for folder in (Path(rsprune_lib.__file__).resolve().parents[1], here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "rsprune_lib").is_dir():
            return folder
    return here


def bundles_folder() -> Path:
    """Returns the folder of the bundles that come with the project; ``RSPRUNE_BUNDLES`` names another one."""
    return absolute(os.environ.get("RSPRUNE_BUNDLES") or project_root() / "bundles")


def bundle_path(name: str) -> Path | None:
    """Returns the folder of a trained bundle that comes with the project, or None where it is not there.

    Args:
        name: Name of the folder below `bundles_folder`.
    """
    folder = bundles_folder() / name
    return folder if (folder / "config.json").is_file() else None
