"""The commands about a configuration: `compare`, `train`, `diagnose`; and `report`."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from lossbench.cli import _terminal

# Of these, the same command goes on from where it was stopped.
CONTINUED = ("compare", "train")


def add(commands: Any) -> None:
    """Adds the commands to a parser's."""
    for name, run, text in (
        ("compare", _compare, "train every loss under every seed and report which is better"),
        ("train", _train, "train one loss under one seed, or continue it"),
        ("diagnose", _diagnose, "look at what each term of a loss does, and propose its weight"),
    ):
        command = commands.add(name, run, text, overrides=True)
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
    text = "write the report again from the files of a comparison"
    commands.add("report", _report, text).add_argument("directory", type=Path, metavar="DIR")


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


def _compare(options: argparse.Namespace) -> int:
    from lossbench.bench import answer, compare, results, tables

    plan, folder = _plan(options), _folder(options)
    report = compare.compare(plan, folder, command=_command(options), say=_terminal.say)
    comparison = results.load(folder)
    print("\n" + "\n".join(tables.summary_lines(comparison)))
    print(f"\n{answer.answer(comparison).headline}\n\nreport: {report.resolve()}")
    return 0 if any(run.state == results.COMPLETED for run in comparison.runs) else 1


def _train(options: argparse.Namespace) -> int:
    from lossbench._names import unknown
    from lossbench.bench import compare, results
    from lossbench.detection.files import FOLDER, is_detector

    plan, folder = _plan(options), _folder(options)
    loss = plan.baseline if options.loss is None else options.loss
    seed = plan.seeds[0] if options.seed is None else options.seed
    if loss not in plan.losses:
        raise unknown("loss of the configuration", loss, plan.losses)
    if seed not in plan.seeds:
        raise unknown("seed of the configuration", str(seed), map(str, plan.seeds))
    bench = compare.open_bench(plan, folder, say=_terminal.say)
    result = bench.run(loss, seed)
    if result["state"] == results.COMPLETED:
        for name, score in result["test"].items():
            classes = ", ".join(
                f"{c} {_terminal.number(v)}"
                for c, v in zip(score["classes"], score["per_class"], strict=True)
            )
            unit = compare.meaning(name, bench.datasets[seed])["unit"]
            print(f"test {name}: {_terminal.number(score['mean'])} {unit}".rstrip(), f"({classes})")
    folder = bench.run_folder(bench.specs[loss, seed]).resolve()
    print(f"run: {folder}")
    if is_detector(folder / FOLDER):
        print(f"detector, for `lossbench score`: {folder / FOLDER}")
    return 0 if result["state"] == results.COMPLETED else 1


def _diagnose(options: argparse.Namespace) -> int:
    from lossbench.bench.diagnosis import command

    plan = _plan(options)
    folder = options.out or _default_folder(options) / "diagnosis"
    command.check_folder(folder)
    names = ("loss", "seed", "batches", "at", "shared")
    asked = command.settings(plan, **{name: getattr(options, name) for name in names})
    diagnosis = command.diagnose_plan(plan, asked, say=_terminal.say)
    page = command.write(folder, diagnosis, plan, asked, command=options.command_line)
    print(f"{diagnosis}\n\nreport: {page.resolve()}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from lossbench.bench.report import write_report

    print(f"report: {write_report(options.directory).resolve()}")
    return 0


def _plan(options: argparse.Namespace):
    from lossbench.bench.plan import make_plan
    from lossbench.configuration import load_config, override

    plan = make_plan(override(load_config(options.config), options.overrides))
    _terminal.use_compile_cache()
    return plan


def _folder(options: argparse.Namespace) -> Path:
    folder = options.workdir or _default_folder(options)
    _terminal.check_folder("--workdir", folder)
    return folder


def _default_folder(options: argparse.Namespace) -> Path:
    return Path("runs") / Path(options.config.partition(":")[0]).stem


def _command(options: argparse.Namespace) -> str:
    place = [f"--workdir={options.workdir}"] if options.workdir else []
    command = ["lossbench", "compare", f"--config={options.config}", *place, *options.overrides]
    return shlex.join(command)
