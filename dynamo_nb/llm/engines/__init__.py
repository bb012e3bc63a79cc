"""What computes answers: one protocol, and three engines."""
