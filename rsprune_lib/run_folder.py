"""Folders that a run writes into: files of others are never touched, and the old run stays until the new one is whole.

A run takes two steps. `RunFolder` is made first and only looks: at the path, the flags, and what is there.
`RunFolder.open` takes the lock and gives a folder to write into, as late as possible but before the work::

    run = RunFolder("runs/small", "prune", force=True, inputs=["runs/dense"])
    ...                                             # names, data and networks are checked here
    with run.open(["config.json", "model.safetensors"], needed=4_000_000) as folder:
        ...                                         # long work that writes into folder

While an earlier run is being replaced, ``folder`` is a hidden one inside ``runs/small``, whose files take the place of
the old ones at the end. What is ours is listed in a mark, see `rsprune_lib.run_mark`.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import LOCK, locked, remove_leftovers, settle, swap_in
from rsprune_lib.out_file import within
from rsprune_lib.places import absolute
from rsprune_lib.run_mark import MARK, files_below, kind_of, ours, remove, write_mark

__all__ = ["RunFolder", "leads"]

NEW, WORK = ".rsprune-new", ".rsprune-work"


def leads() -> bool:
    """Returns whether this process is the one that writes and prints, where several train together."""
    return os.environ.get("RANK", "0") == "0"


class RunFolder:
    """A folder for the files of one run.

    Args:
        out: the folder; it may exist if it is empty, or with one of the flags.
        kind: what writes it, such as ``"train"``; a run is only resumed by its own kind.
        force: replace the files of an earlier run.
        resume: go on with an interrupted run.
        inputs: files and folders that are read; ``out`` must lie apart from them.

    Attributes:
        out: the folder, as a full path.
        path: where the files of the run lie until it ends: ``out``, or a folder inside it that replaces an earlier run.

    Raises:
        RspruneError: ``out`` is not fit for such a run; nothing has been written or removed.
    """

    def __init__(
        self,
        out: str | Path,
        kind: str,
        *,
        force: bool = False,
        resume: bool = False,
        inputs: Iterable[str | Path] = (),
    ) -> None:
        self.out, self.kind, self.force, self.resume = absolute(out).resolve(), kind, force, resume
        self.path = self.out
        self.apart_from(*inputs)
        if leads():
            if (self.out / LOCK).is_file():  # of a run that lives, or of one that was killed
                with locked(self.out):
                    pass
            self._check()

    @property
    def begun(self) -> Path:
        """Where the files of a run that can be resumed lie: ``out``, or the folder that was to replace its files."""
        staged = self.out / NEW
        return staged if kind_of(staged) == self.kind else self.out

    def apart_from(self, *inputs: str | Path) -> None:
        """Refuses inputs that are ``out``, lie inside it, or hold it."""
        for path in (absolute(given).resolve() for given in inputs):
            inside, around = within(self.out, path), within(path, self.out)
            if inside or around:
                how = "is" if inside and around else "lies inside" if inside else "holds"
                raise RspruneError(f"--out {self.out} {how} the input {path}; choose a folder apart from all inputs.")

    @contextlib.contextmanager
    def open(self, names: Iterable[str] = (), *, needed: int = 0, resumable: bool = True) -> Iterator[Path]:
        """Locks the folder and yields where to write; at the end the new files replace the old ones.

        Where several processes train together, only the leading one locks and writes.

        Args:
            names: files that the run will write, relative to the folder, e.g. ``"checkpoint/state.pt"``.
            needed: bytes that must be free.
            resumable: whether files of a run that fails are of use to a later ``resume``; else they are removed.

        Raises:
            RspruneError: another run is at work in the folder, a file that is not ours has one of the names, or there
                is too little room.
        """
        if not leads():
            self.path = self.begun
            yield self.path
            return
        fresh = [path for path in (self.out, *self.out.parents) if not path.exists()]
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with locked(self.out):
                try:
                    self._begin(set(names), needed)
                    try:
                        yield self.path
                    except BaseException:
                        self._clean_up(resumable)
                        raise
                    self._replace_old()
                finally:
                    (self.out / LOCK).unlink(missing_ok=True)
        except BaseException:
            for path in fresh:
                with contextlib.suppress(OSError):  # not empty: there is something to resume
                    path.rmdir()
            raise

    def own(self, *names: str) -> None:
        """Adds files to the mark before they are written.

        Raises:
            RspruneError: a file that is not ours has one of these names.
        """
        known = ours(self.out)
        for name in names:
            parents = [self.out / parent for parent in PurePosixPath(name).parents]
            taken = [path for path in parents if os.path.lexists(path) and not path.is_dir()]
            if not taken and name not in known and os.path.lexists(self.out / name):
                taken = [self.out / name]
            if taken:
                raise RspruneError(
                    f"{taken[0]} was not written by rsprune and is in the way; move it, or choose another --out."
                )
        write_mark(self.path, self.kind, ours(self.path) | set(names))

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """Yields an empty folder; if the block succeeds, its files replace those that we wrote below ``path/name``.

        Args:
            name: of a folder inside the run, e.g. ``"01_train"``; an empty one stands for the whole run.
        """
        work = self.path / WORK
        shutil.rmtree(work, ignore_errors=True)
        try:
            (work / name).mkdir(parents=True)
            yield work / name
            made = files_below(work)
            self.own(*made)
            for file in sorted(made):
                (self.path / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(work / file, self.path / file)
            stale = {file for file in ours(self.path) if PurePosixPath(file).is_relative_to(name)} - made
            remove(self.path, stale)
            write_mark(self.path, self.kind, ours(self.path) - stale)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _check(self) -> None:
        nearest = next(path for path in (self.out, *self.out.parents) if os.path.lexists(path))
        if not nearest.is_dir():
            raise RspruneError(f"{nearest} is a file, so nothing can be written into {self.out}; choose another --out.")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise RspruneError(f"{nearest} may not be written to; change its permissions, or choose another --out.")
        kind = kind_of(self.out)
        if self.resume:
            if self.kind not in (kind, kind_of(self.out / NEW)):
                found = "no run of rsprune" if kind is None else f"a run of {kind}, not of {self.kind},"
                raise RspruneError(f"Found {found} in {self.out} to go on with; leave --resume out, or correct --out.")
            return
        if nearest != self.out or not {path.name for path in self.out.iterdir()} - {MARK, LOCK}:
            return
        if kind is None:
            raise RspruneError(
                f"{self.out} is already there and not written by rsprune, so it is not replaced; choose another --out."
            )
        if not self.force:
            raise RspruneError(f"{self.out} is already there; choose another folder, or pass --force to replace it.")

    def _begin(self, names: set[str], needed: int) -> None:
        self._check()  # again: what is there may have changed before the lock was held
        settle(self.out)
        if not self.resume:
            shutil.rmtree(self.out / NEW, ignore_errors=True)  # of a run that was killed
        self.path = self.out / NEW if self.force and kind_of(self.out) is not None else self.begun
        free = shutil.disk_usage(self.out).free
        if free < needed:
            raise RspruneError(
                f"This run needs about {needed / 1e6:.1f} MB in {self.out}, but only {free / 1e6:.1f} MB are free; "
                "make room, or choose an --out on another disk."
            )
        self.own(*names)
        shutil.rmtree(self.path / WORK, ignore_errors=True)
        for path in (self.path / name for name in ours(self.path)):
            remove_leftovers(path)

    def _clean_up(self, resumable: bool) -> None:
        """Removes what a failed run wrote, unless it can go on from there."""
        written = ours(self.path)
        if resumable and any((self.path / name).exists() for name in written):
            return
        if self.path == self.out:
            remove(self.out, {*written, MARK})
        else:
            shutil.rmtree(self.path, ignore_errors=True)

    def _replace_old(self) -> None:
        """Lets the new files take the place of the old ones; if it is killed, the next run does the rest."""
        if self.path != self.out:
            made = files_below(self.path)
            self.own(*made)
            stale = ours(self.out) - made
            write_mark(self.path, self.kind, made | stale)
            swap_in(self.out, self.path)
            self.path = self.out
            remove(self.out, stale)
        write_mark(self.out, self.kind, {n for n in ours(self.out) if os.path.lexists(self.out / n)})
