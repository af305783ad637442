"""Experiments with latent variables."""
