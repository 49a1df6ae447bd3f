"""The commands that use a trained detector: `score` and `export`."""

import argparse
from pathlib import Path
from typing import Any

from lossbench.cli import _terminal


def add(commands: Any) -> None:
    """Adds the commands to a parser's."""
    where = "a saved detector; or a run or a comparison that holds one"
    command = commands.add("score", _score, "score a scene with a trained detector, as a picture")
    command.add_argument("directory", type=Path, metavar="DIR", help=where)
    command.add_argument(
        "scene", type=Path, metavar="SCENE", help="MATLAB, HDF5, NPZ, NPY, ENVI or TIFF file"
    )
    command.add_argument("--key", metavar="NAME", help="of the cube in its file")
    command.add_argument("--mask-key", metavar="NAME", help="of its mask of anomalies")
    command.add_argument(
        "--mask", type=Path, metavar="FILE", help="where the mask has a file of its own"
    )
    command.add_argument(
        "--anomalous",
        type=int,
        action="append",
        metavar="VALUE",
        help="of the mask that means anomalous; may be repeated (default: what is not 0)",
    )
    command.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="from which on a pixel is flagged (default: the detector's own)",
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/scores/NAME_OF_SCENE"
    )
    text = "write a detector's scoring function as StableHLO, threshold inside"
    command = commands.add("export", _export, text)
    command.add_argument("directory", type=Path, metavar="DIR", help=where)
    command.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="default: scores.stablehlo beside the detector's folder",
    )
    command.add_argument(
        "--shape",
        metavar="SIZES",
        help="of the images, as 100,100,200; a name stands for any size (default:"
        " height,width,BANDS)",
    )


def _score(options: argparse.Namespace) -> int:
    from lossbench.bench.files import write_arrays
    from lossbench.detection import find_detector, load, score_scene, write_bytes

    out = options.out or Path("runs") / "scores" / options.scene.stem
    _terminal.check_folder("--out", out)
    folder = find_detector(options.directory)
    _terminal.use_compile_cache()
    scored = score_scene(
        load(folder),
        options.scene,
        key=options.key,
        mask_key=options.mask_key,
        mask_path=options.mask,
        anomalous=options.anomalous,
        threshold=options.threshold,
    )
    picture = _picture(scored)  # before anything is written
    out.mkdir(parents=True, exist_ok=True)
    write_arrays(out / "scores.npz", **scored.arrays())
    write_bytes(out / "scores.png", picture)
    print(f"detector: {folder.resolve()}")
    print(scored.summary())
    print(f"scores: {(out / 'scores.npz').resolve()}\npicture: {(out / 'scores.png').resolve()}")
    return 0


def _picture(scored: Any) -> bytes:
    """The scene in colors, its scores and what is flagged, as PNG."""
    from lossbench.bench.anomaly_figures import scene
    from lossbench.bench.drawing import figure_png

    return figure_png(
        scene(
            scored.color,
            scored.scores,
            labels=scored.labels,
            flagged=scored.decisions,
            where=scored.where,
            title=scored.name,
        )
    )


def _export(options: argparse.Namespace) -> int:
    from lossbench.detection import export, find_detector, load, write_bytes
    from lossbench.detection.saved import EXPORTED

    folder = find_detector(options.directory)
    file = options.file or folder.parent / EXPORTED
    _terminal.check_folder("FILE", file.parent)
    if file.is_dir():
        raise ValueError(f"FILE: {file} is a folder")
    shape = None
    if options.shape is not None:
        parts = [part.strip() for part in options.shape.split(",")]
        shape = [int(part) if part.isdigit() else part for part in parts]
    program = export(load(folder), shape=shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    print(f"detector: {folder.resolve()}")
    print(f"exported: {write_bytes(file, program).resolve()} ({len(program):,} bytes)")
    return 0
