"""Which notebooks there are, and where they lie on this machine."""

import os
import re
from pathlib import Path

from rsprune_lib.errors import RspruneError
from rsprune_lib.places import project_root

__all__ = ["notebook_names", "notebooks_folder", "select"]


def notebooks_folder() -> Path:
    """Returns the folder of the course's notebooks (``RSPRUNE_NOTEBOOKS``, else ``notebooks/`` of the project).

    Raises:
        RspruneError: There is no such folder.
    """
    folder = Path(os.environ.get("RSPRUNE_NOTEBOOKS") or project_root() / "notebooks")
    if not folder.is_dir():
        raise RspruneError(f"Found no folder {folder} with the notebooks; start rsprune in a clone of the project.")
    return folder


def notebook_names(folder: Path | None = None) -> list[str]:
    """Returns the names of the numbered notebooks in order, e.g. ``["00_start", "01_train"]``; 03b comes after 03."""
    found = (folder or notebooks_folder()).glob("[0-9][0-9]*.ipynb")
    return sorted(path.stem for path in found if re.fullmatch(r"\d\d[a-z]?_\w+", path.stem))


def select(wanted: list[str] | None, folder: Path) -> list[Path]:
    """Returns the notebooks that are asked for by number or name; all of them where nothing is asked for.

    Args:
        wanted: E.g. ``["01", "3", "04_mining_finetune"]``.
        folder: Where they lie.

    Raises:
        RspruneError: No notebook has that number or name, or the folder holds none at all.
    """
    names = notebook_names(folder)
    if not names:
        raise RspruneError(f"Found no notebook named like 01_train.ipynb in {folder}; check the folder.")
    chosen = []
    for want in wanted or names:
        stem = Path(want).stem
        number = stem if re.match(r"\d\d", stem) else f"0{stem}"  # 3 and 3b are 03 and 03b
        found = [n for n in names if n == stem or n.split("_")[0] == number]
        if not found:
            raise RspruneError(f"Got notebook {want!r}; expected a number or name of: {', '.join(names)}.")
        chosen += [n for n in found if n not in chosen]
    return [folder / f"{name}.ipynb" for name in chosen]
