"""The command line: `lossbench compare`, `train`, `diagnose`, `report`, `score`, `cost`, ...

Each file of this package adds some of its commands.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Callable
from typing import Any

from lossbench import __version__
from lossbench.cli import comparing, detecting, listing, measuring

DESCRIPTION = "Which loss should I use on my data, at what weights, and how sure is that?"
EXAMPLE = """examples:
  lossbench compare --config=experiments/compare_shapes.py
  lossbench compare --config=experiments/compare_shapes.py --config.train.steps=50
  lossbench train --config=experiments/compare_shapes.py --loss=dice --seed=0
  lossbench diagnose --config=experiments/compare_shapes.py --at=0,50
  lossbench report runs/compare_shapes
  lossbench score runs/svdd_hyperspectral/runs/RUN scene.mat
  lossbench list losses
  lossbench cost dice focal --shape=1x64^3x4
  lossbench cost weighting pcgrad --terms=2,3
  lossbench torture optax.losses.dice_loss
"""


@dataclasses.dataclass(frozen=True)
class Commands:
    """The commands of a parser.

    Attributes:
        parsers: of argparse.
    """

    parsers: Any

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        *,
        overrides: bool = False,
    ) -> argparse.ArgumentParser:
        """Adds a command.

        Args:
            name: what is typed.
            run: is given the options, and gives the exit status.
            text: what it does.
            overrides: true if it takes further arguments that override a configuration.
        """
        command = self.parsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run, takes_overrides=overrides)
        return command


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a user's error is one message and exit status 2."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.overrides = rest
    options.command_line = shlex.join(["lossbench", *(arguments or sys.argv[1:])])
    try:
        return options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"lossbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = options.command in comparing.CONTINUED
        goes_on = "; the same command goes on from here" if again else ""
        compared = options.command == "compare"
        report = "; `lossbench report DIR` shows what there is" if compared else ""
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
    commands = Commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    for group in (comparing, detecting, measuring, listing):
        group.add(commands)
    return parser
