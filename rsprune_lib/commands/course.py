"""``rsprune run``: the notebooks of the course, headless, with a report at the end."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import Force, Json, emit, named_options, say

if TYPE_CHECKING:
    from rsprune_lib.course import Profile
    from rsprune_lib.data import Dataset

__all__ = ["run"]

Size = Annotated[int | None, typer.Option("--size", min=8, max=4096, help="Pixels a side at which the notebooks work.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", metavar="NAME=VALUE", help="Of the notebooks, e.g. ratio=0.5; several times."),
]


def run(
    notebooks: Annotated[
        list[str] | None,
        typer.Argument(help="Numbers or names, e.g. 01 03; without, all, or with --resume those of the run."),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option("--path", help="zero: 00, 01, 03, 08 for beginners; engineer: 00, 03, 08, e.g. on your images."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="smoke, quick, full; without, the resumed run's, RSPRUNE_PROFILE's, or quick."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="eurosat, synthetic or a folder; auto takes EuroSAT if it is here."),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", min=1, help="About what profile quick may take on large images of your own.")
    ] = 12,
    size: Size = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run; by default runs/<time>.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; what is stale is executed again.")
    ] = False,
    parameter: Parameters = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run the notebooks headless; exit status 1 if a cell or a widget's callback failed."""
    from rsprune_lib.course import profile as get_profile
    from rsprune_lib.course.headless.notebooks import notebooks_folder, select
    from rsprune_lib.course.headless.runner import course_folder, earlier, is_path, run_course
    from rsprune_lib.course.tables import closing_table
    from rsprune_lib.device import pick_device
    from rsprune_lib.measure import provenance

    if path is not None:
        notebooks = _of_path(path, notebooks)
    select(notebooks, notebooks_folder())
    folder = course_folder(out, force=force, resume=resume)
    before = earlier(folder)
    how, data = get_profile(profile or before.get("profile")), data or before.get("data") or "auto"
    if is_path(data):
        folder.apart_from(data)
    loaded, sides = _data(data, how, minutes, size or before.get("size"))
    about = provenance(loaded.info(), seed=None, profile=how.name, device=pick_device())
    about["command"] = " ".join(["rsprune", *sys.argv[1:]])
    course = run_course(
        notebooks, out=folder, profile_name=how.name, data=data if is_path(data) else loaded.name,
        size=sides, about=about, tell=say, parameters=named_options(parameter, "--parameter"),
    )  # fmt: skip
    failed = [f"FAILED {n.name}: {n.error}" for n in course.notebooks if not n.ok]
    report = f"Report: {course.folder / 'report.html'}"
    lines = [closing_table(course.results["rows"]), *course.results["notes"], "", report, *failed]
    emit({"out": str(course.folder), "ok": course.ok, **course.results}, as_json, "\n".join(lines))
    raise typer.Exit(bool(failed))


def _data(name: str, how: "Profile", minutes: float, size: int | None) -> "tuple[Dataset, int | None]":
    """The data of a run, and the pixels a side at which it works where that is not their own; says both."""
    from rsprune_lib.course.own_images import working_size
    from rsprune_lib.data import load_data

    loaded = load_data(name)
    say(f"Data: {loaded.title}. Profile: {how.name}.")
    if loaded.synthetic and name != loaded.name:
        say("No real images here: the course runs on synthetic scenes. Real ones: rsprune data fetch eurosat")
    plan = working_size(loaded, how, minutes, size)
    if plan is None:
        return loaded, None
    say(plan.words)
    return load_data(name, image_size=plan.side), plan.side


def _of_path(path: str, notebooks: list[str] | None) -> list[str]:
    """The notebooks of a path; says which of them are missing here."""
    from rsprune_lib.course.syllabus import path_of
    from rsprune_lib.errors import RspruneError

    if notebooks:
        raise RspruneError(f"Got --path {path} and notebooks {', '.join(notebooks)}; give one of the two.")
    here, missing = path_of(path)
    say(f"Path {path}: {', '.join(here)}." + (f" Not in this copy: {', '.join(missing)}." if missing else ""))
    return here
