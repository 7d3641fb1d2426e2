"""The command line: help, JSON, exit status, and one chain from images to a recovered network."""

import errno
import json
import shutil
import subprocess
import sys

import nbformat
import pytest
import typer
from nbformat.v4 import new_code_cell, new_notebook

from rsprune_lib.cli import COMMANDS, main
from rsprune_lib.commands.common import amount

DATA = ["list", "fetch", "verify"]


pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), *(["data", name] for name in DATA)], ids=" ".join)
def test_every_help_has_an_example(run, command):
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert f"Example: {'RSPRUNE_MIRROR' if 'fetch' in command else 'rsprune'}" in out


def test_starting_loads_nothing_heavy():
    heavy = "{'torch', 'numpy', 'matplotlib', 'papermill', 'ipywidgets'}"
    code = f"import sys, rsprune_lib.cli; found = {heavy} & set(sys.modules); sys.exit(str(found) if found else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_cost_of_a_name(run):
    status, out, err = run("cost", "resnet18_se", "--classes", 10, "--size", 64, "--json")
    assert status == 0
    result = json.loads(out)
    assert result["params"] == 11_360_382
    assert result["macs"] == 148_225_536
    assert err == ""


def test_errors_are_one_sentence_and_status_1(run, monkeypatch, tmp_path):
    for arguments in (
        ["cost", "resnet81"],
        ["cost", tmp_path / "none"],
        ["data", "fetch", "eurosatt"],
        ["eval", tmp_path],
        ["train", "resnet18", "--profile", "quik", "--out", tmp_path / "x"],
        ["train", "resnet18", "--recipe", "stong", "--out", tmp_path / "x"],
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (1, ""), arguments
        assert err.startswith("rsprune: ")
        assert err.count("\n") == 1
    monkeypatch.setenv("RSPRUNE_DEBUG", "1")
    with pytest.raises(Exception, match="resnet81"):
        main(["cost", "resnet81"])


@pytest.mark.parametrize("arguments", [["train"], ["prune", "x"], ["nothing"], ["cost", "resnet18", "--size", "big"]])
def test_wrong_usage_is_status_2(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Error" in err


TRAIN, PRUNE = ["train", "resnet18"], ["prune", "nowhere"]
SIMILAR = [*PRUNE, "--criterion", "similarity"]
NOWHERE = ["--data", "no/such"]
NUMBERS = ["nan", "inf", "-inf", "", "x", "1e999", "0x10"]


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        (PRUNE, "--ratio", [*NUMBERS, "1", "-0.1", "1e9"]),
        (PRUNE, "--threshold", NUMBERS),
        (PRUNE, "--macs", [*NUMBERS, "0", "-5M", "15T", "."]),
        (PRUNE, "--multiple-of", ["0", "-8", "1.5", "nan", ""]),
        (PRUNE, "--images", ["0", "-3", "1.5", "many"]),
        (PRUNE, "--criterion", ["", "atention", "L1"]),
        (PRUNE, "--scope", ["", "globl"]),
        (PRUNE, "--recovery", ["", "bm"]),
        (PRUNE, "--recovery-option", ["", "positions", "positions=middle", "place=all"]),
        ([*PRUNE, "--recovery", "bn"], "--recovery-option", ["positions=all"]),
        (PRUNE, "--plan", ["nowhere.json", "."]),
        (SIMILAR, "--threshold", [*NUMBERS, "0", "-1", "2"]),
        (SIMILAR, "--selector", ["", "papr", "core"]),
        ([*SIMILAR, "--threshold", "0.7"], "--rank", ["", "l3"]),
        ([*SIMILAR, "--threshold", "0.7"], "--least", [*NUMBERS, "2", "-0.1"]),
        ([*SIMILAR, "--threshold", "0.7"], "--multiple-of", ["8"]),
        (["eval", "nowhere"], "--limit", ["0", "-4", "nan", "1.5"]),
        (["eval", "nowhere"], "--split", ["", "dev", "Test"]),
        (["cost", "resnet18"], "--size", ["0", "-1", "100000", "1e3", "nan"]),
        (["cost", "resnet18"], "--classes", ["0", "-1", "1000000000", "1.5"]),
        (["cost", "resnet18"], "--width", [*NUMBERS, "0", "-1", "1000", "1e300", "1e-9"]),
        (["cost", "resnet18"], "--stem", ["huge"]),
        (["cost"], "", ["", "resnet81", "-1"]),
        ([*TRAIN, *NOWHERE], "--width", ["0", "nan", "1000"]),
        ([*TRAIN, *NOWHERE], "--stem", ["huge"]),
        ([*TRAIN, *NOWHERE], "--patch", ["16"]),
        ([*TRAIN, *NOWHERE], "--weights", ["nowhere.pt"]),
        (["train", *NOWHERE], "", ["resnet81"]),
    ],
)
def test_wrong_arguments_are_told_before_the_work(run, tmp_path, monkeypatch, command, option, values):
    monkeypatch.chdir(tmp_path)
    for value in values:
        given = [*command, f"{option}={value}" if option else value]
        status, out, err = run(*given, *(["--out", "new"] if command[0] in ("prune", "train") else []))
        said = err.strip().splitlines()[-1]
        assert status in (1, 2) and out == "" and "Traceback" not in err, given
        assert not any(word in said for word in ("Found no bundle", "unforeseen", "There is no folder")), (given, said)
        assert not any(tmp_path.iterdir())


