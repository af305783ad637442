"""Error, evaluations and time of a solve with its gradient against the tolerance (after Chen et al. 2018)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Lotka-Volterra dynamics in double precision, by every adaptive explicit solver."""

    loosest: int = 3
    """The loosest tolerance is 10^-loosest."""
    tightest: int = 10
    """The tightest is 10^-tightest."""
    end: float = 10.0
    """The last time."""
    repetitions: int = 20
    """Timings of each, of which the least counts."""


SCALES = {"quick": Config(), "full": Config(repetitions=200)}
DEMO = None
