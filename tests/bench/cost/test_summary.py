import pytest

from lossbench.bench.cost.rows import APART, OURS, Row
from lossbench.bench.cost.summary import geometric_mean, lines, targets

SHAPE = "2x96^3x3"


def ours(loss="dice", shape=SHAPE, milliseconds: float | None = 10.0, **others):
    return Row(loss, shape, OURS, milliseconds=milliseconds, **others)


def peer(name, milliseconds, loss="dice", shape=SHAPE, **others):
    return Row(loss, shape, name, milliseconds=milliseconds, **others)


def found(*rows, accelerator=False):
    return {text: how for text, how in targets(lines(rows), accelerator=accelerator)}


def only(told, start):
    (how,) = [how for text, how in told.items() if start in text]
    return how


def test_each_line_has_its_own_best_peer():
    rows = [
        ours(),
        peer("monai", 30.0),
        peer("smp", 25.0),
        Row("dice", SHAPE, "exacta", error="no"),
        ours("focal"),
        peer("monai", 5.0, "focal"),
        ours("mcc", shape="1x8^2x2"),
        Row("mcc", "1x8^2x2", APART, milliseconds=1.0),
    ]
    dice, focal, mcc = lines(rows)
    assert (dice.best.implementation, dice.ratio) == ("smp", 2.5)
    assert focal.ratio == 0.5
    assert (mcc.best, mcc.ratio, mcc.saved) == (None, None, 0.1)
    assert dice.of("monai").milliseconds == 30
    assert dice.of("exacta") is None
    assert geometric_mean([dice, focal, mcc]) == pytest.approx((2.5 * 0.5) ** 0.5)
    assert geometric_mean([mcc]) is None


def test_targets_name_what_misses_them():
    told = found(
        ours(times_limit=3.9),
        peer("monai", 30.0),
        ours("focal", times_limit=4.1),
        peer("monai", 11.0, "focal"),
        ours("tversky", shape="1x8^3x3", times_limit=9.0),
    )
    assert only(told, "than the best peer") == f"missed by focal at {SHAPE} (1.10)"
    assert only(told, "geometric mean") == "missed: 1.82"
    assert only(told, "times of the limit") == "missed by focal (4.1)"
    assert not [text for text in told if "bandwidth" in text or "100 classes" in text]


def test_targets_that_are_met_say_so():
    told = found(ours(times_limit=3.9), peer("monai", 30.0))
    assert set(told.values()) == {"met", "met: 3.00"}


def test_memory_counts_with_many_classes_only():
    many = {"shape": "1x64^3x100"}
    told = found(
        ours(temporary_to_logits=5.0),
        ours(**many, temporary_to_logits=1.0),
        ours("focal", **many, temporary_to_logits=1.2),
    )
    assert list(told.values()) == ["missed by focal (1.20)"]


def test_a_shared_softmax_is_one_exponential_a_logit():
    def told(together):
        name = "dice+cross_entropy"
        return found(
            ours(name, exponentials=together),
            Row(name, SHAPE, APART, milliseconds=20.0, exponentials=3.67),
        )

    assert list(told(2.67).values()) == ["met"]
    assert list(told(3.67).values()) == [f"missed by {SHAPE} (0.00 less)"]


def test_an_accelerator_has_targets_of_its_own():
    told = found(
        ours(times_limit=1.9, bandwidth_share=0.53),
        peer("monai compiled", 14.0),
        ours("focal", times_limit=1.2, bandwidth_share=0.83),
        peer("monai compiled", 16.0, "focal"),
        accelerator=True,
    )
    assert only(told, "bandwidth") == f"missed by dice at {SHAPE} (53%)"
    assert only(told, "torch.compile") == f"missed by dice at {SHAPE} (1.40)"


def test_nothing_measured_asks_for_nothing():
    assert found() == {}
    assert found(Row("dice", SHAPE, OURS, error="no")) == {}