def test_output_that_cannot_be_written_is_one_line(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rsprune_lib.commands.evaluate.emit", full)
    status, _, err = run("cost", "resnet20")
    assert status == 1 and "rsprune: Cannot write the output (No space left on device); make room" in err


def test_names_are_shown_not_obeyed(run):
    status, _, err = run("eval", "runs/\u202egnp\x1b[2J")
    assert status == 1 and "\\u202egnp\\x1b[2J" in err and "\x1b" not in err
    assert "Got '~nosuchuser/x', which is no path here" in run("prune", "~nosuchuser/x", "--out", "~nosuchuser/x")[2]


def test_the_unforeseen_is_one_line(run, monkeypatch):
    def fail(*_, **__):
        raise ValueError("one\ntwo")

    monkeypatch.setattr("rsprune_lib.models.create_model", fail)
    status, out, err = run("cost", "resnet18")
    assert (status, out, err.count("\n")) == (1, "", 1) and "ValueError: one; with RSPRUNE_DEBUG=1" in err
    monkeypatch.setenv("RSPRUNE_DEBUG", "1")
    with pytest.raises(ValueError, match="two"):
        main(["cost", "resnet18"])


def test_counting_takes_no_memory(run):
    found = {size: json.loads(run("cost", "vgg16", "--size", size, "--json")[1])["macs"] for size in (16_384, 32)}
    assert found[16_384] - 5_120 == 512**2 * (found[32] - 5_120), "a first feature map alone would take 69 GB"


def test_amounts_exclude_one_another(run, tmp_path):
    assert run("prune", tmp_path, "--ratio", 0.5, "--macs", "15M", "--out", tmp_path / "x")[0] == 2
    assert run("prune", tmp_path, "--macs", "15Q", "--out", tmp_path / "x")[0] == 2
    assert run("prune", tmp_path, "--option", "borda", "--out", tmp_path / "x")[0] == 2


def test_a_bundle_is_pruned_while_it_trains(run, dense, tmp_path):
    soft, out = ["--soft", "l2", "--option", "consumers=false"], tmp_path / "soft"
    status, text, _ = run(
        "finetune", dense, *soft, "--ratio", 0.5, "--profile", "smoke", "--epochs", 2, "--out", out, "--json"
    )
    assert status == 0 and json.loads(text)["macs"] < 0.4 * json.loads(run("cost", dense, "--json")[1])["macs"]
    plan, config = (json.loads((out / name).read_text()) for name in ("plan.json", "config.json"))
    assert plan["how"]["criterion"] == "l2" and config["provenance"]["soft"]["decay"] == 0.7
    assert [row["decay"] for row in json.loads((out / "history.json").read_text())["epochs"]] == [0.7, 0.0]
    refused = run("finetune", dense, "--decay", 0.5, "--out", tmp_path / "x")
    assert refused[0] == 2 and "--decay belongs to --soft" in refused[2]
    assert "Unknown criterion 'l3'" in run("finetune", tmp_path, "--soft", "l3", "--out", tmp_path / "x")[2]


@pytest.mark.parametrize(("text", "value"), [("15M", 15e6), ("1.5 g", 1.5e9), ("15e6", 15e6), ("640", 640.0)])
def test_counts_have_units(text, value):
    assert amount(text) == value


@pytest.mark.parametrize("text", ["15Q", "", "M", "-3", "1..5M"])
def test_odd_counts_are_refused(text):
    with pytest.raises(typer.BadParameter):
        amount(text)


def test_doctor_and_version(run):
    status, out, _ = run("doctor", "--json")
    findings = {f["name"]: f for f in json.loads(out)["findings"]}
    assert status == 0
    assert set(findings) == {
        "python", "packages", "device", "torchvision", "kernel", "disk", "cache", "mirror", "browser",
    }  # fmt: skip
    assert all(f["state"] in ("ok", "warn") for f in findings.values())
    assert run("--version")[1].startswith("rsprune 0")


def test_doctor_fails_where_the_course_cannot_run(run, monkeypatch):
    monkeypatch.setenv("RSPRUNE_DEVICE", "cuda:77")
    status, out, _ = run("doctor")
    assert status == 1
    assert "FAIL  device" in out
    monkeypatch.setenv("RSPRUNE_HOME", __file__)
    assert "FAIL  cache" in run("doctor")[1]
    assert "RSPRUNE_DEVICE" in out


def test_data_list_and_verify(run):
    status, out, _ = run("data", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)["data"]}
    assert status == 0
    assert rows["eurosat"]["classes"] == 10
    assert not rows["eurosat"]["here"]
    status, out, _ = run("data", "verify", "ucmerced")
    assert status == 1
    assert "rsprune data fetch ucmerced" in out


