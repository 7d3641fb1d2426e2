"""What notebook 02 brings along: exercise checks, the gate browser, its figures."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from rsprune_lib import plots
from rsprune_lib.course import CheckFailed
from rsprune_lib.course.checks import notebook_02
from rsprune_lib.data import Batches
from rsprune_lib.explain import GateValues
from rsprune_studio import GateBrowser, GateView, draw_gates

SOLVED = runpy.run_path(Path(__file__).resolve().parents[1] / "notebooks" / "solutions" / "02_se_attention.py")


def gate_over_the_batch(x, w1, b1, w2, b2):
    z = x.mean(dim=(0, 2, 3))
    return torch.sigmoid(w2 @ torch.relu(w1 @ z + b1) + b2)


def gate_without_relu(x, w1, b1, w2, b2):
    return torch.sigmoid((x.mean(dim=(2, 3)) @ w1.T + b1) @ w2.T + b2)


def moments_of_batch_means(batches):
    means = torch.stack([batch.mean(0) for batch in batches])
    return means.mean(0), means.var(0, correction=0)


def moments_with_n_minus_1(batches):
    gates = torch.cat(batches).double()
    return gates.mean(0), gates.var(0)


def moments_in_float32(batches):
    first, second, count = sum(b.sum(0) for b in batches), sum((b * b).sum(0) for b in batches), sum(map(len, batches))
    return first / count, second / count - (first / count) ** 2


def fold_without_mean(weight, gamma, beta, mean, var, eps, gate):
    factor = gate * gamma / torch.sqrt(var + eps)
    return weight * factor[:, None, None, None], gate * beta


def fold_without_eps(weight, gamma, beta, mean, var, eps, gate):
    return SOLVED["fold_convolution"](weight, gamma, beta, mean, var, 0.0, gate)


def fold_in_place(weight, gamma, beta, mean, var, eps, gate):
    folded, bias = SOLVED["fold_convolution"](weight, gamma, beta, mean, var, eps, gate)
    return weight.copy_(folded), bias


MISTAKES = [
    ("check_gate", gate_over_the_batch, "shape"),
    ("check_gate", gate_without_relu, "ReLU"),
    ("check_moments", moments_of_batch_means, "last batch is shorter"),
    ("check_moments", moments_with_n_minus_1, "not by N − 1"),
    ("check_moments", moments_in_float32, "float64"),
    ("check_moments", lambda batches: torch.cat(batches).mean(0), "two tensors"),
    ("check_fold_convolution", fold_without_mean, "left over"),
    ("check_fold_convolution", fold_without_eps, "left over"),
    ("check_fold_convolution", fold_in_place, "in place"),
    ("check_fold_convolution", lambda weight, *rest: (weight.flatten(), rest[1]), "shape of the weight"),
]


@pytest.mark.parametrize("name", notebook_02.__all__)
def test_solutions_pass_and_stubs_do_not(name):
    check = getattr(notebook_02, name)
    assert repr(check(SOLVED[name.removeprefix("check_")])).startswith("✓ ")
    with pytest.raises(CheckFailed, match="not written yet"):
        check(lambda *arguments: (_ for _ in ()).throw(NotImplementedError))


@pytest.mark.parametrize(("name", "mistake", "said"), MISTAKES)
def test_usual_mistakes_get_a_hint(name, mistake, said):
    with pytest.raises(CheckFailed, match=said):
        getattr(notebook_02, name)(mistake)


@pytest.fixture
def batches(tiny_data):
    return Batches(tiny_data, "val")


@pytest.fixture
def values(tiny_data, batches):
    """Gates of the validation images drawn at random: the browser does not ask where they come from."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"bn1": 8, "layer4.1.bn2": 64}
    gates = {norm: torch.rand(batches.size, c, generator=draw) for norm, c in shapes.items()}
    return GateValues(gates, torch.from_numpy(tiny_data.labels[batches.indices]))


@pytest.fixture
def browser(values, tiny_data, batches):
    return GateBrowser(values, tiny_data, batches.indices, start=GateView("layer4.1.bn2", "image", 2))


