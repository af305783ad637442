"""`HyperSpace`: all hyperparameters of a problem, as one vector of coordinates and as named values."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import ArgumentError, PRNGKey, PyTree
from backthrough.hyper.real import Real


class HyperSpace:
    """Hyperparameters by name.

    Args:
        reals: Each a `Real`; the losses get their values as a dict with the same names.

    Raises:
        ArgumentError: if there is none, or one is not a `Real`.

    Examples:
        >>> from backthrough.hyper import Real
        >>> decay = Real(1e-8, 1.0, log=True, per="layer")
        >>> space = HyperSpace(decay=decay, dropout=Real(0.01, 0.9, logit=True))
        >>> bound = space.bind(eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0)))
        >>> bound.size
        3
        >>> float(bound.values(bound.initial)["dropout"])  # doctest: +ELLIPSIS
        0.231...
    """

    def __init__(self, **reals: Any):
        if not reals:
            raise ArgumentError(
                "the space is empty: name a hyperparameter, as in decay=Real(1e-8, 1, log=True)"
            )
        for name, real in reals.items():
            if not isinstance(real, Real):
                raise ArgumentError(f"{name} must be a Real, got {real!r}")
        self.reals: Mapping[str, Real] = reals

    def __repr__(self) -> str:
        return f"HyperSpace({', '.join(f'{name}={real}' for name, real in self.reals.items())})"

    def bind(self, params: PyTree) -> "BoundSpace":
        """The space laid onto the parameters whose training it describes.

        Raises:
            ArgumentError: if `params` has no floating-point array, the outputs of a layer's arrays differ, or
                an initial value has another shape.
        """
        arrays = eqx.filter(params, eqx.is_inexact_array)
        leaves = jax.tree_util.tree_leaves_with_path(arrays)
        if not leaves:
            raise ArgumentError("params has no array of floating-point numbers to train")
        parts, start = {}, 0
        for name, real in self.reals.items():
            labels, pieces = _lay(name, real, leaves)
            parts[name] = Part(real, start, labels, pieces)
            start += len(labels)
        shapes = tuple(leaf.shape for _, leaf in leaves)
        bound = BoundSpace(self, parts, start, shapes, jax.tree_util.tree_structure(arrays))
        bound.check_coordinates(bound.initial)  # a start of another shape is refused here
        return bound


class Piece(NamedTuple):
    """Entries that act on one array of the parameters: a slice, in a shape that broadcasts with the array."""

    start: int
    stop: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """One hyperparameter of a bound space.

    Attributes:
        start: Where its entries begin among the coordinates.
        labels: What each entry belongs to.
        pieces: For each array of the parameters its entries; None if it belongs to no weights.
    """

    real: Real
    start: int
    labels: tuple[str, ...]
    pieces: tuple[Piece, ...] | None

    @property
    def size(self) -> int:
        """How many entries it has."""
        return len(self.labels)

    def of(self, coordinates: Any) -> Any:
        """Its own among all coordinates."""
        return coordinates[self.start : self.start + self.size]


@dataclass(frozen=True, eq=False)
class BoundSpace:
    """A `HyperSpace` laid onto parameters: h entries in all, in one vector u of coordinates (see `Real`).

    Attributes:
        space: What was laid.
        parts: Its hyperparameters by name.
        size: h, the number of entries.
        shapes: Of the arrays of the parameters.
        structure: Of the parameters, arrays only.
    """

    space: HyperSpace
    parts: Mapping[str, Part]
    size: int
    shapes: tuple[tuple[int, ...], ...]
    structure: Any

    @property
    def initial(self) -> Float[Array, " hyper"]:
        """The coordinates at the start."""
        return self.coordinates({name: part.real.start() for name, part in self.parts.items()})

    @property
    def box(self) -> tuple[Float[np.ndarray, " hyper"], Float[np.ndarray, " hyper"]]:
        """The bounds of each coordinate, as the arrays' dtype has them; infinite where there are none."""
        dtype = jnp.result_type(float)
        sides = [np.repeat(part.real.box[side], part.size) for side in (0, 1) for part in self.parts.values()]
        half = len(self.parts)
        return np.concatenate(sides[:half]).astype(dtype), np.concatenate(sides[half:]).astype(dtype)

    def values(self, u: Any) -> dict[str, Any]:
        """The values by name, as the training loss gets them.

        With `per="all"` a scalar, or an array of the shape asked for; else a pytree like the parameters, each
        array in a shape that broadcasts with theirs: `(1,) * ndim` for a layer, the output axis for outputs,
        the whole shape for weights.

        Args:
            u: Coordinates, shape (h,).

        Raises:
            ArgumentError: if u is no floating-point vector of length h.
        """
        return self.arrange(self.check_coordinates(u), lambda real, own: real.from_line(own))

    def arrange(
        self, vector: Float[Array, " hyper"], change: Callable[[Real, Array], Array] = lambda real, own: own
    ) -> dict[str, Any]:
        """A number for each coordinate, such as a gradient, in the shapes of `values`."""
        found = {}
        for name, part in self.parts.items():
            own = change(part.real, part.of(vector))
            if part.pieces is None:
                found[name] = own.reshape(part.real.shape)
            else:
                leaves = [own[start:stop].reshape(shape) for start, stop, shape in part.pieces]
                found[name] = jax.tree_util.tree_unflatten(self.structure, leaves)
        return found

    def coordinates(self, values: Mapping[str, Any]) -> Float[Array, " hyper"]:
        """The vector of coordinates of values by name.

        Args:
            values: For each name a number, a vector with one value for each entry, an array of the shape
                asked for, or a pytree as `values` returns it.

        Raises:
            ArgumentError: if a name is missing or unknown, or a value is outside its bounds or has another
                shape.
        """
        if set(values) != set(self.parts):
            raise ArgumentError(
                f"values must have the names {', '.join(self.parts)}, got {', '.join(values)}"
            )
        pieces = []
        for name, part in self.parts.items():
            value = values[name]
            if part.pieces is not None and jax.tree_util.tree_structure(value) == self.structure:
                value = _from_leaves(part, jax.tree_util.tree_leaves(value))
            array = part.real.check(name, value)
            if array.shape not in ((), (part.size,), part.real.shape):
                raise ArgumentError(
                    f"{name} has {part.size} entries: give one number or {part.size}, got shape {array.shape}"
                )
            pieces.append(np.broadcast_to(part.real.to_line(array.reshape(-1)), (part.size,)))
        return jnp.asarray(np.concatenate(pieces), jnp.result_type(float))

    def clip(self, u: Float[Array, " hyper"]) -> Float[Array, " hyper"]:
        """The nearest coordinates inside the bounds."""
        low, high = self.box
        return jnp.clip(u, jnp.asarray(low, u.dtype), jnp.asarray(high, u.dtype))

    def at_bound(self, u: Float[Array, " hyper"]) -> Bool[Array, " hyper"]:
        """Which entries are at one of their bounds."""
        low, high = self.box
        return (u <= jnp.asarray(low, u.dtype)) | (u >= jnp.asarray(high, u.dtype))

    def uniform(self, *, key: PRNGKey) -> Float[Array, " hyper"]:
        """Coordinates drawn uniformly between the bounds.

        Raises:
            ArgumentError: naming a hyperparameter that has not two bounds.
        """
        self.check_bounded("drawing from the space")
        low, high = self.box
        return jax.random.uniform(key, (self.size,), low.dtype, jnp.asarray(low), jnp.asarray(high))

    def check_bounded(self, what: str) -> None:
        """Raises `ArgumentError`, naming a hyperparameter without two bounds."""
        for name, part in self.parts.items():
            if part.real.low is None or part.real.high is None:
                raise ArgumentError(
                    f"{what} needs two bounds for each hyperparameter, {name} has {part.real}"
                )

    def owners(self) -> Int[np.ndarray, "weight name"]:
        """Which coordinate acts on each weight: a column for each hyperparameter that belongs to weights.

        One number for all weights (`per="all"`) acts on each.

        Raises:
            ArgumentError: naming a hyperparameter that belongs to no weights.
        """
        columns = []
        for name, part in self.parts.items():
            if part.pieces is not None:
                own = [
                    np.broadcast_to(np.arange(start, stop).reshape(shape), whole).reshape(-1)
                    for (start, stop, shape), whole in zip(part.pieces, self.shapes, strict=True)
                ]
                columns.append(part.start + np.concatenate(own))
            elif part.size == 1:
                columns.append(np.full(sum(map(math.prod, self.shapes)), part.start))
            else:
                raise ArgumentError(
                    f"{name} has {part.size} entries that belong to no weights: an elementwise response "
                    "cannot follow them; use CentredLinear()"
                )
        return np.stack(columns, axis=1)

    def table(self, u: Float[Array, " hyper"]) -> pd.DataFrame:
        """A row for each hyperparameter: entries, smallest, middle and largest value, entries at a bound."""
        u = self.check_coordinates(u)
        at_bound = np.asarray(self.at_bound(u))
        rows = []
        for name, part in self.parts.items():
            own = np.asarray(part.real.from_line(part.of(u)))
            rows.append(
                {
                    "hyperparameter": name,
                    "entries": part.size,
                    "smallest": own.min(),
                    "median": np.median(own),
                    "largest": own.max(),
                    "at a bound": int(part.of(at_bound).sum()),
                }
            )
        return pd.DataFrame(rows).set_index("hyperparameter")

    def labels(self) -> tuple[str, ...]:
        """What each coordinate is called: `decay[.layers[0] 3]`."""
        return tuple(
            f"{name}[{label}]" if label else name
            for name, part in self.parts.items()
            for label in part.labels
        )

    def check_coordinates(self, u: Any) -> Float[Array, " hyper"]:
        """The coordinates as an array.

        Raises:
            ArgumentError: if they are not a vector of h numbers in float32 or float64.
        """
        u = jnp.asarray(u)
        if u.dtype not in (jnp.float32, jnp.float64):
            raise ArgumentError(
                f"coordinates of hyperparameters must be float32 or float64, got {u.dtype}: in fewer bits "
                "their steps are lost"
            )
        if u.shape != (self.size,):
            raise ArgumentError(f"there are {self.size} coordinates, got shape {u.shape}")
        return u


