"""Distillation: a small network learns what a large one says, besides the labels.

`Distillation` is an objective for `rsprune_lib.training.fit`: teacher and student see the same augmented images. The
papers: soft targets https://arxiv.org/abs/1503.02531, hard targets https://arxiv.org/abs/2012.12877, decoupled
https://arxiv.org/abs/2203.08679; the spectral term is in `rsprune_lib.training.spectral`.

A student that begins with its teacher's weights, narrower by importance, is a pruned teacher: ``prune(teacher, data,
ratio=0.5)`` scores, plans, slices and repairs, GFNet's filters and tokens like convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import TrainingError, unknown
from rsprune_lib.measure import lean
from rsprune_lib.models import evaluating, placement
from rsprune_lib.models.places import example
from rsprune_lib.tasks import task_of
from rsprune_lib.training.callback import Callback
from rsprune_lib.training.spectral import Spectral, map_places, spectral_gap, watching

__all__ = ["KINDS", "Distillation", "decoupled", "hard", "soft"]


def soft(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 2.0) -> Tensor:
    """``T² KL(teacher || student)`` of probabilities at temperature T, mean over the images.

    Args:
        student: (B, K) logits.
        teacher: (B, K) log-probabilities at temperature 1 (or logits).
        labels: (B,) not used.
        temperature: above 1 the lesser classes count more.
    """
    wanted = (teacher / temperature).log_softmax(1)
    said = (student / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(said, wanted, reduction="batchmean", log_target=True)


def hard(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy against the teacher's answer."""
    return F.cross_entropy(student, teacher.argmax(1))


def decoupled(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 2.0, alpha: float = 1.0, beta: float = 4.0
) -> Tensor:
    """DKD: the right class against all others, and the others among themselves, are weighed apart.

    ``soft`` is ``alpha = 1`` with a ``beta`` that is the teacher's doubt, which is near 0 where it is sure.

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits.
        labels: (B,) true classes.
        temperature: as in `soft`.
        alpha: weight of the right class against the rest.
        beta: weight of the other classes among themselves.
    """
    right = F.one_hot(labels, student.shape[1]).bool()
    said, wanted = (logits / temperature for logits in (student, teacher))

    def against_rest(logits: Tensor) -> Tensor:
        log_p = logits.log_softmax(1)
        return torch.stack([log_p[right], log_p.masked_fill(right, -torch.inf).logsumexp(1)], dim=1)  # (B, 2)

    def among_others(logits: Tensor) -> Tensor:
        return logits.masked_fill(right, -1e4).log_softmax(1)  # finite, so that 0 * log 0 stays 0

    first = F.kl_div(against_rest(said), against_rest(wanted), reduction="batchmean", log_target=True)
    second = F.kl_div(among_others(said), among_others(wanted), reduction="none", log_target=True)
    return temperature**2 * (alpha * first + beta * second.masked_fill(right, 0).sum(1).mean())


KINDS: dict[str, Callable[..., Tensor]] = {"soft": soft, "hard": hard, "dkd": decoupled}