@pytest.fixture(scope="module")
def dense(tiny_folder, tmp_path_factory):
    """A network trained by the command line on a folder of images."""
    base = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSPRUNE_HOME", str(tmp_path_factory.getbasetemp() / "cli-home"))
        options = ["--profile", "smoke", "--epochs", "2", "--width", "0.125", "--out", str(base / "dense"), "--json"]
        assert main(["train", "resnet18_se", "--data", str(tiny_folder), *options]) == 0
    return base / "dense"


def test_from_images_to_a_recovered_network(run, dense, tmp_path):
    assert json.loads((dense / "history.json").read_text())["best_epoch"] in (1, 2)
    status, out, _ = run("eval", dense, "--split", "test", "--json")
    quality = json.loads(out)
    assert status == 0
    assert {"accuracy", "ci", "per_class", "ece", "nll", "n", "params", "macs"} <= set(quality)
    assert list(quality["per_class"]) == ["field", "forest", "river", "roofs"]

    small = tmp_path / "small"
    status, out, err = run(
        "prune", dense, "--criterion", "attention", "--option", "mode=paper", "--ratio", 0.5, "--images", 16,
        "--out", small, "--json",
    )  # fmt: skip
    pruned = json.loads(out)
    assert status == 0
    assert pruned["params"] < 0.4 * quality["params"]
    assert "less macs" in err
    status, out, _ = run("cost", small, "--json")
    assert (json.loads(out)["params"], json.loads(out)["macs"]) == (pruned["params"], pruned["macs"])

    again = tmp_path / "again"
    assert (
        run("prune", dense, "--plan", small / "plan.json", "--recovery", "bn", "--images", 16, "--out", again)[0] == 0
    )
    assert (again / "plan.json").read_text() == (small / "plan.json").read_text()

    last = tmp_path / "last"
    status, out, _ = run("finetune", small, "--loss", "mining", "--profile", "smoke", "--out", last, "--json")
    assert status == 0
    assert json.loads(out)["params"] == pruned["params"]
    config = json.loads((last / "config.json").read_text())
    assert config["provenance"]["loss"] == "mining" and config["measured"]["part"] == "val"
    assert config["command"].startswith("rsprune")


