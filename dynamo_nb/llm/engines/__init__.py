"""Engines, which compute answers: one protocol and three implementations."""
