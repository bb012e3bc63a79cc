"""Serving a GraphSpec on this machine: the supervisor process, its workers, GPUs, logs."""
