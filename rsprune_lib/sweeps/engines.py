"""Many cells at once: one after the other in this process, on a Dask cluster inside it, or on any Dask cluster.

Each way yields what became of the cells as they end. A cell is a process of its own in every case; Dask only says where
and when. It may run a task twice and gives one up after three workers died of it: both are harmless, see `attempts`.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from rsprune_lib.errors import RspruneError
from rsprune_lib.sweeps.cell import Outcome, run_cell
from rsprune_lib.sweeps.keys import Order
from rsprune_lib.sweeps.processes import stop_all

__all__ = ["has_dask", "on_cluster", "one_by_one", "workers_here"]

INSTALL = "pip install distributed"
_WAIT = 30  # seconds for an answer of a scheduler


def has_dask() -> bool:
    """Returns whether dask.distributed is installed."""
    return find_spec("distributed") is not None


def workers_here(threads: int, memory_gb: float) -> int:
    """Returns how many cells fit into this machine side by side, by cores and by memory; at least one.

    Args:
        threads: Of one cell.
        memory_gb: Of one cell.
    """
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // threads, int(psutil.virtual_memory().available / 1e9 / memory_gb)))


def one_by_one(orders: Sequence[Order]) -> Iterator[Outcome]:
    """Runs cells in order in this process, each as a process of its own."""
    ended: dict[str, Outcome] = {}
    try:
        for order in orders:
            needs = [ended[name] for name in order.cell.needs.values() if name in ended]
            ended[order.cell.name] = run_cell(order, *needs)
            yield ended[order.cell.name]
    finally:
        stop_all()


def on_cluster(orders: Sequence[Order], *, workers: int = 1, scheduler: str | None = None) -> Iterator[Outcome]:
    """Runs cells on a Dask cluster, each once those that it needs are finished.

    Args:
        orders: Those that others need first.
        workers: Cells side by side, of a cluster inside this process.
        scheduler: Address of another cluster, e.g. ``"tcp://10.0.0.1:8786"``; its workers see the folder of the sweep
            and run this code.

    Raises:
        RspruneError: No scheduler answers there.
    """
    from distributed import Client, as_completed

    with contextlib.ExitStack() as stack:
        stack.callback(stop_all)
        cluster = None if scheduler else stack.enter_context(_cluster_here(workers))
        try:
            client = stack.enter_context(Client(scheduler or cluster, timeout=_WAIT, set_as_default=False))
        except (OSError, ValueError) as error:
            raise RspruneError(
                f"No Dask scheduler answers at {scheduler} ({' '.join(str(error).split())[:120]}); start one with "
                "`dask scheduler`, workers with `dask worker ADDRESS`, and give its address."
            ) from None
        futures, driver = {}, uuid.uuid4().hex[:8]
        for order in orders:
            needs = [futures[name] for name in order.cell.needs.values() if name in futures]
            key = f"{order.folder}-{driver}"
            futures[order.cell.name] = client.submit(run_cell, order, *needs, key=key, pure=False)
        names = {future.key: name for name, future in futures.items()}
        for future in as_completed(list(futures.values()), loop=client.loop):
            yield future.result() if future.status == "finished" else _lost(names[future.key], future)


def _cluster_here(workers: int) -> object:
    """A scheduler and one worker with as many threads as cells run side by side, in this process: no port is opened."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=1,
        threads_per_worker=workers,
        processes=False,
        dashboard_address=None,
        memory_limit=0,
        silence_logs=50,
    )


def _lost(name: str, future: object) -> Outcome:
    """A cell that Dask gave up: its workers died, or could not load this library."""
    error = " ".join(str(future.exception()).split())[:300] if future.status == "error" else future.status
    return Outcome(name, "failed", error=f"no worker could finish it ({error})")
