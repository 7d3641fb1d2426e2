"""A record of a training run: JSON lines in its folder, and MLflow with the same names where that is installed.

``tracking.jsonl`` is always written. MLflow takes the server of ``MLFLOW_TRACKING_URI``, else a local store,
``mlflow.db`` in the folder of the run: ``mlflow ui --backend-store-uri sqlite:///runs/mine/mlflow.db`` shows it.
A server that does not answer costs one warning and some seconds: the local store gets all that it missed.

``RSPRUNE_TRACKING`` is ``json`` (no MLflow), ``mlflow`` (refuse to run without) or ``off``. Every mean is over images,
not over batches.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.measure import ExitRule, outcome, quality
from rsprune_lib.run_folder import leads
from rsprune_lib.training.callback import Callback
from rsprune_lib.training.mlflow_run import STORE, MlflowRun, place_of

__all__ = ["ARTEFACTS", "LOG", "STORE", "Tracker", "track", "tracking_backend"]

LOG, ARTEFACTS = "tracking.jsonl", "mlartifacts"
BACKENDS = ("mlflow", "json", "off")
_PATIENCE = {  # a server that is away must not hold a run up; what the user sets counts
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where results for scripts go
}


def tracking_backend() -> str:
    """Which backend runs are tracked with: ``RSPRUNE_TRACKING``, else MLflow where it is installed.

    Raises:
        RspruneError: there is no such backend, or MLflow is wanted and not installed.
    """
    there = importlib.util.find_spec("mlflow") is not None
    wanted = os.environ.get("RSPRUNE_TRACKING") or ("mlflow" if there else "json")
    if wanted not in BACKENDS:
        raise unknown("RSPRUNE_TRACKING", wanted, BACKENDS)
    if wanted == "mlflow" and not there:
        raise RspruneError("RSPRUNE_TRACKING is mlflow, which is not installed; run: pip install mlflow.")
    return wanted


@contextlib.contextmanager
def track(folder: str | Path, name: str, params: Mapping[str, Any], **how: Any) -> Iterator[Tracker]:  # noqa: ANN401
    """Tracks what happens in the block; see `Tracker` for the arguments.

    Example:
        >>> with track("runs/mine", "dense", recipe("strong").to_dict()) as tracker:
        ...     fit(model, data, recipe("strong"), out="runs/mine", callbacks=[tracker])
    """
    before = {key: os.environ.get(key) for key in _PATIENCE}
    os.environ.update({key: value for key, value in _PATIENCE.items() if before[key] is None})
    tracker = Tracker(folder, name, params, **how)
    try:
        yield tracker
    except BaseException as error:
        tracker.write({"kind": "end", "status": "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"})
        raise
    else:
        tracker.write({"kind": "end", "status": "FINISHED"})
    finally:
        for key in (key for key, value in before.items() if value is None):
            os.environ.pop(key, None)


class Tracker(Callback):
    """Callback of `fit` that writes parameters, numbers of each epoch and artefacts.

    Of a network with exits: accuracy, calibration error, confidence and exit rate of each exit, and the accuracy and
    mean cost under a rule. An epoch that a killed run had finished is written once, also if the kill came in between.

    Args:
        folder: of the run.
        name: of the run.
        params: of the run; nested ones get names with dots.
        costs: of each exit, for the mean cost; see `rsprune_lib.measure.exit_costs`.
        rule: by which images leave; by default that of gates that are being trained, else a confidence of .9.
        home: where the folder will lie in the end, if it is moved.

    Attributes:
        stage: put before the names of numbers, for runs of several stages.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        params: Mapping[str, Any],
        *,
        costs: Sequence[float] | None = None,
        rule: ExitRule | None = None,
        home: str | Path | None = None,
    ) -> None:
        self.folder, self.home, self.name = Path(folder), Path(home or folder), name
        self.costs, self.rule, self.stage = costs, rule, ""
        self._backend = tracking_backend() if leads() else "off"
        self._rows = _read(self.folder / LOG) if self._backend != "off" else []
        self._store: MlflowRun | None = None
        uri = os.environ.get("MLFLOW_TRACKING_URI") or self._local
        known = next((row["run"] for row in reversed(self._rows) if row.get("store") == place_of(uri)), None)
        if self._backend == "mlflow":
            self._open(uri, known)
        again = any(row["kind"] == "run" for row in self._rows)
        self.write({"kind": "resume"} if again else {"kind": "run", "name": name, "params": _flat(params)})

    @property
    def _local(self) -> str:
        return f"sqlite:///{(self.folder / STORE).resolve()}"

    def write(self, row: dict[str, Any]) -> None:
        """Writes a row into the log and into the store."""
        if self._backend == "off":
            return
        row = row | {"time": time.time()}
        self._rows.append(row)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")
        self._send(row)

    def _send(self, row: dict[str, Any]) -> None:
        if self._store is None:
            return
        try:
            self._store.write(row)
        except Exception as error:  # whatever a server or a client of another version does
            self._give_up(error)

    def _open(self, uri: str, run: str | None) -> None:
        try:
            self._store = MlflowRun(uri, (self.home.resolve() / ARTEFACTS).as_uri(), self.name, run)
        except Exception as error:
            self._give_up(error, uri)
            return
        if run != self._store.run:
            self.write({"kind": "store", "store": place_of(uri), "run": self._store.run})

    def _give_up(self, error: Exception, uri: str | None = None) -> None:
        """After a failure: the local store with all rows so far, or the log alone."""
        uri, self._store = uri or self._store.uri, None
        local = uri == self._local
        rest = LOG if local else f"{STORE} and {LOG}"
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        warnings.warn(
            f"Tracking at {place_of(uri)} failed ({reason:.200}); nothing is lost, see {self.home / rest}.",
            stacklevel=2,
        )
        if not local:
            missed = list(self._rows)
            self._open(self._local, None)
            for row in missed:
                self._send(row)

    def on_validation(self, row: dict[str, Any], records: Tensor, labels: Tensor, model: nn.Module) -> None:
        """Adds confidence and calibration, and what exits do, to the row of the epoch."""
        if self._backend != "off":
            row |= {f"val_{key}": value for key, value in self._numbers(records, labels, model).items()}

    def _numbers(self, records: Tensor, labels: Tensor, model: nn.Module) -> dict[str, float]:
        task = getattr(model, "task", None)
        if task not in (None, "classification", "exits") or records.dim() != (3 if task == "exits" else 2):
            return {}
        exits = [("", records)] if records.dim() == 2 else [
            (f"_exit{n}" if n < records.shape[1] else "_final", logits) for n, logits in enumerate(records.unbind(1), 1)
        ]  # fmt: skip
        found = {}
        for name, logits in exits:
            each = quality(logits, labels)
            confidence = logits.double().softmax(1).amax(1).mean().item()
            found |= {f"accuracy{name}": each.accuracy, f"ece{name}": each.ece, f"confidence{name}": confidence}
        if records.dim() == 3:
            found |= self._leaving(records, labels, model)
        return {key: value for key, value in found.items() if key != "accuracy"}

    def _leaving(self, records: Tensor, labels: Tensor, model: nn.Module) -> dict[str, float]:
        """Exit rates, accuracy and cost under the rule."""
        gates, count = getattr(model.exits, "gates", None), records.shape[1] - 1
        rule = self.rule or ExitRule("max_probability", (0.9,) * count)
        if gates is not None:
            rule = ExitRule("gate", (0.5,) * count, gates.detach().float().cpu())
        result = outcome(records, labels, self.costs or range(1, count + 2), rule)
        rates = {f"rate_exit{n}" if n <= count else "rate_final": rate for n, rate in enumerate(result.rates, 1)}
        return rates | {"gated_accuracy": result.accuracy} | ({"cost": result.cost} if self.costs else {})

    def on_epoch(self, history: list[dict], model: nn.Module) -> None:
        """Writes the epochs that are not written yet."""
        done = {(row.get("stage"), row["step"]) for row in self._rows if row["kind"] == "metrics"}
        for row in history:
            if (self.stage, row["epoch"]) not in done:
                numbers = {_metric(key): value for key, value in row.items() if key != "epoch" and value is not None}
                self.log(numbers, row["epoch"])

    def log(self, numbers: Mapping[str, float], step: int = 0) -> None:
        """Writes numbers by name; what is not finite is left out."""
        prefix = f"{self.stage}/" if self.stage else ""
        finite = {prefix + key: float(value) for key, value in numbers.items() if math.isfinite(value)}
        self.write({"kind": "metrics", "stage": self.stage, "step": step, "metrics": finite})

    def artefact_names(self, files: Iterable[str | Path]) -> list[str]:
        """Names that copies of files get in the folder of the run; none where no local store keeps copies."""
        if self._store is None or self._store.uri != self._local:
            return []
        return [f"{ARTEFACTS}/{self._store.run}/artifacts/{Path(file).name}" for file in files]

    def artefacts(self, files: Iterable[str | Path]) -> None:
        """Puts files of the run into the store; call it when the folder of the run lies where it will stay."""
        moved = self._store is not None and self._store.uri == self._local and self.folder != self.home
        self.folder = self.home
        if moved:
            self._open(self._local, self._store.run)
        for file in files:
            self.write({"kind": "artefact", "path": str(file)})


def _metric(key: str) -> str:
    """Name of a column of the history: ``val_loss`` -> ``val/loss``."""
    part, _, rest = key.partition("_")
    return f"{part}/{rest}" if part in ("train", "val") else key


def _flat(params: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested parameters as one level."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return flat


def _read(path: Path) -> list[dict[str, Any]]:
    """Rows of a log that is gone on with; a last line that was cut by a kill is dropped from the file too."""
    if not path.is_file():
        return []
    text, rows = path.read_bytes(), []
    whole = text.rfind(b"\n") + 1
    os.truncate(path, whole)
    for line in text[:whole].splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            rows += [row] if isinstance(row, dict) and "kind" in row else []
    return rows
