"""What ``rsprune export --web`` does: one HTML page with one or two classifiers inside."""

from pathlib import Path
from typing import TYPE_CHECKING

from rsprune_lib.commands.common import data_paths, emit, open_run, say
from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from rsprune_lib.bundle import Bundle
    from rsprune_lib.data import Dataset
    from rsprune_lib.deploy import Shown

__all__ = ["PAGE", "export_page"]

PAGE = "page.html"
_ROOM = 60_000_000  # bytes of a page with two networks of the house, and more


def export_page(
    folder: Path, beside: Path | None, out: Path, *, int8: bool = True, runtime: Path | None = None,
    data: str | None = None, bands: str | None = None, force: bool = False, as_json: bool = False,
) -> None:  # fmt: skip
    """Writes the page.

    Args:
        folder: bundle of the first network.
        beside: bundle of a second one, to compare with.
        out: folder for the page.
        int8: whole-number weights; a network whose classes would lose too much stays in float, and the page says so.
        runtime: folder of onnxruntime-web; by default npm fetches it.
        data: in place of the bundle's data.
        bands: in place of the bundle's bands.
        force: replace an earlier page.
        as_json: print one JSON object.

    Raises:
        RspruneError: something is missing, or the two do not fit each other.
    """
    from rsprune_lib.deploy import web_page, web_runtime, web_samples

    bundles = [folder, *([beside] if beside else [])]
    run = RunFolder(out, "web", force=force, inputs=[*bundles, *data_paths(data), *([runtime] if runtime else [])])
    opened = [open_run(each, data, bands) for each in bundles]
    loaded = opened[0][1]
    engine = web_runtime(runtime)
    names = _titles([bundle for bundle, _ in opened])
    shown = [_shown(bundle, each, name, int8) for (bundle, each), name in zip(opened, names, strict=True)]
    title = f"{loaded.title}: {' beside '.join(names)}"
    with run.open([PAGE], needed=_ROOM, resumable=False) as place:
        page = web_page(place / PAGE, shown, web_samples(loaded), engine, title=title, origin=_origin(loaded))
        size = page.stat().st_size
    row = {"out": str(run.out), "page": PAGE, "bytes": size, "runtime": engine.version}
    row |= {"networks": [{"title": one.title, **one.details} for one in shown]}
    lines = [f"{one.title}: {', '.join(f'{name} {text}' for name, text in one.details.items())}" for one in shown]
    lines.append(f"Written to {run.out / PAGE}, {size / 1e6:.1f} MB; it opens with a double click, without a network.")
    emit(row, as_json, "\n".join(lines))


def _titles(bundles: "list[Bundle]") -> list[str]:
    """Dense and pruned; the names of the folders where that says nothing."""
    names = ["dense" if bundle.plan is None else "pruned" for bundle in bundles]
    return names if len(set(names)) == len(names) else [bundle.path.resolve().name for bundle in bundles]


def _shown(bundle: "Bundle", data: "Dataset", title: str, int8: bool) -> "Shown":
    """A network of the page; its accuracy is that of its file on the test part."""
    from rsprune_lib.data import Batches, measuring_batch
    from rsprune_lib.deploy import Facts, OnnxNetwork, Shown, judge, kept_onnx
    from rsprune_lib.errors import ModelError
    from rsprune_lib.measure import cost

    facts = Facts.of(bundle)
    if facts.dense:
        raise RspruneError(f"{bundle.path} segments; the page is for classifiers: leave --web out.")
    say(f"Exporting {bundle.path} where that was not done before; this takes some seconds.")
    try:
        path = kept_onnx(bundle, data, int8=int8, reduced=True if int8 else None)
    except ModelError as error:
        if not int8:
            raise
        say(f"{bundle.path} stays in float: {error}")
        int8, path = False, kept_onnx(bundle, data)
    size = cost(bundle.model, data.image_size)
    test = Batches(data, "test", measuring_batch(data))
    found = judge(OnnxNetwork(path, 1), test, data.task)
    details = {
        "parameters": f"{size.params:,}", "MACs an image": f"{size.macs / 1e6:.1f} M",
        "size of the file": f"{path.stat().st_size / 1e6:.2f} MB", "test accuracy": f"{found.accuracy:.2%}",
    }  # fmt: skip
    precision = "whole numbers (int8)" if int8 else "real numbers (float32)"
    return Shown(title, path, facts, details, f"{bundle.config['model']['name']}, {precision}")


def _origin(data: "Dataset") -> str:
    import rsprune_lib

    drawn = "; all images are synthetic" if data.synthetic else ""
    return (
        f"Trained on {data.title}{drawn}. The ten images inside are of its test part, on which the accuracy was "
        f"measured, too. Made with rsprune {rsprune_lib.__version__}."
    )
