"""Which letters of a splice junction a classifier's answer rests on (FIDO; Chang et al. 2019)."""

from dataclasses import dataclass
from typing import Literal

INFILLS = ("marginal", "vaeac")


@dataclass(frozen=True)
class Config:
    """Explains right answers about test sequences: are GT and AG, which biology knows, among the first?"""

    infills: tuple[str, ...] = ("marginal",)
    """What stands where letters are hidden: marginal (another sequence's), vaeac (drawn given the rest)."""
    rank: Literal["joint", "sdr", "ssr"] = "joint"
    """Positions are ranked by the probability of this region, or by the geometric mean of both."""
    top: int = 6
    """Among so many of the 60 positions the two letters are looked for."""
    area_cost: float = 50.0
    """Log-odds that hiding (or keeping) all positions costs."""
    n_draws: int = 4
    """Infills of each set that is tried."""
    n_rows: int = 40
    """Test sequences that are explained; 0: all EI and IE that are told rightly."""
    n_steps: int = 1500
    """Steps of the classifier's training."""
    infill_steps: int = 1500
    """Steps of the VAEAC's training."""
    seed: int = 0
    """Determines split, weights, order and draws."""


SCALES = {"quick": Config(), "full": Config(infills=INFILLS, n_rows=0, n_draws=16, infill_steps=3000)}
DEMO = None  # the data do not come with the package
