"""The headless runner on tiny notebooks: parameters, errors in cells and in callbacks, resuming, the report."""

import json
import shutil
import sys

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

import rsprune_lib
from rsprune_lib.course.headless.curate import curate
from rsprune_lib.course.headless.notebook_files import strip, widget_errors
from rsprune_lib.course.headless.runner import course_folder, run_course
from rsprune_lib.course.tables import closing_table
from rsprune_lib.data import load_data
from rsprune_lib.errors import DataError, RspruneError
from rsprune_lib.files import write_json

RECORDING = """
import base64, json, os, pathlib
row = dict(name="dense", params=11181642, macs=148050000, accuracy=.972, ci=[.968, .976], n=8100, loss="ce & <b>",
           provenance={"data": {"synthetic": data_name == "synthetic"}})
folder = pathlib.Path(os.environ["RSPRUNE_RESULTS"])
png = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6k"
                       "gAAAABJRU5ErkJggg==")
(folder / "curve.png").write_bytes(png)
figures = [dict(title="A curve", file="curve.png"), dict(title="Lost", file="lost.png")]
(folder / "results.json").write_text(json.dumps(dict(schema=1, rows=[row], figures=figures)))
print(profile_name, os.environ["RSPRUNE_PROFILE"])
import sys, rsprune_lib
print(sys.executable, rsprune_lib.__file__)
"""
CALLBACK = """
import ipywidgets as widgets
from IPython.display import display
slider, out = widgets.IntSlider(), widgets.Output()
def moved(change):
    with out:
        1 / 0
slider.observe(moved, "value")
display(slider, out)
slider.value = 3
"""


