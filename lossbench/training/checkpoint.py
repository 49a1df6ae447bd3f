"""Checkpoints: the latest and the best, each one atomic; the only module that knows orbax."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
from orbax.checkpoint import v1 as ocp

from lossbench.training.state import TrainState

_keep = ocp.training.preservation_policies


class Checkpoint(NamedTuple):
    """All that a run needs to go on as if nothing had happened.

    Attributes:
        state: the training state.
        position: state of the data iterator, plain JSON.
        history: the log so far, plain JSON.
        seconds: time that training took so far.
    """

    state: TrainState
    position: dict[str, Any]
    history: dict[str, Any]
    seconds: float = 0.0


class Checkpoints:
    """The checkpoints of one run, in one folder."""

    def __init__(self, checkpointer: ocp.training.Checkpointer) -> None:
        self._checkpointer = checkpointer

    def save(self, checkpoint: Checkpoint, *, step: int, best: bool, merit: float = 0.0) -> None:
        """Saves; a kill in the middle leaves the earlier checkpoint as it was.

        Args:
            checkpoint: what to save.
            step: steps done.
            best: true if no checkpoint so far was as good; it is kept until a better one comes.
            merit: how good it is, higher is better; NaN for the worst. Further ones are kept by it.
        """
        self._checkpointer.save_checkpointables(
            step,
            {
                "state": checkpoint.state,
                "progress": {
                    "position": checkpoint.position,
                    "history": checkpoint.history,
                    "seconds": checkpoint.seconds,
                },
            },
            # Orbax keeps the highest rank: that of the last checkpoint that was the best so far.
            metrics={
                "rank": step if best else -1,
                "merit": merit if math.isfinite(merit) else -math.inf,
            },
            force=True,
            overwrite=True,
        )

    def latest(self, like: TrainState) -> Checkpoint | None:
        """The latest checkpoint, on the devices of `like`; None if there is none."""
        newest = self._checkpointer.latest
        return None if newest is None else self.load(newest.step, like)

    def load(self, step: int, like: TrainState) -> Checkpoint:
        """The checkpoint of a step, on the devices of `like`."""
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        loaded = self._checkpointer.load_checkpointables(
            step, {"state": abstract, "progress": None}
        )
        progress = loaded["progress"]
        return Checkpoint(loaded["state"], **progress)


@contextmanager
def open_checkpoints(folder: Path, *, keep_best: int = 1) -> Iterator[Checkpoints]:
    """Opens (or makes) the checkpoint folder of a run; the latest and the best ones are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    further = (
        [_keep.BestN(get_metric_fn=lambda metrics: metrics["merit"], n=keep_best)]
        if keep_best > 1
        else []
    )
    policy = _keep.AnyPreservationPolicy(
        [
            _keep.LatestN(1),
            _keep.BestN(get_metric_fn=lambda metrics: metrics["rank"], n=1),
            *further,
        ]
    )
    with ocp.training.Checkpointer(
        str(folder.resolve()),
        preservation_policy=policy,  # pyright: ignore[reportArgumentType]
    ) as checkpointer:
        yield Checkpoints(checkpointer)
