"""The two-task problem of the CAGrad and Nash-MTL papers, and descents on it.

Both tasks have a valley that ends on the Pareto front, `x_2` about -8.4 and `x_1` from -7 to 7.
The valleys are narrow, and where they meet the gradients are against each other and of very
different size: the mean of the two gradients stays there.
"""

import jax
import jax.numpy as jnp
import optax

# Where the front is: the minima of the two tasks are its ends.
FRONT = -8.3552
# Where the papers begin.
CAGRAD_STARTS = ((-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0))
NASH_STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))


def toy(point, scale=1.0):
    """The two losses at a point `2`; the first one times a scale (0.1 in the Nash-MTL paper)."""
    x, y = point
    upper, lower = jnp.maximum(jnp.tanh(y / 2), 0), jnp.maximum(jnp.tanh(-y / 2), 0)

    def valley(inside):
        return jnp.log(jnp.maximum(jnp.abs(inside), 5e-6)) + 6

    def bowl(center):
        return ((x - center) ** 2 + 0.1 * (y + 8) ** 2) / 10 - 20

    first = valley((-x - 7) / 2 + jnp.tanh(y)) * upper + bowl(7) * lower
    second = valley((-x + 3) / 2 - jnp.tanh(y) + 2) * upper + bowl(-7) * lower
    return jnp.stack([scale * first, second])


def descend(method, start, steps, learning_rate, scale=1.0):
    """The points of a descent from a start, `steps 2`: Adam on the combined gradients.

    Args:
        method: a transformation of stacked gradients; None takes their mean.
        start: `2`.
        steps: how many.
        learning_rate: of Adam.
        scale: see `toy`.
    """
    losses = lambda point: toy(point, scale)  # noqa: E731
    if method is None:
        method = optax.stateless(lambda gradients, _: jnp.mean(gradients, axis=0))
    optimizer = optax.chain(method, optax.adam(learning_rate))

    def step(carry, _):
        point, state = carry
        update, state = optimizer.update(jax.jacrev(losses)(point), state, point)
        point = optax.apply_updates(point, update)
        return (point, state), point

    return jax.lax.scan(step, (start, optimizer.init(start)), length=steps)[1]
