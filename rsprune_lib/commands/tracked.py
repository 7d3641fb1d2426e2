"""``--track``: what a command that trains writes about its run, see `rsprune_lib.training.tracking`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from rsprune_lib.data import Dataset
    from rsprune_lib.training import Tracker

__all__ = ["TRACKED", "Track", "keep_artefacts", "tracked"]

TRACKED = ("tracking.jsonl", "mlflow.db")
Track = Annotated[
    bool,
    typer.Option(
        "--track",
        help="Record the run in tracking.jsonl and, where MLflow is installed, at MLFLOW_TRACKING_URI or else in "
        "mlflow.db, both in --out. RSPRUNE_TRACKING=json leaves MLflow out.",
    ),
]


@contextmanager
def tracked(
    wanted: bool, folder: Path, run: RunFolder, name: str, data: "Dataset", params: Mapping[str, Any],
    costs: "Sequence[float] | None" = None,
) -> "Iterator[list[Tracker]]":  # fmt: skip
    """Yields the callbacks of a run: a tracker, or none if it is not wanted.

    Args:
        wanted: ``--track``.
        folder: where the run writes now.
        run: where it will lie.
        name: of the run.
        data: its name and hashes are parameters too.
        params: see `rsprune_lib.training.Tracker`.
        costs: of exits, see `rsprune_lib.training.Tracker`.
    """
    if not wanted:
        yield []
        return
    from rsprune_lib.training import track

    about = {key: data.info().get(key) for key in ("name", "synthetic", "image_size", "content_hash", "split_hash")}
    with track(folder, name, {**params, "data": about}, home=run.out, costs=costs) as tracker:
        yield [tracker]


def keep_artefacts(run: RunFolder, trackers: "Sequence[Tracker]", names: Sequence[str]) -> None:
    """Puts files of a finished run into the store of its tracker."""
    for tracker in trackers:
        files = [run.out / name for name in names if (run.out / name).exists()]
        run.own(*tracker.artefact_names(files))
        tracker.artefacts(files)
