"""One pass over a source: metrics, the objective, and the predictions if wanted."""

import dataclasses
from collections.abc import Callable, Mapping

import jax

from lossbench.data import Source, evaluation_batches
from lossbench.metrics import Collection, Scores, Stream
from lossbench.training.program import Arrays, Program
from lossbench.training.state import TrainState
from lossbench.training.step import Predicted


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What an evaluation came to, on the host.

    Attributes:
        scores: of each metric; tables have one row a case.
        terms: mean over examples of each term, and of the total under "loss".
    """

    scores: dict[str, Scores]
    terms: dict[str, float]

    def means(self) -> dict[str, float]:
        """The mean of each metric, and the loss."""
        return {"loss": self.terms["loss"]} | {n: float(s.mean) for n, s in self.scores.items()}


def evaluate(
    program: Program,
    state: TrainState,
    source: Source,
    *,
    watch: Callable[[Arrays, Predicted], None] | None = None,
) -> Evaluated:
    """Evaluates a state on every example of a source.

    Args:
        program: the compiled functions.
        state: what to evaluate; its parameters' average where it has one.
        source: the examples.
        watch: is shown each batch and what was predicted, on the host, padding included.

    Raises:
        ValueError: if a metric needs whole cases, and the source has them in pieces.
    """
    options = program.options
    evaluation = program.empty()
    check_pieces(evaluation.metrics.states(), source)
    for batch in evaluation_batches(source, options.eval_batch_size or options.batch_size):
        evaluation, found = program.evaluate(
            evaluation, state.evaluated, program.place(batch), state.step
        )
        if watch:
            watch(batch, jax.device_get(found))
    cases = len(source.names)
    scores = {
        name: score._replace(per_case=score.per_case[:cases])
        for name, score in jax.device_get(_compute(evaluation.metrics)).items()
    }
    terms, examples = jax.device_get((evaluation.terms, evaluation.examples))
    return Evaluated(scores, {name: float(term / examples) for name, term in terms.items()})


def check_pieces(streams: Mapping[str, type[Stream] | Stream], source: Source) -> None:
    """Raises a ValueError where a metric needs whole cases, and a source has them in pieces."""
    pieces, cases = len(source), len(source.names)
    for name, stream in streams.items():
        if stream.whole_cases and pieces > cases:
            raise ValueError(
                f"the metric {name!r} needs each case in one piece, but the {cases} cases come in "
                f"{pieces} patches; evaluation must see each case whole: leave data.tile out "
                "(decathlon: make data.patch as large as the largest case), or leave "
                f"{name!r} out of the metrics"
            )


@jax.jit
def _compute(states: Collection) -> dict[str, Scores]:
    """The scores of every metric in one program; op by op they would compile one by one."""
    return states.compute()
