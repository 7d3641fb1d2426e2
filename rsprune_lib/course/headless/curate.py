"""Makes the executed state of each notebook that is committed, so that the course reads well on a web page.

Example:
    python -m rsprune_lib.course.headless.curate 01 02 --data eurosat
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat

from rsprune_lib.course.headless.execute import execute
from rsprune_lib.course.headless.notebook_files import strip
from rsprune_lib.course.headless.notebooks import notebooks_folder, select
from rsprune_lib.course.profiles import profile
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic
from rsprune_lib.places import project_root

__all__ = ["LIMIT", "curate"]

LIMIT = 1 << 20  # bytes a committed notebook may have


def curate(
    notebooks: Sequence[str] | None = None,
    *,
    data: str = "auto",
    profile_name: str = "quick",
    folder: Path | None = None,
    progress: bool = True,
) -> list[Path]:
    """Executes notebooks and puts the outputs into the sources: figures and text, no widget state, no timing, no paths.

    Args:
        notebooks: Numbers or names; None means all.
        data: What the notebooks get as ``data_name``.
        profile_name: A profile.
        folder: Where the notebooks lie.
        progress: Show a progress bar over the cells.

    Returns:
        The notebooks that were written.

    Raises:
        RspruneError: A notebook failed, changed while it ran, or stays above 1 MB; that one is left as it was.
    """
    written = []
    for path in select(list(notebooks or []), folder or notebooks_folder()):
        source = nbformat.read(path, 4)
        with tempfile.TemporaryDirectory() as scratch:
            run = execute(path, Path(scratch) / "run", profile(profile_name), data, progress=progress)
            if not run.ok:
                raise RspruneError(f"{path.name} failed, so it is left as it was: {run.error}")
            executed = nbformat.read(Path(scratch) / "run" / path.name, 4)
        text = _fit(executed, path)
        if [c.source for c in nbformat.reads(text, 4).cells] != [c.source for c in nbformat.read(path, 4).cells]:
            raise RspruneError(f"{path.name} changed while it ran, so it is left as it is; curate it again.")
        with atomic(path) as temporary:
            temporary.write_text(_same_header(text, source), encoding="utf-8")
        written.append(path)
    return written


def _fit(executed: nbformat.NotebookNode, path: Path) -> str:
    """Strips a notebook; figures lose colours until the file is small enough."""
    hide = {str(project_root()): ".", str(Path.home()): "~", tempfile.gettempdir(): "tmp"}
    for colours in (None, 256, 64, 24):
        text = nbformat.writes(strip(executed, hide, colours), 4) + "\n"
        if len(text.encode()) <= LIMIT:
            return text
    raise RspruneError(
        f"{path.name} has {len(text.encode()) >> 10} KiB with its figures, at most {LIMIT >> 10} may be; show fewer."
    )


def _same_header(text: str, source: nbformat.NotebookNode) -> str:
    """Keeps the metadata of the source (kernelspec, language), whatever the running kernel said of itself."""
    notebook = nbformat.reads(text, 4)
    notebook.metadata = source.metadata
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("papermill", None)
    return nbformat.writes(notebook, 4) + "\n"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", help="numbers or names; all without")
    parser.add_argument("--data", default="auto", help="a data set or a folder")
    arguments = parser.parse_args()
    try:
        for path in curate(arguments.notebooks, data=arguments.data):
            print(path)
    except RspruneError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
