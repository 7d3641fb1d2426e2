"""``rsprune``: a thin door to the library. Results go to standard output, everything else to standard error.

Exit status: 0 good, 1 something is wrong (one sentence says what), 2 wrong usage, 130 interrupted. With
``RSPRUNE_DEBUG=1`` the sentence comes with its traceback.
"""

import os
import sys
from collections.abc import Callable, Sequence

import typer

from rsprune_lib import __version__
from rsprune_lib.commands import (
    bench,
    course,
    data,
    doctor,
    evaluate,
    exits,
    explain,
    export,
    prune,
    results,
    segment,
    sweep,
    train,
)
from rsprune_lib.commands.common import HelpWithNames
from rsprune_lib.errors import RspruneError, visible

__all__ = ["app", "main"]

app = typer.Typer(
    name="rsprune",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train, prune, repair and measure small remote-sensing networks, and run the course.",
    epilog="Example: rsprune train resnet18_se --data eurosat --profile quick --out runs/dense",
)
COMMANDS: dict[str, tuple[Callable[..., None], str, str]] = {
    "doctor": (doctor.doctor, "Examine this machine.", "rsprune doctor"),
    "run": (
        course.run,
        "Run the notebooks headless and write a report.",
        "rsprune run 01 03 --profile quick --data eurosat --out runs/mine",
    ),
    "reproduce": (
        sweep.reproduce,
        "Run a sweep file: a grid of commands or notebooks.",
        "rsprune reproduce benchmarks/sweeps/attention.yaml --profile smoke",
    ),
    "results": (
        results.results,
        "Show, filter, compare and export measured results.",
        "rsprune results --where data=eurosat --where 'params<=1e6' --format markdown",
    ),
    "report": (
        results.report,
        "Write one HTML page about sweeps and course runs.",
        "rsprune report runs/sweeps/attention_smoke --out report.html",
    ),
    "train": (
        train.train,
        "Train a network.",
        "rsprune train resnet18_se --data eurosat --profile quick --out runs/dense",
    ),
    "prune": (
        prune.prune,
        "Prune a trained network and repair it.",
        "rsprune prune runs/dense --criterion attention --ratio 0.7 --out runs/small",
    ),
    "finetune": (
        train.finetune,
        "Fine-tune a pruned network.",
        "rsprune finetune runs/small --loss mining --out runs/recovered",
    ),
    "exits": (
        exits.exits,
        "Add early exits to a trained network.",
        "rsprune exits runs/small --exits 3 --promise 0.5 --out runs/leaving",
    ),
    "eval": (
        evaluate.evaluate,
        "Measure accuracy and calibration.",
        "rsprune eval runs/recovered --split test --json",
    ),
    "segment": (
        segment.segment,
        "Write the map of classes of a whole scene.",
        "rsprune segment runs/unet scene.tif --out map.tif",
    ),
    "export": (
        export.export,
        "Write a network as a file that runs without PyTorch.",
        "rsprune export runs/small --format onnx --out runs/shipped",
    ),
    "bench": (
        bench.bench,
        "Time networks in every runtime, in turn.",
        "rsprune bench bundles/eurosat_resnet18_se bundles/eurosat_resnet18_se_r70 --out runs/bench",
    ),
    "explain": (
        explain.explain,
        "Draw where a network finds what it says.",
        "rsprune explain runs/small --beside runs/dense --out maps",
    ),
    "cost": (
        evaluate.cost,
        "Count parameters and MACs.",
        "rsprune cost resnet18_se --classes 10 --size 64 --json",
    ),
}
for _name, (_function, _short, _example) in COMMANDS.items():
    app.command(_name, cls=HelpWithNames, short_help=_short, epilog=f"Example: {_example}")(_function)
app.add_typer(data.app, name="data", epilog="Example: rsprune data fetch eurosat")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rsprune {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def _sentence(error: Exception) -> str:
    if isinstance(error, RspruneError) or not error.strerror:
        return visible(str(error))
    if not error.filename:
        return f"Cannot write the output ({error.strerror}); make room, or send it elsewhere."
    name = visible(str(error.filename))
    name = name if len(name) <= 200 else f"{name[:100]}…{name[-99:]}"
    return f"Cannot use {name} ({error.strerror}); check the path, its permissions and the settings that name it."


def _no_empty_argument(arguments: Sequence[str]) -> None:
    """Refuses ``--out ""``, which is what an unset variable of a script leaves: as a path it would be this folder."""
    for position, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        before = arguments[position - 1] if position else ""
        place = option if equals else f"after {before}" if before.startswith("--") else f"at place {position + 1}"
        if not argument.strip() or (option.startswith("--") and equals and not value.strip()):
            raise RspruneError(f"Got an empty argument ({place}); expected a name, a number or a path there.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    Args:
        arguments: In place of ``sys.argv[1:]``.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "20")  # a log file gets a line now and then, not thousands
    try:
        _no_empty_argument(arguments)
        app(arguments, prog_name="rsprune")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if status == 130:
            print("Interrupted.", file=sys.stderr)
        return status
    except (RspruneError, OSError) as error:
        if os.environ.get("RSPRUNE_DEBUG") == "1":
            raise
        print(f"rsprune: {_sentence(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if os.environ.get("RSPRUNE_DEBUG") == "1":
            raise
        words = str(error).strip().splitlines()
        print(
            f"rsprune: Something unforeseen went wrong: {type(error).__name__}{': ' + words[0] if words else ''}; with "
            "RSPRUNE_DEBUG=1 the same command shows where.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
