"""The command line: `lossbench compare`, `train`, `report`, `list`."""

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
  lossbench report runs/compare_shapes
  lossbench list losses
"""
LISTS = ("losses", "metrics", "models", "data")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a user's error is one message and exit status 2."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command in ("report", "list"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.overrides = rest
    try:
        return options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"lossbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        report = "; `lossbench report DIR` shows what there is" if options.run is _compare else ""
        print(f"\nlossbench: stopped; the same command goes on from here{report}", file=sys.stderr)
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
    ):
        command = add(name, run, text)
        command.add_argument(
            "--config", required=True, metavar="FILE", help="a file with get_config"
        )
        command.add_argument(
            "--workdir", type=Path, metavar="DIR", help="default: runs/NAME_OF_FILE"
        )
        command.epilog = "--config.KEY=VALUE overrides a value of the configuration"
        if name == "train":
            command.add_argument("--loss", help="which of its losses (default: its baseline)")
            command.add_argument("--seed", type=int, help="default: its first")
    report = add("report", _report, "write the report again from the files of a comparison")
    report.add_argument("directory", type=Path, metavar="DIR")
    listing = add("list", _list, "list losses, metrics, models and data sets")
    listing.add_argument("what", nargs="?", choices=LISTS, help="only these")
    return parser


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
            print(f"test {name}: {_number(score['mean'])} ({classes})")
    print(f"run: {bench.run_folder(bench.specs[loss, seed]).resolve()}")
    return 0 if result["state"] == results.COMPLETED else 1


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.4f}"


def _report(options: argparse.Namespace) -> int:
    from lossbench.bench.report import write_report

    print(f"report: {write_report(options.directory).resolve()}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from lossbench import data, losses, metrics, models

    tables = {
        "losses": {n: f"{row.family}: {_line(row.function)}" for n, row in losses.CATALOG.items()},
        "metrics": {n: _line(state) for n, state in metrics.STATES.items()},
        "models": {n: _line(model) for n, model in models.MODELS.items()},
        "data": {n: _line(source) for n, source in data.SOURCES.items()},
    }
    for title, rows in tables.items():
        if options.what not in (None, title):
            continue
        print(f"{title}:")
        for name, text in rows.items():
            print(f"  {name:<22} {text}")
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
    folder = options.workdir or Path("runs") / Path(options.config.partition(":")[0]).stem
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--workdir: {folder} cannot be made or written to, because of {there}")
    return folder


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
