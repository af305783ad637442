"""The numbers that a run ends with, and the sentence that says what they mean."""

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


def mean_number(name: str, values: Float[np.ndarray, "n"], unit: str, what: str) -> Number:
    """The mean of independent values, with its standard error (None for a single value)."""
    values = np.asarray(values, np.float64)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Number(name, float(values.mean()), unit, what, error, len(values))
