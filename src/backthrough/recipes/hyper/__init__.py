"""Experiments of the room hyper."""
