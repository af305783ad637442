"""Numbers as text."""

import math


def with_error(value: float, error: float | None) -> str:
    """`value ± error`, both to the decimal place of the error's second digit; six digits without an error."""
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:.6g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:,.{places}f} ± {error:.{places}f}"
