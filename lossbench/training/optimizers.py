"""Optimizers, schedules and the plateau rule, all optax's."""

from collections.abc import Sequence

import jax
import optax

from lossbench.training.options import TrainOptions
from lossbench.training.trainable import matching, partitioned


def learning_rate(options: TrainOptions) -> optax.Schedule:
    """The rate by step: linear warm-up, then a cosine or a constant.

    Example:
        >>> rate = learning_rate(TrainOptions(steps=100, warmup_steps=10, learning_rate=0.1))
        >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 55, 100)]
        [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    rest = options.steps - options.warmup_steps
    if options.schedule == "cosine":
        after = optax.cosine_decay_schedule(
            options.learning_rate, rest, alpha=options.final_learning_rate
        )
    else:
        after = optax.constant_schedule(options.learning_rate)
    if not options.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, options.learning_rate, options.warmup_steps)
    return optax.join_schedules([warmup, after], [options.warmup_steps])


def optimizer(
    options: TrainOptions, *, held: Sequence[str] = (), undecayed: Sequence[str] = ()
) -> optax.GradientTransformation:
    """Clipping, then AdamW or SGD with decoupled weight decay, for what is trained.

    Args:
        options: the numbers.
        held: patterns of parameters that are not trained unless `options.trainable` names them.
        undecayed: patterns of parameters that weight decay leaves alone.
    """
    if options.trainable or held:
        return partitioned(lambda: _update(options, undecayed), options.trainable, held)
    return _update(options, undecayed)


def _update(options: TrainOptions, undecayed: Sequence[str]) -> optax.GradientTransformation:
    rate = learning_rate(options)

    def decayed(params):
        return jax.tree.map(lambda match: not match, matching(params, undecayed))

    mask = decayed if undecayed else None
    if options.optimizer == "adamw":
        update = optax.adamw(rate, weight_decay=options.weight_decay, mask=mask)
    else:
        update = optax.chain(
            optax.trace(options.momentum, nesterov=True),
            optax.add_decayed_weights(options.weight_decay, mask),
            optax.scale_by_learning_rate(rate),
        )
    if not options.clip_norm:
        return update
    return optax.chain(optax.clip_by_global_norm(options.clip_norm), update)


def plateau(options: TrainOptions) -> optax.GradientTransformationExtraArgs | None:
    """The rule that lowers the rate when the validation metric stalls; None if it is off.

    It is told once a validation how bad it was, and its scale multiplies every update after.
    """
    if not options.plateau_patience:
        return None
    return optax.contrib.reduce_on_plateau(
        factor=options.plateau_factor, patience=options.plateau_patience, rtol=0.0, atol=1e-6
    )
