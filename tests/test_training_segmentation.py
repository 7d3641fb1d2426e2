"""Losses of segmentation: numbers computed by hand on tiny tensors, unknown pixels, body and edge heads."""

import torch
from torch import nn

from rsprune_lib.tasks import TASKS, Parts


class _Spy(nn.Module):
    parts = False

    def forward(self, outputs, target):
        self.seen = outputs
        return target.sum()


def test_a_loss_of_all_parts_gets_them_and_another_the_class_logits():
    task, outputs = TASKS["body_edge"], Parts(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3), torch.ones(1, 3, 3))
    spy, target = _Spy(), torch.zeros(1, 3, 3)
    task.objective(spy, outputs, target)
    assert spy.seen is outputs.logits and task.final(outputs) is outputs.logits
    spy.parts = True
    task.objective(spy, outputs, target)
    assert spy.seen is outputs
    spy.parts = False
    task.objective(spy, outputs.logits, target)  # of a network whose other heads were dropped
    assert spy.seen is outputs.logits
