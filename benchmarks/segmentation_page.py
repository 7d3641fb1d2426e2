"""The page of `segmentation_table`: tables of what was measured, and in words where a method does not win."""

from collections.abc import Iterable

MINORITY = "minority mIoU"
CLOSED = ("closed form, uniform", "closed form, balanced")


def page(sweep: dict, table: dict) -> str:
    """Markdown of all networks of a table that have rows."""
    lines = [f"# {sweep['title']}", "", sweep["text"], ""]
    for name in sweep["networks"]:
        for seed in sorted({row["seed"] for row in table["rows"] if row["network"] == name}):
            own = [row for row in table["rows"] if (row["network"], row["seed"]) == (name, seed)]
            lines += network(sweep, name, own, table["times"].get(name))
    origins = [row["provenance"] for row in table["rows"]]
    commits = sorted({(origin["git"] or {}).get("commit", "none")[:9] for origin in origins})
    devices, torches = ({one(origin) for origin in origins} for one in (_device, lambda o: o["versions"]["torch"]))
    seeds = sorted({row["seed"] for row in table["rows"]})
    several = "" if len(seeds) > 2 else " One seed says little about differences of a point."
    lines += [
        f"Test part, which chose nothing (the epoch is the best on validation); all pixels but unknown ones, full "
        f"masks. Seeds {', '.join(map(str, seeds))}.{several} {', '.join(sorted(devices))}, torch "
        f"{', '.join(sorted(torches))}, commits {', '.join(commits)}. Sweep: benchmarks/sweeps/{table['sweep']}."
    ]
    return "\n".join(lines) + "\n"


def network(sweep: dict, name: str, rows: list[dict], times: dict | None) -> list[str]:
    """Lines about one network and seed."""
    how = {key: value for key, value in sweep.items() if key != "networks"} | sweep["networks"][name]
    height, width = rows[0]["provenance"]["data"]["image_size"] if _oblong(rows[0]) else (_side(rows[0]),) * 2
    lines = [f"## {name}, seed {rows[0]['seed']}", ""]
    lines += [
        f"{height} x {width} pixels, loss {how['loss']}, {how['epochs']} epochs"
        + (
            f", fine-tuning {how['tuning']}; {how['images']} training images for scores and repair."
            if _cut(rows)
            else "."
        )
    ]
    lines += ["", "### After training", "", *_grid(_HEADS, [_trained(row, times) for row in _finished(rows)])]
    if _cut(rows):
        lines += ["", "### Before any training: mIoU (minority mIoU)", ""]
        heads = ["channels that stay", "method", "raw cut", "closed form, uniform places", "balanced places"]
        lines += _grid(heads, [_repaired(cut) for cut in _cells(rows)])
        lines += ["", *[f"- {text}" for text in [*verdicts(rows), *_scoring(times)]]]
    return [*lines, ""]


_HEADS = ["network", "epochs", "mIoU", MINORITY, "worst class", "OA", "parameters", "MACs", "ms, one image"]


def _trained(row: dict, times: dict | None) -> list[str]:
    less, found = row.get("deployed") or row, row["metrics"]
    took = (times or {}).get("latency", {}).get(f"{row['keep']:g}")
    speed = "" if took is None else f"{took['ms']:.1f} ± {took['iqr_ms'] / 2:.1f}"
    speed += f" ({took['words']})" if took and row["keep"] < 1 else ""
    name = row["method"] if row["keep"] == 1 else f"{row['keep']:g} of the channels, {row['method']}"
    numbers = [f"{100 * found[key]:.1f}" for key in ("mIoU", MINORITY, "worst class", "OA")]
    return [name, str(row["epochs"]), *numbers, f"{less['params']:,}", f"{less['macs'] / 1e6:.1f} M", speed]


def _repaired(stages: dict[str, dict]) -> list[str]:
    row = stages["raw"]
    return [f"{row['keep']:g}", row["method"], *(_both(stages.get(stage)) for stage in ("raw", *CLOSED))]


