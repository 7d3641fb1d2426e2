import json
import os
import pickle
import signal
import sys

import pytest
import torch
from pruning_toys import course_model, groups_of, images, random_plan, random_scores

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.errors import ModelError, PlanError, RspruneError
from rsprune_lib.files import sha256
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Plan, apply, choose, find_groups
from rsprune_lib.pruning.criteria.gates import Gates

ABOUT = {"data": {"name": "tiny", "synthetic": True}, "provenance": {"seed": 0}, "measured": {"accuracy": 0.5}}


def pruned(name="resnet18", seed=0):
    groups = groups_of(name)
    plan = random_plan(groups, 0.5, seed)
    return apply(course_model(name, seed), plan, groups), plan


@pytest.fixture
def folder(tmp_path):
    """A bundle of a small pruned network."""
    model, plan = pruned()
    return save_bundle(tmp_path / "bundle", model, plan=plan, **ABOUT)


def rewrite(folder, **entries):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def same_weights(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["resnet18", "resnet18_se", "vgg16"])
def test_a_bundle_comes_back_as_it_was(tmp_path, name):
    model, plan = pruned(name)
    save_bundle(tmp_path, model.train(), plan=plan, **ABOUT, command="rsprune prune")
    bundle = load_bundle(tmp_path)
    assert same_weights(bundle.model, model) and not bundle.model.training
    assert torch.equal(bundle.model(images(32)), model.eval()(images(32)))
    assert all(parameter.requires_grad for parameter in bundle.model.parameters())
    assert bundle.plan == plan and bundle.gates is None and bundle.path == tmp_path
    assert bundle.config["model"] == model.config and bundle.config["measured"] == {"accuracy": 0.5}
    assert bundle.config["data"]["synthetic"] and bundle.config["command"] == "rsprune prune"
    assert bundle.config["files"]["model.safetensors"] == sha256(tmp_path / "model.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors", "plan.json"]


def test_gates_and_unpruned_networks(tmp_path):
    model = course_model("resnet18_se")
    gates = Gates({"bn1": torch.rand(8).double()}, {"bn1": torch.rand(8).double()}, 7)
    bundle = load_bundle(save_bundle(tmp_path, model, gates=gates, **ABOUT))
    assert same_weights(bundle.model, model) and bundle.plan is None
    assert bundle.gates.count == 7 and torch.equal(bundle.gates.mean["bn1"], gates.mean["bn1"])


def test_the_published_network_has_its_size_on_disk(tmp_path):
    model = create_model("resnet18", 10)
    groups = find_groups(model)
    plan = choose(random_scores(groups), groups, ratio=0.7)
    save_bundle(tmp_path, apply(model, plan, groups), plan=plan, half=True, **ABOUT)
    bundle = load_bundle(tmp_path)
    assert sum(parameter.numel() for parameter in bundle.model.parameters()) == 999_552
    assert (tmp_path / "model.safetensors").stat().st_size < 2.1e6


def test_half_precision_halves_matrices_and_leaves_norms_exact(tmp_path):
    model = course_model("resnet18_se")
    model.bn1.running_var.fill_(1e6)  # more than half precision holds
    model.layer1[0].conv1.weight.data[0, 0, 0, 0] = 1e5  # so this kernel stays whole
    save_bundle(tmp_path / "full", model, **ABOUT)
    save_bundle(tmp_path / "half", model, half=True, **ABOUT)
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded, state = load_bundle(tmp_path / "half"), model.state_dict()
    assert loaded.config["precision"] == "half"
    for name, tensor in loaded.model.state_dict().items():
        assert tensor.dtype == state[name].dtype
        exact = tensor.dim() < 2 or name == "layer1.0.conv1.weight"
        torch.testing.assert_close(tensor, state[name], rtol=0 if exact else 1e-3, atol=0 if exact else 1e-7)


def test_half_precision_hardly_moves_the_answers(tmp_path):
    model, plan = pruned()
    bundle = load_bundle(save_bundle(tmp_path, model, plan=plan, half=True, **ABOUT))
    x = images(32, 16)
    with torch.no_grad():
        expected, got = model(x), bundle.model(x)
    assert (got - expected).abs().max() < 2e-3 * expected.abs().max()


