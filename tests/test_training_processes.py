"""Several processes train one network: what they find must be what one process finds."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from rsprune_lib.bundle import load_bundle

# batches of 15: shares of 8 and 7; in float32, whose sums hardly depend on their order
SCRIPT = """
    import json, sys
    import torch
    from torch import nn
    from rsprune_lib.data import Augment, load_data
    from rsprune_lib.training import fit, loop, recipe

    loop.supports_bf16 = lambda device: False

    class Plain(nn.Module):  # no batch norm, whose statistics are those of a process's own share
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)
            )
            self.layers(torch.zeros(1, 3, 32, 32))
            self.config = {"name": "plain", "num_classes": 4}

        def forward(self, x):
            return self.layers(x)

    def run():
        data = load_data(sys.argv[1], root=sys.argv[2], progress=False)
        how = recipe("strong", epochs=3, batch_size=15, lr=0.05, ema=0.5, augment=Augment(dihedral=True, shift=2))
        found = fit(Plain(), data, how, seed=3, limit=44, progress=False)
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        torch.save({"model": found.model.state_dict(), "history": found.history}, f"{sys.argv[3]}_{rank}.pt")

    if sys.argv[4:] == ["launcher"]:
        import accelerate
        accelerate.debug_launcher(run, num_processes=2)
    else:
        run()
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def launched(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "RSPRUNE_DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def given(tiny_folder, tmp_path_factory):
    """The script with its data, and what one process found."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "script.py").write_text(textwrap.dedent(SCRIPT))
    words = [folder / "script.py", tiny_folder, folder / "cache"]
    launched(*words, folder / "one")
    return words, torch.load(folder / "one_0.pt")


@pytest.mark.parametrize("kind", ["torchrun", "launcher"])
def test_two_processes_find_what_one_finds(given, tmp_path, kind):
    words, one = given
    if kind == "torchrun":
        launched(*TORCHRUN, *words, tmp_path / "two")
    else:
        launched(*words, tmp_path / "two", "launcher")
    for other in (torch.load(tmp_path / f"two_{rank}.pt") for rank in (0, 1)):
        for name, value in one["model"].items():
            assert torch.allclose(other["model"][name], value, atol=1e-5), name
        for mine, theirs in zip(one["history"], other["history"], strict=True):
            assert theirs["train_loss"] == pytest.approx(mine["train_loss"], abs=1e-4)
            assert theirs["val_accuracy"] == mine["val_accuracy"]
    assert one["history"][-1]["train_loss"] < one["history"][0]["train_loss"]


def test_the_command_writes_one_bundle(tiny_folder, tmp_path):
    words = ["-m", "rsprune_lib.cli", "train", "resnet18_se", "--width", "0.125", "--data", tiny_folder]
    words += ["--profile", "smoke", "--epochs", "2", "--json", "--out"]
    done = launched(*TORCHRUN, *words, tmp_path / "two")
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["out"] for row in printed] == [str(tmp_path / "two")]
    assert load_bundle(tmp_path / "two").model.config["name"] == "resnet18_se"
