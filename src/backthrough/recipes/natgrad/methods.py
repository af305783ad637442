"""The methods by the names that configurations give them, and their noise priors."""

from typing import Any

from backthrough import natgrad
from backthrough.natgrad import GammaNoise, Gaussian
from backthrough.regress import METHODS

NOISES = {"paper": (6.0, 6.0), "weak": (1.0, 0.02)}


def method_named(name: str, *, damping_style: Any = "factored", learning_rate: float | None = None) -> Any:
    """The method with the settings of its room.

    Args:
        name: Such as noisy-kfac.
        damping_style: How noisy K-FAC is damped.
        learning_rate: Another than the method's own.
    """
    own: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    own |= {"damping_style": damping_style} if name == "noisy-kfac" else {}
    return getattr(natgrad, METHODS[name])(**own)


def likelihood_named(noise: str) -> Gaussian:
    """One output with a noise to be learned, whose prior is the paper's or a weak one."""
    return Gaussian(GammaNoise(*NOISES[noise]))
