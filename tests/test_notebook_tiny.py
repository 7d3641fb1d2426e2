"""Notebooks on ten images of 16 px: two classes, four training images, names that are no formula and no format."""

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from IPython.display import display
from PIL import Image

from rsprune_lib.course import PROFILES, trained
from rsprune_lib.errors import RspruneError

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The folder of images; caches, results and trained networks go into folders of their own."""
    root, random = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for name, colour in (("a$\\x$", 90), ("_<b>{0}%s", 160)):
        (root / "own" / name).mkdir(parents=True)
        for number in range(5):
            pixels = (colour + random.normal(0, 40, (16, 16, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "own" / name / f"{number}.png")
    tiny = replace(PROFILES["smoke"], width=0.125, latency_repeats=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSPRUNE_HOME", str(root / "home"))
        patch.setenv("RSPRUNE_RESULTS", str(root / "results"))
        patch.setitem(PROFILES, "smoke", tiny)
        patch.setitem(trained.__globals__, "project_root", lambda: root)
        yield root


def execute(name, until, **parameters):
    """Runs the cells of a notebook in this process until one defines a name; what cells end with is drawn."""
    space = {"display": display}
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", 4).cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and "raises-exception" not in tags and until not in space:
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, name, "exec"), space)
            shown = eval(compile(ast.Expression(last.value), name, "eval"), space) if last else None
            if hasattr(shown, "_repr_png_"):
                shown._repr_png_()
            space |= parameters if "parameters" in tags else {}
    return space


@pytest.mark.parametrize(
    ("name", "until"),
    [("00_start", "named"), ("03b_similarity_graph", "figure_curves"), ("04_mining_finetune", "heard")],
)
def test_the_notebook_works(name, until, places, capsys):
    assert until in execute(name, until, profile_name="smoke", data_name=str(places / "own"))


def test_a_cut_that_costs_nothing_is_no_division_by_zero(capsys):
    """On few images the raw cut can answer as many right as the dense network."""
    cells = [cell.source for cell in nbformat.read(FOLDER / "03_prune.ipynb", 4).cells if "gained = " in cell.source]
    assert len(cells) == 1
    same, nothing = SimpleNamespace(accuracy=0.5, ci=(0.1, 0.9), n=2), lambda *_, **__: None
    live = SimpleNamespace(live=lambda: SimpleNamespace(solve=nothing))
    space = {"steps": {"raw cut": same, "norms": same}, "before": same, "studio": live, "clock": lambda: 0.0, "np": np}
    space |= dict.fromkeys(("sequential", "best_of"), nothing) | {"evaluate": lambda *_, **__: same, "ratio": 0.5}
    space |= dict.fromkeys(("plan", "calibration", "dense", "small", "groups", "val"))
    space |= {"plots": SimpleNamespace(ladder=nothing), "data": SimpleNamespace(synthetic=False)}
    exec(cells[0], space)
    assert "came back: the cut cost nothing here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("00_start", {"seed": -1}, "Got seed = -1; expected a whole number"),
        ("02_se_attention", {"ratio": "0.5", "seed": None}, "Got seed = None.* Got ratio = '0.5'"),
        ("03_prune", {"criteria": "l2", "ratios": 0.5}, "Got ratios = 0.5; .* Got criteria = 'l2'"),
        ("03b_similarity_graph", {"threshold": True, "images": 0.5}, "Got threshold = True.* Got images = 0.5"),
        ("04_mining_finetune", {"losses": ["focal"], "data_name": 3}, "Got data_name = 3.*begins with ce"),
        ("01_train", {"recipe_name": "weak"}, "Got recipe_name = 'weak'; expected one of"),
    ],
)
def test_wrong_parameters_are_told_at_the_beginning(name, given, words, places, capsys):
    with pytest.raises(RspruneError, match=words) as error:
        execute(name, "data", profile_name="smoke", **{"data_name": str(places / "own")} | given)
    assert error.value._render_traceback_() == [f"RspruneError: {error.value}"]
