"""The bench: the same data, model and seeds under many losses, and what can be said of them."""