def _from_leaves(part: Part, leaves: list[Any]) -> np.ndarray:
    """The vector of entries of the values for each array."""
    assert part.pieces is not None
    found = np.full(part.size, np.nan)
    for (start, stop, shape), leaf in zip(part.pieces, leaves, strict=True):
        found[start:stop] = np.asarray(np.broadcast_to(leaf, shape), float).reshape(-1)
    return found


def _lay(
    name: str, real: Real, leaves: list[tuple[Any, Array]]
) -> tuple[tuple[str, ...], tuple[Piece, ...] | None]:
    """Labels of the entries, and the piece of each array."""
    if real.per == "all":
        size = math.prod(real.shape)
        return ("",) if real.shape == () else tuple(map(str, range(size))), None
    labels, pieces, layers = [], [], {}
    for path, leaf in leaves:
        array, layer = jax.tree_util.keystr(path), jax.tree_util.keystr(path[:-1])
        start = len(labels)
        if real.per == "weight":
            labels += [f"{array} {i}" for i in range(leaf.size)]
            pieces.append(Piece(start, start + leaf.size, leaf.shape))
            continue
        n_own = 1 if real.per == "layer" else _n_outputs(name, real, array, leaf)
        if layer not in layers:
            layers[layer] = start, n_own
            labels += [layer] if real.per == "layer" else [f"{layer} {i}" for i in range(n_own)]
        start, known = layers[layer]
        if n_own != known:
            raise ArgumentError(
                f"{name} has an entry for each output of a layer, but the arrays of {layer or 'params'} have "
                f"{known} and {n_own} outputs along axis {real.output_axis}: say output_axis="
            )
        shape = [1] * leaf.ndim
        if real.per == "output":
            shape[real.output_axis] = n_own
        pieces.append(Piece(start, start + n_own, tuple(shape)))
    return tuple(labels), tuple(pieces)


def _n_outputs(name: str, real: Real, array: str, leaf: Array) -> int:
    if not -leaf.ndim <= real.output_axis < leaf.ndim:
        raise ArgumentError(
            f"{name} has an entry for each output, but {array or 'params'} of shape {leaf.shape} has no axis "
            f"{real.output_axis}"
        )
    return leaf.shape[real.output_axis]
