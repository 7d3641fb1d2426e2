"""One HTML file that says what a run found: tables and figures inside it, provenance beside them, nothing to load."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from rsprune_lib.course.headless.record import read_results
from rsprune_lib.course.tables import CLOSING, cells, closing_rows
from rsprune_lib.files import atomic
from rsprune_lib.records import Run, checked

__all__ = ["build_report", "checked_run", "page", "picture", "plain_table", "provenance_table", "sections"]

STYLE = Path(__file__).with_name("report.css")


def build_report(folder: str | Path) -> Path:
    """Writes ``report.html`` from ``results.json`` and the figures of a run.

    Args:
        folder: Folder of the run.

    Returns:
        The path of the report.

    Raises:
        RspruneError: The folder holds no ``results.json`` of a run.
    """
    folder = Path(folder)
    results = checked_run(folder)
    with atomic(folder / "report.html") as temporary:
        temporary.write_text(page("Course report", "\n".join(sections(results, folder))), encoding="utf-8")
    return folder / "report.html"


def checked_run(folder: Path) -> dict:
    """Reads the results of a run of the course, which may come from someone else.

    Raises:
        RspruneError: the folder holds none, or they are not as a run writes them.
    """
    path = folder / "results.json"
    return checked(Run, read_results(path), str(path))


def sections(results: Mapping, folder: Path, link: str = "") -> list[str]:
    """Returns the parts of the report of a course run.

    Args:
        results: What its ``results.json`` holds.
        folder: Of the run, with its figures.
        link: What leads from the page to that folder, e.g. ``"course/"``.
    """
    parts = [_head(results), _closing(results), *(_notebook(n, results, folder, link) for n in results["notebooks"])]
    return [*parts, _provenance(results)]


def page(title: str, body: str) -> str:
    """Returns a whole page in the style of the course, with nothing to load."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _synthetic(results: Mapping) -> bool:
    data = results.get("about", {}).get("data") or {}
    return bool(data.get("synthetic")) or results.get("data") == "synthetic"


def _head(results: Mapping) -> str:
    good = sum(n["ok"] for n in results["notebooks"])
    total = len(results["notebooks"])
    data = results.get("about", {}).get("data") or {}
    facts = [
        f"profile <b>{escape(results['profile'])}</b>",
        f"data <b>{escape(str(data.get('name') or results['data']))}</b>",
        f"{escape(results['started'].replace('T', ' '))}",
        f"{results['seconds'] / 60:.1f} min",
    ]
    note = ""
    if _synthetic(results):
        note = (
            '<p class="note">Synthetic data: the images of this run were drawn by a program. '
            "Its numbers show how the methods work; they say nothing about real scenes.</p>"
        )
    note += "".join(f'<p class="note">{escape(text)}</p>' for text in results.get("notes", ()))
    verdict = f'<span class="badge {"good" if good == total else "bad"}">{good} of {total} notebooks passed</span>'
    return f"<header><h1>Course report</h1><p>{verdict} {' · '.join(facts)}</p>{note}</header>"


def _closing(results: Mapping) -> str:
    rows = closing_rows(results["rows"])
    if not rows:
        return ""
    table = _table([{k: row.get(k) for k in CLOSING} for row in rows])
    return (
        f"<section><h2>The networks</h2>{table}<p class='small'>MACs: multiply-accumulates of convolutions and linear "
        "layers for one image. Latency: median of one image on the machine named below. Interval: Wilson; of mIoU, "
        "images drawn anew.</p></section>"
    )


def _notebook(notebook: Mapping, results: Mapping, folder: Path, link: str) -> str:
    name = notebook["name"]
    rows = [row for row in results["rows"] if row["notebook"] == name]
    figures = [figure for figure in results["figures"] if figure["notebook"] == name]
    state = (
        f'<span class="badge {"good" if notebook["ok"] else "bad"}">{"passed" if notebook["ok"] else "failed"}</span>'
    )
    link = f'<a href="{escape(link)}{escape(name)}/{escape(name)}.ipynb">{escape(name)}</a>'
    body = f"<h2>{link} {state} <small>{notebook['seconds']:.0f} s</small></h2>"
    if notebook["error"]:
        body += f'<p class="error">{escape(notebook["error"])}</p>'
    body += _table(rows) if rows else ""
    body += "".join(_figure(figure, folder) for figure in figures)
    return f"<section>{body}</section>"


def _table(rows: Sequence[Mapping]) -> str:
    return plain_table(*cells(rows))


def plain_table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Returns a table that scrolls sideways where there is no room."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    lines = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in body)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _figure(figure: Mapping, folder: Path) -> str:
    path = folder / figure["file"]
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return f'<p class="error">The figure {escape(figure["title"])} is missing ({escape(figure["file"])}).</p>'
    return picture(path.read_bytes(), figure["title"])


def picture(png: bytes, title: str) -> str:
    """Returns a figure that the page holds itself."""
    data, title = base64.b64encode(png).decode("ascii"), escape(title)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{title}"><figcaption>{title}</figcaption></figure>'


def _provenance(results: Mapping) -> str:
    about = dict(results.get("about") or {})
    facts = {"command": about.pop("command", None), **about.pop("versions", {}), **(about.pop("data", None) or {})}
    git = about.pop("git", None) or {}
    if git:
        facts["git commit"] = git.get("commit", "")[:12] + (" with local changes" if git.get("dirty") else "")
    facts |= about
    return provenance_table(facts)


def provenance_table(facts: Mapping[str, object]) -> str:
    """Returns the section that says where numbers come from; facts that are None or empty are left out."""
    rows = "".join(
        f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items() if v not in (None, "")
    )
    return f'<section><h2>Where these numbers come from</h2><table class="facts">{rows}</table></section>'