def test_networks_in_other_formats_are_stored_as_float32(tmp_path):
    model = course_model("resnet18").to(memory_format=torch.channels_last)
    assert same_weights(load_bundle(save_bundle(tmp_path, model, **ABOUT)).model, model)
    loaded = load_bundle(save_bundle(tmp_path, model.bfloat16(), **ABOUT)).model
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_saving_and_loading_draw_no_random_numbers(tmp_path):
    model = course_model("resnet18_se")
    state = torch.get_rng_state()
    load_bundle(save_bundle(tmp_path, model, **ABOUT))
    assert torch.equal(torch.get_rng_state(), state)


# --- nothing half-written ------------------------------------------------------------------------------------------


def test_other_files_stay_and_stale_ones_go(folder):
    (folder / "history.json").write_text("[]")
    (folder / "checkpoint").mkdir()
    model = course_model("resnet18_se")
    bundle = load_bundle(save_bundle(folder, model, **ABOUT))
    assert same_weights(bundle.model, model) and bundle.plan is None
    assert sorted(os.listdir(folder)) == ["checkpoint", "config.json", "history.json", "model.safetensors"]


def killed_at(event, folder, model, gates):
    """Saves in a child process that kills itself at the given file-system event; False if it came to its end."""
    child = os.fork()
    if child == 0:
        left = [event]

        def watch(name, args):
            if name.split(".")[0] in ("open", "os", "shutil") and str(folder) in str(args):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            save_bundle(folder, model, gates=gates, **ABOUT)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_writer_killed_at_any_moment_leaves_the_old_bundle_or_the_new_one(tmp_path):
    old, new = course_model("resnet18", seed=1), course_model("resnet18", seed=2)
    gates = Gates({"bn1": torch.rand(8)}, {"bn1": torch.rand(8)}, 7)
    outcomes = []
    for event in range(200):
        folder = tmp_path / str(event)
        save_bundle(folder, old, **ABOUT)
        alive = not killed_at(event, folder, new, gates)
        loaded = load_bundle(folder)
        is_new = same_weights(loaded.model, new) and loaded.gates is not None
        assert is_new or (same_weights(loaded.model, old) and loaded.gates is None)
        outcomes.append(is_new)
        if alive:
            break
    assert alive and outcomes == sorted(outcomes) and 3 < sum(outcomes) < len(outcomes) - 3
    save_bundle(tmp_path / "3", old, **ABOUT)  # the next writer clears up
    assert sorted(os.listdir(tmp_path / "3")) == ["config.json", "model.safetensors"]


def test_a_writer_that_fails_leaves_the_old_bundle(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model, plan = pruned(seed=3)
    with pytest.raises(ModelError, match="no JSON"):
        save_bundle(folder, model, plan=plan, **(ABOUT | {"measured": {"accuracy": torch.ones(1)}}))
    with pytest.raises(ModelError, match="no JSON"):
        save_bundle(folder, model, plan=plan, **(ABOUT | {"measured": {"accuracy": float("nan")}}))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    model, _ = pruned()
    with pytest.raises(ModelError, match=r"does not fit its own config and plan: 'conv1.weight' is float32 \(4, 3"):
        save_bundle(tmp_path / "new", model, **ABOUT)  # the plan was forgotten
    with pytest.raises(ModelError, match="does not fit its own config"):
        save_bundle(tmp_path / "new", model, plan=random_plan(groups_of("resnet18"), 0.3), **ABOUT)
    with pytest.raises(PlanError, match="made for a network with name"):
        save_bundle(tmp_path / "new", model, plan=random_plan(groups_of("vgg16")), **ABOUT)
    with pytest.raises(ModelError, match="needs a network with a config"):
        save_bundle(tmp_path / "new", torch.nn.Linear(2, 2), **ABOUT)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_a_sentence_and_leaves_the_old_bundle(folder, small_files):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with small_files, pytest.raises(RspruneError, match=r"Cannot write .*make room there"):
        save_bundle(folder, course_model("resnet18", 5), **ABOUT)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load_bundle(folder).plan is not None


def test_files_have_the_usual_mode(tmp_path):
    gates = Gates({"bn1": torch.rand(8).double()}, {"bn1": torch.rand(8).double()}, 7)
    model, plan = pruned()
    before = os.umask(0o027)
    try:
        save_bundle(tmp_path, model, plan=plan, gates=gates, **ABOUT)
    finally:
        os.umask(before)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("config.json", "gates.safetensors", "model.safetensors", "plan.json"), oct(0o640)
    )


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "plan.json"])
def test_files_of_other_programs_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match=rf"{name} belongs to no bundle"):
        save_bundle(tmp_path, course_model("resnet18"), **ABOUT)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["{}"]


