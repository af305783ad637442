"""A fitted infiller as one file of arrays and settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from backthrough.core import ArgumentError, DataError, PRNGKey
from backthrough.explain.infill.autoencoder import MaskedAutoencoder
from backthrough.explain.infill.columns import Columns
from backthrough.explain.infill.fitted import Seen
from backthrough.explain.infill.gaussian import GaussianConditional
from backthrough.explain.infill.infiller import Infiller
from backthrough.explain.infill.simple import Constant, Marginal, Mean, Noise
from backthrough.explain.infill.smoothing import Blur, LocalMean
from backthrough.explain.infill.vaeac import VAEAC
from backthrough.train import arrays_of, load_model, save_model, with_arrays

KIND = "infiller"

Stored: TypeAlias = (
    Constant | Mean | Noise | Blur | LocalMean | Marginal | GaussianConditional | MaskedAutoencoder | VAEAC
)
"""The infillers that can be saved: all but those that are a user's function."""


class Kind(NamedTuple):
    """How one class is written and made again.

    Attributes:
        settings: What of an infiller is no array, as JSON values.
        make: An infiller of these settings, with any arrays in place of its own.
    """

    settings: Callable[[Any], dict[str, Any]]
    make: Callable[[dict[str, Any], PRNGKey], Any]


def _seen(own: dict[str, Any]) -> Seen:
    edge = jnp.zeros(own["shape"] if len(own["shape"]) == 1 else ())
    return Seen(edge, edge, tuple(own["shape"]))


def _gaussian(own: dict[str, Any], key: PRNGKey) -> GaussianConditional:
    vector, matrix = jnp.zeros(1), jnp.zeros((1, 1))
    return GaussianConditional(vector, vector, matrix, matrix, _seen(own), own["draws"], own["shrinkage"])


def _autoencoder(own: dict[str, Any], key: PRNGKey) -> MaskedAutoencoder:
    zeros = jnp.zeros(own["n_channels"])
    return MaskedAutoencoder(
        _seen(own), zeros, zeros, channels=own["channels"], widths=tuple(own["widths"]), key=key
    )


def _vaeac(own: dict[str, Any], key: PRNGKey) -> VAEAC:
    zeros = jnp.zeros(int(np.prod(own["shape"])))
    columns = Columns(zeros, zeros, tuple(map(tuple, own["groups"])))
    return VAEAC(columns, _seen(own), tuple(own["sizes"]), key=key)


KINDS = {
    Constant: Kind(lambda own: {}, lambda own, key: Constant(0.0)),
    Mean: Kind(lambda own: {"shape": own.seen.shape}, lambda own, key: Mean(jnp.zeros(1), _seen(own))),
    Noise: Kind(lambda own: {"channels": own.channels}, lambda own, key: Noise(channels=own["channels"])),
    Blur: Kind(
        lambda own: {"sigma": own.sigma, "channels": own.channels},
        lambda own, key: Blur(own["sigma"], channels=own["channels"]),
    ),
    LocalMean: Kind(
        lambda own: {"window": own.window, "channels": own.channels},
        lambda own, key: LocalMean(own["window"], channels=own["channels"]),
    ),
    Marginal: Kind(
        lambda own: {"shape": own.seen.shape, "independent": own.independent},
        lambda own, key: Marginal(jnp.zeros(1), _seen(own), own["independent"]),
    ),
    GaussianConditional: Kind(
        lambda own: {"shape": own.seen.shape, "draws": own.draws, "shrinkage": own.shrinkage}, _gaussian
    ),
    MaskedAutoencoder: Kind(
        lambda own: {
            "shape": own.seen.shape,
            "channels": own.channels,
            "n_channels": len(own.mean),
            "widths": own.widths,
        },
        _autoencoder,
    ),
    VAEAC: Kind(
        lambda own: {"shape": own.seen.shape, "groups": own.columns.groups, "sizes": own.sizes}, _vaeac
    ),
}
NAMES = {cls.__name__: cls for cls in KINDS}


def save_infiller(path: str | Path, infiller: Infiller) -> None:
    """Writes an infiller; `load_infiller` reads it.

    Args:
        path: The file, such as `"infill.npz"`; replaced if it exists.
        infiller: One of this room's that holds no function of the user's.

    Raises:
        ArgumentError: if it is another one.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "infill.npz"
        >>> save_infiller(path, LocalMean(5))
        >>> load_infiller(path).window
        5
    """
    kind = KINDS.get(type(infiller))
    if kind is None:
        raise ArgumentError(
            f"a {type(infiller).__name__} cannot be saved, only {', '.join(NAMES)}: it may hold a function"
        )
    arrays = {f"array {index}": array for index, array in enumerate(arrays_of(infiller))}
    save_model(
        path, KIND, settings={"class": type(infiller).__name__, **kind.settings(infiller)}, arrays=arrays
    )


def load_infiller(path: str | Path) -> Stored:
    """An infiller that `save_infiller` wrote, with the same draws bit for bit.

    Raises:
        DataError: naming the file that cannot be read, is damaged, or holds no infiller.
    """
    settings, arrays = load_model(path, KIND)
    cls = NAMES.get(settings["class"])
    if cls is None:
        raise DataError(
            f"{path} holds a {settings['class']}, which this version of backthrough does not know"
        )
    ordered = [arrays[f"array {index}"] for index in range(len(arrays))]
    try:
        return with_arrays(lambda key: KINDS[cls].make(settings, key), ordered)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds a {settings['class']} of another version of backthrough") from error
