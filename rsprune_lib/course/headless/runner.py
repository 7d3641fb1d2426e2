"""Runs the notebooks headless with papermill, one after the other, and gathers what they recorded.

papermill calls a run good even where a widget's callback raised, so the widget state of every executed copy is searched
for errors afterwards; and it calls a run bad where a cell was meant to raise, so that is undone. A notebook that fails
does not stop the others, and an interrupted run goes on where it was.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import papermill
from papermill.execute import ERROR_MARKER_TAG

from rsprune_lib.course.headless.notebook_files import cell_errors, widget_errors
from rsprune_lib.course.headless.notebooks import notebooks_folder, select
from rsprune_lib.course.headless.record import SCHEMA, read_results
from rsprune_lib.course.headless.report import build_report
from rsprune_lib.course.profiles import Profile, profile
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, sha256, write_json
from rsprune_lib.places import project_root

__all__ = ["CourseRun", "NotebookRun", "execute", "run_course"]


@dataclass(frozen=True)
class NotebookRun:
    """What became of one notebook.

    Attributes:
        name: E.g. ``"01_train"``; also the name of its folder in the run.
        ok: Whether every cell and every widget callback went through.
        seconds: How long it took.
        error: What went wrong, in one line; empty if nothing did.
        reused: Whether the copy of an earlier, interrupted run was kept.
    """

    name: str
    ok: bool
    seconds: float
    error: str = ""
    reused: bool = False


@dataclass(frozen=True)
class CourseRun:
    """A whole run: folder, notebooks and everything that ``results.json`` holds."""

    folder: Path
    notebooks: tuple[NotebookRun, ...]
    results: dict

    @property
    def ok(self) -> bool:
        """Whether every notebook went through."""
        return all(notebook.ok for notebook in self.notebooks)


def run_course(
    notebooks: list[str] | None = None, *, profile_name: str | None = None, data: str = "auto",
    out: str | Path | None = None, about: Mapping[str, object] | None = None, folder: Path | None = None,
    force: bool = False, resume: bool = False, progress: bool = True, tell: Callable[[str], None] = lambda line: None,
) -> CourseRun:  # fmt: skip
    """Executes notebooks into ``out``, each in a folder of its own, and writes ``results.json`` and ``report.html``.

    Args:
        notebooks: Numbers or names; None means all.
        profile_name: A profile; by default that of the environment.
        data: What the notebooks get as ``data_name``: ``"auto"``, a data set or a folder.
        out: Folder of the run; by default a new one in ``runs/`` named after the time.
        about: Provenance that the report shows, see `rsprune_lib.measure.provenance`.
        folder: Where the notebooks lie.
        force: Replace an existing run.
        resume: Keep what succeeded in an existing run with the same notebook and parameters.
        progress: Show a progress bar over the cells.
        tell: Called with one line before and after each notebook.

    Returns:
        The run; look at ``.ok``.

    Raises:
        RspruneError: No such notebook or profile, or ``out`` is already there.
    """
    chosen, how, started = select(notebooks, folder or notebooks_folder()), profile(profile_name), datetime.now()
    out = Path(out or project_root() / "runs" / started.strftime("%Y-%m-%d_%H%M%S")).resolve()
    _claim(out, force, resume)
    head = {"profile": how.name, "data": data, "about": dict(about or {})}
    done, results = [], _write(out, [], started, head)
    for path in chosen:
        tell(f"{path.stem} …")
        done.append(execute(path, out / path.stem, how, data, progress=progress))
        tell(_line(done[-1]))
        results = _write(out, done, started, head)  # after each, so that an interrupted run has its report too
    return CourseRun(out, tuple(done), results)


def execute(path: Path, folder: Path, how: Profile, data: str = "auto", *, progress: bool = True) -> NotebookRun:
    """Executes one notebook into ``folder`` and says what became of it; never raises for what the notebook does.

    Args:
        path: The notebook.
        folder: Where the executed copy and ``results.json`` go.
        how: Profile.
        data: What the notebook gets as ``data_name``.
        progress: Show a progress bar over the cells.
    """
    wanted = {"profile_name": how.name, "data_name": data}
    same = {"source": sha256(path), "wanted": wanted}
    status = folder / "status.json"
    if status.exists() and (old := read_json(status, "the state of a notebook run")).get("same") == same and old["ok"]:
        return NotebookRun(path.stem, True, old["seconds"], reused=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start, copy = time.perf_counter(), folder / path.name
    with _environment(RSPRUNE_PROFILE=how.name, RSPRUNE_RESULTS=str(folder), PYDEVD_DISABLE_FILE_VALIDATION="1"):
        error = _papermill(path, copy, wanted, how, progress)
    run = NotebookRun(path.stem, not error, round(time.perf_counter() - start, 1), error)
    write_json(status, asdict(run) | {"same": same})
    return run


def _papermill(path: Path, copy: Path, wanted: dict, how: Profile, progress: bool) -> str:
    """Runs papermill with those of the wanted parameters that the notebook has; returns what went wrong, or nothing."""
    try:
        known = papermill.inspect_notebook(str(path))
        parameters = {key: value for key, value in wanted.items() if key in known}
        papermill.execute_notebook(
            str(path), str(copy), parameters, kernel_name="python3", cwd=str(path.parent), progress_bar=progress,
            execution_timeout=how.cell_timeout, extra_arguments=["--log-level=50"],
        )  # fmt: skip
    except Exception as error:  # whatever it is, the other notebooks still run
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


def _claim(out: Path, force: bool, resume: bool) -> None:
    if out.exists() and any(out.iterdir()) and not resume:
        if not force:
            raise RspruneError(f"{out} is already there; pass --resume to go on with it, --force to replace it.")
        if not ((out / "results.json").exists() or list(out.glob("*/status.json"))):
            raise RspruneError(
                f"{out} holds something else than a course run, so it is not replaced; choose another folder."
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def _write(out: Path, runs: list[NotebookRun], started: datetime, head: dict) -> dict:
    """Gathers what the notebooks recorded and writes ``results.json`` and the report."""
    rows, figures = [], []
    for run in runs:
        path = out / run.name / "results.json"
        recorded = read_results(path) if path.exists() else {"rows": [], "figures": []}
        rows += [{"notebook": run.name, **row} for row in recorded["rows"]]
        figures += [{"notebook": run.name, **f, "file": f"{run.name}/{f['file']}"} for f in recorded["figures"]]
    seconds = round((datetime.now() - started).total_seconds(), 1)
    times = {"started": started.isoformat(timespec="seconds"), "seconds": seconds}
    found = {"notebooks": [asdict(run) for run in runs], "rows": rows, "figures": figures}
    results = {"schema": SCHEMA, **times, **head, **found}
    write_json(out / "results.json", results)
    build_report(out)
    return results


def _line(run: NotebookRun) -> str:
    state = "kept from before" if run.reused else "ok" if run.ok else "FAILED"
    return f"{run.name}: {state}, {run.seconds:.0f} s" + (f": {run.error}" if run.error else "")


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Sets variables for the kernels that start inside the block, and puts the old ones back."""
    old = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in old.items():
            os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)
