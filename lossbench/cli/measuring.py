"""The commands that measure losses: `cost` and `torture`."""

import argparse
import os
from pathlib import Path
from typing import Any

from lossbench.cli import _terminal


def add(commands: Any) -> None:
    """Adds the commands to a parser's."""
    text = "measure time and memory of losses or weightings, and of peers"
    _add_cost(commands.add("cost", _cost, text))
    _add_torture(commands.add("torture", _torture, "look for the inputs on which a loss breaks"))


def _add_cost(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "losses",
        nargs="*",
        metavar="LOSS",
        help="dice, dice+focal, ... (default: all); weighting METHOD ... for the step of a U-Net"
        " under weightings (default: all of them)",
    )
    command.add_argument(
        "--shape",
        action="append",
        dest="shapes",
        metavar="SHAPE",
        help="batch, space, classes, as 2x96^3x3; may be repeated (default: four of them, and"
        " 2x48x64x48x3 for weightings)",
    )
    command.add_argument(
        "--terms", metavar="NUMBERS", help="of weightings: how many losses (default: 2,3,8)"
    )
    command.add_argument(
        "--peers",
        default="all",
        metavar="NAMES",
        help="monai,smp,... (of weightings: torchjd); all (default) or none",
    )
    command.add_argument(
        "--compile",
        metavar="NAMES",
        help="peers of losses to run under torch.compile, too; all or none (default: torch,monai)",
    )
    command.add_argument("--rounds", type=int, default=9, help="of each case (default 9)")
    command.add_argument(
        "--seconds", type=float, default=20.0, help="no new round after so many, from 3 on"
    )
    command.add_argument(
        "--keep-memory",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep freed memory in the process, so that page faults fall on nobody",
    )
    command.add_argument("--out", type=Path, default=Path("runs/cost"), metavar="DIR")


def _add_torture(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "target",
        metavar="LOSS",
        help="a name of ours, package.module.function or path/to/file.py:function",
    )
    command.add_argument("--torch", action="store_true", help="it is a function of PyTorch")
    command.add_argument(
        "--option",
        action="append",
        default=[],
        dest="options",
        metavar="NAME=VALUE",
        help="an option of the loss; may be repeated",
    )
    command.add_argument("--classes", type=int, metavar="N", help="default: 3, 2 or 1, as it runs")
    command.add_argument(
        "--labels", metavar="FORM", help="ids, ids_channel or one_hot (default: as it runs)"
    )
    command.add_argument("--where", metavar="NAME", help="its mask argument (default: where, mask)")
    command.add_argument("--ignored", type=int, metavar="ID", help="the class id it leaves out")
    command.add_argument(
        "--probabilities", action="store_true", help="it takes probabilities, no logits"
    )
    command.add_argument(
        "--background", action="store_true", help="class 0 may be treated differently"
    )
    command.add_argument("--quick", action="store_true", help="without the sums over 256^3 voxels")
    command.add_argument(
        "--skip", action="append", metavar="CHECK", help="leave a check out; may be repeated"
    )
    command.epilog = "exit status: 0 nothing failed, 1 something did, 2 it could not be run"


def _torture(options: argparse.Namespace) -> int:
    from lossbench.testing.command import torture

    names = ("classes", "labels", "where", "ignored", "probabilities", "background", "skip")
    settings = {name: getattr(options, name) for name in names}
    settings = {"large": not options.quick} | {k: v for k, v in settings.items() if v is not None}
    verdict = torture(options.target, torch=options.torch, options=options.options, **settings)
    print(verdict)
    return 0 if verdict else 1


def _cost(options: argparse.Namespace) -> int:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # peers need room, too
    from lossbench.bench.cost import run, table

    if options.losses[:1] == ["weighting"]:
        return _cost_weighting(options)
    if options.terms is not None:
        raise ValueError("--terms is for weightings: lossbench cost weighting --terms=2,3")
    asked = run.settings(
        options.losses,
        options.shapes or (),
        options.peers,
        options.compile or "torch,monai",
        rounds=options.rounds,
        seconds=options.seconds,
        command=options.command_line,
        keep_memory=options.keep_memory,
    )
    try:
        measured = run.cost(asked, options.out, say=_terminal.say)
    except KeyboardInterrupt:
        _terminal.say(f"\nlossbench: stopped; what was measured is in {options.out}")
        return 130
    print("\n".join(table.text(measured.rows, measured.machine, measured.absent)))
    print(f"\ntable: {(options.out / 'cost.md').resolve()}")
    return 0 if any(row.milliseconds for row in measured.rows) else 1


def _cost_weighting(options: argparse.Namespace) -> int:
    from lossbench.bench.cost import weighting_run, weighting_table

    if options.compile is not None:
        raise ValueError("--compile is for losses; TorchJD cannot look into compiled functions")
    asked = weighting_run.settings(
        options.losses[1:],
        options.terms or "2,3,8",
        options.shapes or (),
        options.peers,
        rounds=options.rounds,
        seconds=options.seconds,
        command=options.command_line,
        keep_memory=options.keep_memory,
    )
    try:
        measured = weighting_run.cost(asked, options.out, say=_terminal.say)
    except KeyboardInterrupt:
        _terminal.say(f"\nlossbench: stopped; what was measured is in {options.out}")
        return 130
    print("\n".join(weighting_table.text(measured.rows, measured.machine, measured.absent)))
    print(f"\ntable: {(options.out / 'weighting-cost.md').resolve()}")
    return 0 if any(row.times_plain for row in measured.rows) else 1
