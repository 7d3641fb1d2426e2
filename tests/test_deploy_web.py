"""The page that a browser opens from a file: everything inside, names as text, the answers of ONNX Runtime."""

import base64
import gzip
import json
import re
import tarfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from studio_browser import browser_path, chromium

from rsprune_lib.deploy import Facts, OnnxNetwork, Shown, WebRuntime, web_page, web_runtime
from rsprune_lib.deploy.onnx_files import write_onnx
from rsprune_lib.errors import ModelError, RspruneError

HOSTILE = (
    "</script><script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "a & b",
)
FACTS = Facts(HOSTILE, (0.5,) * 3, (0.25,) * 3, (8, 8), bundle="toy")
EMPTY = WebRuntime(b"script", b"wasm", "0")


def toy(folder, name="toy", facts=FACTS, sign=1.0):
    """A network without training: the mean of each colour is the logit of its class."""
    weight = np.eye(3, len(facts.classes), dtype=np.float32) * 20 * sign
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(facts.classes)]),
    ]
    graph = helper.make_graph(nodes, "toy", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made)
    return Shown(name, write_onnx(made, facts, folder / f"{name}.onnx"), facts, {"size": "<b>1</b> MB"}, "toy & toy")


def picture(k):
    pixels = np.full((8, 8, 3), 40, np.uint8)
    pixels[..., k] = 200
    return pixels


SAMPLES = [(picture(k), k) for k in range(3)]


def page_of(tmp_path, runtime=EMPTY, **options):
    shown = [toy(tmp_path, "one"), toy(tmp_path, "other <i>", sign=-1.0)]
    return web_page(tmp_path / "page.html", shown, SAMPLES, runtime, title="A <b> page", **options)


def test_names_never_become_markup(tmp_path):
    text = page_of(tmp_path, origin="from <somewhere>").read_text()
    assert not re.search(r"taken'</script>|<img src=x|other <i>|<b> page|<somewhere>|<b>1</b>", text)
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1])
    assert tuple(facts["classes"]) == HOSTILE and facts["networks"][1]["title"] == "other <i>"
    assert "A &lt;b&gt; page" in text


def test_everything_is_inside_and_nothing_is_fetched(tmp_path):
    text = page_of(tmp_path).read_text()
    assert "default-src 'none'" in text and not re.search(r'(src|href)="(?!data:)', text)
    assert not re.search(r"https?://", text)
    packed = re.search(r'id="network-0">(.*?)</script>', text)[1]
    assert gzip.decompress(base64.b64decode(packed)) == (tmp_path / "one.onnx").read_bytes()


def test_networks_of_other_classes_or_maps_are_refused(tmp_path):
    other = toy(tmp_path, "other", Facts(("x", "y", "z"), (0.5,) * 3, (0.25,) * 3, (8, 8)))
    with pytest.raises(ModelError, match="other knows other classes or another image size than toy"):
        web_page(tmp_path / "p.html", [toy(tmp_path), other], SAMPLES, EMPTY, title="t")
    maps = toy(tmp_path, "maps", Facts(HOSTILE, (0.5,) * 3, (0.25,) * 3, (8, 8), task="segmentation"))
    with pytest.raises(ModelError, match="maps gives a class to each pixel"):
        web_page(tmp_path / "p.html", [maps], SAMPLES, EMPTY, title="t")
    assert not (tmp_path / "p.html").exists()


@pytest.fixture
def fake_npm(tmp_path, monkeypatch):
    """A folder of commands with an npm of ours as the only one, and an empty cache."""
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    tools = tmp_path / "tools"
    tools.mkdir()

    def make(script):
        path = tools / "npm"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    monkeypatch.setattr("shutil.which", lambda name: str(tools / name) if (tools / name).exists() else None)
    return make


def test_without_npm_one_sentence_says_what_to_do(fake_npm):
    with pytest.raises(RspruneError, match="npm, which fetches it, is not installed; install Node.js.* --runtime"):
        web_runtime()


def test_what_npm_cannot_or_should_not_bring_is_not_used(fake_npm, tmp_path):
    fake_npm("echo 'npm error network down' >&2; exit 1")
    with pytest.raises(RspruneError, match=r"npm could not fetch onnxruntime-web .*network down"):
        web_runtime()
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(b"something else")
    with tarfile.open(tmp_path / "wrong.tgz", "w:gz") as archive:
        for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
            archive.add(wrong, f"package/dist/{name}")
    for packed in ("wrong.tgz", "wrong.bin"):  # other content; no archive
        fake_npm(f"cp {tmp_path / packed} ./onnxruntime-web.tgz")
        with pytest.raises(RspruneError, match=r"does not hold the ort\.wasm\.bundle\.min\.mjs that it should"):
            web_runtime()
    assert not list((tmp_path / "home").rglob("*.mjs"))


def test_a_folder_of_the_users_stands_in(tmp_path):
    with pytest.raises(RspruneError, match=r"Found no ort\.wasm\.bundle\.min\.mjs and no ort-wasm"):
        web_runtime(tmp_path)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "ort.wasm.bundle.min.mjs").write_bytes(b"js")
    (tmp_path / "dist" / "ort-wasm-simd-threaded.wasm").write_bytes(b"wasm")
    assert web_runtime(tmp_path) == WebRuntime(b"js", b"wasm", "of your own")
    (tmp_path / "package.json").write_text('{"version": "9.8.7"}')
    assert web_runtime(tmp_path).version == "9.8.7"


@pytest.fixture(scope="module")
def runtime():
    try:
        browser_path()
        return web_runtime()
    except (RspruneError, RuntimeError) as error:
        pytest.skip(str(error))


def test_the_page_answers_in_a_browser_from_a_file(tmp_path, runtime):
    page_file, asked = page_of(tmp_path, runtime), []
    expected = OnnxNetwork(toy(tmp_path).path, 1)(torch.from_numpy(picture(2)).permute(2, 0, 1)[None] / 255).softmax(1)
    Image.fromarray(np.repeat(np.repeat(picture(1), 5, 0), 7, 1)).save(tmp_path / "mine.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_selector("body[data-timed]", timeout=120_000)
        assert page.locator(".card").count() == 2 and page.title() == "A <b> page"
        assert "ms" in page.locator(".card .time").first.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.locator(".samples button").nth(2).click()
        page.wait_for_selector(f"body[data-shown*={json.dumps(HOSTILE[2])}]", timeout=60_000)
        answers = [page.locator(".card .class").nth(k).inner_text() for k in range(2)]
        assert answers[0] == HOSTILE[2] and answers[1] != HOSTILE[2]
        assert page.locator(".card .sure").first.inner_text() == f"{100 * expected[0, 2]:.1f} %"
        assert page.locator(".card .right").first.inner_text() == "✓ right"
        page.locator("#file").set_input_files(tmp_path / "mine.png")
        page.wait_for_selector("body[data-shown^='mine.png']", timeout=60_000)  # the page forbids `eval`
        assert page.locator(".card .class").first.inner_text() == HOSTILE[1]
        page.locator("#file").set_input_files(tmp_path / "broken.png")
        page.locator(".verdict.fault", has_text="“broken.png” is no image").wait_for(timeout=60_000)
        assert page.title() == "A <b> page"
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [page_file.as_uri()]
