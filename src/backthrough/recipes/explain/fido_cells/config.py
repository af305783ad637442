"""Which part of a photograph makes a classifier see a white cell (Chang et al. 2019, arXiv 1807.08024)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel


@dataclass(frozen=True)
class Config:
    """Windows of photographs of blood, explained with several infillers beside the boxes that people drew."""

    data: Literal["cell-windows-small", "bccd-wbc"] = "cell-windows-small"
    """cell-windows-small: a few windows, with a classifier and an infiller that come with the package;
    bccd-wbc: both are trained first, and test windows are explained."""
    infills: tuple[Literal["generative", "mean", "blur", "noise", "local-mean"], ...] = ("generative", "mean")
    """What fills in hidden parts, generative first; each compiles a program, tens of seconds."""
    n_inputs: int = 6
    """Windows that hold a white cell and are classified rightly, at most."""
    cells: int = 8
    """Rows and columns of the grid."""
    area_cost: float = 20.48
    """Log-odds that the whole area costs, .02 a pixel."""
    n_starts: int = 1
    """Windows of the grid that are improved."""
    most_windows: int = 256
    """Windows of the grid that are tried at most."""
    n_rounds: int = 32
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
        data="bccd-wbc",
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
    Config(infills=("generative",), n_inputs=2, n_rounds=24, n_proposals=8),
    method="Which part would have to change (FIDO)",
    what="Hides parts of a photograph, fills them in with what could as well have been there, and finds the "
    "smallest part without which a classifier no longer sees a white blood cell, and the smallest that "
    "suffices.",
)
