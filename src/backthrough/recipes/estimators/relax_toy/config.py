"""The toy problem of RELAX: minimise E[(b - t)^2] over one logit (Grathwohl et al. 2018, sec. 5.1)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel

Name = Literal["REINFORCE", "leave-one-out", "DisARM", "REBAR", "RELAX"]


@dataclass(frozen=True)
class Config:
    """Many seeds of each estimator in one program, followed by their variance."""

    estimators: tuple[Name, ...] = ("REINFORCE", "REBAR", "RELAX")
    """Gradient estimators, side by side."""
    targets: tuple[float, ...] = (0.45, 0.499)
    """Targets t; the nearer to 0.5, the harder."""
    n_steps: int = 2000
    """Steps of Adam, one sample each (two for leave-one-out and DisARM)."""
    n_seeds: int = 50
    """Copies of each training, in one program."""
    learning_rate: float = 0.01
    """Of the logit and of the control variate."""
    n_draws: int = 500
    """Gradients from which the variance is measured, for each copy, twenty times."""
    seed: int = 0
    """Determines everything random."""


SCALES = {"quick": Config(), "full": Config(n_steps=10_000, n_seeds=200)}
DEMO = Panel(
    Config(targets=(0.45,), n_steps=1500, n_seeds=40),
    method="RELAX",
    what="Gradients through discrete random choices, unbiased, with a variance that a network learns to make "
    "small while the model trains.",
)
