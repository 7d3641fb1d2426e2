"""Sweep files and their grids: what is read, and what is refused in one sentence."""

import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.sweeps.grid import cells_of, selected
from rsprune_lib.sweeps.sweep_file import read_sweep

GOOD = """
title: Two criteria
axes:
  data: [eurosat, ucmerced]
  seed: [0, 1]
  criterion: [l1, l2]
  network: [{name: small, loss: ce}, {name: large, loss: focal}]
  more: [[], [--epochs, 3]]
jobs:
  numbers: {run: "rsprune eval {small} --split test"}
  dense: {run: "rsprune train {network.name} --loss {network.loss} --data {data} --seed {seed} --out {out} {more}"}
  small:
    run: ["rsprune prune {dense} --criterion {criterion} --out {out}/a", "rsprune cost {out}/a"]
    seconds: 60
profiles:
  smoke: {axes: {data: [synthetic], seed: [0], criterion: ["a b"]}}
  quick: {jobs: [small]}
"""


@pytest.fixture
def sweep(tmp_path):
    def read(text, profile="full"):
        (tmp_path / "s.yaml").write_text(text)
        found = read_sweep(tmp_path / "s.yaml", profile)
        return found, cells_of(found, profile, tmp_path)

    return read


def test_a_job_has_the_axes_that_it_and_its_needs_name(sweep):
    _, cells = sweep(GOOD)
    assert [sum(c.job == job for c in cells) for job in ("dense", "small", "numbers")] == [16, 32, 32]
    names = [cell.name for cell in cells]
    for place, cell in enumerate(cells):
        assert all(names.index(need) < place for need in cell.needs.values()), "needs come first"
    small = next(cell for cell in cells if cell.job == "small")
    assert small.needs == {"dense": "dense, data=eurosat, seed=0, network=small, more=none"} and small.seconds == 60
    assert small.steps[0] == ("rsprune", "prune", "{@dense}", "--criterion", "l1", "--out", "{out}/a")


def test_values_stay_one_word_and_lists_become_several(sweep):
    _, cells = sweep(GOOD, "smoke")
    small = [cell for cell in cells if cell.job == "small"]
    assert "a b" in small[0].steps[0] and len(small) == 4
    long = next(cell for cell in cells if cell.name == "dense, data=synthetic, seed=0, network=large, more=--epochs 3")
    assert long.steps[0][2:5] == ("large", "--loss", "focal") and long.steps[0][-2:] == ("--epochs", "3")
    assert long.values["data"] == "synthetic", "values of the profile"


def test_profiles_choose_jobs_with_their_needs_and_texts_choose_cells(sweep):
    found, cells = sweep(GOOD, "quick")
    assert set(found.jobs) == {"dense", "small"}
    names = [
        cell.name for cell in selected(cells, ["small, data=ucmerced, seed=1, criterion=l2, network=small, more=none"])
    ]
    assert names == ["dense, data=ucmerced, seed=1, network=small, more=none",
                     "small, data=ucmerced, seed=1, criterion=l2, network=small, more=none"]  # fmt: skip
    with pytest.raises(RspruneError, match="No cell of the sweep has 'tiny' in its name"):
        selected(cells, ["tiny"])