class Distillation(Callback):
    """Objective of a student: ``(1 - share) * loss(labels) + share * what the teachers say``.

    Exits of a student are taught too: each by the labels and by the teachers. Exits that learn from their own network's
    final answer: see ``taught`` in `fit_heads`, `WarmUp` and `SecondStage`.

    Args:
        teachers: trained networks for the same classes; several speak with the mean of their probabilities.
        kind: key of `KINDS`.
        share: of the loss that comes from the teachers, in [0, 1].
        temperature: of `soft` and `decoupled`.
        label_smoothing: of the labels' cross-entropy.
        options: further arguments of the kind, e.g. ``{"beta": 8.0}`` for ``"dkd"``.
        spectral: compare spectra of maps too.

    Raises:
        TrainingError: there is no teacher, or a share or temperature is out of range.
        RspruneError: there is no such kind.

    Example:
        >>> fit(small, data, recipe("strong_finetune"), objective=Distillation([dense]))
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        kind: str = "soft",
        *,
        share: float = 0.9,
        temperature: float = 2.0,
        label_smoothing: float = 0.0,
        options: dict[str, Any] | None = None,
        spectral: Spectral | None = None,
    ) -> None:
        if kind not in KINDS:
            raise unknown("kind of distillation", kind, KINDS)
        if not teachers:
            raise TrainingError("Got no teacher; give at least one trained network.")
        if not 0 <= share <= 1 or not temperature > 0:
            raise TrainingError(
                f"Got share={share} and temperature={temperature}; expected a share in [0, 1], a temperature above 0."
            )
        self.kind, self.share, self.temperature = kind, share, temperature
        self.label_smoothing, self.options = label_smoothing, dict(options or {})
        self.spectral, self._strength = spectral, 0.0
        self._depths = [map_places(teacher, spectral.layers) for teacher in teachers] if spectral else []
        self._places: list[str] = []
        self._teachers = [lean(teacher) for teacher in teachers]
        self._names = [str(getattr(teacher, "config", type(teacher).__name__)) for teacher in teachers]

    def __str__(self) -> str:
        """What it is, for the identity of a run."""
        words = {"share": self.share, "temperature": self.temperature, "smoothing": self.label_smoothing}
        words |= {"spectral": self.spectral} if self.spectral else {}
        return f"{self.kind} distillation {words | self.options} from {'; '.join(self._names)}"

    def on_start(self, model: nn.Module) -> None:
        """Finds the maps that are compared; adds projectors for the time of the training, if they are wanted."""
        if not self.spectral:
            return
        self._places, self._strength = map_places(model, self.spectral.layers), self.spectral.strength(0)
        if self.spectral.projector:
            model.spectral = self._projectors(model)

    def on_epoch_start(self, epoch: int, model: nn.Module) -> None:
        """The spectral term grows with the epochs."""
        self._strength = self.spectral.strength(epoch) if self.spectral else 0.0

    def on_end(self, model: nn.Module) -> None:
        """Drops the projectors."""
        if self.spectral and self.spectral.projector:
            del model.spectral

    def __call__(self, student: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to descend; images (B, C, H, W) and labels (B,) as the batches give them."""
        plain = getattr(student, "module", student)
        if self.spectral and not self._places:  # called by itself, not by fit
            self.on_start(plain)
        with ExitStack() as stack:
            wanted = [
                stack.enter_context(watching(teacher, places))
                for teacher, places in zip(self._teachers, self._depths, strict=False)
            ]
            maps = stack.enter_context(watching(plain, self._places))
            teacher = self.opinion(images)
            outputs = student(images)
        exits: Iterable[Tensor] = (outputs,) if isinstance(outputs, Tensor) else outputs
        loss = torch.stack([self.lesson(logits.float(), teacher, labels) for logits in exits]).mean()
        if not maps:
            return loss
        projectors = iter(getattr(plain, "spectral", ()))
        gaps = [
            spectral_gap(mine, theirs, next(projectors, None), self.spectral.low_pass)
            for of_one in wanted
            for mine, theirs in zip(maps, of_one, strict=True)
        ]
        return loss + self._strength * torch.stack(gaps).mean()

    @torch.no_grad()
    def _projectors(self, student: nn.Module) -> nn.ModuleList:
        """1 x 1 convolutions from the student's channels to those of each teacher, in the order of the gaps."""

        def widths(model: nn.Module, places: Sequence[str]) -> list[int]:
            with evaluating(model), watching(model, places) as maps:
                model(example(model, 1))
            return [each.shape[1] for each in maps]

        mine = widths(student, self._places)
        theirs = [widths(teacher, places) for teacher, places in zip(self._teachers, self._depths, strict=True)]
        with torch.random.fork_rng(devices=[]):  # the run keeps its own random numbers
            torch.default_generator.manual_seed(0)
            pairs = [pair for of_one in theirs for pair in zip(mine, of_one, strict=True)]
            return nn.ModuleList(nn.Conv2d(few, many, 1, bias=False) for few, many in pairs)

    def lesson(self, logits: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """The loss of one set of logits (B, K), given the teachers' log-probabilities (B, K)."""
        if logits.shape != teacher.shape:
            raise TrainingError(
                f"The student has {logits.shape[1]} classes, the teacher {teacher.shape[1]}; both must know the same."
            )
        own = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        taught = KINDS[self.kind](logits, teacher, labels, temperature=self.temperature, **self.options)
        return (1 - self.share) * own + self.share * taught

    @torch.no_grad()
    def opinion(self, images: Tensor) -> Tensor:
        """(B, K) log-probabilities of the teachers' mean."""
        said = []
        for number, teacher in enumerate(self._teachers):
            device, dtype = placement(teacher)
            if device != images.device:
                teacher = self._teachers[number] = teacher.to(images.device)
            said.append(task_of(teacher).final(teacher(images.to(dtype))).float().log_softmax(1))
        return torch.stack(said).logsumexp(0) - torch.log(torch.tensor(float(len(said))))
