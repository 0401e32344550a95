"""Test tools: the real daemon, backends that misbehave on purpose, and clients that speak raw
bytes."""
