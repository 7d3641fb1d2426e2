"""Live curves: what the widget shows while training runs, without a kernel."""

import pytest

from rsprune_lib.course import LiveCurves
from rsprune_lib.training import StopTraining


def row(epoch):
    return {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 2 / epoch, "val_accuracy": 1 - 0.5 / epoch}


def test_curves_grow_and_finish():
    live = LiveCurves(epochs=2, title="Training")
    empty = bytes(live.picture.value)
    live.on_step(5, 20, 1.25)
    assert (live.bar.value, live.bar.max) == (5, 20)
    assert "epoch 1 of 2 · loss 1.250" in live.status.value
    live.on_epoch([row(1)], None)
    one = bytes(live.picture.value)
    live.on_epoch([row(1), row(2)], None)
    assert len({empty, one, bytes(live.picture.value)}) == 3
    assert all(picture.startswith(b"\x89PNG") for picture in (empty, one))
    assert "75.0%" in live.status.value
    assert live.stop.disabled


def test_the_button_stops():
    live = LiveCurves(epochs=2)
    live.on_step(1, 20, 1.0)
    live.ask_to_stop()
    with pytest.raises(StopTraining):
        live.on_step(2, 20, 1.0)
