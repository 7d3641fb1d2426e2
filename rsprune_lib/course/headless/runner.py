"""Runs the notebooks headless with papermill, one after the other, and gathers what they recorded.

A notebook that fails does not stop the others. An interrupted run goes on where it was: what was executed is kept as
long as notebook, parameters, data and library are the same, else it is executed again, and that is said.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rsprune_lib.course.headless.execute import NotebookRun, execute
from rsprune_lib.course.headless.identity import changes, identity, library_hash, mixtures
from rsprune_lib.course.headless.notebooks import notebook_names, notebooks_folder, select
from rsprune_lib.course.headless.record import SCHEMA, read_results
from rsprune_lib.course.headless.report import build_report
from rsprune_lib.course.profiles import profile
from rsprune_lib.data import is_card
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, write_json
from rsprune_lib.places import project_root
from rsprune_lib.run_folder import RunFolder

__all__ = ["CourseRun", "course_folder", "earlier", "is_path", "run_course"]

ROOM = 3_000_000  # bytes that an executed notebook and its figures take


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
    notebooks: list[str] | None = None,
    *,
    out: RunFolder | str | Path | None = None,
    profile_name: str | None = None,
    data: str = "auto",
    size: int | None = None,
    parameters: Mapping[str, object] | None = None,
    about: Mapping[str, object] | None = None,
    folder: Path | None = None,
    progress: bool = True,
    tell: Callable[[str], None] = lambda line: None,
) -> CourseRun:
    """Executes notebooks into ``out``, each in its own folder; writes ``results.json`` and ``report.html``.

    Where a run is resumed, its other notebooks stay in the report, and those of all that are stale are executed again.

    Args:
        notebooks: Numbers or names; None means those of the run that is resumed, else all.
        out: Folder of the run, see `course_folder`; a path must not exist yet.
        profile_name: A profile; by default that of the environment.
        data: What the notebooks get as ``data_name``: ``"auto"``, a data set or a folder.
        size: Pixels a side at which the notebooks work, see `rsprune_lib.course.own_images`.
        parameters: Others of the notebooks by name, e.g. ``{"ratio": 0.5}``; at least one of them must have each.
        about: Provenance that the report shows, see `rsprune_lib.measure.provenance`.
        folder: Where the notebooks lie.
        progress: Show a progress bar over the cells.
        tell: Called with one line before and after each notebook.

    Raises:
        RspruneError: No such notebook or profile, ``out`` is not fit for a run, or the disk is full.
    """
    folder, how, started = folder or notebooks_folder(), profile(profile_name), datetime.now()
    run = out if isinstance(out, RunFolder) else course_folder(out)
    before = [name for name in earlier(run).get("wanted", ()) if name in notebook_names(folder)]
    asked = [path.stem for path in select(notebooks or before, folder)]
    paths = select(sorted({*before, *asked}) if before else asked, folder)
    data = str(Path(data).expanduser().resolve()) if is_path(data) else data
    head = {"started": started, "profile": how.name, "data": data, "size": size}
    head |= {"about": dict(about or {}), "wanted": paths}
    library = library_hash()
    given = {"profile_name": how.name, "data_name": data, **_known(parameters or {}, paths)}
    same = {p: identity(p, given, head["about"], library) for p in paths}
    with run.open(["results.json", "report.html"], needed=ROOM * len(paths)) as place:
        done = {
            path: kept for path in paths if (kept := _kept(place / path.stem, same[path], path.stem in asked, tell))
        }
        results = _write(place, done, head)
        for path in (path for path in paths if path not in done):
            tell(f"{path.stem} …")
            with run.making(path.stem) as work:
                done[path] = execute(path, work, how, data, size=size, parameters=parameters, progress=progress)
                write_json(work / "status.json", asdict(done[path]) | {"same": same[path]})
            tell(_line(done[path]))
            results = _write(place, done, head)  # after each, so that an interrupted run has its report too
    return CourseRun(run.out, tuple(done[path] for path in paths), results)


def _known(parameters: Mapping[str, object], paths: list[Path]) -> Mapping[str, object]:
    """The parameters, if each is one of some notebook."""
    if parameters:
        from papermill import inspect_notebook  # imported lazily: takes 1 s

        names = {name for path in paths for name in inspect_notebook(str(path))}
        if stray := [name for name in parameters if name not in names]:
            raise RspruneError(
                f"No notebook of this run has a parameter {stray[0]!r}; known: {', '.join(sorted(names))}."
            )
    return parameters


def course_folder(
    out: str | Path | None = None, *, force: bool = False, resume: bool = False, inputs: Iterable[str | Path] = ()
) -> RunFolder:
    """Returns the folder of a course run, checked but not touched; by default a new one in ``runs/``, after the time.

    Args:
        out: The folder.
        force: Replace the run in it.
        resume: Go on with the run in it.
        inputs: Folders that are read, such as that of the images; ``out`` must lie apart from them.

    Raises:
        RspruneError: ``out`` is not fit for such a run.
    """
    out = out or project_root() / "runs" / datetime.now().strftime("%Y-%m-%d_%H%M%S")
    return RunFolder(out, "course", force=force, resume=resume, inputs=inputs)


def is_path(data: str) -> bool:
    """Returns whether the name of a data set means a folder or file here; the names of cards come first."""
    return data != "auto" and not is_card(data) and Path(data).expanduser().exists()


def earlier(run: RunFolder) -> dict:
    """Returns the ``results.json`` of the run that is resumed; empty where there is none."""
    path = run.begun / "results.json"
    return read_results(path) if run.resume and path.is_file() else {}


def _kept(folder: Path, same: dict, asked: bool, tell: Callable[[str], None]) -> NotebookRun | None:
    """Returns what an earlier run made of a notebook if it is still good, and says what became of it.

    A notebook that failed is executed again only if it is asked for.
    """
    if not (folder / "status.json").exists():
        return None
    try:
        status = read_json(folder / "status.json", "the state of a notebook run")
        run = NotebookRun(**{key: status[key] for key in ("name", "ok", "seconds", "error")}, reused=True)
        old, rows = status["same"], _recorded(folder)["rows"]
    except (RspruneError, KeyError):
        tell(f"{folder.name}: runs again, because its files are damaged.")
        return None
    seen = [(row.get("provenance") or {}).get("data") or {} for row in rows]
    wanted = same["data"] or {}
    hashes = {data.get("content_hash") for data in seen if data.get("name") == wanted.get("name")} - {None}
    why = changes(old, same)
    if not why and wanted and hashes - {wanted.get("content_hash")}:  # a notebook about masks may have other data
        why = "the data changed while it ran"
    if why:
        tell(f"{folder.name}: runs again, because {why}.")
    if why or (asked and not run.ok):
        return None
    tell(_line(run))
    return run


def _recorded(folder: Path) -> dict:
    path = folder / "results.json"
    return read_results(path) if path.exists() else {"rows": [], "figures": []}


def _write(out: Path, done: Mapping[Path, NotebookRun], head: Mapping) -> dict:
    """Gathers what the notebooks recorded and writes ``results.json`` and the report."""
    runs = [done[path] for path in head["wanted"] if path in done]
    rows, figures = [], []
    for run in runs:
        recorded = _recorded(out / run.name)
        rows += [{"notebook": run.name, **row} for row in recorded["rows"]]
        figures += [{"notebook": run.name, **f, "file": f"{run.name}/{f['file']}"} for f in recorded["figures"]]
    seconds = round((datetime.now() - head["started"]).total_seconds(), 1)
    times = {"started": head["started"].isoformat(timespec="seconds"), "seconds": seconds}
    told = {"wanted": [path.stem for path in head["wanted"]], "notes": mixtures(rows, head["about"])}
    found = {"notebooks": [asdict(run) for run in runs], "rows": rows, "figures": figures}
    results = {"schema": SCHEMA, **head, **times, **told, **found}
    write_json(out / "results.json", results)
    build_report(out)
    return results


def _line(run: NotebookRun) -> str:
    state = "kept from before" if run.reused else "ok" if run.ok else "FAILED"
    return f"{run.name}: {state}, {run.seconds:.0f} s" + (f": {run.error}" if run.error else "")
