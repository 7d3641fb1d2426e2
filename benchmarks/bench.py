"""Speed, measured side by side with what a user would run instead: ``make bench`` or ``python benchmarks/bench.py``.

Every number stands beside its baseline from the same run, because an absolute time means little on a shared machine.
Writes ``results/bench.json`` and ``results/bench.md``. Parts can be measured alone; the rows of the others stay as they
were, and each row keeps its own commit and date.

Example:
    python benchmarks/bench.py --data synthetic --steps 10
    python benchmarks/bench.py --parts app
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from PIL import Image
from rows import row, table
from torch import nn

from rsprune_lib.data import Augment, Batches, Dataset, load_data
from rsprune_lib.device import pick_device
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import cost, latency, layer_costs, provenance
from rsprune_lib.models import create_model, plain_name
from rsprune_lib.pruning import apply, choose, find_groups, plan_cost, score
from rsprune_lib.training import Callback, fit, recipe

RESULTS = Path(__file__).resolve().parents[1] / "results"


def median_seconds(function: Callable[[], object], repeats: int, warmup: int = 2) -> float:
    """Returns the median wall-clock seconds of a call."""
    times = []
    for number in range(warmup + repeats):
        start = time.perf_counter()
        function()
        if number >= warmup:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


class PlainFolder(torch.utils.data.Dataset):
    """What a tutorial writes: decode each image when it is asked for, one by one, with torchvision's transforms."""

    def __init__(self, data: Dataset, folder: Path, count: int) -> None:
        from torchvision import transforms

        self.files = []
        for number, index in enumerate(data.part("train")[:count]):
            path = folder / f"{number}.jpg"
            Image.fromarray(data.images[index]).save(path, quality=95)
            self.files.append((path, int(data.labels[index])))
        self.transform = transforms.Compose([
            transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip(),
            transforms.RandomCrop(data.image_size, padding=4, padding_mode="reflect"),
            transforms.ColorJitter(brightness=0.1), transforms.ToTensor(), transforms.Normalize(data.mean, data.std),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[index]
        return self.transform(Image.open(path)), label


def plain_loop(data: Dataset, model: nn.Module, steps: int, batch: int = 64) -> float:
    """Images a second of the plain loop: per-image decode, float32, default memory layout."""
    with tempfile.TemporaryDirectory() as folder:
        images = PlainFolder(data, Path(folder), batch * (steps + 1))
        loader = torch.utils.data.DataLoader(images, batch, shuffle=True, drop_last=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        model.train()
        for number, (x, y) in enumerate(loader):
            if number == 1:  # the first step warms up
                start = time.perf_counter()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return batch * (len(loader) - 1) / (time.perf_counter() - start)


def our_loop(data: Dataset, model: nn.Module, steps: int, batch: int = 64) -> float:
    """Images a second of `fit`, from the second look at the loss to the last (16 steps apart)."""
    times = []

    class Clock(Callback):
        def on_step(self, done: int, total: int, loss: float) -> None:
            times.append((done, time.perf_counter()))

    run = recipe("strong", epochs=1, batch_size=batch)
    fit(model, data, run, callbacks=[Clock()], limit=batch * (steps + 16), val_limit=64, progress=False)
    (first, start), (last, end) = times[0], times[-1]
    return batch * (last - first) / (end - start)


def batch_share(data: Dataset, throughput: float, batch: int = 64) -> float:
    """Share of a training step that cutting, augmenting and normalising its batch takes."""
    augment = Augment(dihedral=True, shift=4, brightness=0.1)
    batches = Batches(data, "train", batch, augment=augment, shuffle=True).epoch(0)
    seconds = median_seconds(lambda: next(batches), 20)
    return seconds / (batch / throughput)


def training_rows(data: Dataset, steps: int) -> Iterator[dict]:
    """Measures the training loop against the plain one."""
    model = create_model("resnet18_se", data.num_classes, seed=0)
    plain = plain_loop(data, create_model("resnet18_se", data.num_classes, seed=0), steps)
    ours = our_loop(data, model, steps)
    yield row("training SE-ResNet-18, images/s", ours, plain, "plain loop: per-image decode, fp32", ours / plain, 1.4)
    yield row("batch preparation, share of a step", batch_share(data, ours), 1.0, "the step", None, 0.05)


def pruning_rows(data: Dataset) -> Iterator[dict]:
    """Measures a slider's path against building the dependency graph anew for each position."""
    size = data.image_size
    model = create_model(plain_name("resnet18_se"), data.num_classes, seed=0).eval()
    groups, costs = find_groups(model, size), layer_costs(model, size)
    scores = score(model, groups, "l2")
    ratios = iter([0.01 * k for k in range(20, 90)] * 3)

    def slide() -> None:
        plan = choose(scores, groups, ratio=next(ratios), scope="global")
        plan_cost(costs, groups, plan.keep)

    def anew() -> None:
        apply(model, choose(scores, find_groups(model, size), ratio=0.5))

    plan = choose(scores, groups, ratio=0.7)
    fresh = median_seconds(anew, 5)
    for name, function in (
        ("slider: plan, parameters, MACs, ms", slide),
        ("surgery with known groups, ms", lambda: apply(model, plan, groups)),
    ):
        seconds = median_seconds(function, 30)
        yield row(name, 1000 * seconds, 1000 * fresh, "graph and surgery anew", fresh / seconds, None)


def latency_rows(data: Dataset) -> Iterator[dict]:
    """Measures the pruned network against the dense one."""
    size, device = data.image_size, pick_device()
    dense = create_model("resnet18", data.num_classes, seed=0).eval()
    groups = find_groups(dense, size)
    small = apply(dense, choose(score(dense, groups, "l2"), groups, ratio=0.7), groups)
    macs = cost(dense, size).macs / cost(small, size).macs
    for batch in (1, 64):
        slow, fast = (
            latency(m, size, batch=batch, device=device, repeats=30 if batch == 1 else 8).median_ms
            for m in (dense, small)
        )
        note = f"dense ResNet-18, {macs:.1f} times the MACs"
        yield row(f"latency at ratio 0.7, batch {batch}, ms", fast, slow, note, slow / fast, None)


def studio_rows() -> Iterator[dict]:
    """Measures a slider's path through the studio's state, in a process of its own as a kernel is."""
    from studio_bench import studio_table

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # this one's threads would slow its worker
        yield from pool.submit(studio_table).result()


def similarity_rows(data: Dataset) -> Iterator[dict]:
    """Measures the comparison of feature maps against the plain pairwise loop."""
    from similarity_bench import similarity_rows as rows

    yield from rows(data)


def app_rows() -> Iterator[dict]:
    """Measures the app in a real browser."""
    from app_bench import browser_rows

    yield from browser_rows()


def classes_rows() -> Iterator[dict]:
    """Measures scores by classes against epochs of training."""
    from segmentation_bench import class_rows

    yield from class_rows()


def page(rows: list[dict]) -> str:
    """The table, with a line of origin for every run that its rows come from."""
    runs = {(r["date"], r["commit"], r["origin"]): [] for r in rows}
    for r in rows:
        runs[r["date"], r["commit"], r["origin"]].append(r["part"])
    heads = [
        f"{', '.join(dict.fromkeys(parts))}: {origin}, {date}, commit {commit[:10]}."
        for (date, commit, origin), parts in runs.items()
    ]
    return "\n\n".join(["# Speed, with its baseline from the same run", *heads, table(rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="auto", help="eurosat, synthetic or a folder of class folders")
    parser.add_argument("--steps", type=int, default=24, help="training steps to time")
    names = ("training", "pruning", "classes", "similarity", "latency", "studio", "app")
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="what to measure")
    arguments = parser.parse_args()
    data, path = load_data(arguments.data), RESULTS / "bench.json"
    parts = {
        "training": lambda: training_rows(data, arguments.steps),
        "pruning": lambda: pruning_rows(data),
        "classes": classes_rows,
        "similarity": lambda: similarity_rows(data),
        "latency": lambda: latency_rows(data),
        "studio": studio_rows,
        "app": app_rows,
    }
    origin = provenance(data.info(), seed=0, device=pick_device())
    where = f"{origin['device']}, {origin['threads']} threads, data {data.title}"
    run = {"date": origin["date"], "commit": str((origin["git"] or {}).get("commit", "unknown")), "origin": where}
    kept = read_json(path, "a table of speeds")["rows"] if path.exists() else []
    rows: list[dict] = []
    for name, measure_part in parts.items():
        chosen = name in arguments.parts
        rows += [row | {"part": name} | run for row in measure_part()] if chosen else _of(kept, name)
    write_json(path, {"rows": rows, "provenance": origin})
    (RESULTS / "bench.md").write_text(page(rows), encoding="utf-8")
    print(page(rows))


def _of(rows: list[dict], part: str) -> list[dict]:
    return [row for row in rows if row["part"] == part]


if __name__ == "__main__":
    main()
