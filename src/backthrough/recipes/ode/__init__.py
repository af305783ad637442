"""Experiments with ODE solvers."""
