"""rsprune: a thin library behind a course on making remote-sensing networks small.

The rooms, ground floor first: ``data``, ``models``, ``measure``, ``pruning``, ``training``, ``explain``, ``plots``,
``studio``, ``course`` and ``commands``. A room imports only rooms that stand before it in this list.
"""

import importlib.abc
import sys

__version__ = "0.1.0"
__all__ = ["__version__"]


class _CureTorchvision(importlib.abc.MetaPathFinder):
    """Runs the cure at the first import of torchvision, so that ``import rsprune_lib`` itself stays fast."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Never finds anything: looks on, and cures torchvision before the real import goes ahead."""
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        from rsprune_lib._torchvision import ensure_torchvision

        ensure_torchvision()
        return None


if "torchvision" not in sys.modules:
    sys.meta_path.insert(0, _CureTorchvision())