# --- what is no bundle ---------------------------------------------------------------------------------------------


def refused(folder, sentence, error=ModelError):
    with pytest.raises(error, match=sentence) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self):
        return os.abort, ()


def test_pickles_are_never_opened(tmp_path):
    with open(tmp_path / "model.pt", "wb") as file:
        pickle.dump(Evil(), file)
    refused(tmp_path, "pickled networks are not loaded")
    refused(tmp_path / "model.pt", "pickled networks are not loaded")


def test_a_pickle_in_the_place_of_the_weights_is_refused(folder):
    weights = folder / "model.safetensors"
    torch.save(course_model("resnet18"), weights)
    refused(folder, "SHA-256 differs")
    rewrite(folder, files={"model.safetensors": sha256(weights)})
    refused(folder, "Cannot read the weights")


def test_missing_and_damaged_files(tmp_path, folder):
    refused(tmp_path / "nowhere", "Found no bundle in")
    refused(tmp_path, "Found no bundle in")
    (folder / "plan.json").rename(folder / "plan.old")
    refused(folder, "lacks plan.json; copy it again")
    (folder / "plan.old").rename(folder / "plan.json")
    with open(folder / "model.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    refused(folder, "model.safetensors is not the file that the bundle was written with")
    (folder / "model.safetensors").unlink()
    refused(folder, "lacks model.safetensors")
    (folder / "config.json").write_text("{")
    refused(folder, "Cannot read .*config.json as the description of a bundle")
    (folder / "config.json").write_text('{"a":' * 100_000)
    refused(folder, "nested too deeply|Cannot read")


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"schema": "rsprune-plan"}, "schema is 'rsprune-plan'"),
        ({"version": 2}, "version is 2 "),
        ({"version": True}, "version is True"),
        ({"files": {}}, "does not name model.safetensors"),
        ({"files": []}, r"files is \[\]"),
        ({"files": {"model.safetensors": 3}}, "files.model.safetensors is 3"),
        ({"model": "resnet18"}, "model is 'resnet18'"),
        ({"files": {"model.safetensors": "0" * 64, "../../etc/passwd": "0"}}, "../../etc/passwd"),
        ({"data": "x"}, "data is 'x'"),
        ({"data": [1]}, r"data is \[1\]"),
        ({"data": {"classes": "ab"}}, "data.classes is 'ab'"),
        ({"data": {"classes": ["a", 1]}}, "data.classes.1 is 1"),
        ({"data": {"classes": ["a", "b"]}}, "names 2 classes, but its network has 4 outputs"),
        ({"data": {"image_size": 10**9}}, "data.image_size is 1000000000"),
        ({"data": {"image_size": "64"}}, "data.image_size is '64'"),
        ({"data": {"source": {"a": {"b": 1}}}}, "data.source is"),
        ({"data": {"mean": "abc"}}, "data.mean is 'abc'"),
        ({"data": {"mean": ["a", "b", "c"]}}, "data.mean.0 is 'a'"),
        ({"data": {"mean": [0.5]}}, r"data.mean is \[0.5\]"),
        ({"data": {"std": [0.2, 0.2, 0]}}, "data.std.2 is 0"),
        ({"data": {"std": [0.2, 0.2, 1e308]}}, "data.std.2 is 1e"),
        ({"data": {"task": ["segmentation"]}}, "data.task is"),
        ({"data": {"synthetic": "yes"}}, "data.synthetic is 'yes'"),
        ({"data": {"split_hash": 5}}, "data.split_hash is 5"),
        ({"data": {"palette": "x"}}, "data.palette is 'x'"),
        ({"data": {"palette": [[1, 2, 300]]}}, "data.palette.0.2 is 300"),
        ({"data": {"classes": ["a", "b"], "palette": [[1, 2, 3]]}}, "1 colours for 2 classes"),
        ({"data": {"classes": ["a", "b"], "rare": [2]}}, "class 2 is rare, but there are 2"),
        ({"data": {"classes": ["a", "a"]}}, "two classes have one name"),
        ({"measured": None}, "measured is None"),
        ({"measured": {"macs": "many"}}, "measured.macs is 'many'"),
        ({"measured": {"params": float("inf")}}, "Infinity is not a JSON number"),
        ({"provenance": "me"}, "provenance is 'me'"),
        ({"command": ["rm"]}, "command is"),
        ({"model": {"name": ["resnet18"]}}, "model.name is"),
        ({"model": {"name": "resnet18", "num_classes": 10**9}}, "parameters, but at most"),
        ({"model": {"name": "resnet18", "width": 1000}}, "parameters, but at most"),
        ({"model": {"name": "resnet18", "width": 1e300}}, "parameters, but at most"),
        ({"model": {"name": "vgg16", "in_channels": 10**15}}, "parameters, but at most"),
        ({"model": {"name": "resnet18", "seed": "x"}}, "does not fit create_model"),
        ({"model": {"name": "resnet18", "stem": {"a": 1}}}, "stem is"),
        ({"model": {"name": "resnet18", "colour": 3}}, "does not fit create_model"),
        ({"model": {}}, "does not fit create_model"),
        ({"model": {"name": "resnet18", "width": "wide"}}, "width is 'wide'"),
    ],
)
def test_foreign_descriptions_are_refused(folder, entries, sentence):
    rewrite(folder, **entries)
    refused(folder, sentence)


