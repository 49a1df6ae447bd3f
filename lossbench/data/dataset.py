"""What a data set is to the rest of the library: three sources and what is known about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np

Example = dict[str, np.ndarray]
"""One example, all examples of a source in one shape.

Keys: `image` float32 `*space channels`; `labels` int32 `*space`, class ids; `where` bool `*space`,
true = counted; `case` int32 scalar, the index of the case's name. A batch has the same keys with
one axis in front. Where a label is of a whole image, `labels` and `where` are scalars; in general
their shape is the first part of the image's.
"""


@runtime_checkable
class Source(Protocol):
    """Examples by index. An example is a patch of one case; a case may have several."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each case."""
        ...

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        """Returns one example, the same for the same index."""
        ...


@runtime_checkable
class RandomSource(Source, Protocol):
    """A source that can also draw an example at random, such as a crop of a larger case.

    Training draws with `sample` where a source has it, so each epoch sees other crops;
    `source[index]` stays fixed. Several examples may be drawn from one whole: a source then has
    `case(index)`, the number of the whole that an example is drawn from.
    """

    def whole(self, index: SupportsIndex, /) -> Example:
        """Returns all that an example can be drawn from; a fingerprint is taken of it."""
        ...

    def sample(self, index: SupportsIndex, rng: np.random.Generator, /) -> Example:
        """Returns an example of the same case as `self[index]`, drawn with `rng` alone."""
        ...


def wholes(source: Source) -> Iterator[Example]:
    """Yields all that the examples of a source are made of, each once.

    Of a source that draws at random these are what it draws from, before any crop; `where` is
    there only if not all of it counts.
    """
    if not isinstance(source, RandomSource):
        yield from (source[i] for i in range(len(source)))
        return
    number = getattr(source, "case", int)
    seen: set[int] = set()
    for i in range(len(source)):
        if number(i) not in seen:
            seen.add(number(i))
            yield source.whole(i)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Sources for training, validation and test, which share no case unless `description` says so.

    Attributes:
        name: What the report calls it.
        description: One or two sentences for the report: what it is, how many cases, how they were
            split.
        train: Examples to learn from; crops of cases that are larger than the patch.
        validation: Examples to choose a model by. Each voxel of each case is counted once over all
            examples.
        test: Examples to judge by, in the form of `validation`.
        class_names: The name of each class id; 0 is the background.
        spacing: Voxel size per spatial axis in mm, or None where it is not known. Distances are
            measured with it, of every case; without it in pixels.
        folds_are_tasks: Whether a fold is a task of its own, such as another normal class, and not
            a part of one data set.
        folds_share_cases: Whether one fold trains on cases that another tests on, as in
            cross-validation; intervals over folds are corrected for it then.
        wavelengths: Of the channels in nanometers, or None where there are none.
    """

    name: str
    description: str
    train: Source
    validation: Source
    test: Source
    class_names: tuple[str, ...]
    spacing: tuple[float, ...] | None = None
    folds_share_cases: bool = True
    folds_are_tasks: bool = False
    wavelengths: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class ArraySource:
    """A source over arrays in memory, one example a case.

    Attributes:
        names: The name of each case.
        images: `cases *space channels`, floating or integer; given out as float32.
        labels: Integer class ids `cases *space`.
        where: True = counted, `cases *space`; None counts everything. `labels != 255` leaves out
            what is not annotated.
    """

    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    where: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Raises a ValueError for arrays that do not fit together."""
        shapes = {"images": self.images.shape[:-1], "labels": self.labels.shape}
        if self.where is not None:
            shapes["where"] = self.where.shape
        if len(set(shapes.values())) > 1 or len(self.names) != len(self.labels):
            raise ValueError(
                "expected images `cases *space channels`, labels and where `cases *space`, and a "
                f"name a case; got {self.images.shape}, {self.labels.shape}, "
                f"{None if self.where is None else self.where.shape}, {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        case = range(len(self.names))[index]
        return {
            "image": self.images[case].astype(np.float32),
            "labels": self.labels[case].astype(np.int32),
            "where": np.ones(self.labels.shape[1:], bool)
            if self.where is None
            else self.where[case].astype(bool),
            "case": np.asarray(case, np.int32),
        }


@dataclasses.dataclass(frozen=True)
class SampleSource:
    """Samples with one label each, all of one case: rows of a table, images of a collection.

    A ranking is one over all samples of a case, hence the one case.

    Attributes:
        names: The one name.
        samples: `samples *shape`, given out as float32; the last axis is the channels.
        labels: Class ids, one a sample.
    """

    names: tuple[str, ...]
    samples: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        """Raises a ValueError for arrays that do not fit together."""
        if self.labels.shape != self.samples.shape[:1] or len(self.names) != 1:
            raise ValueError(
                "expected samples `samples *shape`, labels `samples` and one name; got "
                f"{self.samples.shape}, {self.labels.shape}, {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        i = range(len(self.labels))[index]
        return {
            "image": self.samples[i].astype(np.float32),
            "labels": np.asarray(self.labels[i], np.int32),
            "where": np.asarray(True),
            "case": np.asarray(0, np.int32),
        }
