"""The kernel of a headless run: this very interpreter and library, whatever folder it starts in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

import rsprune_lib

__all__ = ["SameInterpreter", "environment"]


class SameInterpreter(AsyncKernelManager):
    """Starts the interpreter that runs this code, whatever kernel of the machine is named ``python3``."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The command of ipykernel with ``sys.executable``; no kernel folder is searched."""
        return KernelSpec(**get_kernel_dict())


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Sets variables for the kernels that start inside the block, and puts the old ones back.

    A kernel starts in the folder of its notebook: the library that runs here comes first on its import path.
    """
    library = str(Path(rsprune_lib.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (library, os.environ.get("PYTHONPATH"))))
    variables = {"PYTHONPATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1", **variables}
    old = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in old.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
