"""What notebooks 00 and 01 bring along: exercise checks, tables, the chooser, figures, the time of each layer."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from rsprune_lib import plots
from rsprune_lib.course import (
    CHAPTERS,
    SYSTEMS,
    CheckFailed,
    Chooser,
    PlainFolder,
    Table,
    images_per_second,
    results_table,
)
from rsprune_lib.course.checks import notebook_00, notebook_01
from rsprune_lib.data import Batches
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Result, cost, layer_costs, layer_times, macs_beside_times

SOLUTIONS = Path(__file__).resolve().parents[1] / "notebooks" / "solutions"
SOLVED = runpy.run_path(SOLUTIONS / "00_start.py") | runpy.run_path(SOLUTIONS / "01_train.py")
CHECKS = {name: getattr(room, name) for room in (notebook_00, notebook_01) for name in room.__all__}


def normalise_without_division(image, mean, std):
    return ((image - mean) / std).transpose(2, 0, 1)


def normalise_channels_last(image, mean, std):
    return (image / 255 - mean) / std


def normalise_blue_first(image, mean, std):
    return ((image[..., ::-1] / 255 - mean) / std).transpose(2, 0, 1)


def pairs_of_parts(train, val, test):
    return len(set(train) & set(val)) + len(set(train) & set(test)) + len(set(val) & set(test))


def cost_of_the_input(c_in, c_out, kernel, size, stride, padding):
    return c_in * c_out * kernel**2, c_in * c_out * kernel**2 * size**2


def average_swapped(values, decay):
    out = [values[0]]
    for value in values[1:]:
        out.append((1 - decay) * out[-1] + decay * value)
    return out


def most_confused_by_number(matrix):
    numbers = matrix - np.diag(np.diag(matrix))
    return np.unravel_index(numbers.argmax(), numbers.shape)


def most_confused_by_column(matrix):
    share = matrix / matrix.sum(axis=0)
    np.fill_diagonal(share, 0)
    return np.unravel_index(share.argmax(), share.shape)


MISTAKES = [
    ("check_leaks", pairs_of_parts, "expected 2"),
    ("check_leaks", lambda train, val, test: 0, "expected 2"),
    ("check_normalise", normalise_without_division, "Divide by 255"),
    ("check_normalise", normalise_channels_last, "shape"),
    ("check_normalise", normalise_blue_first, "expected"),
    ("check_weights_left", lambda c_in, c_out, ratio: 1 - ratio, "expected 0.25"),
    ("check_weights_left", lambda c_in, c_out, ratio: (1 - ratio) ** 2, "64, 128, 0.7"),
    ("check_conv_cost", cost_of_the_input, "MACs"),
    ("check_conv_cost", lambda *arguments: 3, "pair"),
    ("check_average", average_swapped, "decay"),
    ("check_most_confused", most_confused_by_number, "Divide each row"),
    ("check_most_confused", most_confused_by_column, "Divide each row"),
    ("check_most_confused", lambda matrix: (1, 1), "diagonal"),
]


@pytest.mark.parametrize("name", CHECKS)
def test_solutions_pass_and_stubs_do_not(name):
    assert repr(CHECKS[name](SOLVED[name.removeprefix("check_")])).startswith("✓ ")
    with pytest.raises(CheckFailed, match="not written yet"):
        CHECKS[name](lambda *arguments: (_ for _ in ()).throw(NotImplementedError))


@pytest.mark.parametrize(("name", "mistake", "said"), MISTAKES)
def test_usual_mistakes_get_a_hint(name, mistake, said):
    with pytest.raises(CheckFailed, match=said):
        CHECKS[name](mistake)


def test_a_check_notices_a_changed_matrix():
    def spoil(matrix):
        answer = SOLVED["most_confused"](matrix)
        matrix[:] = 0
        return answer

    with pytest.raises(CheckFailed, match="changed the matrix"):
        notebook_01.check_most_confused(spoil)


def test_a_table_is_text_and_html_and_hides_places():
    table = Table(["part", "images"], [["train", "16,200"], ["<b>", "8"]], note="made here")
    assert repr(table).splitlines()[2] == "train  16,200"
    assert repr(table).splitlines()[3] == "<b>         8"
    assert "&lt;b&gt;" in table._repr_html_()
    assert "made here" in table._repr_html_() and repr(table).endswith("made here")
    hidden = repr(
        Table(["x"], [["/root/.cache/rsprune; 3 archives"], ["~/data/a.zip"], ["km/h, 1/2"]]).without_places()
    )
    assert "…/rsprune; 3 archives" in hidden
    assert "…/a.zip" in hidden and "km/h, 1/2" in hidden


def test_results_say_where_they_come_from():
    origin = {
        "data": {"name": "synthetic", "synthetic": True, "split_hash": "abc"},
        "seed": 3,
        "profile": "smoke",
        "device": "a laptop",
        "threads": 2,
        "versions": {"torch": "2.13.0"},
        "git": {"commit": "0123456789", "dirty": True},
    }
    text = repr(
        results_table([{"name": "dense", "params": 11181642, "macs": 5, "accuracy": 0.5, "provenance": origin}])
    )
    wanted = (
        "dense (synthetic)",
        "11,181,642",
        "50.00%",
        "split abc",
        "seed 3",
        "a laptop, 2 threads",
        "01234567 with",
    )
    assert [word for word in wanted if word not in text] == []
    line = repr(results_table([Result("00 dense", 1, 2, accuracy=0.5, ci=(0.4, 0.6), n=10)])).splitlines()[2]
    assert line.split() == ["00", "dense", "1", "2", "50.00%", "40.00%", "–", "60.00%", "10"]


def test_the_chooser_draws_what_is_chosen():
    drawn = []

    def figure(name):
        drawn.append(name)
        return plots.canvas(height=1)[0]

    chooser = Chooser({name: lambda name=name: figure(name) for name in ("a", "b")}, "class")
    first = chooser.picture.value
    chooser.menu.value = "b"
    assert drawn == ["a", "b"]
    assert bytes(first).startswith(b"\x89PNG") and bytes(chooser.picture.value).startswith(b"\x89PNG")


def test_the_syllabus_is_in_order():
    assert [lesson.name.split("_")[0] for lesson in CHAPTERS] == "00 01 02 03 03b 04 05 06 07 08".split()
    assert all(lesson.question.endswith("?") for lesson in CHAPTERS)
    known = {lesson.name.split("_")[0] for lesson in CHAPTERS}
    assert all(set(system.lessons) <= known and system.link.startswith("https://") for system in SYSTEMS)
    assert [lesson.here for lesson in CHAPTERS[:2]] == [True, True]


def test_layer_times_cover_the_network_and_leave_it_alone(tiny_se):
    before = {name: tensor.clone() for name, tensor in tiny_se.state_dict().items()}
    tiny_se.train()
    rows = layer_times(tiny_se, 32, batch=2, repeats=2, warmup=0)
    kinds = {row.kind for row in rows}
    assert {"Conv2d", "BatchNorm2d", "SqueezeExcite", "Linear", "between layers"} <= kinds
    assert all(row.ms >= 0 for row in rows) and sum(row.ms for row in rows) > 0
    layers = {row.name for row in rows}
    expected = {c.name for c in layer_costs(tiny_se, 32) if ".se" not in c.name and not c.name.startswith("se")}
    assert expected <= layers
    assert "layer1.0.se1.fc1" not in layers and "layer1.0.downsample" not in layers
    assert tiny_se.training and not any(m._forward_hooks for m in tiny_se.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_se.state_dict().items())
    with pytest.raises(RspruneError, match="at least one pass"):
        layer_times(tiny_se, 32, repeats=0)


def test_macs_lie_beside_times(tiny_se):
    macs, times = macs_beside_times(tiny_se, 32, batch_sizes=(1, 2), repeats=1)
    assert sum(macs.values()) == cost(tiny_se, 32).macs
    assert next(iter(macs)) == "conv1" and list(macs)[-2:] == ["SE blocks", "norms, ReLU, shortcuts"]
    assert list(times) == [1, 2] and all(set(row) == set(macs) for row in times.values())


def test_the_plain_loop_reads_what_the_batches_hold(tiny_data, tmp_path):
    indices = tiny_data.part("train")[:8]
    plain = PlainFolder(tiny_data, tmp_path, indices)
    image, label = plain[3]
    ours, labels = next(iter(Batches(tiny_data, indices, 8)))
    assert len(plain) == 8 and label == labels[3]
    both = torch.stack([image.flatten(), ours[3].flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.9 and (image - ours[3]).mean().abs() < 0.1  # JPEG is not lossless
    before = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 32), torch.nn.Flatten())
    weight = before[0].weight.detach().clone()
    stream = torch.utils.data.DataLoader(plain, 4)
    assert images_per_second(before, stream, layout=torch.channels_last, half=True) > 0
    assert not torch.equal(before[0].weight, weight)
    with pytest.raises(RspruneError, match="no batch"):
        images_per_second(before, [])


def test_figures_draw_and_say_synthetic():
    names = [f"class {i}" for i in range(4)]
    figures = [
        plots.class_counts({"train": [6, 5, 4, 3], "test": [3, 2, 2, 1]}, names, title="counts", synthetic=True),
        plots.channel_histograms(np.ones((3, 256)), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3), title="h", synthetic=True),
        plots.class_intervals(np.array([[5, 5, 0], [0, 0, 0], [0, 0, 9]]), names[:3], synthetic=True),
        plots.mistaken(
            np.zeros((5, 8, 8, 3), np.uint8), [0, 0, 0, 1, 1], [0, 1, 1, 1, 1], (0, 1), names, columns=3, synthetic=True
        ),
        plots.reliability([0.2, float("nan"), 0.9], [0.1, float("nan"), 0.95], [3, 0, 30], synthetic=True),
    ]
    for figure in figures:
        assert isinstance(figure, Figure)
        texts = [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
        assert any("synthetic" in text for text in texts)
        assert plots.png(figure).startswith(b"\x89PNG")


def test_figures_about_effort_draw():
    macs = {"conv1": 10.0, "fc": 1.0}
    for figure in (
        plots.macs_and_time(macs, {"batch 1": {"conv1": 1.0, "other": 1.0}, "batch 32": {"fc": 2.0}}),
        plots.speeds({"plain": 100.0, "ours": 250.0}, title="speed"),
        plots.share_left({"MACs": 100.0}, {"MACs": 25.0}, texts={"MACs": "25 of 100"}, title="left"),
        plots.learning_rates({"a": ([0, 1, 2], [0.1, 0.2, 0.0]), "b": ([0, 9], [0.1, 0.1])}),
        plots.number_grids({"x": np.eye(3), "k": [[1, -1]]}, ["="], boxes={"x": (0, 0, 2, 2)}, title="toy"),
    ):
        assert plots.png(figure).startswith(b"\x89PNG")
    texts = [t.get_text() for t in plots.speeds({"a": 100.0, "b": 250.0}).findobj(lambda a: hasattr(a, "get_text"))]
    assert any("× 2.50" in text for text in texts)
