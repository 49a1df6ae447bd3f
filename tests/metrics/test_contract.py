"""The contract of a metric, on every public function and every state for a stream.

Metrics are found in `lossbench.metrics`; their inputs are built from the names of their arguments.
"""

import functools
import inspect
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench import metrics
from lossbench.metrics._counted_cases import NumberStream

BATCH, CLASSES = 4, 3
# Those of class ids; metrics of masks and of instances have their own tests.
FUNCTIONS = [
    name
    for name in metrics.__all__
    if inspect.isfunction(getattr(metrics, name))
    and {"where", "num_classes"} <= set(inspect.signature(getattr(metrics, name)).parameters)
    and name != "confusion_matrix"  # comes to a table of counts, and has its own tests
]
# Those of raw scores, a ranking a case, have their own tests, too (`test_ranking_cases.py`).
STATES = sorted(name for name, state in metrics.STATES.items() if not state.ranks_scores)
# Those with one number for all classes together.
NUMBERS = [name for name in STATES if issubclass(metrics.STATES[name], NumberStream)]
# Those that have a value wherever a pixel is counted.
ALWAYS_DEFINED = ("accuracy", "generalized_dice")


def ids_of(rng, space):
    return jnp.asarray(rng.integers(0, CLASSES, (BATCH, *space)), jnp.int32)


VOCABULARY = {"predictions": ids_of, "labels": ids_of}
OPTIONS = {"num_classes": CLASSES}


def inputs_of(name, space=(5, 6), seed=0):
    """The required arguments of a metric's function, by name: arrays, and plain options."""
    rng = np.random.default_rng(seed)
    arrays, options = {}, {}
    for argument, parameter in inspect.signature(getattr(metrics, name)).parameters.items():
        if argument in VOCABULARY:
            arrays[argument] = VOCABULARY[argument](rng, space)
        elif parameter.default is inspect.Parameter.empty:
            options[argument] = OPTIONS[argument]
    return arrays, options


@pytest.fixture(params=FUNCTIONS)
def name(request):
    return request.param


@pytest.fixture
def metric(name):
    return getattr(metrics, name)


def test_every_state_is_public_and_belongs_to_a_function():
    public = {name: getattr(metrics, name) for name in metrics.__all__}
    streams = (x for x in public.values() if inspect.isclass(x) and issubclass(x, metrics.Stream))
    classes = {x.__name__ for x in streams if hasattr(x, "update")}
    assert {state.__name__ for state in metrics.STATES.values()} == classes
    for name, state in metrics.STATES.items():
        of_cases = "ofcases" if state.ranks_scores else ""
        assert state.__name__.lower() == name.replace("_", "") + of_cases, name
    for name in STATES:
        assert metrics.get(name) is metrics.STATES[name]
        assert inspect.isfunction(public[name])
        assert (name in FUNCTIONS) != metrics.get(name).whole_cases


def test_an_unknown_metric_is_an_error_that_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown metric 'dise'; did you mean 'dice'"):
        metrics.get("dise")


def test_options_are_keyword_only_and_documented(name, metric):
    assert metric.__doc__ is not None
    for heading in ("Args:", "Returns:", "Raises:", "Example:", "Reference:"):
        assert heading in metric.__doc__, heading
    for argument, parameter in inspect.signature(metric).parameters.items():
        assert f"        {argument}: " in metric.__doc__, f"{argument} is not documented"
        if argument not in VOCABULARY:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, argument


@pytest.mark.parametrize("space", [(), (7,), (3, 4, 5)], ids=str)
def test_one_float32_value_an_example_and_class_or_for_all_classes(name, metric, space):
    arrays, options = inputs_of(name, space)
    value = jax.jit(lambda a: metric(**a, **options))(arrays)
    chex.assert_shape(value, (BATCH,) if name in NUMBERS else (BATCH, CLASSES))
    assert value.dtype == jnp.float32


def test_jit_vmap_and_one_example_alone_give_the_same(name, metric):
    arrays, options = inputs_of(name)
    value = metric(**arrays, **options)
    np.testing.assert_array_equal(jax.jit(lambda a: metric(**a, **options))(arrays), value)
    alone = jax.vmap(lambda a: metric(**a, **options)[0])(
        {argument: x[:, None] for argument, x in arrays.items()}
    )
    np.testing.assert_array_equal(alone, value)


def test_masked_equals_removed_whatever_lies_under_the_mask(name, metric):
    arrays, options = inputs_of(name, (6, 5))
    where = jnp.zeros((BATCH, 6, 5), bool).at[:, :4].set(True)
    kept = metric(**{k: x[:, :4] for k, x in arrays.items()}, **options)
    hidden = {k: jnp.where(where, x, rubbish) for rubbish, (k, x) in enumerate(arrays.items(), 1)}
    np.testing.assert_array_equal(metric(**hidden, **options, where=where), kept)
    nothing = metric(**arrays, **options, where=where.at[1].set(False))[1]
    assert np.all(np.isnan(nothing))


