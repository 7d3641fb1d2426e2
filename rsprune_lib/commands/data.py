"""``rsprune data list | fetch | verify``: the public data sets of the course."""

from typing import Annotated

import typer

from rsprune_lib.commands.common import Json, emit

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, fetch and verify data sets.")
Name = Annotated[str, typer.Argument(help="Name of a data set, see: rsprune data list.")]


@app.command("list", epilog="Example: rsprune data list --json")
def list_cards(as_json: Json = False) -> None:
    """List the data sets that the course knows, and which of them are here."""
    from rsprune_lib.data import card_names, get_card
    from rsprune_lib.data.fetch import data_root, find
    from rsprune_lib.data.sizes import size_text

    rows = []
    for card in map(get_card, card_names()):
        here = card.synthetic or find(card) is not None or any((data_root() / "arrays").glob(f"{card.name}-*/"))
        row = {"name": card.name, "title": card.title, "classes": len(card.classes), "images": card.num_images}
        rows.append(row | {"image_size": card.image_size, "licence": card.licence, "here": bool(here)})
    lines = [f"{'name':16} {'classes':>7} {'images':>7} {'pixels':>7}  here  title"]
    for r in rows:
        head = f"{r['name']:16} {r['classes']:7} {r['images']:7} {size_text(r['image_size']):>7}"
        lines.append(f"{head}  {'yes' if r['here'] else '-':4}  {r['title']} ({r['licence']})")
    emit({"data": rows}, as_json, "\n".join(lines))


@app.command("fetch", epilog="Example: RSPRUNE_MIRROR=/media/usb/archives rsprune data fetch eurosat")
def fetch_card(name: Name, as_json: Json = False) -> None:
    """Get a data set (cache, then mirror, then download), check it and decode it once."""
    from rsprune_lib.data import get_card, load_data
    from rsprune_lib.data.fetch import fetch

    archive = None if get_card(name).synthetic else fetch(name)
    data = load_data(name)
    result = data.info() | {"archive": archive and str(archive), "images": len(data.labels)}
    counts = f"{len(data.labels):,} images, {data.num_classes} classes ({data.split})"
    emit(result, as_json, f"{data.title}: {counts}; ready.")


@app.command("verify", epilog="Example: rsprune data verify eurosat")
def verify_card(name: Name, as_json: Json = False) -> None:
    """Check archive and decoded images of a data set against their hashes; exit status 1 if something is wrong."""
    from rsprune_lib.data.fetch import verify

    result = verify(name)
    if result["ok"]:
        text = f"{name}: good."
    elif not result["archive"] and not result["arrays"]:
        text = f"{name}: not here; get it with: rsprune data fetch {name}"
    else:
        text = f"{name}: the decoded images do not match their hash; fetch it again with: rsprune data fetch {name}"
    emit(result, as_json, text)
    if not result["ok"]:
        raise typer.Exit(1)
