"""Batches: an endless resumable stream for training, one ordered pass for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grain
import numpy as np

from lossbench.data.dataset import Example, RandomSource, Source

# One thread ahead by two batches keeps the next batch ready while the device computes, and takes no
# more than a core from it. The pool's thread is joined when the iterator is closed, collected, or
# the interpreter ends.
READ_OPTIONS = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)


def training_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    augment: Callable[[Example, np.random.Generator], Example] | None = None,
) -> grain.DatasetIterator[Example]:
    """Returns an endless iterator over shuffled, augmented batches.

    Each epoch visits every example once in an order of its own. Order, crops and augmentation
    depend on `seed` and the position alone, so runs of one seed see the same batches under every
    loss.

    Args:
        source: What to draw from; with `source.sample` where there is one (see `RandomSource`).
        batch_size: Examples a batch, at most `len(source)`.
        seed: Seed of order, crops and augmentation, a non-negative integer below 2**31.
        augment: Function of an example and a generator that returns an example (see
            `transforms.augmentation`).

    Returns:
        An iterator over dicts of arrays with a leading batch axis. `get_state()` is its position, a
        JSON-serializable dict; an iterator built with the same arguments goes on bit for bit after
        `set_state(state)`.
    """
    check_batch_size(batch_size)
    if batch_size > len(source):
        raise ValueError(
            f"batch_size is {batch_size}, but the training data has only {len(source)} examples; "
            "a batch can have at most as many"
        )
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed must be an integer from 0 to 2**31 - 1, got {seed!r}")

    def draw(index: int, rng: np.random.Generator) -> Example:
        example = source.sample(index, rng) if isinstance(source, RandomSource) else source[index]
        return example if augment is None else augment(example, rng)

    return iter(
        grain.MapDataset.range(len(source))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(draw)
        .batch(batch_size, drop_remainder=True)
        .to_iter_dataset(READ_OPTIONS)
    )


def evaluation_batches(source: Source, batch_size: int) -> Iterator[Example]:
    """Yields every example once, in order, in batches of one size.

    The last batch is filled up with empty examples: `weights` is 1 for an example and 0 for a
    filler, whose `where` is false and whose `case` is 0.

    Args:
        source: What to go through.
        batch_size: Examples a batch, fillers included.

    Yields:
        Dicts of arrays with a leading batch axis, with `weights` float32 `batch` beside the keys of
        an example.
    """
    check_batch_size(batch_size)
    for start in range(0, len(source), batch_size):
        examples = [source[i] for i in range(start, min(start + batch_size, len(source)))]
        weights = np.zeros(batch_size, np.float32)
        weights[: len(examples)] = 1
        filler = {key: np.zeros_like(value) for key, value in examples[0].items()}
        examples += [filler] * (batch_size - len(examples))
        yield {key: np.stack([e[key] for e in examples]) for key in filler} | {"weights": weights}


def check_batch_size(batch_size: int) -> None:
    """Raises a ValueError for a batch size below one."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
