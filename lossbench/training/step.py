"""One training step and one evaluation step, as pure functions of state and batch."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lossbench.metrics import Collection
from lossbench.objective import Objective, Value
from lossbench.training.gradient import weighted_gradient
from lossbench.training.state import Model, TrainState, inputs, stream_key
from lossbench.training.trainable import Table, hold
from lossbench.weighting import gramian, part, per_term

Batch = dict[str, jax.Array]


class StepLog(NamedTuple):
    """Scalars of one step, on the device.

    Attributes:
        objective: total, terms and weights.
        gradient_norm: global norm of the gradient, before clipping.
        learning_rate: rate of this step, plateau rule included.
        gramian: inner products of the gradients of the terms, each times its own weight, `terms
            terms`, where the weighting had them computed.
    """

    objective: Value
    gradient_norm: jax.Array
    learning_rate: jax.Array
    gramian: jax.Array | None


def namespace(batch: Batch, outputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The names that an objective binds: batch and outputs together.

    Logits at a coarser resolution come as `logits_2`, `logits_4`, ... (the number is the stride);
    `labels_2` and `where_2`, every second pixel along each axis, are added for them. Beside the
    "center" of a one-class model labels are a mask, true = anomalous: there its losses read
    integers otherwise, 1 as known to be normal.
    """
    names = {**batch, **outputs}
    if "center" in outputs and "labels" in batch:
        names["labels"] = batch["labels"] != 0
    for output in outputs:
        prefix, _, stride = output.partition("_")
        if prefix == "logits" and stride.isdigit():
            for array in ("labels", "where"):
                if array in batch:
                    space = (slice(None, None, int(stride)),) * (outputs[output].ndim - 2)
                    names[f"{array}_{stride}"] = batch[array][(slice(None), *space)]
    return names


def apply_in_training(
    variables: Mapping[str, Any], batch: Batch, *, model: Model, key: jax.Array | None = None
) -> tuple[Mapping[str, jax.Array], dict[str, Any]]:
    """The outputs of a model in training, and its collections besides the parameters after it.

    Args:
        variables: parameters and other collections.
        batch: with the arrays that the model reads.
        model: what is applied.
        key: of its random streams, if it has any; without one it draws nothing.
    """
    collections = [name for name in variables if name != "params"]
    options: dict[str, Any] = {"mutable": collections} if collections else {}
    streams = getattr(model, "draws", ())
    if streams and key is not None:
        keys = jax.random.split(key, len(streams))
        options["rngs"] = {stream: keys[i] for i, stream in enumerate(streams)}
    found = model.apply(variables, *inputs(model, batch), **options)
    outputs, model_state = found if collections else (found, {})
    assert isinstance(outputs, Mapping)
    return outputs, model_state


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Model,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    ema_decay: float = 0.0,
    trainable: Table = (),
) -> tuple[TrainState, StepLog]:
    """The state after one step, and what to log of it."""
    key = step_key(state)

    def loss(params: Any) -> tuple[Value, dict[str, Any]]:
        params = hold(params, trainable, getattr(model, "held", ()))
        variables = {"params": params, **state.model_state}
        outputs, model_state = apply_in_training(variables, batch, model=model, key=key)
        return objective(namespace(batch, outputs), state.step), model_state

    gradient, value, weighting, products, model_state = weighted_gradient(
        loss, state.params, state.weighting, objective=objective
    )
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    scale = state.plateau.scale if state.plateau else jnp.ones(())
    updates = jax.tree.map(lambda u: scale.astype(u.dtype) * u, updates)
    params = optax.apply_updates(state.params, updates)
    average = state.average
    if average:
        step = state.step.astype(jnp.float32)
        decay = jnp.minimum(ema_decay, (1 + step) / (10 + step))
        average = optax.incremental_update(params, average, 1 - decay)
    rate = scale * learning_rate(state.step)
    log = StepLog(value, optax.tree.norm(gradient), rate, products)
    step = state.step + 1
    state = TrainState(
        step, params, model_state, opt_state, average, state.plateau, weighting, state.draws
    )
    return state, log


def step_key(state: TrainState) -> jax.Array | None:
    """The random key of a step, of the model's own streams; None if it draws nothing."""
    if isinstance(state.draws, Mapping):
        return None
    return jax.random.fold_in(stream_key(state.draws, "model"), state.step)


