"""Committed results and bundles: they load, they carry their provenance, and the README says what they say."""

import json
import subprocess
import sys
from pathlib import Path

import learnt_page
import pytest
import segmentation_page
import similarity_table

from rsprune_lib.bundle import load_bundle
from rsprune_lib.measure import cost

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parent for path in (ROOT / "bundles").glob("*/config.json"))
NETWORKS = sorted(path.parent for path in (ROOT / "benchmarks" / "networks").glob("*/config.json"))


MASKS = ("camvid_ued_bes_sfm", "synthetic_aerial_unet1")


def test_all_bundles_are_there_and_small():
    names = {f"{data}_resnet18_se{end}" for data in ("eurosat", "synthetic") for end in ("", "_r70")}
    names |= {"eurosat_resnet18_se_r70_x8"}
    assert {path.name for path in BUNDLES} == names | {f"{name}{end}" for name in MASKS for end in ("", "_k50")}
    assert sum(file.stat().st_size for file in (ROOT / "bundles").rglob("*")) < 45e6


@pytest.mark.parametrize("folder", BUNDLES + NETWORKS, ids=lambda path: path.name)
def test_bundle_loads_and_is_what_it_says(folder):
    bundle = load_bundle(folder)
    measured, origin = bundle.config["measured"], bundle.config["provenance"]
    size = bundle.config["data"]["image_size"]
    found = cost(bundle.model, tuple(size) if isinstance(size, list) else size)
    assert (found.params, found.macs) == (measured["params"], measured["macs"])
    leading = measured.get("metrics", measured)[measured.get("metric", "accuracy")]
    assert measured["part"] == "test" and measured["ci"][0] < leading < measured["ci"][1]
    assert origin["git"]["commit"] and origin["data"]["split_hash"] and bundle.config["command"].startswith("rsprune ")
    assert bundle.config["data"]["synthetic"] == folder.name.startswith("synthetic")
    assert (bundle.plan is not None) == folder.name.endswith(("_r70", "_x8", "_k50"))
    trained = "recipe" in origin  # what was only pruned has no history
    assert (folder / "history.json").is_file() == trained or folder in NETWORKS
    if folder.name == "eurosat_resnet18_se_r70":
        assert found.params == 999_552 and set(bundle.plan.widths.values()) == {19, 38, 76, 153}


def test_networks_of_the_sweeps_are_there():
    sweep = json.loads((ROOT / "benchmarks" / "sweeps" / "similarity_cifar10.json").read_text())
    assert [str(path.relative_to(ROOT)) for path in NETWORKS] == sweep["networks"]
    assert [load_bundle(path).config["provenance"]["seed"] for path in NETWORKS] == [0, 1, 2]


def test_dense_bundles_keep_the_statistics_of_their_gates():
    for folder in BUNDLES:
        bundle = load_bundle(folder)
        assert (bundle.gates is not None) == any(unit.gate for unit in bundle.model.units())


def test_bundle_still_has_its_accuracy(mirror, tmp_path):
    """The pruned EuroSAT bundle on 500 validation images of the real set, against the measured test accuracy."""
    from rsprune_lib.data import Batches, load_data
    from rsprune_lib.measure import evaluate

    bundle = load_bundle(ROOT / "bundles" / "eurosat_resnet18_se_r70")
    data = load_data("eurosat", mirror=str(mirror), root=tmp_path, progress=False)
    assert bundle.config["data"]["content_hash"] == data.content_hash
    found = evaluate(bundle.model, Batches(data, "val", 100, limit=500), progress=False)
    assert found.ci[0] < bundle.config["measured"]["accuracy"] < found.ci[1] + 0.01


@pytest.mark.parametrize("name", MASKS)
def test_half_of_a_segmenter_keeps_half_of_every_layer_and_sees_the_rare_classes(name):
    dense, half = (load_bundle(ROOT / "bundles" / f"{name}{end}") for end in ("", "_k50"))
    widths, sizes = half.plan.widths, half.plan.sizes
    assert all(widths[group] == sizes[group] / 2 for group in widths), "keep ratio .5"
    assert half.plan.how["criterion"] == "class_taylor" and half.config["data"] == dense.config["data"]
    assert half.config["measured"]["macs"] < 0.3 * dense.config["measured"]["macs"]
    for bundle in (dense, half):
        found = bundle.config["measured"]["metrics"]
        assert found["minority mIoU"] > 0
    assert dense.config["provenance"]["loss"].split("_")[-1] in ("log", "balanced"), "rare classes weigh more"


