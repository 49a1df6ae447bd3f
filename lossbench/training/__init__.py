"""Training: a functional state, a pure step, and one loop that drives them."""