def test_the_browser_draws_what_is_chosen(browser):
    first = bytes(browser.picture.value)
    assert first.startswith(b"\x89PNG")
    assert (browser.label.disabled, browser.image.disabled) == (True, False)
    browser.kind.value = "class"
    browser.settle()
    second = bytes(browser.picture.value)
    assert second != first
    assert (browser.label.disabled, browser.image.disabled) == (False, True)
    browser.norm.value = "bn1"
    browser.settle()
    assert bytes(browser.picture.value) not in (first, second)
    assert browser.view == GateView("bn1", "class", browser.label.value)


def test_reset_goes_back_to_where_it_started(browser):
    first = bytes(browser.picture.value)
    browser.go(GateView("bn1", "class", 3))
    browser.settle()
    assert bytes(browser.picture.value) != first
    browser.reset.click()
    browser.settle()
    assert browser.view == browser.start
    assert bytes(browser.picture.value) == first


def test_of_many_moves_the_last_is_drawn(browser):
    for number in (*range(browser.image.max + 1), 1):
        browser.image.value = number
    browser.settle()
    assert bytes(browser.picture.value) == plots.png(browser._figure(GateView("layer4.1.bn2", "image", 1)), dpi=90)


def test_a_view_that_cannot_be_drawn_says_so(browser, monkeypatch):
    monkeypatch.setattr(browser, "_figure", lambda view: 1 / 0)
    browser.image.value = 1
    with pytest.raises(ZeroDivisionError):
        browser.settle()
    assert "could not be drawn" in browser.words.value


def test_a_class_view_shows_the_mean_of_its_images(values, tiny_data, batches, monkeypatch):
    seen = {}
    monkeypatch.setattr("rsprune_studio.views.gate_browser.gate_profile", lambda *a, **k: seen.update(a=a, k=k))
    draw_gates(GateView("bn1", "class", 1), values, tiny_data, batches.indices)
    members = np.flatnonzero(tiny_data.labels[batches.indices] == 1)
    np.testing.assert_allclose(seen["a"][1], values.values["bn1"][members].double().mean(0))
    np.testing.assert_array_equal(seen["a"][0], tiny_data.images[batches.indices[members[:4]]])
    assert seen["k"]["caption"].startswith(tiny_data.classes[1])


def figures():
    draw = np.random.default_rng(0)
    names = [f"layer{i}.bn" for i in range(5)]
    maps, gates = draw.random((4, 5, 5)), draw.random(4)
    yield "squeeze_excite", plots.squeeze_excite(maps, gates, maps * gates[:, None, None], title="one block")
    yield "gate_and_relu", plots.gate_and_relu()
    images = draw.integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    mean = draw.random(200)
    yield "gate_profile", plots.gate_profile(images, mean, mean, mean / 9, caption="three", title="t", synthetic=True)
    shares = draw.random((4, 5))
    yield "gate_spread", plots.gate_spread(names, *shares, title="spread")
    yield "norm_scales", plots.norm_scales({"bn": mean, "shortcut": mean + 1}, {"bn"}, title="stream")
    layers = {"bn": mean, "deep": mean[:20]}
    yield "then_and_now", plots.then_and_now(layers, layers, notes={"bn": "r = 1", "deep": ""}, title="dice")
    live = {0: 0.8, 1: 0.9, 5: 0.95}
    yield "freezing_costs", plots.freezing_costs(names, [0.9, -0.02, 0, 0, 0], live, band=(0.93, 0.97), title="cost")
    yield "freezing_costs of nothing", plots.freezing_costs(names, [0.0] * 5, live)
    lines = {"scale": {"a": [1.0] * 5, "b": [1.1] * 5}, "error": {"a": [0.1] * 5}}
    yield "over_depth", plots.over_depth(names, lines, references={"scale": 1.0}, title="drift")
    yield "score_shift", plots.score_shift(mean, draw.random(200), 0.7, title="shift", synthetic=True)
    yield "score_shift of equal scores", plots.score_shift(np.ones(8), np.ones(8), 0.7)


@pytest.mark.parametrize(("name", "figure"), [pytest.param(n, f, id=n) for n, f in figures()])
def test_figures_draw_without_pyplot(name, figure):
    assert isinstance(figure, Figure)
    assert plots.png(figure, dpi=40).startswith(b"\x89PNG")
    texts = " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))
    assert ("synthetic data" in texts) == (name in ("gate_profile", "score_shift"))


def test_the_ranks_of_a_shift_are_counted():
    figure = plots.score_shift(np.arange(10.0), np.arange(10.0)[::-1], 0.7)
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == ["4 kept by neither", "6 kept by one", "0 kept by both"]
