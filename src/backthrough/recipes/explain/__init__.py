"""Experiments with explanations."""
