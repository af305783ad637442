"""The numbers that a run ends with, and the sentence that says what they mean."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Number:
    """One figure of a run, with its spread.

    Attributes:
        name: Short and unique in the run, such as `"test ELBO"`.
        value: The figure.
        unit: Such as `"nats"`; empty for a pure number.
        what: One sentence: over what, by which estimator, under which policy.
        standard_error: Of `value`; None when it has none.
        n: How many independent values it is the mean of; None when it is no mean.
    """

    name: str
    value: float
    unit: str
    what: str
    standard_error: float | None = None
    n: int | None = None

    def __str__(self) -> str:
        """The figure with its error and unit."""
        return f"{with_error(self.value, self.standard_error)} {self.unit}".strip()


@dataclass(frozen=True)
class Headline:
    """What a reader should see first.

    Attributes:
        sentence: What came out, and whether it is good beside the plainest alternative.
        number: Name of the number that it rests on.
        picture: File name of the picture that shows it, among the figures of the run; "" for none.
    """

    sentence: str
    number: str
    picture: str = ""


@dataclass(frozen=True)
class ResultTable:
    """A table that the page of a run shows below its numbers.

    Attributes:
        heading: What it is.
        head: The names of its columns.
        rows: Its cells as text.
    """

    heading: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def mean_number(name: str, values: Float[np.ndarray, "n"], unit: str, what: str) -> Number:
    """The mean of independent values, with its standard error (None for a single value)."""
    values = np.asarray(values, np.float64)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Number(name, float(values.mean()), unit, what, error, len(values))


def with_error(value: float, error: float | None) -> str:
    """`value ± error`, both to the place of the error's second digit; three digits without an error.

    A whole number without an error is a count, and shown whole.
    """
    if error is None or not math.isfinite(error) or error <= 1e-12 * abs(value):  # 0, or rounding
        return three_digits(value)
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:,.{places}f} ± {error:,.{places}f}"


def three_digits(value: float) -> str:
    """Three significant digits; a whole number below ten million whole."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if abs(value) >= 1e7 or abs(value) < 1e-4:
        return f"{value:.3g}"
    if value == int(value):
        return f"{value:,.0f}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}" if places else f"{float(f'{value:.3g}'):,.0f}"
