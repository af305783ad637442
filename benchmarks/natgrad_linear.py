"""Every family on Bayesian linear regression with 200 rows and 7 features, against the exact posterior.

    python benchmarks/natgrad_linear.py

Steps see all data, with the expected gradient, so that what is left is the method's own error. The last line
is JSON for the results table.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from backthrough.natgrad import noisy_adam, noisy_full, noisy_kfac
from oracles.linear_regression import (
    MEAN,
    PRECISION,
    as_vector,
    covariance_of,
    divergence,
    factored,
    found_by,
)


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def main() -> None:
    started = time.monotonic()
    full = found_by(noisy_full)
    adam = found_by(noisy_adam, steps=3000)
    exact = found_by(noisy_kfac, damping_style="exact")
    paper = found_by(noisy_kfac, damping_style="factored")
    seconds = time.monotonic() - started
    variances = as_vector(adam.variance()) * np.diag(PRECISION)
    wanted = divergence(MEAN, factored())
    reached = divergence(as_vector(paper.mean), covariance_of(paper))
    values = {
        "natgrad.1-full-covariance": relative(covariance_of(full), np.linalg.inv(PRECISION)),
        "natgrad.1-full-mean": relative(as_vector(full.mean), MEAN),
        "natgrad.1-adam": float(np.abs(variances - 1).max()),
        "natgrad.1-kfac-exact": float(divergence(as_vector(exact.mean), covariance_of(exact))),
        "natgrad.1-kfac-factored": float(abs(reached - wanted)),
        "natgrad.1-seconds": round(seconds, 1),
    }
    rows: dict[str, dict] = {name: {"ours": value} for name, value in values.items()}
    rows["natgrad.1-kfac-factored"]["note"] = (
        f"By the formula that posterior is {wanted:.3f} nats from the exact one."
    )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
