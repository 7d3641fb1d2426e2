"""A run in MLflow, of a server or of a local store; imported only where a run is tracked."""

from __future__ import annotations

import logging
import os
from typing import Any

__all__ = ["STORE", "MlflowRun", "place_of"]

STORE = "mlflow.db"


class MlflowRun:
    """Writes the rows of a log into a run of MLflow.

    Args:
        uri: of the store.
        artefacts: where a local store keeps copies of files, as URI.
        name: of a new run.
        run: id of a run to go on with.
    """

    def __init__(self, uri: str, artefacts: str, name: str, run: str | None) -> None:
        from mlflow import MlflowClient  # imported lazily: takes seconds, and is an extra

        for noisy in ("mlflow", "alembic", "mlflow.store.db.utils"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self.uri, self.client = uri, MlflowClient(tracking_uri=uri)
        if run is None:
            title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "rsprune")
            there = self.client.get_experiment_by_name(title)
            own = artefacts if uri.startswith("sqlite") else None  # a server knows where it keeps its files
            experiment = there.experiment_id if there else self.client.create_experiment(title, own)
            run = self.client.create_run(experiment, run_name=name).info.run_id
        self.run = run

    def write(self, row: dict[str, Any]) -> None:
        """Writes a row of `rsprune_lib.training.tracking.Tracker`; other kinds are left to the log."""
        from mlflow.entities import Metric, Param

        kind, stamp = row["kind"], int(1000 * row["time"])
        if kind == "run":
            params = [Param(key, str(value)[:500]) for key, value in row["params"].items()]
            for start in range(0, len(params), 100):
                self.client.log_batch(self.run, params=params[start : start + 100])
        elif kind == "metrics":
            numbers = [Metric(key, value, stamp, row["step"]) for key, value in row["metrics"].items()]
            self.client.log_batch(self.run, metrics=numbers)
        elif kind == "artefact":
            self.client.log_artifact(self.run, row["path"])
        elif kind == "end":
            self.client.set_terminated(self.run, row["status"])


def place_of(uri: str) -> str:
    """A store without the user and the password in it; local ones by their file's name, as their folder may move."""
    if uri.startswith("sqlite"):
        return STORE if uri.endswith(f"/{STORE}") else uri
    scheme, found, rest = uri.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"
