"""The contract of the course's notebooks, held to the files as they are committed; no notebook is executed here."""

import ast
import contextlib
import io
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from rsprune_lib.course import CheckFailed, Passed, notebook_names
from rsprune_lib.course.headless.curate import LIMIT
from rsprune_lib.course.headless.notebook_files import cell_errors

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NAMES = notebook_names(FOLDER)
WIDGET = re.compile(r"Panel\(|_panel\(|Browser\(|LiveCurves\(|widgets\.")
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")

every = pytest.mark.parametrize("name", NAMES)


@cache
def notebook(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", 4)


def cells(name, kind):
    return [cell for cell in notebook(name).cells if cell.cell_type == kind]


def tagged(name, tag):
    return [cell for cell in cells(name, "code") if tag in cell.metadata.get("tags", [])]


def prose(name):
    return "\n\n".join(cell.source for cell in cells(name, "markdown"))


def code_lines(source):
    return [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]


def nodes(name, kind):
    return [node for cell in cells(name, "code") for node in ast.walk(ast.parse(cell.source)) if isinstance(node, kind)]


def imports(name):
    """A namespace that holds whatever the notebook imports."""
    space = {"__name__": name}
    found = nodes(name, (ast.Import, ast.ImportFrom))
    exec(compile(ast.Module(found, []), f"imports of {name}", "exec"), space)
    return space


def check_calls(source):
    """Calls of ``check_…`` in a cell, each as (call, names of its arguments)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].startswith("check_"):
            found.append((ast.Expression(node), [a.id for a in node.args if isinstance(a, ast.Name)]))
    return found


def exercises(name):
    """(call of the check, name of the learner's function, the cell that holds the call) of every exercise."""
    found = [(call, args, cell) for cell in cells(name, "code") for call, args in check_calls(cell.source)]
    for _, args, cell in found:
        assert len(args) == 1, f"a check takes the learner's function and nothing else: {cell.source}"
    return [(call, args[0], cell) for call, args, cell in found]


def test_the_first_seven_are_there():
    assert [name.split("_")[0] for name in NAMES][:7] == ["00", "01", "02", "03", "03b", "04", "05"]


@every
def test_file_is_valid_and_small(name):
    nbformat.validate(notebook(name))
    assert (FOLDER / f"{name}.ipynb").stat().st_size <= LIMIT
    assert notebook(name).metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook(name).cells}) == len(notebook(name).cells)
    assert "widgets" not in notebook(name).metadata
    assert "papermill" not in notebook(name).metadata


@every
def test_length_and_balance(name):
    code, text = cells(name, "code"), cells(name, "markdown")
    assert 30 <= len(code) + len(text) <= 60
    assert len(text) > len(code)
    assert sum(len(code_lines(cell.source)) for cell in code) <= 250
    assert max(len(cell.source.splitlines()) for cell in code) <= 25


@every
def test_one_parameters_cell_with_what_the_runner_sets(name):
    (cell,) = tagged(name, "parameters")
    set_here = {t.id for node in ast.parse(cell.source).body if isinstance(node, ast.Assign) for t in node.targets}
    assert {"profile_name", "data_name"} <= set_here


@every
def test_nothing_hidden(name):
    for cell in cells(name, "code"):
        assert not re.search(r"^\s*[%!]", cell.source, re.MULTILINE), cell.source
    modules = [n.module or "" for n in nodes(name, ast.ImportFrom)] + [
        alias.name for node in nodes(name, ast.Import) for alias in node.names
    ]
    assert not any(alias.name == "*" for node in nodes(name, ast.ImportFrom) for alias in node.names)
    assert not any("pyplot" in module for module in modules)
    deep = [m for m in modules if m.startswith("rsprune_lib.") and m.count(".") > 1]
    assert all(m.startswith("rsprune_lib.course.checks") for m in deep), f"not a public room: {deep}"


@every
def test_imports_resolve(name):
    assert len(imports(name)) > 3


@every
def test_ends_as_it_should(name):
    heads = [line.lstrip("# ").lower() for line in prose(name).splitlines() if line.startswith("#")]
    for wanted in ("result", "when would you not use this", "quiz", "references", "next"):
        assert any(wanted in head for head in heads), f"no heading says {wanted!r}"
    assert prose(name).count("<details>") == prose(name).count("</details>") >= 3
    assert len(re.findall(r"https?://", prose(name))) >= 2
    assert any(ast.unparse(node.func) in ("record", "course.record") for node in nodes(name, ast.Call))


