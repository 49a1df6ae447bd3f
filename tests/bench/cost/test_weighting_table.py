from lossbench.bench.cost import weighting_table as table
from lossbench.bench.cost.rows import OURS
from lossbench.bench.cost.weighting_rows import LAST, PLAIN, TORCH_PLAIN, Row

QUIET = {"device": "1 x cpu (cpu)", "load_average": 0.1, "cpu_count": 2}
JAC, GRAM, HEAD = "torchjd autojac", "torchjd autogram", "torchjd autogram, last layer"


def row(method, form, implementation, milliseconds, times, limit=None, terms=2, **others):
    times_of = {"times_plain": times, "times_plain_low": times, "times_plain_high": times}
    return Row(
        method,
        form,
        "1x8^2x3",
        terms,
        implementation,
        milliseconds=milliseconds,
        limit=limit,
        **times_of,
        **others,
    )


def rows(cost=2.0, peer=40.0):
    return [
        row("pcgrad", "gramian", PLAIN, 10.0, 1.0),
        row("pcgrad", "gramian", TORCH_PLAIN, 15.0, 1.0),
        row("pcgrad", "gramian", OURS, 10 * cost, cost, limit=2.3),
        row("pcgrad", "gramian", LAST, 11.0, 1.1),
        row("pcgrad", "gramian", JAC, peer, 3.0),
        row("pcgrad", "gramian", GRAM, 60.0, 4.0, other_value=False),
        row("pcgrad", "gramian", HEAD, 16.0, 1.07),
        row("dwa", "weights", PLAIN, 12.0, 1.0),
        row("dwa", "weights", OURS, 12.0, 1.01, limit=1.05),
        Row("famo", "weights", "1x8^2x3", 2, OURS, error="ValueError: no"),
    ]


def test_the_best_way_of_the_peer_is_one_with_all_parameters():
    line, dwa, famo = table.lines(rows())
    assert line.last is not None
    assert line.best is not None
    assert line.best.implementation == JAC
    assert line.ratio == 2.0
    assert dwa.best is None
    assert famo.ratio is None


def test_targets_met_and_missed():
    assert dict(table.targets(table.lines(rows()))) == {
        "weights of losses: at most 1.05 backward passes": "met",
        "weights of gradients: at most T + 0.3 backward passes": "met",
        "at least as fast as TorchJD": "met",
    }
    missed = dict(table.targets(table.lines(rows(cost=5.0))))
    case = "missed by pcgrad with 2 at 1x8^2x3 (5.00, TorchJD 0.80)"
    assert missed["weights of gradients: at most T + 0.3 backward passes"] == case
    assert missed["at least as fast as TorchJD"] == case


def test_nothing_is_said_of_targets_that_nothing_was_measured_for():
    only = [one for one in rows() if one.method == "dwa"]
    assert [text for text, _ in table.targets(table.lines(only))] == [
        "weights of losses: at most 1.05 backward passes"
    ]


def test_text_has_a_table_and_what_it_comes_to():
    lines = table.text(rows(), QUIET, {"torchjd": "ImportError: no"})
    assert lines[0] == "1x8^2x3, 2 terms: the plain sum takes 11.0 ms, PyTorch's 15.0 ms"
    assert lines[1].split()[:2] == ["weighting", "ms"]
    cells = "pcgrad 20.0 2.00 2.00 to 2.00 2.30 - - 1.10 40.0 3.00 2.00"
    assert lines[2].split() == cells.split()
    assert lines[4].split() == ["famo", "failed"]
    assert "famo, lossbench: failed: ValueError: no" in lines
    assert "peer torchjd is absent: ImportError: no" in lines
    assert "TorchJD / ours, geometric mean over 1: 2.00" in lines
    assert not any("busy" in line for line in lines)


def test_the_document_has_every_way_and_the_machine():
    text = table.markdown(rows(), {**QUIET, "load_average": 3.0}, {}, "lossbench cost weighting")
    assert text.startswith("# Cost of the weightings\n\n`lossbench cost weighting`\n")
    assert f"| x plain | {OURS} | {LAST} | {JAC} | {GRAM} | {HEAD} |" in text
    assert "| pcgrad | 2.00 | 1.10 | 3.00 | 4.00 | 1.07 |" in text
    assert "- target: at least as fast as TorchJD: met" in text
    assert "the machine was busy before the run (load 3.0 on 2 cores)" in text
    assert "| device | 1 x cpu (cpu) |" in text


def test_a_peer_with_another_value_is_marked():
    others = [
        *rows(),
        row("dwa", "weights", "torchjd", 20.0, 1.2, other_value=True),
    ]
    lines = table.text(others, QUIET, {})
    assert "20.0*" in next(line for line in lines if line.startswith("dwa"))
    assert any(line.startswith("*: the peer's terms") for line in lines)


def test_one_term_is_one_term():
    one = [row("dwa", "weights", PLAIN, 5.0, 1.0, terms=1), row("dwa", "weights", OURS, 5, 1.0)]
    assert table.text(one, QUIET, {})[0] == "1x8^2x3, 1 term: the plain sum takes 5.00 ms"
