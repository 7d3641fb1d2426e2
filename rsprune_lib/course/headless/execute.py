"""Executes one notebook with papermill and says what became of it.

papermill calls a run good even where a widget's callback raised, so the widget state of the executed copy is searched
for errors afterwards; and it calls a run bad where a cell was meant to raise, so that is undone.
"""

import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from papermill.execute import ERROR_MARKER_TAG

from rsprune_lib.course.headless.kernel import SameInterpreter, environment
from rsprune_lib.course.headless.notebook_files import cell_errors, widget_errors
from rsprune_lib.course.headless.record import read_results
from rsprune_lib.course.profiles import Profile
from rsprune_lib.errors import RspruneError

__all__ = ["NotebookRun", "execute"]


@dataclass(frozen=True)
class NotebookRun:
    """What became of one notebook.

    Attributes:
        name: E.g. ``"01_train"``; also the name of its folder in the run.
        ok: Whether every cell and every widget callback went through.
        seconds: How long it took.
        error: What went wrong, in one line; empty if nothing did.
        reused: Whether the copy of an earlier run was kept.
    """

    name: str
    ok: bool
    seconds: float
    error: str = ""
    reused: bool = False


def execute(
    path: Path, folder: Path, how: Profile, data: str = "auto", *, size: int | None = None,
    parameters: Mapping[str, object] | None = None, progress: bool = True,
) -> NotebookRun:  # fmt: skip
    """Executes one notebook into an empty ``folder``; whatever the notebook does, it does not raise.

    Args:
        path: The notebook.
        folder: Where the executed copy and ``results.json`` go.
        how: Profile.
        data: What the notebook gets as ``data_name``.
        size: Pixels a side at which the notebook works.
        parameters: More of them by name; those that the notebook does not have are left out.
        progress: Show a progress bar over the cells.

    Raises:
        RspruneError: The disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with environment(RSPRUNE_PROFILE=how.name, RSPRUNE_RESULTS=str(folder), RSPRUNE_SIZE=str(size or "")):
        wanted = {**(parameters or {}), "profile_name": how.name, "data_name": data}
        error = _papermill(path, folder / path.name, wanted, how, progress)
    recorded = folder / "results.json"
    try:
        if recorded.exists():
            read_results(recorded)
    except RspruneError as broken:
        error = error or str(broken)
        recorded.unlink()  # the report is built from what can be read
    return NotebookRun(path.stem, not error, round(time.perf_counter() - start, 1), error)


def _papermill(path: Path, copy: Path, wanted: dict, how: Profile, progress: bool) -> str:
    """Runs papermill with those of the wanted parameters that the notebook has; returns what went wrong, or nothing."""
    try:
        known = papermill.inspect_notebook(str(path))
        parameters = {key: value for key, value in wanted.items() if key in known}
        papermill.execute_notebook(
            str(path), str(copy), parameters, kernel_name="python3", kernel_manager_class=SameInterpreter,
            cwd=str(path.parent), progress_bar=progress, execution_timeout=how.cell_timeout,
            extra_arguments=["--log-level=50"],
        )  # fmt: skip
    except Exception as error:  # whatever it is, the other notebooks still run
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RspruneError(
                f"The disk is full ({error.filename or copy.parent}); free space, then go on with --resume."
            ) from None
        found = cell_errors(nbformat.read(copy, 4)) if copy.exists() else []
        if found or not isinstance(error, papermill.PapermillExecutionError):
            return " ".join((found or [f"{type(error).__name__}: {error}"])[-1].split())[:500]
        _without_banner(copy)
    executed = nbformat.read(copy, 4)
    return "; ".join(dict.fromkeys([*cell_errors(executed), *widget_errors(executed)]))[:500]


def _without_banner(copy: Path) -> None:
    """Takes away papermill's note that the run failed: all cells ran, and those that raised are tagged to raise."""
    notebook = nbformat.read(copy, 4)
    notebook.cells = [c for c in notebook.cells if ERROR_MARKER_TAG not in c.metadata.get("tags", [])]
    nbformat.write(notebook, copy)
