"""A still shows what a panel showed: its texts, pictures and where its controls stood, and nothing that was hidden."""

import nbformat
import pytest
from ipywidgets import (
    HTML,
    Button,
    Checkbox,
    Dropdown,
    FloatLogSlider,
    FloatRangeSlider,
    FloatSlider,
    HBox,
    Image,
    IntProgress,
    Label,
    Layout,
    Output,
    SelectionSlider,
    Tab,
    Text,
    ToggleButton,
    ToggleButtons,
    VBox,
)  # fmt: skip
from ipywidgets.embed import embed_data

from rsprune_lib.course.headless.notebook_files import VIEW, WIDGETS, strip
from rsprune_lib.course.headless.stills import still


def drawn(widget):
    return still(widget.model_id, embed_data(views=[widget], drop_defaults=False)["manager_state"]["state"])


@pytest.mark.parametrize(
    "widget, shown",
    [
        (HTML("<b>12 ms</b>"), ["<b>12 ms</b>"]),
        (Label("a < b"), ["a &lt; b"]),
        (Text("<script>x</script>", description="name"), ["name", "&lt;script&gt;x&lt;/script&gt;"]),
        (FloatSlider(0.3, min=0.1, max=0.5, description="remove"), ["remove", "left:50%", "0.3"]),
        (FloatRangeSlider(value=(2, 6), min=0, max=10), ["left:20%", "left:60%", "2 to 6"]),
        (FloatLogSlider(10, base=10, min=0, max=2, description="T"), ["left:50%", "10"]),
        (Dropdown(options=["l1", "l2"], value="l2", description="criterion"), ["criterion", ">l2<", "▾"]),
        (SelectionSlider(options=["8", "16"], value="16"), [">16<"]),
        (Checkbox(True, description="live"), ["☑ live"]),
        (Button(description="Undo"), [">Undo<"]),
        (Image(value=b"\x89PNG", format="png"), ["data:image/png;base64,iVBORw=="]),
    ],
)
def test_each_widget_says_how_it_stands(widget, shown):
    found = drawn(widget)
    assert all(text in found for text in shown), found
    assert "<script" not in found and "A still of the panel" in found


def test_the_chosen_button_is_told_from_the_others():
    found = drawn(ToggleButtons(options=["local", "global"], value="global"))
    chosen, free = drawn(ToggleButton(True, description="x")), drawn(ToggleButton(False, description="x"))
    style = chosen.split('"')[-2]
    assert style != free.split('"')[-2] and found.split(style)[1].startswith('">global')


def test_only_what_was_on_the_screen_is_shown():
    tabs = Tab([HTML("first"), HTML("second")], titles=["one", "two"], selected_index=1)
    hidden = HTML("secret", layout=Layout(display="none"))
    found = drawn(VBox([tabs, hidden, HBox([hidden])]))
    assert "second" in found and "one" in found and "two" in found
    assert "first" not in found and "secret" not in found
    assert drawn(HBox([HTML("epoch"), IntProgress(3)])).count("epoch") == 1
    assert drawn(HBox([IntProgress(3)])) == ""


def test_outputs_inside_a_panel_are_shown():
    out = Output()
    out.outputs = ({"output_type": "stream", "name": "stdout", "text": "a < b"},)
    assert "<pre>a &lt; b</pre>" in drawn(out)


def test_a_stripped_notebook_keeps_the_still_and_no_state():
    panel = VBox([HTML("94 %"), FloatSlider(0.5)])
    state = {WIDGETS: embed_data(views=[panel], drop_defaults=False)["manager_state"]}
    data = {VIEW: {"model_id": panel.model_id}, "text/plain": "VBox(...)"}
    cell = nbformat.v4.new_code_cell("panel", outputs=[nbformat.v4.new_output("display_data", data)])
    gone = nbformat.v4.new_output("display_data", {VIEW: {"model_id": "no such"}, "text/plain": "VBox(...)"})
    other = nbformat.v4.new_code_cell("bar", outputs=[gone])
    made = strip(nbformat.v4.new_notebook(cells=[cell, other], metadata={"widgets": state}), {})
    (output,) = made.cells[0].outputs
    assert "94 %" in output.data["text/html"] and VIEW not in output.data
    assert made.cells[1].outputs == [] and "widgets" not in made.metadata
    nbformat.validate(made)