def test_every_integer_dtype_means_the_same(name, metric):
    arrays, options = inputs_of(name)
    value = metric(**arrays, **options)
    for dtype in (jnp.uint8, jnp.int16):
        cast = {k: x.astype(dtype) for k, x in arrays.items()}
        np.testing.assert_array_equal(metric(**cast, **options), value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": lambda x: x * 1.5}, "predictions: .* take the argmax of logits"),
        ({"labels": lambda x: x * 1.0}, "labels: expected class ids"),
        ({"predictions": lambda x: x[:, 1:]}, "predictions: expected shape"),
        ({"where": lambda _: jnp.ones((BATCH, 5), bool)}, "where: expected shape"),
        ({"where": lambda _: jnp.ones((BATCH, 5, 6))}, "where: expected bool"),
    ],
)
def test_logits_and_wrong_shapes_are_refused_by_name(name, metric, change, message):
    arrays, options = inputs_of(name)
    for argument, function in change.items():
        arrays[argument] = function(arrays.get(argument))
    # The public function as users have it, without the annotations' own check.
    bare = inspect.unwrap(metric)
    with pytest.raises(ValueError, match=message):
        bare(**arrays, **options)


def test_no_host_callback_and_strict_dtypes(name, metric):
    arrays, options = inputs_of(name)
    with jax.numpy_dtype_promotion("strict"):
        jaxpr = str(jax.make_jaxpr(lambda a: metric(**a, **options))(arrays))
    assert "callback" not in jaxpr


# --- states -------------------------------------------------------------------------------------

CASES, PIECES, PIXELS = 5, 3, 4
RNG = np.random.default_rng(0)
PREDICTIONS = RNG.integers(0, CLASSES, (CASES, PIECES, PIXELS))
LABELS = RNG.integers(0, CLASSES, (CASES, PIECES, PIXELS))
LABELS[3] = PREDICTIONS[3] = 0  # a case without foreground
WHERE = RNG.random((CASES, PIECES, PIXELS)) < 0.8
SEEN = [0, 1, 3, 4]  # case 2 never comes
REQUIRED = {"nsd": {"tolerance": 1}}


@pytest.fixture(params=STATES)
def state(request):
    return metrics.STATES[request.param]


def empty_of(state, cases=CASES):
    return state.empty(cases=cases, num_classes=CLASSES, **REQUIRED.get(state.name, {}))


@jax.jit
def update(state, batch):
    return state.update(**batch)


merge = jax.jit(lambda a, b: a.merge(b))
compute = jax.jit(lambda state: state.compute())


def batch_of(pieces, size):
    """Pieces `(case, piece)` as one batch, padded to `size` with rubbish of weight 0."""
    padding = size - len(pieces)
    case, piece = np.array(pieces, int).reshape(-1, 2).T

    def fill(x, value):
        return np.concatenate([x, np.full((padding, *x.shape[1:]), value, x.dtype)])

    return {
        "predictions": jnp.asarray(fill(PREDICTIONS[case, piece], 1)),
        "labels": jnp.asarray(fill(LABELS[case, piece], 1)),
        "case": jnp.asarray(fill(case, 2)),
        "where": jnp.asarray(fill(WHERE[case, piece], True)),
        "weights": jnp.asarray(fill(np.ones(len(pieces), np.float32), 0)),
    }


ALL_PIECES = [(case, piece) for case in SEEN for piece in range(PIECES)]


def pieces_of(state):
    """All that may come: of a metric that needs whole cases, the first piece is the case."""
    return [p for p in ALL_PIECES if p[1] == 0] if state.whole_cases else ALL_PIECES


@functools.cache
def whole_of(state):
    """Every case in one piece and one batch."""
    if state.whole_cases:
        return update(empty_of(state), batch_of(pieces_of(state), len(SEEN)))
    flat = lambda x: jnp.asarray(x.reshape(CASES, -1)[SEEN])  # noqa: E731
    batch = {"predictions": flat(PREDICTIONS), "labels": flat(LABELS), "where": flat(WHERE)}
    return update(empty_of(state), {**batch, "case": jnp.asarray(SEEN)})


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(ALL_PIECES),
    streams=st.lists(st.integers(0, 2), min_size=12, max_size=12),
    merged=st.permutations(range(3)),
)
@pytest.mark.parametrize("name", STATES)
def test_order_batches_padding_and_merging_change_no_bit(name, order, streams, merged):
    """Neighbors of one stream are a batch; three streams are merged in some order."""
    state = metrics.STATES[name]
    states = [empty_of(state) for _ in range(3)]
    order = [piece for piece in order if piece in pieces_of(state)]
    streams = streams[: len(order)]
    stream_of = dict(zip(order, streams, strict=True))
    for stream, pieces in itertools.groupby(order, stream_of.get):
        states[stream] = update(states[stream], batch_of(list(pieces), 12))
    first, second, third = (states[i] for i in merged)
    left, right = merge(merge(first, second), third), merge(first, merge(second, third))
    chex.assert_trees_all_equal(left, right, whole_of(state))
    chex.assert_trees_all_equal(compute(left), compute(whole_of(state)))


