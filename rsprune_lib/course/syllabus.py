"""What the course teaches, notebook by notebook, and the published systems that it brings together."""

from dataclasses import dataclass

from rsprune_lib.course.headless.notebooks import notebook_names, notebooks_folder
from rsprune_lib.errors import RspruneError, unknown

__all__ = ["CHAPTERS", "PATHS", "SYSTEMS", "Chapter", "System", "path_of"]


@dataclass(frozen=True)
class Chapter:
    """One notebook.

    Attributes:
        name: File name without ending.
        question: The question that it answers.
        teaches: What is built on the way.
    """

    name: str
    question: str
    teaches: str

    @property
    def here(self) -> bool:
        """Whether this copy of the course holds the notebook."""
        try:
            return self.name in notebook_names(notebooks_folder())
        except RspruneError:
            return False


@dataclass(frozen=True)
class System:
    """One published system.

    Attributes:
        name: Short name.
        title: Title of the paper or repository.
        where: Venue and year.
        link: Paper, or the repository where no paper was found.
        idea: What is taken from it.
        lessons: Numbers of the notebooks that use it.
    """

    name: str
    title: str
    where: str
    link: str
    idea: str
    lessons: tuple[str, ...]


CHAPTERS = (
    Chapter(
        "00_start",
        "What do I need, what will I look at, and how does the course work?",
        "environment, data, split, normalisation, a first pruning",
    ),
    Chapter(
        "01_train",
        "How good is the dense network, how do we know, and where does its time go?",
        "ResNet-18 with SE, recipes, one training loop, honest measurement",
    ),
    Chapter(
        "02_se_attention",
        "Which channels does the network itself call important?",
        "gates over classes, importance, folding the attention away",
    ),
    Chapter(
        "03_prune",
        "Which channels can go, how many, and what does it buy?",
        "criteria, scopes, plans, surgery, recovery without labels",
    ),
    Chapter(
        "03b_similarity_graph",
        "Which channels say the same, and is one of them enough?",
        "hashes of feature maps, similarity graphs, selectors, the collapse and its cure",
    ),
    Chapter(
        "04_mining_finetune",
        "What brings the lost accuracy back?",
        "hard samples, mining and focal losses, fine-tuning",
    ),
    Chapter(
        "05_distill_early_exit",
        "Can a small network learn from a large one, and stop early on easy images?",
        "distillation, early exits, gates that decide when to leave",
    ),
    Chapter(
        "06_segmentation_pruning",
        "How is a segmentation network pruned without losing its rare classes?",
        "light segmentation networks, class-wise scores, soft masks",
    ),
    Chapter("07_gradcam", "What does a network look at, before and after pruning?", "Grad-CAM, dense beside pruned"),
    Chapter(
        "08_deploy",
        "What does the small network cost where it shall run?",
        "whole numbers by hand, export and parity, int8 class by class, widths in eights, runtimes timed in turn",
    ),
)

# ways through the course for readers with less time than all of it takes
PATHS: dict[str, tuple[str, ...]] = {
    "zero": ("00_start", "01_train", "03_prune", "08_deploy"),  # no deep learning yet: two hours
    "engineer": ("00_start", "03_prune", "08_deploy"),  # own images (--data), a budget, an export: half an hour
}


def path_of(name: str) -> tuple[list[str], list[str]]:
    """Returns the notebooks of a path: those that this copy of the course holds, and those that it does not.

    Raises:
        RspruneError: No path has that name.

    Example:
        >>> path_of("zero")[0][:2]
        ['00_start', '01_train']
    """
    if name not in PATHS:
        raise unknown("path", name, PATHS)
    here = {chapter.name for chapter in CHAPTERS if chapter.here}
    return [one for one in PATHS[name] if one in here], [one for one in PATHS[name] if one not in here]


SYSTEMS = (
    System(
        "RemoteTrimmer",
        "RemoteTrimmer: adaptive structural pruning for remote sensing image classification",
        "ICASSP 2025",
        "https://arxiv.org/abs/2412.12603",
        "squeeze-and-excitation gates as channel importance, and a loss that mines hard samples",
        ("02", "03", "04"),
    ),
    System(
        "Similarity graph",
        "A graphical approach for filter pruning by exploring the similarity relation between feature maps",
        "Pattern Recognition Letters 166, 2023",
        "https://doi.org/10.1016/j.patrec.2022.12.028",
        "filters whose maps look alike are joined in a graph, and one of them is enough",
        ("03b",),
    ),
    System(
        "E3C",
        "Lightweight remote sensing scene classification on edge devices via knowledge distillation and early-exit",
        "ACM Multimedia 2025",
        "https://arxiv.org/abs/2507.20623",
        "a global-filter network learns from a larger one, and easy images leave it early",
        ("05",),
    ),
    System(
        "UED, BES, SFM",
        "Semantic segmentation for high-resolution remote sensing images by light-weight network",
        "IGARSS 2021",
        "https://doi.org/10.1109/IGARSS47720.2021.9554244",
        "a small segmentation network that supervises the body and the edge of objects apart",
        ("06",),
    ),
    System(
        "MCAG",
        "Minority-class-aware online group pruning method for image segmentation networks",
        "repository IASAnthony/MLGP",
        "https://github.com/IASAnthony/MLGP",
        "channels are scored for the rare classes, and masks stay soft while the network trains",
        ("06", "07"),
    ),
)
