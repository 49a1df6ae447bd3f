"""What each loss costs: time, compile time and memory of value and gradient, beside peers."""