def test_a_state_is_a_pytree_of_arrays_that_nothing_changes(state):
    before = whole_of(state)
    leaves, structure = jax.tree.flatten(before)
    assert leaves
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    kept = [np.array(leaf) for leaf in leaves]
    first, second = compute(before), compute(before)
    merge(before, before)
    update(before, batch_of(pieces_of(state), 12))
    chex.assert_trees_all_equal(first, second)
    for leaf, copy in zip(jax.tree.leaves(before), kept, strict=True):
        np.testing.assert_array_equal(leaf, copy)
    assert isinstance(jax.tree.unflatten(structure, leaves), state)


def test_jit_can_tell_every_state_from_every_other():
    """JAX compares dataclasses by their static fields alone: two that agree share a program."""
    states = list(metrics.STATES.values())
    assert {state.name for state in states if not state.ranks_scores} == set(STATES)
    assert len({state.name for state in states}) == len(states)
    structures = [jax.tree.structure(empty_of(metrics.STATES[name])) for name in STATES]
    for first, second in itertools.combinations(structures, 2):
        assert first != second


def test_an_empty_state_is_undefined_and_neutral(state):
    scores = compute(empty_of(state))
    for field in ("per_case", "per_class", "mean", "pooled"):
        assert np.all(np.isnan(getattr(scores, field))), field
    assert scores.undefined == 0
    whole = whole_of(state)
    chex.assert_trees_all_equal(merge(whole, empty_of(state)), whole)
    padding = batch_of([], 4)
    chex.assert_trees_all_equal(update(empty_of(state), padding), empty_of(state))


@pytest.mark.parametrize("name", [name for name in STATES if name in FUNCTIONS])
def test_each_case_has_the_value_of_the_function(name):
    scores = compute(whole_of(metrics.STATES[name]))
    value = getattr(metrics, name)(
        jnp.asarray(PREDICTIONS), jnp.asarray(LABELS), num_classes=CLASSES, where=jnp.asarray(WHERE)
    ).reshape(CASES, -1)
    np.testing.assert_array_equal(scores.per_case[jnp.asarray(SEEN)], value[jnp.asarray(SEEN)])
    assert np.all(np.isnan(scores.per_case[2]))
    assert scores.undefined == np.isnan(value[jnp.asarray(SEEN)]).sum()
    assert (scores.undefined > 0) == (name not in ALWAYS_DEFINED)


def test_scan_and_vmap_carry_it(state):
    pieces = pieces_of(state)
    batches = [batch_of(pieces[i : i + 4], 4) for i in range(0, len(pieces), 4)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    scan = jax.jit(lambda s, b: jax.lax.scan(lambda s, b: (s.update(**b), None), s, b)[0])
    scanned = scan(empty_of(state), stacked)
    chex.assert_trees_all_equal(scanned, whole_of(state))
    # Many models at once: one state each.
    many = jax.jit(jax.vmap(lambda batch: empty_of(state).update(**batch)))(stacked)
    for i, batch in enumerate(batches):
        alone = jax.tree.map(lambda x, i=i: x[i], many)
        chex.assert_trees_all_equal(alone, update(empty_of(state), batch))


def test_four_devices_count_what_one_does(state):
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    batch = jax.device_put(batch_of(pieces_of(state), 16), jax.NamedSharding(mesh, jax.P("data")))
    start = jax.device_put(empty_of(state), jax.NamedSharding(mesh, jax.P()))
    spread = update(start, batch)
    assert len(batch["labels"].sharding.device_set) == 4
    chex.assert_trees_all_equal(jax.device_get(spread), jax.device_get(whole_of(state)))


def test_merge_refuses_another_metric_and_another_size(state):
    whole = whole_of(state)
    with pytest.raises(ValueError, match=r"other: expected shape \(5, 3\) \(cases, classes\)"):
        whole.merge(empty_of(state, cases=1))
    alike = (s for s in metrics.STATES.values() if s.whole_cases == state.whole_cases)
    other = next(s for s in alike if s is not state)
    with pytest.raises(ValueError, match=f"other: expected {state.__name__}, got {other.__name__}"):
        whole.merge(empty_of(other))
