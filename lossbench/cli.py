"""The command line: `lossbench compare`, `train`, `diagnose`, `report`, `list`, `cost`, ..."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from lossbench import __version__

DESCRIPTION = "Which loss should I use on my data, at what weights, and how sure is that?"
EXAMPLE = """examples:
  lossbench compare --config=experiments/compare_shapes.py
  lossbench compare --config=experiments/compare_shapes.py --config.train.steps=50
  lossbench train --config=experiments/compare_shapes.py --loss=dice --seed=0
  lossbench diagnose --config=experiments/compare_shapes.py --at=0,50
  lossbench report runs/compare_shapes
  lossbench list losses
  lossbench cost dice focal --shape=1x64^3x4
  lossbench cost weighting pcgrad --terms=2,3
  lossbench torture optax.losses.dice_loss
"""
LISTS = ("losses", "metrics", "weightings", "models", "data")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a user's error is one message and exit status 2."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command in ("report", "list", "cost", "torture"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.overrides = rest
    options.command_line = shlex.join(["lossbench", *(arguments or sys.argv[1:])])
    try:
        return options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"lossbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = (
            "; the same command goes on from here" if options.run in (_compare, _train) else ""
        )
        report = "; `lossbench report DIR` shows what there is" if options.run is _compare else ""
        print(f"\nlossbench: stopped{goes_on}{report}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossbench",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lossbench {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    for name, run, text in (
        ("compare", _compare, "train every loss under every seed and report which is better"),
        ("train", _train, "train one loss under one seed, or continue it"),
        ("diagnose", _diagnose, "look at what each term of a loss does, and propose its weight"),
    ):
        command = add(name, run, text)
        command.add_argument(
            "--config", required=True, metavar="FILE", help="a file with get_config"
        )
        command.epilog = "--config.KEY=VALUE overrides a value of the configuration"
        if name != "diagnose":
            command.add_argument(
                "--workdir", type=Path, metavar="DIR", help="default: runs/NAME_OF_FILE"
            )
        if name != "compare":
            default = "its baseline" if name == "train" else "that of most terms"
            command.add_argument("--loss", help=f"which of its losses (default: {default})")
            command.add_argument("--seed", type=int, help="default: its first")
        if name == "diagnose":
            _add_diagnose(command)
    report = add("report", _report, "write the report again from the files of a comparison")
    report.add_argument("directory", type=Path, metavar="DIR")
    _add_cost(add("cost", _cost, "measure time and memory of losses or weightings, and of peers"))
    _add_torture(add("torture", _torture, "look for the inputs on which a loss breaks"))
    listing = add("list", _list, "list losses, metrics, weightings, models and data sets")
    listing.add_argument("what", nargs="?", choices=LISTS, help="only these")
    return parser


def _add_diagnose(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batches", type=int, metavar="N", help="to look at (default: 16)")
    command.add_argument(
        "--at", metavar="STEPS", help="such as 0,50 (default: 0 and a tenth of its training's)"
    )
    command.add_argument(
        "--shared",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of parameters whose gradients to look at, as head/*; may be repeated (default: all)",
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/NAME_OF_FILE/diagnosis"
    )


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
        measured = run.cost(asked, options.out, say=_say)
    except KeyboardInterrupt:
        _say(f"\nlossbench: stopped; what was measured is in {options.out}")
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
        measured = weighting_run.cost(asked, options.out, say=_say)
    except KeyboardInterrupt:
        _say(f"\nlossbench: stopped; what was measured is in {options.out}")
        return 130
    print("\n".join(weighting_table.text(measured.rows, measured.machine, measured.absent)))
    print(f"\ntable: {(options.out / 'weighting-cost.md').resolve()}")
    return 0 if any(row.times_plain for row in measured.rows) else 1


def _compare(options: argparse.Namespace) -> int:
    from lossbench.bench import answer, compare, results, tables

    plan, folder = _plan(options), _folder(options)
    report = compare.compare(plan, folder, command=_command(options), say=_say)
    comparison = results.load(folder)
    print("\n" + "\n".join(tables.summary_lines(comparison)))
    print(f"\n{answer.answer(comparison).headline}\n\nreport: {report.resolve()}")
    return 0 if any(run.state == results.COMPLETED for run in comparison.runs) else 1


def _train(options: argparse.Namespace) -> int:
    from lossbench._names import unknown
    from lossbench.bench import compare, results

    plan, folder = _plan(options), _folder(options)
    loss = plan.baseline if options.loss is None else options.loss
    seed = plan.seeds[0] if options.seed is None else options.seed
    if loss not in plan.losses:
        raise unknown("loss of the configuration", loss, plan.losses)
    if seed not in plan.seeds:
        raise unknown("seed of the configuration", str(seed), map(str, plan.seeds))
    bench = compare.open_bench(plan, folder, say=_say)
    result = bench.run(loss, seed)
    if result["state"] == results.COMPLETED:
        for name, score in result["test"].items():
            classes = ", ".join(
                f"{c} {_number(v)}"
                for c, v in zip(score["classes"], score["per_class"], strict=True)
            )
            unit = compare.meaning(name, bench.datasets[seed])["unit"]
            print(f"test {name}: {_number(score['mean'])} {unit}".rstrip(), f"({classes})")
    print(f"run: {bench.run_folder(bench.specs[loss, seed]).resolve()}")
    return 0 if result["state"] == results.COMPLETED else 1


def _diagnose(options: argparse.Namespace) -> int:
    from lossbench.bench.diagnosis import command

    plan = _plan(options)
    folder = options.out or _default_folder(options) / "diagnosis"
    command.check_folder(folder)
    names = ("loss", "seed", "batches", "at", "shared")
    asked = command.settings(plan, **{name: getattr(options, name) for name in names})
    diagnosis = command.diagnose_plan(plan, asked, say=_say)
    page = command.write(folder, diagnosis, plan, asked, command=options.command_line)
    print(f"{diagnosis}\n\nreport: {page.resolve()}")
    return 0


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.4f}"


def _report(options: argparse.Namespace) -> int:
    from lossbench.bench.report import write_report

    print(f"report: {write_report(options.directory).resolve()}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from lossbench import data, losses, metrics, models, weighting

    families = list(dict.fromkeys(row.family for row in losses.CATALOG.values()))
    width = max(map(len, families))
    tables = {
        "losses": {  # a family together, whatever the order of the catalog
            row.name: f"{family:<{width}}  {_line(row.function)}"
            for family in families
            for row in losses.CATALOG.values()
            if row.family == family
        },
        "metrics": {n: _line(state) for n, state in metrics.STATES.items()},
        "weightings": {
            row.name: f"{'losses' if row.form in ('weights', 'norms') else 'gradients':<9}  "
            + _line(row.function)
            for row in weighting.WEIGHTINGS.values()
        },
        "models": {n: _line(model) for n, model in models.MODELS.items()},
        "data": {n: _line(source) for n, source in data.SOURCES.items()},
    }
    for title, rows in tables.items():
        if options.what not in (None, title):
            continue
        print(f"{title}:")
        width = max(22, *map(len, rows))
        for name, text in rows.items():
            print(f"  {name:<{width}}  {text}")
    return 0


def _line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _plan(options: argparse.Namespace):
    from lossbench.bench.plan import make_plan
    from lossbench.configuration import load_config, override

    plan = make_plan(override(load_config(options.config), options.overrides))
    _use_compile_cache()
    return plan


def _folder(options: argparse.Namespace) -> Path:
    folder = options.workdir or _default_folder(options)
    _check_folder("--workdir", folder)
    return folder


def _default_folder(options: argparse.Namespace) -> Path:
    return Path("runs") / Path(options.config.partition(":")[0]).stem


def _check_folder(option: str, folder: Path) -> None:
    """Raises a ValueError where nothing could be written; before anything is computed."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{option}: {folder} cannot be made or written to, because of {there}")


def _command(options: argparse.Namespace) -> str:
    place = [f"--workdir={options.workdir}"] if options.workdir else []
    command = ["lossbench", "compare", f"--config={options.config}", *place, *options.overrides]
    return shlex.join(command)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _use_compile_cache() -> None:
    """One persistent compile cache, the user's own: its entries are executable code."""
    import jax

    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        try:
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            folder = home / "lossbench" / "jax"
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (OSError, RuntimeError):  # no home, or none to write to: compile every time
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


if __name__ == "__main__":
    sys.exit(main())
