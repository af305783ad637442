"""Experiments with gradients through samples."""
