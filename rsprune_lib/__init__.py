"""rsprune: a thin library behind a course on making remote-sensing networks small.

The rooms, ground floor first: ``data``, ``models``, ``measure``, ``pruning``, ``training``, ``explain``, ``plots``,
``studio``, ``course`` and ``commands``. A room imports only rooms that stand before it in this list.
"""

import importlib
import importlib.abc
import os
import sys

__version__ = "0.1.0"
__all__ = ["__version__"]

# CPU threads of PyTorch (libgomp) that wait for each other spin for about 6 ms before they sleep. Where a program
# beside keeps a core busy, the waiting thread burns the time that the late one needs: two kernels at once answered
# 10 to 50 times later on two cores. About 0.1 ms of spinning costs nothing that can be measured on a quiet machine and
# leaves the fair factor of two. libgomp reads this when PyTorch is loaded; the Makefile sets it for JupyterLab.
os.environ.setdefault("GOMP_SPINCOUNT", "4000")

# Before any process of this package starts another one, or leaves the folder that it was started in.
importlib.import_module("rsprune_lib.places").settle()


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
