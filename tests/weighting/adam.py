"""Adam in float64, from the paper: Kingma and Ba, ICLR 2015."""

import numpy as np


class Adam:
    """Steps of Adam, one `step` each."""

    def __init__(self, learning_rate, size, *, epsilon=1e-8):
        self.rate, self.epsilon, self.steps = learning_rate, epsilon, 0
        self.mean, self.square = np.zeros(size), np.zeros(size)

    def step(self, gradient):
        """What is to be added to the parameters."""
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean = self.mean / (1 - 0.9**self.steps)
        square = self.square / (1 - 0.999**self.steps)
        return -self.rate * mean / (np.sqrt(square) + self.epsilon)
