"""Where upstream's later releases import from."""