def test_synthetic_segmenter_still_has_its_miou(tmp_path):
    """The pruned bundle on the test part of the drawn scenes: the number that it states, to the last pixel or so."""
    from rsprune_lib.data import Batches, load_again
    from rsprune_lib.measure import evaluate

    bundle = load_bundle(ROOT / "bundles" / "synthetic_aerial_unet1_k50")
    data = load_again(bundle.config["data"], progress=False)
    assert bundle.config["data"]["content_hash"] == data.content_hash
    found = evaluate(bundle.model, Batches(data, "test", 64), progress=False)
    assert found.metrics == pytest.approx(bundle.config["measured"]["metrics"], abs=1e-3)


def test_camvid_segmenter_still_has_its_miou(mirror, tmp_path):
    """The pruned bundle on the real test part."""
    from rsprune_lib.data import Batches, load_data
    from rsprune_lib.measure import evaluate

    bundle = load_bundle(ROOT / "bundles" / "camvid_ued_bes_sfm_k50")
    data = load_data("camvid", mirror=str(mirror), root=tmp_path, progress=False)
    assert bundle.config["data"]["content_hash"] == data.content_hash
    found = evaluate(bundle.model, Batches(data, "test", 16), progress=False)
    assert found.metrics == pytest.approx(bundle.config["measured"]["metrics"], abs=1e-3)


def test_readme_says_what_was_measured():
    command = [sys.executable, "benchmarks/readme_numbers.py", "--check"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0, "run benchmarks/readme_numbers.py"


TABLES = [path.stem for path in sorted((ROOT / "results").glob("*.json")) if "similarity" in path.stem]
TABLES += ["fair_table", "taught_cifar10"]
MASK_TABLES = [path.stem for path in sorted((ROOT / "results").glob("segmentation_*.json"))]


@pytest.mark.parametrize("name", TABLES + MASK_TABLES)
def test_every_row_of_a_table_says_where_it_comes_from(name):
    rows = json.loads((ROOT / "results" / f"{name}.json").read_text())["rows"]
    assert rows
    for row in rows:
        assert row["part"] == "test" and row["provenance"]["git"]["commit"] and row["provenance"]["device"]
        assert row["provenance"]["data"]["synthetic"] == ("synthetic" in name)


@pytest.mark.parametrize("name", [name for name in TABLES if name != "fair_table"])
def test_pages_of_sweeps_say_what_their_rows_say(name):
    sweep = json.loads((ROOT / "benchmarks" / "sweeps" / f"{name}.json").read_text())
    rows = json.loads((ROOT / "results" / f"{name}.json").read_text())["rows"]
    assert (ROOT / "results" / f"{name}.md").read_text() == similarity_table.page(rows, sweep)


@pytest.mark.parametrize("name", MASK_TABLES)
def test_pages_of_masks_say_what_their_rows_say(name):
    sweep = json.loads((ROOT / "benchmarks" / "sweeps" / f"{name}.json").read_text())
    table = json.loads((ROOT / "results" / f"{name}.json").read_text())
    assert (ROOT / "results" / f"{name}.md").read_text() == segmentation_page.page(sweep, table)
    cut = [row for row in table["rows"] if row["keep"] < 1]
    sizes = {(row["network"], row["keep"]): set() for row in cut}
    for row in cut:
        sizes[row["network"], row["keep"]].add(row["macs"])
    assert all(len(macs) == 1 for macs in sizes.values()), "equal MACs, whatever the method"


def test_the_page_of_what_we_learnt_says_what_the_results_say():
    shown = (ROOT / "docs" / "learnt.md").read_text(encoding="utf-8")
    assert shown == learnt_page.page(), "make it anew: python benchmarks/learnt_page.py"
    assert all(title in shown for title, *_ in learnt_page.SYSTEMS.values())
