"""Rows of `rsprune bench` as a table."""

from collections.abc import Mapping, Sequence

from torch import nn

from rsprune_lib.course.show import Table
from rsprune_lib.deploy import RUNTIMES, BenchRow
from rsprune_lib.measure import Result, cost

__all__ = ["bench_note", "bench_results", "bench_table"]


def bench_table(rows: Sequence[Mapping], note: str = "") -> Table:
    """Networks and runtimes with size, times and accuracy; one group of columns for each batch size.

    Args:
        rows: `rsprune_lib.deploy.BenchRow.to_dict` of each, timed in turn.
        note: a line under the table: data, threads, machine.
    """
    batches, judged = list(rows[0]["times"]), any("score" in row for row in rows)
    heads = ["network", "runtime", "file, MB"]
    for batch in batches:
        heads += [f"batch {batch}: ms", "spread", "computing", "against the first row"]
    heads += ["accuracy" if all(row.get("metric", "accuracy") == "accuracy" for row in rows) else rows[0]["metric"]]
    lines = []
    for row in rows:
        line = [row["network"], row["title"], f"{row['bytes'] / 1e6:.2f}"]
        for batch in batches:
            took, words = row["times"][batch], "–" if row is rows[0] else row["times"][batch]["words"]
            line += [f"{took['ms']:.3g}", f"{took['iqr_ms']:.3g}", f"{took['own_ms']:.3g}", words]
        lines.append([*line, f"{row['score']:.2%}" if judged else "–"])
    if not judged:
        heads, lines = heads[:-1], [line[:-1] for line in lines]
    return Table(heads, lines, note=note)


def bench_note(result: Mapping) -> str:
    """Where the numbers of a bench come from, in a line."""
    rows, origin = result["rows"], result["provenance"]
    images = next((row["n"] for row in rows if row.get("n")), None)
    judged = f"accuracy on {images:,} images of the {result['split']} part, " if images else ""
    mark = " (synthetic)" if result["synthetic"] and "synthetic" not in result["data"].lower() else ""
    threads = "one thread" if result["threads"] == 1 else f"{result['threads']} threads"
    busy = any(took["busy"] for row in rows for took in row["times"].values())
    return (
        f"{result['data']}{mark}; {judged}times in turn on the same real images, median and distance of the quartiles "
        f"over the rounds; {threads}, {origin['device']}, torch {origin['versions']['torch']}"
        + ("; other programs had the processor meanwhile: the milliseconds of computing are compared" if busy else "")
    )


def bench_results(rows: Sequence[BenchRow], models: Mapping[str, nn.Module], lead: str, origin: dict) -> list[Result]:
    """Rows of a bench as closing rows of a notebook: batch 1, speeds are against the first row.

    Args:
        rows: timed in turn and judged on the test part.
        models: network -> the model behind it.
        lead: what the names begin with, such as ``"08"``.
        origin: `rsprune_lib.measure.provenance`.
    """
    found, size = [], origin["data"]["image_size"]
    for row in rows:
        weight, took, judged = cost(models[row.network], size), row.times[1], row.quality
        found.append(
            Result(
                f"{lead} {row.network}, {RUNTIMES[row.runtime].title}", weight.params, weight.macs, judged.accuracy,
                judged.ci, n=judged.n, latency_ms=took.own_ms if took.busy else took.ms,
                speed=None if row is rows[0] else took.words, batch=1, part="test", provenance=origin,
            )
        )  # fmt: skip
    return found
