import dataclasses

import numpy as np
import pytest

from lossbench.testing import cases
from lossbench.testing.discovery import subject_of
from lossbench.testing.subject import Subject, kind_of
from tests.testing.broken import sound


@pytest.fixture(scope="module")
def subject():
    return subject_of(sound)


def form_of(subject: Subject, **changes):
    return subject.rebuild(subject.form._replace(**changes))


def test_arguments_take_the_form_of_the_loss(subject):
    case = cases.part_masked(subject.random())
    _, (labels, mask) = subject.arguments(case)
    assert labels.shape == mask.shape == (4, 6, 5)
    other = form_of(subject, labels="one_hot", layout="channels_first", where_channel=True)
    x, (labels, mask) = other.arguments(case)
    assert x.shape == labels.shape == (4, 3, 6, 5)
    assert mask.shape == (4, 1, 6, 5)
    np.testing.assert_array_equal(labels.argmax(axis=1), case.ids)
    _, (labels, *_) = form_of(subject, labels="ids_channel").arguments(case)
    assert labels.shape == (4, 6, 5, 1)


def test_a_mask_that_is_required_is_given(subject):
    required = form_of(subject, where_required=True)
    assert len(required.arguments(subject.random())[1]) == 2
    assert len(subject.arguments(subject.random())[1]) == 1


def test_labels_under_the_mask_are_nan_or_the_ignored_id(subject):
    case = cases.soiled(cases.part_masked(subject.random()), np.nan, 77)
    _, (labels, _) = form_of(subject, labels="one_hot").arguments(case)
    assert np.all(np.isnan(labels[:, 4:]))
    assert np.all(np.isfinite(labels[:, :4]))
    _, rest = form_of(subject, where=None, ignored=255).arguments(case)
    assert len(rest) == 1
    assert np.all(rest[0][:, 4:] == 255)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((), "scalar"),
        ((3,), "scalar"),
        ((4,), "example"),
        ((4, 3), "classes"),
        ((4, 6, 5), "pixels"),
    ],
)
def test_what_a_value_stands_for_is_read_from_its_shape(shape, kind):
    assert kind_of(np.zeros(shape), 4) == kind


def test_values_become_one_number_an_example(subject):
    as_kind = lambda kind, x: dataclasses.replace(subject, kind=kind).per_example(x)  # noqa: E731
    np.testing.assert_array_equal(as_kind("pixels", np.ones((4, 6, 5))), np.full(4, 30))
    np.testing.assert_array_equal(as_kind("classes", np.ones((4, 3))), np.ones(4))
    assert as_kind("scalar", np.array([1.0, 3.0])) == 2


def test_the_title_says_how_the_loss_was_called(subject):
    assert subject.title == (
        "sound (JAX): 3 classes, labels as class ids, mask 'where'; one value an example"
    )