def test_a_notebook_is_a_command_with_its_parameters(sweep):
    text = 'title: T\naxes: {ratio: [0.5], data: [x]}\njobs: {a: {notebook: "03", parameters: {ratio: "{ratio}", '
    _, cells = sweep(text + 'data_name: "{data}", words: "a b"}}}')
    assert cells[0].steps == (
        ("rsprune", "run", "03", "--out", "{out}/course", "--parameter", "ratio=0.5", "--data", "x", "--parameter",
         'words="a b"'),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "holds a list, expected names with values"),
        ("", "holds a NoneType"),
        ("title: [", "is no YAML that a sweep can have"),
        ("title: !!python/object/apply:os.system [echo]", "is no YAML .*could not determine a constructor"),
        ("title: a\ntitle: b\njobs: {}", "'title' stands twice"),
        ("a: &x [1]\nb: *x", "line 2 refers to another place"),
        ("jobs: {a: {run: rsprune cost}}", "it lacks 'title'"),
        ("title: T", "it lacks 'jobs'"),
        ("title: T\njobs: {}", "jobs is {}"),
        ("title: 3\njobs: {a: {run: rsprune cost}}", "title is 3"),
        ("title: T\nother: 1\njobs: {a: {run: rsprune cost}}", "the key 'other', which is not known there"),
        ("title: T\njobs: {a: {run: rsprune cost, nap: 1}}", "the key 'jobs.a.nap'"),
        ("title: T\njobs: {a: {}}", "jobs.a: a job has either run or notebook"),
        ("title: T\njobs: {a: {run: rsprune cost, notebook: x}}", "jobs.a: a job has either"),
        ("title: T\njobs: {a: {run: rsprune cost, parameters: {x: 1}}}", "parameters are for a notebook"),
        ("title: T\njobs: {a: {run: rsprune cost, seconds: -1}}", "jobs.a.seconds is -1"),
        ("title: T\njobs: {A: {run: rsprune cost}}", "'A' is no name for an axis or a job"),
        ("title: T\naxes: {out: [1]}\njobs: {a: {run: rsprune cost}}", "'out' is no name"),
        ("title: T\naxes: {a: [1]}\njobs: {a: {run: rsprune cost}}", "'a' is both an axis and a job"),
        ("title: T\naxes: {x: []}\njobs: {a: {run: rsprune cost}}", "the axis 'x' has no values"),
        ("title: T\naxes: {x: 3}\njobs: {a: {run: rsprune cost}}", "axes.x is 3"),
        ("title: T\naxes: {x: [1, 1]}\njobs: {a: {run: rsprune cost}}", "the value 1 twice"),
        ("title: T\naxes: {x: [.nan]}\njobs: {a: {run: rsprune cost}}", "no number to compute with"),
        ("title: T\naxes: {x: [2026-01-01]}\njobs: {a: {run: rsprune cost}}", "axes.x.0 is datetime"),
        ("title: T\njobs: {a: {run: rsprune cost}}\nprofiles: {tiny: {}}", "there is no profile 'tiny'"),
        ("title: T\njobs: {a: {run: rsprune cost}}\nprofiles: {smoke: {axes: {y: [1]}}}", "changes the axis 'y'"),
        ("title: T\njobs: {a: {run: rsprune cost}}\nprofiles: {smoke: {jobs: [b]}}", "runs the job 'b'"),
        ("title: T\nthreads: 0\njobs: {a: {run: rsprune cost}}", "threads is 0"),
        ("title: T\njobs: {a: {run: 'rsprune eval {b}'}}", "names {b} in .* which is no axis and no job"),
        ("title: T\njobs: {a: {run: 'rsprune eval {b}'}, b: {run: 'rsprune eval {a}'}}", "need each other in a circle"),
        ("title: T\njobs: {a: {run: 'rm -rf x'}}", "runs 'rm -rf x'; expected a command that begins with rsprune"),
        ("title: T\njobs: {a: {run: 'python -c 1'}}", "expected a command that begins with rsprune"),
        ("title: T\njobs: {a: {run: 'python ../x.py'}}", "lies neither beside the sweep file nor in the project"),
        ("title: T\njobs: {a: {run: 'python /usr/lib/x.py'}}", "lies neither beside"),
        ("title: T\njobs: {a: {run: \"rsprune 'cost\"}}", "cannot be read"),
        ("title: T\naxes: {x: [{loss: ce}]}\njobs: {a: {run: 'rsprune cost {x.size}'}}", "has no 'size' there"),
        ("title: T\naxes: {x: [1]}\njobs: {a: {run: 'rsprune cost {x.size}'}}", "is one value, 1, without parts"),
        ("title: T\naxes: {x: [{name: a, b: 1}, {name: a, b: 2}]}\njobs: {a: {run: 'rsprune cost {x}'}}", "Two cells"),
        ("title: T\njobs: " + "[" * 5000, "is no YAML|nested too deeply"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence(sweep, text, words):
    with pytest.raises(RspruneError, match=words) as error:
        sweep(text)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_sweep_has_an_end(sweep):
    axes = ", ".join(f"a{n}: {list(range(50))}" for n in range(4))
    run = " ".join(f"{{a{n}}}" for n in range(4))
    with pytest.raises(RspruneError, match="6,250,000 cells, expected at most 100,000"):
        sweep(f"title: T\naxes: {{{axes}}}\njobs: {{a: {{run: 'rsprune cost {run}'}}}}")


def test_files_that_are_none(tmp_path):
    with pytest.raises(RspruneError, match="Cannot read the sweep file"):
        read_sweep(tmp_path / "nothing.yaml", "smoke")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RspruneError, match="no text in UTF-8"):
        read_sweep(tmp_path / "b.yaml", "smoke")
    (tmp_path / "l.yaml").write_text("#" * 1_000_001)
    with pytest.raises(RspruneError, match="too many for a sweep file"):
        read_sweep(tmp_path / "l.yaml", "smoke")
    with pytest.raises(RspruneError, match="Unknown profile 'tiny'"):
        read_sweep(tmp_path / "l.yaml", "tiny")
