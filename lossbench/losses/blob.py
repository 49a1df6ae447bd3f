"""Blob loss: every connected component of the truth counts alike, whatever its size."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer, Shaped

from lossbench.losses._components import (
    Cut,
    Given,
    How,
    mean_over_components,
    most_components,
    neighbors,
    numbered,
    of_every_class,
    read_ids,
)
from lossbench.losses._inputs import Number, read
from lossbench.losses._maps import first_class, read_labels, refuse_soft
from lossbench.losses._region import ACTIVATE


def blob(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = False,
    connectivity: int | None = None,
    absent: str = "skip",
    smooth: Number | tuple[Number, Number] = 1e-5,
    components: Integer[Array, "batch ..."] | None = None,
) -> Float[Array, " batch"]:
    r"""Blob loss: the Dice loss of each component by itself, averaged over components and classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = \frac{1}{K} \sum_{k=1}^K \left( 1 - \frac{2 I_k + s}{I_k + B + |C_k| + s} \right),
        \qquad I_k = \sum_{i \in C_k} p_{ic},\; B = \sum_{i \notin \cup_k C_k} p_{ic}

    over the K connected components :math:`C_k` of the pixels labeled with class c: each is compared
    with the prediction while the pixels of all the others are masked out. So a component of a few
    pixels weighs as much as a large one, and what is predicted outside of all counts in each.

    The paper adds :math:`\alpha` times the loss of the whole image and :math:`\beta` times this
    one. Here these are two terms of an objective, say `dice` with the weight 2 and `blob` with 1.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax) or one mask a class (bool, `batch *space classes`).
        where: true = counted. A masked pixel belongs to no component, and may part one in two.
        activation: "softmax" over exclusive classes, "sigmoid" for each class by itself, or
            "identity" if `logits` holds probabilities already.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax) and spares its
            components; a single class is foreground and counts always.
        connectivity: two pixels are neighbors if they differ by one step along at most so many
            axes: 1 is 4 neighbors in 2D and 6 in 3D; None is all, 8 and 26.
        absent: what a class without a component does: "skip" leaves it out of the mean, as the
            authors' code; "smooth" is the formula with one empty component, so any probability
            given to it costs nearly 1; "suppress" costs the mean probability given to it.
        smooth: s, in pixels; may be 0 and may be traced. A pair gives numerator and denominator
            one each.
        components: the components, computed before by `component_map` or instances of your own:
            ids from 1 to at most the number of pixels, `batch *space` or, where classes share
            pixels, `batch *space classes`. Only pixels labeled with a class belong to its
            components; one of them with the id 0 counts as a pixel outside. `connectivity` does
            nothing then.

    Returns:
        One value per example, `batch`, in [0, 1]; 0 for an example that is masked whole, or whose
        classes are all skipped.

    The components are found inside the step, which is most of its cost: at 64^3 voxels, one class
    and two CPU cores value and gradient take 8 ms, 4 ms with `components` given.

    Gradient: smooth wherever the ratios are; components are constants. 0 in the undefined cases
    named above; finite for every finite logit. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for labels that are probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[[1.0], [1.0], [1.0], [0.0], [0.0], [0.0]]])  # one blob found, one not
        >>> labels = jnp.array([[True, True, True, False, True, False]])
        >>> print(f"{blob(p, labels, activation='identity')[0]:.3f}")
        0.500

    Reference: Kofler et al., blob loss: Instance Imbalance Aware Loss Functions for Semantic
    Segmentation, IPMI 2023.
    """
    x = read(logits, labels, where, activation=activation, activations=tuple(ACTIVATE))
    space = logits.shape[1:-1]
    near = neighbors(space, connectivity)
    ids, most = None, most_components(space)
    if components is not None:
        ids, most = read_ids("components", components, x, space), x.logits.shape[1]
    cut = functools.partial(_cut, space=space, connectivity=near, most=most)
    return mean_over_components(
        x,
        How(activation, absent, first_class(x, include_background), most, cut),
        Given(ids),
        smooth=smooth,
        class_weights=class_weights,
        include_background=include_background,
        name="blob loss",
    )


def component_map(
    labels: Shaped[Array, "batch ..."],
    *,
    classes: int,
    where: Bool[Array, " batch *space"] | None = None,
    connectivity: int | None = None,
) -> Int[Array, "batch *space classes"]:
    """The connected components of each class, to be given to `blob` as `components`.

    Args:
        labels: class ids (integer, `batch *space`), one mask a class (bool, `batch *space classes`)
            or, for one class, a mask (bool, `batch *space`).
        classes: their number.
        where: true = counted. A masked pixel belongs to no component.
        connectivity: see `blob`.

    Returns:
        For each class ids from 1 in the order of the first pixels, 0 elsewhere.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> print(component_map(jnp.array([[1, 1, 0, 2, 1, 0]]), classes=3)[0].T)
        [[0 0 1 0 0 2]
         [1 1 0 0 2 0]
         [0 0 0 1 0 0]]

    Reference: Kofler et al., blob loss: Instance Imbalance Aware Loss Functions for Semantic
    Segmentation, IPMI 2023.
    """
    x, space = read_labels(labels, classes, where)
    refuse_soft(x, "a map of components")
    near = neighbors(space, connectivity)
    return of_every_class(x, space, lambda mask: numbered(mask, space, near))


def _cut(
    mask: Array,
    counted: Array,
    given: Given,
    *,
    space: tuple[int, ...],
    connectivity: int,
    most: int,
) -> Cut:
    """A pixel is in its component, or else around all of them."""
    own = (
        numbered(mask, space, connectivity) if given.ids is None else jnp.where(mask, given.ids, 0)
    )
    return Cut(jnp.where(own > 0, own, most + 1), counted & (own == 0))
