"""One named hyperparameter: its bounds, its scale, and the weights that its entries belong to."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, check_choice, check_integer

Per = Literal["all", "layer", "output", "weight"]
QUARTERS = 4.0  # units of u in a bounded range without a scale of its own


@dataclass(frozen=True)
class Real:
    """A real hyperparameter, one number or many, and how it is moved.

    It is moved in a coordinate u, in which a step of 1 means as much everywhere: with `log` a factor of e,
    with `logit` a unit of log-odds, between two bounds a quarter of the range, and else the unit of the
    value.

    Args:
        low: The smallest value allowed, or None.
        high: The largest value allowed, or None.
        log: Moved by factors; for what is positive (penalties, standard deviations).
        logit: Moved by log-odds; for probabilities.
        per: What has an entry of its own: `all`, nothing, it is one number; `layer`, each module of the
            parameters that holds arrays itself; `output`, each output of each layer (of the last one: each
            class), shared by its matrix and bias; `weight`, each weight.
        output_axis: The axis of outputs in the arrays, with `per="output"`: 0 for Equinox layers.
        shape: Shape of a hyperparameter that belongs to no weights: `(3,)` for the strengths of three
            augmentations.
        initial: Where it starts: a number, or an array with its shape (`per="weight"`: a number only). By
            default the middle between the bounds on its own scale, or 1 with `log`, 1/2 with `logit`, else 0.

    Raises:
        ArgumentError: if bounds and scale don't go together, or the start is outside.

    Examples:
        >>> Real(1e-6, 1.0, log=True).start()
        0.001
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    logit: bool = False
    per: str = "all"
    output_axis: int = 0
    shape: tuple[int, ...] = ()
    initial: Any = None

    def __post_init__(self) -> None:
        check_choice("per", self.per, get_args(Per))
        if self.log and self.logit:
            raise ArgumentError("a hyperparameter has one scale: log or logit, not both")
        for name, bound in (("low", self.low), ("high", self.high)):
            if bound is not None and not np.isfinite(bound):
                raise ArgumentError(f"{name} must be a finite number, or None for no bound, got {bound!r}")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ArgumentError(f"low must be below high, got low={self.low!r} and high={self.high!r}")
        if self.log and self.low is not None and self.low <= 0:
            raise ArgumentError(
                f"log=True needs low > 0, got {self.low!r}: give the smallest value that is worth trying"
            )
        if self.log and self.high is not None and self.high <= 0:
            raise ArgumentError(f"log=True needs high > 0, got {self.high!r}")
        if self.logit and not all(bound is None or 0 < bound < 1 for bound in (self.low, self.high)):
            raise ArgumentError(
                f"logit=True needs bounds inside (0, 1), got {self.low!r} and {self.high!r}: 0 and 1 have no "
                "log-odds; take 0.001 and 0.999, say"
            )
        if self.shape and self.per != "all":
            raise ArgumentError(
                f"shape={self.shape} is for what belongs to no weights, not with {self.per!r}"
            )
        for size in self.shape:
            check_integer("a size in shape", size, minimum=1)
        self.check("initial", self.start())

    def start(self) -> Any:
        """The value that it starts from."""
        if self.initial is not None:
            return self.initial
        if self.low is not None and self.high is not None:
            middle = (self.to_line(self.low) + self.to_line(self.high)) / 2
            return float(f"{float(self.from_line(middle)):.6g}")
        outside = 1.0 if self.log else 0.5 if self.logit else 0.0
        if self.low is not None and outside <= self.low:
            outside = self.low * np.e if self.log else (self.low + 1) / 2 if self.logit else self.low + 1
        if self.high is not None and outside >= self.high:
            outside = self.high / np.e if self.log else self.high / 2 if self.logit else self.high - 1
        return outside

    def check(self, name: str, value: Any) -> np.ndarray:
        """The value as an array of floats, inside the bounds.

        Raises:
            ArgumentError: naming the first entry that is not a finite number, or outside.
        """
        try:
            values = np.asarray(value, float)
        except (TypeError, ValueError):
            raise ArgumentError(f"{name} must be numbers, got {value!r}") from None
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        inside = np.isfinite(values) & (values >= low) & (values <= high)
        if self.log:
            inside &= values > 0
        if self.logit:
            inside &= (values > 0) & (values < 1)
        if not inside.all():
            worst = float(values[~inside].flat[0])
            scale = " and above 0, for log=True" if self.log else ""
            scale = " and inside (0, 1), for logit=True" if self.logit else scale
            raise ArgumentError(f"{name} must lie in [{low:g}, {high:g}]{scale}, got {worst:g}")
        return values

    @property
    def box(self) -> tuple[float, float]:
        """The bounds in the coordinate u; infinite where there are none."""
        low = -np.inf if self.low is None else float(self.to_line(self.low))
        high = np.inf if self.high is None else float(self.to_line(self.high))
        return low, high

    def to_line(self, value: Any) -> Any:
        """The coordinate u of a value inside the bounds, as NumPy float64."""
        value = np.asarray(value, np.float64)
        if self.log:
            return np.log(value)
        if self.logit:
            return np.log(value) - np.log1p(-value)
        if self.low is not None and self.high is not None:
            return QUARTERS * (value - self.low) / (self.high - self.low)
        return value

    def from_line(self, u: Float[Array, "..."] | np.ndarray | float) -> Float[Array, "..."]:
        """The value at a coordinate u."""
        if self.log:
            return jnp.exp(u)
        if self.logit:
            return jax.nn.sigmoid(u)
        if self.low is not None and self.high is not None:
            return self.low + (self.high - self.low) / QUARTERS * jnp.asarray(u)
        return jnp.asarray(u)