def test_a_pruned_bundle_is_pruned_fine_tuned_and_pruned_again(run, dense, tmp_path):
    few = ["--criterion", "l1", "--images", 4]
    steps = [["prune", *few, "--ratio", 0.3], ["finetune", "--profile", "smoke"], ["prune", *few, "--ratio", 0.5]]
    folder = dense
    for number, (command, *options) in enumerate(steps):
        status, out, err = run(command, folder, *options, "--out", tmp_path / str(number), "--json")
        assert status == 0, err
        folder = tmp_path / str(number)
    first, last = (json.loads((tmp_path / name / "plan.json").read_text()) for name in "02")
    assert last["sizes"] == first["sizes"] and set(last["keep"]["conv1"]) < set(first["keep"]["conv1"])
    assert [step["ratio"] for step in last["how"]["steps"]] == [0.3, 0.5] and json.loads(out)["how"]["ratio"] == 0.5
    status, out, _ = run("prune", dense, "--plan", folder / "plan.json", "--recovery", "none", "--out", tmp_path / "r")
    assert status == 0 and json.loads((tmp_path / "r" / "plan.json").read_text())["keep"] == last["keep"]
    unnamed = run("prune", folder, "--images", 4, "--multiple-of", 8, "--out", tmp_path / "w")
    assert "stay whole" in unnamed[2] and "judged by l2" in unnamed[2]  # its gates are folded: no attention
    assert "live SE blocks" in run("prune", folder, "--criterion", "attention", "--out", tmp_path / "y")[2]
    assert "No channel was removed; ask for" in run("prune", folder, *few, "--macs", "1G", "--out", tmp_path / "v")[2]
    assert "nothing could be removed" in run("prune", folder, *few, "--multiple-of", 1000, "--out", tmp_path / "x")[2]


def test_networks_of_the_similarity_paper(run, tiny_folder, tmp_path):
    counted = json.loads(run("cost", "resnet20", "--json")[1])
    assert (counted["image_size"], counted["macs"], counted["params_without_norms"]) == (32, 40_813_184, 271_690)
    assert json.loads(run("cost", "resnet18", "--json")[1])["image_size"] == 64
    options = ["--data", tiny_folder, "--profile", "smoke", "--epochs", 1, "--width", 0.25, "--json"]
    status, out, _ = run("train", "resnet20", *options, "--out", tmp_path / "dense")
    assert status == 0 and json.loads(out)["params"] > 10_000
    status, out, _ = run(
        "prune",
        tmp_path / "dense",
        "--criterion",
        "l1",
        "--ratio",
        0.5,
        "--images",
        16,
        "--out",
        tmp_path / "s",
        "--json",
    )
    assert status == 0 and json.loads((tmp_path / "s" / "config.json").read_text())["model"]["stem"] == "small"


def test_pruning_by_a_similarity_graph(run, dense, tmp_path):
    options = ["prune", dense, "--criterion", "similarity", "--images", 16, "--recovery", "bn"]
    out = tmp_path / "graph"
    status, text, _ = run(*options, "--threshold", 0.7, "--selector", "core", "--rank", "l1", "--out", out, "--json")
    how = json.loads(text)["how"]
    assert status == 0 and (how["selector"], how["rank"], how["threshold"]) == ("core", "l1", 0.7)
    assert json.loads((out / "plan.json").read_text())["how"] == how
    thin = json.loads(run(*options, "--threshold", 0.3, "--out", tmp_path / "thin", "--json")[1])
    wide = json.loads(run(*options, "--threshold", 0.3, "--least", 0.5, "--out", tmp_path / "wide", "--json")[1])
    assert wide["params"] > thin["params"] and wide["how"]["least"] == 0.5
    halves = json.loads(run(*options, "--ratio", 0.5, "--selector", "paper", "--out", tmp_path / "half", "--json")[1])
    one = ["--macs", halves["macs"], "--scope", "global", "--selector", "paper"]
    budget = json.loads(run(*options, *one, "--out", tmp_path / "one", "--json")[1])
    assert halves["how"]["scope"] == "local" and budget["how"]["scope"] == "global"
    assert 0 < budget["macs"] <= halves["macs"] and budget["how"]["threshold"] < 1
    for wrong, sentence in (
        (["--threshold", 0.7, "--selector", "scored"], "e.g. --rank l1"),
        (["--criterion", "l2", "--ratio", 0.5, "--selector", "paper"], "belongs to --criterion similarity"),
        (["--criterion", "l2", "--ratio", 0.5, "--rank", "l1"], "belongs to --criterion similarity"),
    ):
        status, _, err = run(*options, *wrong, "--out", tmp_path / "x")
        assert status == 2 and sentence in " ".join(err.replace("│", " ").split()), wrong
    status, _, err = run(*options, "--threshold", 1.5, "--out", tmp_path / "x")
    assert status == 1 and "above 0 and at most 1" in err and not (tmp_path / "x").exists()