def write(folder, name, *cells, parameters="profile_name = None\ndata_name = 'auto'"):
    head = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[new_markdown_cell(f"# {name}"), head, *map(new_code_cell, cells)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of four notebooks: a good one, a broken cell, a broken callback, a torn file."""
    folder = tmp_path_factory.mktemp("course")
    write(folder / "nb", "00_good", RECORDING)
    write(folder / "nb", "01_cell", "raise ValueError('no such luck')", "print('never')")
    write(folder / "nb", "02_widget", CALLBACK, parameters="seed = 0")
    (folder / "nb" / "03_torn.ipynb").write_text("{")
    options = {"profile_name": "smoke", "data": "synthetic", "folder": folder / "nb", "progress": False}
    foreign = {"argv": ["false", "{connection_file}"], "display_name": "R", "language": "R"}
    write_json(folder / "jupyter" / "kernels" / "python3" / "kernel.json", foreign)
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        course = run_course(None, out=folder / "out", tell=told.append, **options)
    return course, options, told


def test_parameters_reach_the_notebooks_and_unknown_ones_are_told(tmp_path):
    head = "profile_name = None\ndata_name = 'auto'\nratio = 0.1"
    write(tmp_path / "nb", "00_one", "print('ratio is', ratio)", parameters=head)
    options = {"profile_name": "smoke", "data": "synthetic", "folder": tmp_path / "nb", "progress": False}
    with pytest.raises(
        RspruneError, match="No notebook of this run has a parameter 'ratios'; known: data_name, profile_"
    ):
        run_course(None, out=tmp_path / "out", parameters={"ratios": 0.7}, **options)
    assert not (tmp_path / "out").exists()
    course = run_course(None, out=tmp_path / "out", parameters={"ratio": 0.7}, **options)
    assert course.ok and "ratio is 0.7" in (tmp_path / "out" / "00_one" / "00_one.ipynb").read_text()
    told = []
    again = course_folder(tmp_path / "out", resume=True)
    assert run_course(None, out=again, parameters={"ratio": 0.7}, tell=told.append, **options).notebooks[0].reused


def test_one_failure_does_not_stop_the_others(run):
    course, _, told = run
    assert [n.ok for n in course.notebooks] == [True, False, False, False]
    assert not course.ok
    assert "In [3] raised ValueError: no such luck" in course.notebooks[1].error
    assert any(line.startswith("01_cell: FAILED") for line in told)


def test_a_broken_callback_fails_the_notebook(run):
    notebook = run[0].notebooks[2]
    assert notebook.error == "widget callback raised ZeroDivisionError: division by zero"


def test_parameters_and_environment_reach_the_notebook(run):
    copy = nbformat.read(run[0].folder / "00_good" / "00_good.ipynb", 4)
    first, interpreter = copy.cells[-1].outputs[0].text.splitlines()
    assert first == "smoke smoke"
    assert interpreter == f"{sys.executable} {rsprune_lib.__file__}"  # not the machine's kernel of the name python3


def test_results_are_gathered_beside_the_copies(run):
    results = json.loads((run[0].folder / "results.json").read_text())
    assert results["profile"] == "smoke"
    assert results["rows"][0]["notebook"] == "00_good"
    assert results["figures"][0]["file"] == "00_good/curve.png"
    table = closing_table(results["rows"])
    assert "dense (synthetic)" in table
    assert "11,181,642" in table
    assert "97.20%" in table
    assert closing_table([]) == "No notebook recorded a network."


def test_the_report_stands_alone_and_tells_all(run):
    page = (run[0].folder / "report.html").read_text()
    for text in ("1 of 4 notebooks passed", "Synthetic data", "no such luck", "ZeroDivisionError", "148 M", "lost.png"):
        assert text in page
    assert "data:image/png;base64," in page
    assert "ce &amp; &lt;b&gt;" in page
    assert "http" not in page
    assert 'src="0' not in page


def test_a_run_is_not_written_over(run, tmp_path):
    course, options, _ = run
    with pytest.raises(RspruneError, match="already there"):
        run_course(["00"], out=course.folder, **options)
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RspruneError, match="not written by rsprune"):
        run_course(["00"], out=course_folder(tmp_path, force=True), **options)
    with pytest.raises(RspruneError, match="lies inside the input"):
        course_folder(tmp_path / "run", inputs=[tmp_path])


def test_folders_of_runs_are_never_read_as_data(run, tmp_path):
    with pytest.raises(DataError, match="was written by rsprune"):
        load_data(run[0].folder, root=tmp_path / "cache", progress=False)
    for name in ("dark", "light"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels + (name == "dark")).save(tmp_path / "own" / name / f"{number}.png")
    shutil.copytree(run[0].folder, tmp_path / "own" / "run")
    assert load_data(tmp_path / "own", root=tmp_path / "cache", progress=False).classes == ("dark", "light")


def test_curating_keeps_figures_and_drops_the_rest(tmp_path):
    drawn = "from rsprune_lib.plots.style import canvas\nimport os, sys\nprint(os.getcwd())\ncanvas(height=1)[0]"
    widget = "import ipywidgets\nprint('gone', file=__import__('sys').stderr)\nipywidgets.IntSlider()"
    path = write(tmp_path / "nb", "00_drawn", drawn, widget)
    assert curate(folder=tmp_path / "nb", profile_name="smoke", progress=False) == [path]
    notebook = nbformat.read(path, 4)
    assert [c.cell_type for c in notebook.cells] == ["markdown", "code", "code", "code"]
    assert "image/png" in notebook.cells[2].outputs[1].data
    assert str(tmp_path) not in path.read_text()
    (still,) = notebook.cells[3].outputs  # what a reader sees of the widget; its state and what went to stderr are gone
    assert list(still.data) == ["text/html", "text/plain"] and "A still of the panel" in still.data["text/html"]
    assert set(notebook.metadata) == {"kernelspec"}
    assert [c.execution_count for c in notebook.cells[1:]] == [1, 2, 3]
    assert not any("execution" in c.metadata or "papermill" in c.metadata for c in notebook.cells)


def test_a_cell_that_is_meant_to_raise_fails_nothing(tmp_path):
    path = write(tmp_path / "nb", "00_exercise", "raise NotImplementedError('your turn')", "print('went on')")
    notebook = nbformat.read(path, 4)
    notebook.cells[2].metadata.tags = ["raises-exception"]
    nbformat.write(notebook, path)
    assert curate(folder=tmp_path / "nb", profile_name="smoke", progress=False) == [path]
    executed = nbformat.read(path, 4)
    assert [cell.source for cell in executed.cells] == [cell.source for cell in notebook.cells]
    assert executed.cells[2].outputs[0].ename == "NotImplementedError"
    assert executed.cells[3].outputs[0].text == "went on\n"


def test_a_failing_notebook_is_not_curated(tmp_path):
    path = write(tmp_path / "nb", "00_broken", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(RspruneError, match="left as it was"):
        curate(folder=tmp_path / "nb", profile_name="smoke", progress=False)
    assert path.read_bytes() == before


def test_stripping_leaves_the_original_alone():
    notebook = new_notebook(cells=[new_code_cell("1", metadata={"papermill": {"duration": 3}})])
    notebook.metadata.widgets = {}
    clean = strip(notebook, {})
    assert "widgets" not in clean.metadata
    assert "papermill" in notebook.cells[0].metadata
    assert widget_errors(notebook) == []
