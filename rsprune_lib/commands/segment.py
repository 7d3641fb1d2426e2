"""``rsprune segment``: the map of classes of a whole scene."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsprune_lib.commands.common import BundleFolder, Json, emit, say
from rsprune_lib.commands.quality_text import quality_text
from rsprune_lib.errors import RspruneError

if TYPE_CHECKING:
    from rsprune_lib.bundle import Bundle
    from rsprune_lib.deploy import Segmented, Segmenter

__all__ = ["segment"]

Scene = Annotated[Path, typer.Argument(metavar="SCENE", help="GeoTIFF or JPEG 2000 of any size; PNG, JPEG.")]


def segment(
    folder: BundleFolder,
    scene: Scene,
    out: Annotated[
        Path,
        typer.Option("--out", help="Map to write: .tif (cloud-optimised GeoTIFF) or .png.", show_default=False),
    ],
    bands: Annotated[
        str | None,
        typer.Option(
            "--bands", help="Which bands are red, green and blue, by number or name; the bundle's by default."
        ),
    ] = None,
    probabilities: Annotated[
        Path | None, typer.Option("--probabilities", help="A .tif for the class probabilities, a band a class.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Labels of the scene, .tif or .png: measure the map on them.")
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", min=8, help="Pixels a side of a window; that of the training by default.")
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", min=0, help="Pixels neighbouring windows share; by default half a window."),
    ] = None,
    blend: Annotated[
        bool, typer.Option("--blend/--no-blend", help="Weigh pixels less towards the edges of a window.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in OUT.part.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a map, and drop an interrupted run.")] = False,
    as_json: Json = False,
) -> None:
    """Write the class of every pixel of a scene, in windows that overlap and are blended, in bounded memory."""
    from rsprune_lib.bundle import load_bundle
    from rsprune_lib.deploy import Segmenter, segment_scene

    if force and resume:
        raise typer.BadParameter("give one of --force, which begins anew, and --resume, which goes on")
    if any(made is not None and made.resolve().is_relative_to(folder.resolve()) for made in (out, probabilities)):
        raise RspruneError(f"The map would lie inside the bundle {folder}; choose a place apart from it.")
    bundle = load_bundle(folder)
    segmenter = Segmenter.of(bundle)
    done = segment_scene(
        segmenter, scene, out, window=window and (window, window), overlap=overlap, blend=blend, bands=bands,
        probabilities=probabilities, truth=truth, resume=resume, force=force,
    )  # fmt: skip
    if done.note:
        say(f"Of {scene}: {done.note}.")
    row, lines = _report(done, scene, out, segmenter)
    if truth is not None:
        row["truth"], measured = _measured(bundle, segmenter, out, truth)
        lines += measured
    emit(row, as_json, "\n".join([*lines, f"Written to {out}"]))


def _report(done: "Segmented", scene: Path, out: Path, segmenter: "Segmenter") -> tuple[dict[str, Any], list[str]]:
    """What was written, for scripts and for people."""
    known = max(1, sum(done.pixels))
    shares = {name: count / known for name, count in zip(segmenter.classes, done.pixels, strict=True)}
    row = {"out": str(out), "scene": str(scene), "size": list(done.size), "windows": done.windows, "shares": shares}
    row |= {"nodata": done.nodata, "seconds": done.seconds}
    height, width = done.size
    head = f"{scene.name}, {height:,} x {width:,} pixels, {done.windows:,} windows in {done.seconds:,.0f} s"
    if done.nodata:
        head += f"; {done.nodata:,} pixels without data"
    return row, [head, *(f"  {name:24} {share:7.1%}" for name, share in shares.items())]


def _measured(bundle: "Bundle", segmenter: "Segmenter", out: Path, truth: Path) -> tuple[dict[str, Any], list[str]]:
    """How good the map is on the labels of the scene."""
    from rsprune_lib.deploy import compare_maps

    rare = (bundle.config.get("data") or {}).get("rare") or ()
    quality, other = compare_maps(out, truth, segmenter.classes, segmenter.palette, rare)
    found = quality.to_dict()
    row = found | {"per_class": dict(zip(segmenter.classes, found["per_class"], strict=True))}
    lines = [f"On {truth.name}, {quality_text(quality, segmenter.classes)}"]
    if other:
        row["other_pixels"] = other
        lines.append(f"{other:,} pixels of the labels have the colour of no class and count nowhere")
    return row, lines