def test_descriptions_of_absurd_size_are_not_read(folder, monkeypatch):
    with open(folder / "config.json", "ab") as file:
        file.truncate(20_000_000)  # a hole: it takes no room on the disk
    refused(folder, "20,000,000 bytes, too many")
    with open(folder / "plan.json", "ab") as file:
        file.truncate(60_000_000)
    with pytest.raises(PlanError, match="60,000,000 bytes, too many"):
        Plan.load(folder / "plan.json")


@pytest.mark.parametrize(
    ("mean", "var"),
    [
        (torch.rand(8, 2), torch.rand(8, 2)),
        (torch.rand(()), torch.rand(())),
        (torch.rand(8), torch.rand(7)),
        (torch.full((8,), float("nan")), torch.rand(8)),
        (torch.full((8,), 1e30), torch.rand(8)),
        (torch.ones(8, dtype=torch.int64), torch.rand(8)),
    ],
)
def test_gates_of_odd_shapes_and_types(tmp_path, mean, var):
    Gates({"bn1": mean}, {"bn1": var}, 7).save(tmp_path / "gates.safetensors")
    with pytest.raises(ModelError, match="collect them again"):
        Gates.load(tmp_path / "gates.safetensors")


def test_weights_that_do_not_fit_the_structure(folder):
    files = json.loads((folder / "config.json").read_text())["files"]
    del files["plan.json"]
    rewrite(folder, files=files)
    refused(folder, r"does not fit its own config and plan: 'conv1.weight' is float32 \(4, 3, 3, 3\) but should be")


def test_a_plan_for_another_network(folder):
    plan = random_plan(groups_of("vgg16"))
    plan.save(folder / "plan.json")
    files = json.loads((folder / "config.json").read_text())["files"]
    rewrite(folder, files=files | {"plan.json": sha256(folder / "plan.json")})
    refused(folder, "made for a network with name", PlanError)


def test_what_a_bundle_has_to_know_of_its_data_is_named(tmp_path):
    save_bundle(tmp_path, create_model("resnet18", 2, width=0.125), **ABOUT | {"data": {"classes": ["a", "b"]}})
    bundle = load_bundle(tmp_path)
    assert bundle.knows("classes") == {"classes": ["a", "b"]}
    with pytest.raises(ModelError, match="lacks mean, image_size of its data; make it again"):
        bundle.knows("classes", "mean", "image_size")