def term_gramian(
    state: TrainState, batch: Batch, *, model: Model, objective: Objective, trainable: Table = ()
) -> jax.Array:
    """Inner products of the gradients of the terms, each times its own weight, on one batch."""

    def terms(params: Any) -> list[jax.Array]:
        params = hold(params, trainable, getattr(model, "held", ()))
        variables = {"params": params, **state.model_state}
        outputs, _ = apply_in_training(variables, batch, model=model, key=step_key(state))
        value = objective(namespace(batch, outputs), state.step)
        return [value.weights[name] * value.terms[name] for name in objective.terms]

    _, gradients = per_term(terms, state.params)
    return gramian(part(gradients, objective.shared) if objective.shared else gradients)


def after_validation(
    state: TrainState, merit: jax.Array, *, plateau: optax.GradientTransformationExtraArgs
) -> TrainState:
    """Tells the plateau rule how good a validation was: a number of which higher is better."""
    _, rule = plateau.update({}, state.plateau, value=-merit)
    return dataclasses.replace(state, plateau=rule)


class Evaluation(NamedTuple):
    """Sums over an evaluation so far; a pytree.

    Attributes:
        metrics: the states of all metrics.
        terms: sum over examples of each term of the objective, and of the total under "loss".
        examples: how many.
    """

    metrics: Collection
    terms: dict[str, jax.Array]
    examples: jax.Array


def evaluation_step(
    evaluation: Evaluation,
    variables: Mapping[str, Any],
    batch: Batch,
    step: jax.Array,
    *,
    model: Model,
    objective: Objective,
) -> tuple[Evaluation, "Predicted"]:
    """Adds a batch (padded examples have weight 0); also gives what was predicted."""
    outputs = model.apply(variables, *inputs(model, batch))
    assert isinstance(outputs, Mapping)
    weights = batch["weights"]
    real = jnp.expand_dims(weights > 0, range(1, batch["labels"].ndim))
    batch = {**batch, "where": batch.get("where", jnp.ones(batch["labels"].shape, bool)) & real}
    value = objective(namespace(batch, outputs), step)
    found = predicted(outputs)
    arrays = {
        "predictions": found.labels,
        "scores": found.scores,
        "labels": batch["labels"],
        "case": batch["case"],
        "where": batch["where"],
        "weights": weights,
    }
    taken = evaluation.metrics.takes
    metrics = evaluation.metrics.update(**{k: v for k, v in arrays.items() if k in taken})
    count = jnp.sum(weights)
    terms = {
        name: evaluation.terms[name] + count * term
        for name, term in {**value.terms, "loss": value.total}.items()
    }
    return Evaluation(metrics, terms, evaluation.examples + count), found


class Predicted(NamedTuple):
    """What a model says of a batch.

    Attributes:
        labels: class ids, `batch *space`; of an anomaly detector 1 for what is anomalous.
        scores: raw, of which higher is more anomalous, or foreground, `batch *space`; None if there
            are more than two classes.
        selector_weights: of a model that selects channels, `*selectors channels`; else None.
    """

    labels: jax.Array
    scores: jax.Array | None
    selector_weights: jax.Array | None = None


def predicted(outputs: Mapping[str, jax.Array]) -> Predicted:
    """What a model's outputs say: "logits" of classes, or "scores" and their "threshold".

    Raises:
        ValueError: if there are neither.
    """
    selector_weights = outputs.get("selector_weights")
    if "logits" in outputs:
        logits = outputs["logits"]
        scores = outputs.get("scores")
        if scores is None and logits.shape[-1] <= 2:
            scores = logits[..., -1] - logits[..., 0] if logits.shape[-1] == 2 else logits[..., 0]
        return Predicted(predict(logits), scores, selector_weights)
    if "scores" in outputs and "threshold" in outputs:
        flagged = outputs["scores"] > outputs["threshold"]
        return Predicted(flagged.astype(jnp.int32), outputs["scores"], selector_weights)
    raise ValueError(
        "the model's outputs can be evaluated if they have 'logits', or 'scores' and 'threshold' "
        f"(svdd gives those); there are: {', '.join(sorted(outputs))}"
    )


def predict(logits: jax.Array) -> jax.Array:
    """Class ids: the largest logit, or its sign if there is one class only."""
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)
