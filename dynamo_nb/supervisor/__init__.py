"""The supervisor process of a deployment: its workers, their GPUs, ports, health, metrics and restarts."""
