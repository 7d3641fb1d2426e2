"""Fixtures that several test files share: a tiny data set, a tiny network, and the mirror where there is one."""

import contextlib
import dataclasses
import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
_MIRROR = Path(os.environ.get("RSPRUNE_MIRROR") or ROOT.parent / "shared" / "data")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # tiny tensors: threads cost more than they bring, and sums become repeatable


@pytest.fixture(scope="module")
def float32():
    """Lean copies keep float32, for what is compared with plain torch; test_measure_lean sees to bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("rsprune_lib.measure.lean"), "supports_bf16", lambda device: False)
        yield


@pytest.fixture
def home(tmp_path_factory, monkeypatch):
    """One cache for all tests of the command line, no mirror, no profile from outside."""
    folder = tmp_path_factory.getbasetemp() / "cli-home"
    monkeypatch.setenv("RSPRUNE_HOME", str(folder))
    for name in ("MIRROR", "PROFILE", "DEBUG", "NOTEBOOKS"):
        monkeypatch.delenv(f"RSPRUNE_{name}", raising=False)
    return folder


@pytest.fixture
def run(capsys):
    """Calls the command line; returns exit status, standard output and standard error."""
    from rsprune_lib.cli import main

    def call(*arguments):
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def small_files():
    """A context in which no file can become larger than 2,000 bytes, as on a full disk."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited()


@pytest.fixture(scope="session")
def mirror():
    """The folder of real archives; tests that need it are skipped where it is absent."""
    if not (_MIRROR / "SHA256SUMS").is_file():
        pytest.skip(f"no real images: {_MIRROR} holds no SHA256SUMS")
    return _MIRROR


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A folder of four classes with 24 images each, 32x32: each class its own colour and stripes, plus noise."""
    root = tmp_path_factory.mktemp("tiny")
    random = np.random.default_rng(0)
    stripes = np.sin(np.arange(32) / 2)[:, None] * np.ones(32)
    for label, name in enumerate(("field", "forest", "river", "roofs")):
        (root / name).mkdir()
        pattern = stripes if label % 2 else stripes.T
        colour = np.array([60, 120, 180])[[label % 3, (label + 1) % 3, (label + 2) % 3]] + 20 * (label // 2)
        for number in range(24):
            pixels = colour + 30 * pattern[:, :, None] + random.normal(0, 25, (32, 32, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="session")
def tiny_data(tiny_folder, tmp_path_factory):
    """The tiny folder as a `Dataset`, split 60/10/30 within each class."""
    from rsprune_lib.data import load_data

    return load_data(tiny_folder, root=tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="session")
def fields(tiny_data):
    """Images of 40 x 56 px: a colour for each class, noise on top, a rare third class, some pixels unknown."""
    from rsprune_lib.tasks import TASKS

    rng = np.random.default_rng(0)
    count = len(tiny_data.labels)
    masks = (np.linspace(0, 1, 56)[None, None] > rng.uniform(0.2, 0.8, (count, 1, 1))).astype(np.uint8)
    masks = np.repeat(masks, 40, axis=1)
    for mask in masks:
        row, col = rng.integers(0, 34), rng.integers(0, 50)
        mask[row : row + 6, col : col + 6] = 2
    colours = np.array([[70, 90, 60], [120, 100, 90], [200, 60, 60]])
    images = (colours[masks] + rng.normal(0, 30, (*masks.shape, 3))).clip(0, 255).astype(np.uint8)
    masks[:, :2, :2] = 255
    return dataclasses.replace(
        tiny_data, images=images, masks=masks, task=TASKS["segmentation"], classes=("field", "soil", "roof"),
        labels=np.zeros(count, dtype=np.int64), palette=((0, 255, 0), (128, 64, 0), (255, 0, 0)),
    )  # fmt: skip


@pytest.fixture
def tiny_se():
    """A `resnet18_se` of an eighth of the width for four classes, with BN statistics that are not trivial."""
    from rsprune_lib.models import create_model

    model = create_model("resnet18_se", 4, width=0.125, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 1.5, generator=generator)
            module.bias.data.uniform_(-0.3, 0.3, generator=generator)
            module.running_mean.uniform_(-0.3, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(module, torch.nn.Linear):
            module.weight.data.mul_(2)
    return model.eval()


@pytest.fixture(scope="module")
def lively_se():
    """A `resnet18_se` of an eighth of the width for four classes, whose channels differ; leave it as it is."""
    import torch

    from rsprune_lib.models import create_model

    torch.manual_seed(0)
    model = create_model("resnet18_se", 4, width=0.125, seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 1.5)
            module.bias.data.uniform_(-0.3, 0.3)
    return model.eval()
