"""Lotka-Volterra dynamics fitted to the pelts of lynx and hare by gradients through the solver."""
