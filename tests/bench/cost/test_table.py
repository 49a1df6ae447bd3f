from lossbench.bench.cost import table
from lossbench.bench.cost.rows import APART, OURS, Row

SHAPE = "2x96^3x3"
MACHINE = {"device": "1 x cpu (cpu)", "cpu_count": 2, "load_average": 0.1, "jax": "0.1"}
ROWS = [
    Row(
        "dice",
        SHAPE,
        OURS,
        milliseconds=12.345,
        times_limit=3.0,
        temporary_bytes=2_000_000,
        temporary_to_logits=0.5,
        exponentials=1.0,
        compile_seconds=0.25,
        logits_bytes=21_000_000,
    ),
    Row("dice", SHAPE, "monai", milliseconds=123.45, other_form=True),
    Row("dice", SHAPE, "smp", milliseconds=400.0, other_form=False),
    Row("dice", SHAPE, "exacta", error="RuntimeError: no | pipe"),
    Row("dice+focal", SHAPE, OURS, milliseconds=1.0),
    Row("dice+focal", SHAPE, APART, milliseconds=2.0),
    Row("mcc", SHAPE, OURS, error="ValueError: wrong"),
]


def test_the_terminal_has_a_table_a_shape_and_what_it_comes_to():
    lines = table.text(ROWS, MACHINE, {"kornia": "No module named 'kornia'"})
    assert lines[0] == "2x96^3x3: 21.0 MB of logits"
    dice = next(line for line in lines if line.startswith("dice "))
    cells = "dice 12.3 3.00 2.00 0.50 1.00 0.25 monai* 123 10.00 -"
    assert dice.split() == cells.split()
    assert next(x for x in lines if x.startswith("dice+focal")).split()[-1] == "2.00"
    assert next(x for x in lines if x.startswith("mcc ")).split() == ["mcc", "failed"]
    assert "best peer / ours, geometric mean over 1: 10.00" in lines
    assert "dice, exacta: failed: RuntimeError: no | pipe" in lines
    assert "mcc, lossbench: failed: ValueError: wrong" in lines
    assert "peer kornia is absent: No module named 'kornia'" in lines
    assert any(x.startswith("target: at least 1.2 times") and x.endswith(": met") for x in lines)
    assert not any("busy" in line for line in lines)


def test_a_busy_machine_is_told_of():
    lines = table.text(ROWS, {**MACHINE, "load_average": 1.8}, {})
    assert any("busy before the run (load 1.8 on 2 cores)" in line for line in lines)


def test_the_document_has_every_implementation_and_the_machine():
    text = table.markdown(ROWS, MACHINE, {}, "lossbench cost dice")
    assert "`lossbench cost dice`" in text
    assert "| dice | 12.3 | 123* | 400 |" in text
    assert "| jax | 0.1 |" in text
    for block in text.split("\n\n"):
        bars = {
            line.replace(r"\|", "").count("|") for line in block.splitlines() if line[:1] == "|"
        }
        assert len(bars) <= 1, block


def test_without_peers_it_says_so():
    lines = table.text([Row("dice", SHAPE, OURS, milliseconds=1.0)], MACHINE, {})
    assert "no peer was measured" in lines
