"""The command `list`: what there is, by its names."""

import argparse
from typing import Any

LISTS = ("losses", "metrics", "weightings", "models", "data")


def add(commands: Any) -> None:
    """Adds the command to a parser's."""
    text = "list losses, metrics, weightings, models and data sets"
    command = commands.add("list", _list, text)
    command.add_argument("what", nargs="?", choices=LISTS, help="only these")


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