def test_other_networks_data_and_splits_are_refused(run, dense, tiny_folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    (other / "roofs").rename(other / "sea")
    for flag, value in (("--classes", 3), ("--width", 0.5), ("--stem", "small")):
        assert f"Got {flag} {value}, but" in run("cost", dense, flag, value)[2]
    assert run("eval", dense, "--split", "tset")[0] == 1
    status, _, err = run("eval", dense, "--data", other)
    assert status == 1
    assert "knows the classes field, forest, river, roofs" in err
    with monkeypatch.context() as patch:
        patch.setattr("rsprune_lib.data.load.load_data", lambda *_, **__: pytest.fail("decoded or downloaded first"))
        for data in (other, "eurosat"):
            assert (
                "knows the classes field, forest, river, roofs"
                in run("finetune", dense, "--data", data, "--out", "x")[2]
            )
        for name in ("gpu", "meta"):
            patch.setenv("RSPRUNE_DEVICE", name)
            assert f"RSPRUNE_DEVICE='{name}' is no device" in run("prune", dense, "--out", tmp_path / "x")[2]
    assert run("prune", dense, "--ratio", 1.5, "--images", 16, "--out", tmp_path / "x")[0] == 1
    status, _, err = run("prune", dense, "--out", tmp_path / ("x" * 5000))
    assert status == 1 and "which is no path here (File name too long)" in err and len(err) < 400
    assert not (tmp_path / "x").exists()


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_nothing_is_replaced_before_everything_is_checked(run, dense, tiny_folder, tmp_path, monkeypatch):
    status, _, err = run("train", "resnet18_se", "--data", tiny_folder, "--out", dense)
    assert status == 1 and "--force" in err
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("precious")
    (tmp_path / "own" / "config.json").write_text("{}")
    shutil.copytree(dense, tmp_path / "old")
    (tmp_path / "old" / "notes.txt").write_text("mine")
    before, train = files_of(tmp_path), ["train", "resnet18_se", "--profile", "smoke", "--data", tiny_folder]
    for arguments, sentence in (
        (["prune", dense, "--force", "--out", tmp_path / "own"], "not written by rsprune"),
        ([*train, "--force", "--out", tmp_path / "own"], "not written by rsprune"),
        ([*train, "--resume", "--out", tmp_path / "own"], "Found no run of rsprune"),
        ([*train, "--resume", "--out", tmp_path / "none"], "Found no run of rsprune"),
        ([*train[:-1], "", "--out", tmp_path / "old"], "empty argument (after --data)"),
        ([*train, "--force", "--out", ""], "empty argument (after --out)"),
        ([*train, "--force", "--out="], "empty argument (--out)"),
        (["prune", "", "--force", "--out", tmp_path / "old"], "empty argument (at place 2)"),
        ([*train[:-1], "tiny_foldr", "--force", "--out", tmp_path / "old"], "Unknown data set"),
        ([*train, "--loss", "minning", "--force", "--out", tmp_path / "old"], "did you mean 'mining'"),
        (["train", "resnet81", *train[2:], "--force", "--out", tmp_path / "old"], "did you mean 'resnet18'"),
        (["prune", tmp_path / "dnese", "--force", "--out", tmp_path / "old"], "Found no bundle"),
        (["prune", dense, "--criterion", "atention", "--force", "--out", tmp_path / "old"], "did you mean 'attention'"),
        (["prune", dense, "--ratio", 7, "--images", 16, "--force", "--out", tmp_path / "old"], "ratio"),
        (["prune", tmp_path / "old", "--force", "--out", tmp_path / "old"], "is the input"),
        (["finetune", tmp_path / "old", "--force", "--out", tmp_path], "holds the input"),
        (["prune", dense, "--out", tiny_folder / "runs" / "x"], "lies inside the input"),
        ([*train, "--out", tiny_folder / "roofs"], "lies inside the input"),
        ([*train, "--out", tmp_path / "old" / "notes.txt" / "x"], "is a file"),
    ):
        status, _, err = run(*arguments)
        last = err.splitlines()[-1]
        assert status == 1 and sentence in last, (arguments, err)
        assert files_of(tmp_path) == before and not (tmp_path / "none").exists(), arguments
    monkeypatch.setenv("RSPRUNE_DEVICE", "cuda:77")
    assert run(*train, "--force", "--out", tmp_path / "old")[0] == 1 and files_of(tmp_path) == before
    assert run(*train, "--force", "--resume", "--out", tmp_path / "old")[0] == 2


def test_the_new_run_replaces_the_files_of_the_old_one(run, dense, tmp_path):
    out = tmp_path / "small"
    shutil.copytree(dense, out)
    (out / "notes.txt").write_text("mine")
    options = ["--criterion", "l1", "--ratio", 0.5, "--recovery", "none", "--images", 16, "--json"]
    status, text, _ = run("prune", dense, *options, "--out", out, "--force")
    assert status == 0 and json.loads(text)["out"] == str(out) and json.loads(text)["part"] == "val"
    visible = sorted(path.name for path in out.iterdir() if path.name[0] != ".")
    assert visible == ["config.json", "model.safetensors", "notes.txt", "plan.json"]  # no gates, no history
    assert (out / "notes.txt").read_text() == "mine"


def test_commands_measure_on_validation_and_never_open_the_test_part(run, dense, tiny_folder, tmp_path, monkeypatch):
    from rsprune_lib.data import batches

    assert json.loads((dense / "config.json").read_text())["measured"]["part"] == "val"
    real = batches.Batches.__init__

    def shut(self, data, part, *arguments, **options):
        assert part != "test", "the test part was opened"
        real(self, data, part, *arguments, **options)

    monkeypatch.setattr(batches.Batches, "__init__", shut)
    train = ["train", "resnet18_se", "--data", tiny_folder, "--width", 0.125]
    tune = ["--profile", "smoke", "--epochs", 1, "--json", "--out"]
    prune = ["prune", dense, "--ratio", 0.5, "--images", 16, "--json", "--out"]
    for number, command in enumerate(([*train, *tune], prune, ["finetune", dense, *tune])):
        status, out, _ = run(*command, tmp_path / str(number))
        assert status == 0 and (json.loads(out)["part"], json.loads(out)["n"]) == ("val", 8)


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused_not_replaced(run, tiny_folder, tmp_path, epochs):
    options = ["--data", tiny_folder, "--profile", "smoke", "--out", tmp_path / "run"]
    status, _, err = run("train", "resnet18", "--epochs", epochs, *options)
    assert status == 1 and f"Got epochs={epochs}; expected a value from 1" in err


def test_an_interrupted_training_says_how_to_go_on(run, tiny_folder, tmp_path, monkeypatch):
    options = ["--data", tiny_folder, "--profile", "smoke", "--epochs", 2, "--width", 0.125, "--out", tmp_path / "run"]
    from rsprune_lib.training import loop

    real = loop.save_checkpoint
    with monkeypatch.context() as patch:

        def killed(*arguments):
            real(*arguments)
            raise KeyboardInterrupt

        patch.setattr(loop, "save_checkpoint", killed)
        status, out, err = run("train", "resnet18_se", *options)
    assert (status, out) == (130, "")
    assert "--resume" in err
    status, out, _ = run("train", "resnet18_se", *options, "--resume", "--json")
    assert status == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [row["epoch"] for row in history["epochs"]] == [1, 2]


def test_the_course_runs_and_reports(run, tiny_folder, tmp_path, monkeypatch):
    cells = [new_code_cell("data_name = ''", metadata={"tags": ["parameters"]}), new_code_cell("print(data_name)")]
    (tmp_path / "nb").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "nb" / "00_one.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")], metadata=kernel), tmp_path / "nb" / "01_two.ipynb")
    monkeypatch.setenv("RSPRUNE_NOTEBOOKS", str(tmp_path / "nb"))
    options = ["--profile", "smoke", "--data", tiny_folder, "--out", tmp_path / "out", "--json"]
    status, out, err = run("run", *options)
    result = json.loads(out)
    assert status == 1
    assert [n["ok"] for n in result["notebooks"]] == [True, False]
    assert "ZeroDivisionError" in err
    executed = nbformat.read(tmp_path / "out" / "00_one" / "00_one.ipynb", 4)
    assert executed.cells[-1].outputs[0].text.strip() == str(tiny_folder)
    assert (tmp_path / "out" / "report.html").is_file()
    status, out, _ = run("run", "00", *options, "--resume")
    assert status == 1  # what failed before is still part of the run
    assert [n["ok"] for n in json.loads(out)["notebooks"]] == [True, False]
    assert run("run", "7", *options)[0] == 1
