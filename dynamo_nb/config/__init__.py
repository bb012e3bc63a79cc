"""Configuration: its layers, and the effective configuration with the origin of every value."""
