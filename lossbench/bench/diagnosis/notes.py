"""What has to be known to read the numbers of a moment, though nothing is wrong."""

import math

from lossbench.bench.diagnosis.moment import Moment


def notes(moment: Moment) -> list[str]:
    """Sentences on the batches and the weighting that the numbers come from."""
    said = []
    if moment.distinct < moment.batches:
        if moment.distinct == 1:
            rest = " that are all equal: they cannot tell signal from noise"
        else:
            rest = f", only {moment.distinct} distinct: noise is understated"
        said.append(f"{moment.batches} batches{rest}.")
    if moment.drawn:
        said.append(
            "The weighting draws at random: its weights, and the shares of the update, are those "
            "of one draw; every step of a training makes another."
        )
    return said


def finite(moment: Moment) -> bool:
    """Whether the parameters were; of those that were not, nothing can be told."""
    return math.isfinite(moment.measured.length)
