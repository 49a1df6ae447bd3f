"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere."""

import sys
import time
import types
from typing import Self, TextIO

from tqdm import tqdm


class Progress:
    """Progress of one run: steps, loss, the validation metric, time left."""

    def __init__(
        self,
        label: str,
        *,
        steps: int,
        done: int,
        stream: TextIO | None = None,
        every: float = 10.0,
    ) -> None:
        """Starts at `done` of `steps`; plain lines come at most each `every` seconds."""
        self._stream = stream or sys.stderr
        self._label, self._steps, self._first = label, steps, done
        self._every, self._start, self._spoke = every, time.monotonic(), time.monotonic()
        self._loss, self._metric = "", ""
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=steps, initial=done, desc=label, file=self._stream, unit="step", leave=True
            )
        elif done:
            self._say(f"continues at step {done} of {steps}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, done: int, loss: float) -> None:
        """Tells the loss after `done` steps."""
        self._loss = f"loss {loss:.4f}"
        if self._bar is not None:
            self._bar.set_postfix_str(self._loss + self._metric, refresh=False)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._spoke >= self._every:
            self._say(self._line(done))

    def validation(self, done: int, name: str, value: float) -> None:
        """Tells the validation metric after `done` steps."""
        self._metric = f"  {name} {value:.4f}"
        if self._bar is not None:
            self._bar.set_postfix_str(self._loss + self._metric)
        else:
            self._say(self._line(done))

    def warn(self, text: str) -> None:
        """Tells what a person should know before the run ends."""
        if self._bar is not None:
            self._bar.clear()
        self._say(f"warning: {text}")
        if self._bar is not None:
            self._bar.refresh()

    def _line(self, done: int) -> str:
        values = self._loss + self._metric
        return f"step {done}/{self._steps}  {values}  {self._left(done)} left"

    def _left(self, done: int) -> str:
        elapsed = time.monotonic() - self._start
        pace = elapsed / max(done - self._first, 1)
        return tqdm.format_interval(pace * (self._steps - done))

    def _say(self, text: str) -> None:
        self._spoke = time.monotonic()
        print(f"{self._label}: {text}", file=self._stream, flush=True)