def verdicts(rows: list[dict]) -> list[str]:
    """Sentences: what the closed form gives back, whether its places matter, and how the minority-aware cut stands."""
    dense = next((row for row in rows if row["stage"] == "dense"), None)
    found = []
    for cut in _cells(rows):
        if dense and cut["raw"]["method"] == "class_taylor" and CLOSED[1] in cut:
            said = [_brought(dense, cut["raw"], cut[CLOSED[1]], key) for key in ("mIoU", MINORITY)]
            found.append(
                f"At {cut['raw']['keep']:g}, cut by class_taylor, the closed form without any training brings "
                f"{said[0]} and {said[1]}."
            )
    if gains := [_value(cut[CLOSED[1]]) - _value(cut[CLOSED[0]]) for cut in _cells(rows) if CLOSED[1] in cut]:
        found.append(
            f"Places balanced over the classes are ahead of uniform ones in {sum(gain > 0 for gain in gains)} of "
            f"{len(gains)} repairs ({100 * min(gains):+.1f} to {100 * max(gains):+.1f} points of minority mIoU)."
        )
    return found + [text for keep in sorted({row["keep"] for row in rows if row["keep"] < 1}, reverse=True)
                    for text in _ranked([row for row in rows if row["keep"] == keep], rows)]  # fmt: skip


def _ranked(own: list[dict], rows: list[dict]) -> Iterable[str]:
    """Where class_taylor stands among the fine-tuned networks of one size, and against the dense one."""
    tuned = [row for row in own if row["stage"] == "fine-tuned"]
    mine = next((row for row in tuned if row["method"] == "class_taylor"), None)
    if mine is None:
        return
    for key in (MINORITY, "mIoU"):
        others = [row for row in tuned if row["method"] != "class_taylor"]
        if others:
            best = max(others, key=lambda row: _value(row, key))
            gap = 100 * (_value(mine, key) - _value(best, key))
            word = "ahead of" if gap > 0 else "**behind**"
            yield (
                f"At {mine['keep']:g}, fine-tuned: class_taylor is {word} the best of {len(others)} others "
                f"({best['method']}) by {abs(gap):.1f} points of {key}."
            )
    if long := next((row for row in rows if row["method"] == "trained on"), None):
        gaps = [f"{100 * (_value(mine, key) - _value(long, key)):+.1f} points of {key}" for key in ("mIoU", MINORITY)]
        yield f"Against the dense network of as many epochs: {gaps[0]}, {gaps[1]}."


def _scoring(times: dict | None) -> list[str]:
    share = (times or {}).get("scores_in_epochs")
    return [] if share is None else [f"Scores by classes cost the processor {share:.1f} epochs of training."]


def _cells(rows: list[dict]) -> list[dict[str, dict]]:
    """The stages of each pruned network that was cut, in the order of the rows."""
    found: dict[tuple, dict[str, dict]] = {}
    for row in rows:
        if row["keep"] < 1:
            found.setdefault((row["keep"], row["method"]), {})[row["stage"]] = row
    return [stages for stages in found.values() if "raw" in stages]


def _finished(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["stage"] in ("dense", "fine-tuned")]


def _brought(dense: dict, raw: dict, repaired: dict, key: str) -> str:
    """From where to where a repair brings a number, and what share of the loss that is."""
    before, after, whole = (100 * _value(row, key) for row in (raw, repaired, dense))
    share = (after - before) / (whole - before) if whole - before > 1 else 0
    how = f"{share:.0%} of what was lost" if share > 0 else "**worse**" if after < before else "better"
    return f"{key} from {before:.1f} to {after:.1f} ({how}; dense {whole:.1f})"


def _value(row: dict, key: str = MINORITY) -> float:
    return row["metrics"][key]


def _both(row: dict | None) -> str:
    return "" if row is None else f"{100 * _value(row, 'mIoU'):.1f} ({100 * _value(row):.1f})"


def _cut(rows: list[dict]) -> bool:
    return any(row["keep"] < 1 for row in rows)


def _side(row: dict) -> int:
    return row["provenance"]["data"]["image_size"]


def _oblong(row: dict) -> bool:
    return isinstance(_side(row), list)


def _device(origin: dict) -> str:
    return f"{origin['device']}, {origin['threads']} thread(s)"


def _grid(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
