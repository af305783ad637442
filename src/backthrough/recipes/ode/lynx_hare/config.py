"""Lotka-Volterra dynamics fitted to the pelts of lynx and hare by gradients through the solver."""

from dataclasses import dataclass

from backthrough.recipes.configs import Panel


@dataclass(frozen=True)
class Config:
    """Maximum likelihood of hare u and lynx v: u' = a u - b u v, v' = -g v + d u v, log-normal errors."""

    n_steps: int = 1500
    """Steps of Adam on the logarithms of the six parameters."""
    learning_rate: float = 0.02
    """The largest; it falls along half a cosine."""
    tolerance: float = 1e-6
    """Of the solver."""
    ahead: float = 20.0
    """Years to extrapolate in the picture."""
    seed: int = 0
    """Determines the start: rough values of the parameters, each off by about 10 %."""


SCALES = {"quick": Config(), "full": Config(n_steps=20_000)}
DEMO = Panel(
    Config(),
    method="Gradients through an ODE solver",
    what="Fits the unknown constants of a differential equation to data by its solver's own gradient, as "
    "accurate as its tolerance.",
)
