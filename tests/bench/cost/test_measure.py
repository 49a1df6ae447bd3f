import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.bench.cost import measure
from lossbench.bench.cost.measure import Contestant, Timing
from lossbench.bench.cost.program import Program


class Clock:
    """A clock that stands still but for what contestants take."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def contestant(self, name, times, *, queues=False, value=1.0, log=None):
        """Takes the given times one after the other, in `wait` if calls wait in line."""
        left = iter(times)

        def start():
            if log is not None:
                log.append(name)
            self.now += next(left)
            return value, None

        return Contestant(name, start, lambda out: out, queues=queues)


def still(seconds):
    pass


def race(clock, *contestants, rounds=3, seconds=1e9):
    return measure.race(
        contestants,
        rounds=rounds,
        seconds=seconds,
        clock=clock,
        busy=lambda: 2 * clock(),  # two cores, always at work
        settle=still,
    )


def test_the_median_is_over_rounds_without_the_warm_up():
    clock = Clock()
    timings = race(
        clock,
        clock.contestant("a", [100, 100, 5, 1, 3], value=0.5),
        clock.contestant("b", [100, 100, 20, 40, 30]),
    )
    assert timings["a"].median == 3
    assert timings["a"].value == 0.5
    assert sorted(timings["b"].seconds) == [20, 30, 40]
    assert sorted(timings["b"].busy) == [40, 60, 80]


def test_all_take_part_in_each_round_in_an_order_that_changes():
    clock, log = Clock(), []
    names = "abcd"
    race(clock, *(clock.contestant(n, [1] * 20, log=log) for n in names), rounds=8)
    rounds = np.reshape(log[2 * len(names) :], (8, len(names)))
    assert all(sorted(one) == list(names) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_no_new_round_when_time_is_up_but_three_at_least():
    clock = Clock()
    assert len(race(clock, clock.contestant("a", [1] * 99), rounds=50, seconds=0)["a"].seconds) == 3
    clock = Clock()
    found = race(clock, clock.contestant("a", [1] * 99), rounds=50, seconds=4.5)
    assert len(found["a"].seconds) == 5
    clock = Clock()
    assert len(race(clock, clock.contestant("a", [1] * 99), rounds=2)["a"].seconds) == 2


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_one_that_fails_is_left_out_and_the_others_go_on(calls):
    clock = Clock()
    good = clock.contestant("good", [1] * 9)
    left = iter([1.0] * calls)

    def start():
        try:
            return next(left), None
        except StopIteration:
            raise RuntimeError("out of memory\nand pages more") from None

    timings = race(clock, good, Contestant("bad", start, lambda out: out))
    assert timings["bad"] == Timing(error="RuntimeError: out of memory")
    assert len(timings["good"].seconds) == 3


def test_an_accelerator_gets_several_calls_a_sample():
    clock = Clock()
    waits = []

    def start():
        clock.now += 0.004
        return 1.0, None

    one = Contestant("a", start, waits.append, queues=True)
    found = race(clock, one)["a"]
    assert found.median == pytest.approx(0.004)
    # Once for each of two warm-ups; then one for each round, not one for each of its five calls.
    assert len(waits) == 2 + 3
    assert clock.now == pytest.approx(0.004 * (2 + 3 * 5))


def test_the_program_of_a_loss_is_described():
    def function(x, labels):
        return jnp.sum(jnp.exp(x) * labels)

    x, labels = jnp.full((4, 6), 0.5), jnp.ones((4, 6))
    one = measure.compiled("ours", function, (x, labels))
    value, gradient = one.start()
    assert value == pytest.approx(24 * np.exp(0.5))
    np.testing.assert_allclose(gradient, np.full((4, 6), np.exp(0.5)), rtol=1e-6)
    assert one.program is not None
    assert one.program.compile_seconds > 0
    assert one.program.temporary_bytes is not None
    # At least once; a backend may do the work of the gradient again.
    assert one.program.exponentials in (1, 2)


def test_the_copy_reads_and_writes_all_logits():
    levels = [np.ones((2, 3), np.float32), np.full((4,), 3, np.float32)]
    one = measure.copying(levels)
    out = one.start()
    one.wait(out)
    np.testing.assert_array_equal(out[1][0], 2 * levels[0])
    np.testing.assert_array_equal(out[1][1], 2 * levels[1])


def test_terms_in_turns_are_all_run_and_their_programs_added():
    clock, log = Clock(), []
    parts = []
    for name, seconds, temporary in (("a", 1.0, 10), ("b", 2.0, 30)):
        program = Program(seconds, temporary, exponentials=seconds)
        one = clock.contestant(name, [3] * 9, log=log)
        parts.append(Contestant(name, one.start, one.wait, program))
    both = measure.in_turns(*parts, name="apart")
    assert race(clock, both)["apart"].median == 6
    assert log[:4] == ["a", "b", "a", "b"]
    assert both.program == Program(3.0, 30, exponentials=3.0)


def test_a_reason_is_one_line():
    assert measure.reason(ValueError("first\nsecond")) == "ValueError: first"
    assert measure.reason(ValueError()) == "ValueError"
    assert len(measure.reason(ValueError("x" * 999))) == 200