@every
def test_the_first_cell_tells_what_to_expect(name):
    first = notebook(name).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    head = "\n".join(cell.source for cell in notebook(name).cells[:3]).lower()
    assert "?" in first.source + head, "no question"
    for row in ("time", "data", "device"):
        assert row in head


@pytest.mark.parametrize("name", [name for name in NAMES if name < "05"])
def test_a_beginner_is_told_what_for_how_long_and_where(name):
    head = notebook(name).cells[0].source
    assert "| You can do afterwards |" in head and re.search(r"\| Time \| reading \d+ minutes; computing: ", head)
    links = re.findall(r"\]\(#([^)]+)\)", head)
    there = {line.lstrip("# ").replace(" ", "-") for line in prose(name).splitlines() if line.startswith("## ")}
    assert len(links) >= 5 and not set(links) - there
    assert len(re.sub(r"## References.*?(?=\n## |\Z)", "", prose(name), flags=re.DOTALL).split()) <= 2700


@every
def test_local_links_lead_somewhere(name):
    links = [link for link in LINK.findall(prose(name)) if not re.match(r"https?:|mailto:|attachment:", link)]
    assert [link for link in links if not (FOLDER / link).exists()] == []


@every
def test_predictions_are_asked_for(name):
    assert prose(name).lower().count("predict") >= 2


@every
def test_stubs_fail_their_checks_and_raise_nothing_else(name):
    found = exercises(name)
    assert 2 <= len(found) <= 4
    for call, function, cell in found:
        assert "raises-exception" in cell.metadata.get("tags", []), cell.source
        space = imports(name)
        (stub,) = [n for n in nodes(name, ast.FunctionDef) if n.name == function]
        exec(compile(ast.Module([stub], []), function, "exec"), space)
        with pytest.raises(CheckFailed):
            eval(compile(call, function, "eval"), space)


@every
def test_solutions_pass(name):
    (file,) = (FOLDER / "solutions").glob(f"{name.split('_')[0]}_*.py")
    for call, function, _ in exercises(name):
        space = imports(name) | {"__name__": file.stem}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(file.read_text(), str(file), "exec"), space)
        assert callable(space.get(function)), f"{file.name} holds no {function}"
        assert isinstance(eval(compile(call, function, "eval"), space), Passed)


@every
def test_the_story_does_not_need_the_exercises(name):
    mine = {function for _, function, _ in exercises(name)}
    for cell in cells(name, "code"):
        if "raises-exception" in cell.metadata.get("tags", []):
            continue
        used = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
        assert not used & mine, cell.source


@every
def test_outputs_are_there_and_belong_to_these_cells(name):
    code = cells(name, "code")
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1)), (
        "not curated: python -m rsprune_lib.course.headless.curate " + name[:2]
    )
    assert cell_errors(notebook(name)) == []
    for cell in tagged(name, "raises-exception"):
        shown = [output for output in cell.outputs if output.output_type == "error"]
        assert not shown or shown[-1].ename in ("CheckFailed", "NotImplementedError"), cell.source
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs)
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs) >= 2


@every
def test_outputs_name_no_place_of_a_machine(name):
    outputs = "\n".join(str(output) for cell in cells(name, "code") for output in cell.outputs)
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", outputs)


@every
def test_a_static_figure_stands_before_every_widget(name):
    seen = False
    for cell in cells(name, "code"):
        if WIDGET.search(cell.source):
            assert seen, f"a page shows nothing here: {cell.source}"
        seen = seen or any("image/png" in output.get("data", {}) for output in cell.outputs)


PANELS = {"02": 2, "03": 2, "04": 2}  # one in every other notebook


@every
def test_every_panel_has_its_still(name):
    """A reader on a web page sees what the panel shows by default."""
    outputs = [output.get("data", {}).get("text/html", "") for cell in cells(name, "code") for output in cell.outputs]
    assert sum("A still of the panel" in text for text in outputs) == PANELS.get(name.split("_")[0], 1)


@every
def test_some_outputs_are_held_to_the_letter(name):
    marked = [cell for cell in cells(name, "code") if cell.source.startswith("# NBVAL_CHECK_OUTPUT")]
    assert marked
    for cell in marked:
        text = "".join(str(output.get("text", "") or output.get("data", "")) for output in cell.outputs)
        assert text, f"nothing is printed: {cell.source}"
