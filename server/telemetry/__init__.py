"""What the server says of itself: logs, metrics, and the points at which a crash test may kill it."""
