"""Experiments with flows."""
