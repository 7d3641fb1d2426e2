"""``rsprune run``: the notebooks of the course, headless, with a report at the end."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rsprune_lib.commands.common import Force, Json, Resume, emit, say

__all__ = ["run"]


def run(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Numbers or names, e.g. 01 03; all without.")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="smoke, quick or full; by default RSPRUNE_PROFILE, else quick.")
    ] = None,
    data: Annotated[
        str, typer.Option("--data", help="eurosat, synthetic or a folder; auto takes EuroSAT if it is here.")
    ] = "auto",
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run; by default runs/<time>.")] = None,
    resume: Resume = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run the notebooks headless; exit status 1 if a cell or a widget's callback failed."""
    from rsprune_lib.course import profile as get_profile
    from rsprune_lib.course.headless.runner import run_course
    from rsprune_lib.course.tables import closing_table
    from rsprune_lib.data import load_data
    from rsprune_lib.device import pick_device
    from rsprune_lib.measure import provenance

    how = get_profile(profile)
    loaded = load_data(data)
    found = str(Path(data).expanduser().resolve()) if _is_folder(data) else loaded.name
    say(f"Data: {loaded.title}. Profile: {how.name}.")
    if loaded.synthetic and data != "synthetic":
        say("No real images here: the course runs on synthetic scenes. Real ones: rsprune data fetch eurosat")
    about = provenance(loaded.info(), seed=None, profile=how.name, device=pick_device())
    about["command"] = " ".join(["rsprune", *sys.argv[1:]])
    course = run_course(
        notebooks or None, profile_name=how.name, data=found, out=out, about=about, force=force, resume=resume, tell=say
    )
    failed = [f"{n.name}: {n.error}" for n in course.notebooks if not n.ok]
    lines = [closing_table(course.results["rows"]), "", f"Report: {course.folder / 'report.html'}"]
    lines += [f"FAILED {line}" for line in failed]
    emit({"out": str(course.folder), "ok": course.ok, **course.results}, as_json, "\n".join(lines))
    if failed:
        raise typer.Exit(1)


def _is_folder(data: str) -> bool:
    from rsprune_lib.data import card_names

    return data != "auto" and data not in card_names() and Path(data).expanduser().exists()
