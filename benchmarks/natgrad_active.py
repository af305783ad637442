"""Active learning: rows chosen by a network's own uncertainty, and at random, on two UCI tables.

    python benchmarks/natgrad_active.py

Boston-housing and energy, 40 runs, 10 hidden units, 20 rows labelled and 9 more one at a time, by noisy K-FAC
and noisy Adam. `--keep FOLDER` keeps the test errors, and reads them where they are there already; `--seed`
takes other runs. The last line is JSON for the results table.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from backthrough.datasets import load
from backthrough.recipes.natgrad.active_learning.config import SCALES
from backthrough.recipes.natgrad.active_learning.recipe import Curves, curves

TABLES = ("boston-housing", "energy")
METHODS = ("noisy-kfac", "noisy-adam")


def measured(data: str, method: str, seed: int, keep: Path | None) -> Curves:
    """The test errors of a method on a table, by either choice."""
    file = None if keep is None else keep / f"{data}-{method}-active-{seed}.npz"
    started = time.monotonic()
    if file is not None and file.exists():
        with np.load(file) as values:
            found = Curves(values["random"], values["active"])
    else:
        config = replace(SCALES["full"], data=data, methods=(method,), seed=seed)
        found = curves(method, config, load(data), key=jax.random.key(seed))
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, **found._asdict())
    print(f"{data} {method}: {described(found)}, {time.monotonic() - started:.0f} s", flush=True)
    return found


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def t(values: np.ndarray) -> float:
    """The mean in standard errors."""
    return float(values.mean() / standard_error(values))


def described(found: Curves) -> str:
    start, random, active = found.random[:, 0], found.random[:, -1], found.active[:, -1]
    return (
        f"RMSE {start.mean():.3f} at the start, random {random.mean():.3f} ({standard_error(random):.3f}), "
        f"active {active.mean():.3f} ({standard_error(active):.3f}), difference {found.gain.mean():.3f} "
        f"({standard_error(found.gain):.3f})"
    )


def relative_gain(found: Curves) -> float:
    """The mean gain as a part of the mean error of random choice."""
    return float(found.gain.mean() / found.random[:, -1].mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = {
        (data, method): measured(data, method, arguments.seed, arguments.keep)
        for data in TABLES
        for method in METHODS
    }
    rows = {}
    for data in TABLES:
        own = {method: found[data, method] for method in METHODS}
        note = ". ".join(
            f"{method}: {described(curves)}, t {t(curves.gain):.1f}" for method, curves in own.items()
        )
        rows[f"natgrad.10-{data.split('-')[0]}"] = {
            "ours": round(t(own["noisy-kfac"].gain), 2),
            "note": f"{note}.",
        }
    gains = {key: relative_gain(own) for key, own in found.items()}
    differences = [gains[data, "noisy-kfac"] - gains[data, "noisy-adam"] for data in TABLES]
    each = ", ".join(f"{data} {method} {100 * gain:.1f} %" for (data, method), gain in gains.items())
    rows["natgrad.10-gain"] = {"ours": round(float(np.mean(differences)), 4), "note": f"Gains: {each}."}
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
