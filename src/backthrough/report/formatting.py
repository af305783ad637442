"""Numbers as text."""

import math


def with_error(value: float, error: float | None) -> str:
    """`value ± error`, both to the place of the error's second digit; three digits without an error.

    A whole number without an error is a count, and shown whole.
    """
    if error is None or not math.isfinite(error) or error <= 0:
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
