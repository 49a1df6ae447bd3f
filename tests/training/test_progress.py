import io
import re

from lossbench.training import progress
from lossbench.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream, *, done=0, **options):
    with Progress("dice, seed 0", steps=20, done=done, stream=stream, **options) as shown:
        for step in range(done + 2, 21, 2):
            shown.step(step, 1 / step)
            if step % 10 == 0:
                shown.validation(step, "iou", step / 100)
    return stream.getvalue()


def test_off_a_terminal_every_line_has_loss_metric_and_time_left():
    lines = run(io.StringIO()).splitlines()
    assert len(lines) == 2
    for line, step in zip(lines, (10, 20), strict=True):
        assert line.startswith(f"dice, seed 0: step {step}/20 ")
        assert f"loss {1 / step:.4f}" in line
        assert f"iou {step / 100:.4f}" in line
        assert re.search(r"\d\d:\d\d left", line)
    assert "\r" not in "".join(lines)


def test_off_a_terminal_lines_come_between_validations_after_a_while():
    lines = run(io.StringIO(), every=0.0).splitlines()
    assert [int(re.findall(r"step (\d+)/", line)[0]) for line in lines] == [
        2, 4, 6, 8, 10, 10, 12, 14, 16, 18, 20, 20,
    ]  # fmt: skip
    assert "loss 0.5000" in lines[0]
    assert "iou" not in lines[0]
    assert "iou 0.1000" in lines[6]


def test_a_continued_run_says_where_it_goes_on():
    lines = run(io.StringIO(), done=10).splitlines()
    assert lines[0] == "dice, seed 0: continues at step 10 of 20"
    assert len(lines) == 2


def test_time_left_is_the_pace_of_this_process(monkeypatch):
    clock = iter([])
    # Whoever asks gets the next moment: made at 100, and ten steps later it is 130.
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock, 130.0))
    stream = io.StringIO()
    clock = iter([100.0, 100.0, 100.0])
    shown = Progress("x", steps=100, done=50, stream=stream)
    shown.validation(60, "dice", 0.5)
    # 10 steps took 30 s, so the 40 that are left take 120 s; the 50 before are another process's.
    assert stream.getvalue().splitlines()[-1].endswith("02:00 left")


def test_a_terminal_gets_a_bar_with_loss_and_metric():
    text = run(Terminal())
    assert "\r" in text
    last = text.rstrip("\n").rsplit("\r", 1)[-1]
    assert "100%" in last
    assert "20/20" in last
    assert "loss 0.0500  iou 0.2000" in last


def test_a_bar_of_a_continued_run_starts_where_it_was():
    assert "10/20" in run(Terminal(), done=10).split("\r")[1]


def test_a_warning_is_a_line_of_its_own():
    for stream in (io.StringIO(), Terminal()):
        with Progress("dice, seed 0", steps=20, done=0, stream=stream) as shown:
            shown.step(2, 0.5)
            shown.warn("it trains nothing")
            shown.step(4, 0.4)
        assert "dice, seed 0: warning: it trains nothing\n" in stream.getvalue()
