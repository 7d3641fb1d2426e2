"""Makes a CUDA build of torchvision importable beside a CPU build of torch.

The registry's torchvision is built for CUDA. Beside a CPU-only torch its import stops with ``operator
torchvision::nms does not exist``, because the compiled part is missing and the Python part registers fake kernels for
operators nobody defined. Defining the two schemas before the import cures that; transforms, models and everything that
imports torchvision then work. Only box operators stay unusable, and the course has none.
"""

import importlib
import sys

__all__ = ["SCHEMAS", "ensure_torchvision"]

SCHEMAS = tuple(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for op in ("nms", "qnms"))
_libraries = []  # torch drops the schemas again when the Library object is collected


def ensure_torchvision() -> bool:
    """Imports torchvision, with the missing operator schemas defined if, and only if, its import asks for them.

    Returns:
        True if the cure was needed, False if torchvision was importable as it is.

    Raises:
        RuntimeError: torchvision fails for any other reason; that error is passed on unchanged.
    """
    try:
        importlib.import_module("torchvision")
        return False
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    import torch

    for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _libraries.append(library)
    importlib.import_module("torchvision")
    return True
