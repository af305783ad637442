"""The posteriors of a whole data set, as two arrays."""

from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from backthrough.core import ArgumentError, DataError
from backthrough.latent.checks import check_inference_mode
from backthrough.latent.disentanglement.arrays import check_same_index, host_numbers
from backthrough.latent.gaussian import FactorisedGaussian
from backthrough.latent.protocols import Data, Encoder
from backthrough.train import map_in_chunks, n_examples


@dataclass(frozen=True, eq=False)
class Codes:
    """q(z | n) = N(means[n], diag(scales[n]**2)) of every example n of a data set, and p(n).

    Attributes:
        means: Shape (example, latent).
        scales: Standard deviations, above zero, of the same shape.
        weights: p(n), shape (example,): not negative, scaled to sum to 1. Equal by default.

    Raises:
        ArgumentError: if shapes differ, or there are no examples or latents.
        DataError: naming the first entry that is NaN, infinite, or out of range.

    Example:
        >>> codes = Codes([[0.0], [1.0]], [[0.1], [0.1]])
        >>> codes.weights
        array([0.5, 0.5])
    """

    means: Float[np.ndarray, "example latent"]
    scales: Float[np.ndarray, "example latent"]
    weights: Float[np.ndarray, " example"]

    def __init__(
        self,
        means: Shaped[np.ndarray, "..."] | pd.DataFrame | list,
        scales: Shaped[np.ndarray, "..."] | pd.DataFrame | list,
        *,
        weights: Shaped[np.ndarray, "..."] | list | None = None,
    ):
        check_same_index("means", means, "scales", scales)
        means, scales = host_numbers("means", means), host_numbers("scales", scales)
        if means.ndim != 2 or 0 in means.shape:
            raise ArgumentError(f"means must have shape (example, latent), got {means.shape}")
        if scales.shape != means.shape:
            raise ArgumentError(f"scales need the shape of means, {means.shape}, got {scales.shape}")
        if not (scales > 0).all():
            row, latent = np.argwhere(~(scales > 0))[0]
            raise DataError(
                f"scales must be above 0, and example {row}, latent {latent} has {scales[row, latent]:g}: "
                + (
                    "if these are logarithms, pass their exp"
                    if (scales < 0).any()
                    else "codes without a spread have no density (mig_binned takes their means alone)"
                )
            )
        n = len(means)
        p = np.ones(n) if weights is None else host_numbers("weights", weights)
        if p.shape != (n,):
            raise ArgumentError(f"weights must have shape ({n},), one for each example, got {p.shape}")
        if (p < 0).any():
            row = int(np.argmax(p < 0))
            raise DataError(f"weights must not be negative, and example {row} has {p[row]:g}")
        if not p.any():
            raise DataError("weights are all zero")
        p = p / p.max()  # first, since the sum of large ones is infinite
        for name, array in {"means": means, "scales": scales, "weights": p / p.sum()}.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def encode(cls, encoder: Encoder, x: Data, *, at_once: int = 1000) -> "Codes":
        """The codes of examples.

        Args:
            encoder: Maps one example to a `FactorisedGaussian`.
            x: Examples along the leading axis, on the host.
            at_once: Examples at once; memory grows with it.

        Raises:
            ArgumentError: if there are no examples, posteriors are of another kind, or a network is in
                training mode.
            DataError: if a posterior is not finite.
        """
        check_inference_mode(encoder=encoder)
        n_examples("x", x)
        means, log_scales = map_in_chunks(_encode, encoder, x, at_once=at_once, label="encoding")
        return cls(means, np.exp(np.asarray(log_scales, np.float64)))

    @property
    def n(self) -> int:
        """Examples."""
        return self.means.shape[0]

    @property
    def latent_size(self) -> int:
        """Entries of z."""
        return self.means.shape[1]


def _encode(encoder: Encoder, x: Data) -> tuple:
    def one(x: Data) -> tuple:
        posterior = encoder(x)
        if not isinstance(posterior, FactorisedGaussian):
            raise ArgumentError(
                "codes need posteriors whose coordinates are independent, FactorisedGaussian, and the "
                f"encoder returns {type(posterior).__name__}"
            )
        return posterior.mean, posterior.log_scale

    return jax.vmap(one)(x)


def check_codes(name: str, codes: object) -> None:
    """Refuses what is not `Codes`.

    Raises:
        ArgumentError: naming what was passed.
    """
    if not isinstance(codes, Codes):
        raise ArgumentError(
            f"{name} needs codes with scales, Codes(means, scales), got {type(codes).__name__} (metrics has "
            "scores of means alone)"
        )
