"""Which part of a scene makes a classifier see a digit (Chang et al. 2019, arXiv 1807.08024)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel


@dataclass(frozen=True)
class Config:
    """Scenes of several digits on a texture, explained with several infillers beside the exact masks."""

    data: Literal["mnist-small", "mnist"] = "mnist-small"
    """Digits of the scenes. mnist-small: with a classifier and an infiller that come with the package; mnist:
    both are trained first."""
    infills: tuple[Literal["generative", "mean", "blur", "noise", "local-mean"], ...] = ("generative", "mean")
    """What fills in hidden parts, generative first; each compiles a program, tens of seconds."""
    n_inputs: int = 4
    """Test scenes in which the classifier finds the digit that is asked about."""
    cells: int = 12
    """Rows and columns of the grid."""
    area_cost: float = 50.0
    """Log-odds that the whole area costs."""
    n_starts: int = 1
    """Windows of the grid that are improved."""
    most_windows: int = 256
    """Windows of the grid that are tried at most."""
    n_rounds: int = 16
    """Rounds of changes at the border of a region."""
    n_proposals: int = 12
    """Changed regions in each round."""
    n_steps: int = 20
    """Steps in which probabilities are learned."""
    is_brief: bool = True
    """Compile quickly rather than run quickly."""
    seed: int = 0
    """Determines all draws, and training."""


SCALES = {
    "quick": Config(),
    "full": Config(
        data="mnist",
        infills=("generative", "mean", "blur", "noise", "local-mean"),
        n_inputs=48,
        n_starts=2,
        n_rounds=32,
        n_proposals=16,
        n_steps=40,
        is_brief=False,
    ),
}
DEMO = Panel(
    Config(infills=("generative",), n_inputs=2, n_rounds=12, n_proposals=8),
    method="One digit among others (FIDO)",
    what="Asks a classifier of scenes for one of several digits, and finds the smallest part of the scene "
    "without which it no longer sees that digit: the others are not the reason.",
)
