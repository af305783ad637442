"""The UCI regression benchmark on the standard splits, at the paper's noise prior and at our defaults.

    python benchmarks/natgrad_uci.py paper      # Gamma(6, 6), 400 epochs, batches of 10, four tables
    python benchmarks/natgrad_uci.py default    # Gamma(1, 0.02), the sizes of BayesianRegressor, nine tables

Every method trains all splits of a table in one compiled step. `--keep FOLDER` keeps what each method says of
each table's test rows, and reads it where it is there already. `default` compares with the published results
of MC dropout on each split, which are in the full data folder, and with split-conformal intervals by crepes
around the same means, calibrated on one half of the test rows and compared on the other. The last line is
JSON for the results table.
"""

# pyright: reportMissingImports=false

import argparse
import json
import os
import time
from pathlib import Path

import jax
import numpy as np

from backthrough.datasets import load
from backthrough.recipes.natgrad.uci_regression.config import Config
from backthrough.recipes.natgrad.uci_regression.recipe import LEVEL, Held, hold

FOUR = ("yacht", "energy", "boston-housing", "concrete")
NINE = (
    *FOUR,
    "wine-quality-red",
    "kin8nm",
    "power-plant",
    "naval-propulsion-plant",
    "protein-tertiary-structure",
)
PAPER = {"noise": "paper", "n_epochs": 400, "batch_size": 10}
DEFAULT = {"noise": "weak", "n_epochs": 0, "batch_size": 0}


def held(name: str, method: str, settings: dict, keep: Path | None) -> tuple[Held, float]:
    """What a method says of every split's test rows, and the seconds that it took with compiling."""
    file = None if keep is None else keep / f"{name}-{method}-{settings['noise']}.npz"
    if file is not None and file.exists():
        with np.load(file) as values:
            found, seconds = Held(*(values[part] for part in Held._fields)), float(values["seconds"])
    else:
        table = load(name)
        config = Config(data=name, n_splits=len(table.train_index), **settings)
        started = time.monotonic()
        found = hold(method, config, table, key=jax.random.key(0))
        seconds = time.monotonic() - started
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, seconds=seconds, **found._asdict())
    print(
        f"{name} {method}: RMSE {shown(found.rmse)}, log-likelihood {shown(found.log_likelihood)}, ", end=""
    )
    print(f"90 % intervals cover {found.covered.mean():.3f}, {seconds:.0f} s", flush=True)
    return found, seconds


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def shown(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ({standard_error(values):.4f})"


def z(values: np.ndarray) -> float:
    """The mean in standard errors."""
    return float(values.mean() / standard_error(values))


def row(values: np.ndarray) -> dict:
    return {"ours": round(float(values.mean()), 4), "spread": round(standard_error(values), 4)}


def paper(keep: Path | None) -> dict:
    methods = ("noisy-kfac", "noisy-adam", "bayes-by-backprop", "noisy-ekfac")
    found = {(name, method): held(name, method, PAPER, keep) for method in methods for name in FOUR}
    rows, over = {}, {}
    for name in FOUR:
        own = {method: found[name, method][0] for method in methods}
        short = name.split("-")[0]
        rows[f"natgrad.2-{short}-ll"] = row(own["noisy-kfac"].log_likelihood)
        rows[f"natgrad.2-{short}-rmse"] = row(own["noisy-kfac"].rmse)
        ll = {method: scored.log_likelihood for method, scored in own.items()}
        over[name] = (
            z(ll["noisy-kfac"] - ll["noisy-adam"]),
            z(ll["noisy-kfac"] - ll["bayes-by-backprop"]),
            z(ll["noisy-adam"] - ll["bayes-by-backprop"]),
            z(own["noisy-ekfac"].rmse - own["noisy-kfac"].rmse),
        )
    rows["natgrad.2-minutes"] = {"ours": round(sum(found[n, "noisy-kfac"][1] for n in FOUR) / 60, 2)}
    names = ("natgrad.4-over-adam", "natgrad.4-over-bbb", "natgrad.4-adam-over-bbb")
    for place, name in enumerate(names):
        each = {table: round(values[place], 1) for table, values in over.items()}
        rows[name] = {"ours": min(each.values()), "note": f"By table: {each}."}
    each = {table: round(values[3], 1) for table, values in over.items()}
    rows["natgrad.4-ekfac"] = {"ours": max(each.values()), "note": f"By table: {each}."}
    return rows


def default(keep: Path | None) -> dict:
    found = {name: held(name, "noisy-kfac", DEFAULT, keep)[0] for name in NINE}
    rows = {
        "natgrad.3-yacht": row(found["yacht"].log_likelihood),
        "natgrad.3-energy": row(found["energy"].log_likelihood),
    }
    folder = Path(os.environ["BACKTHROUGH_DATA"]) / "uci"
    won, lines, log_likelihoods = 0, [], 0
    for name, own in found.items():
        with np.load(folder / f"{name}.npz") as published:
            rmse, ll = published["ref_mc_dropout_rmse"], published["ref_mc_dropout_ll"]
        better = own.rmse - rmse
        won += better.mean() < 0
        log_likelihoods += (own.log_likelihood - ll).mean() > 0
        lines.append(f"{name} {own.rmse.mean():.4g} - {rmse.mean():.4g} ({z(better):+.1f})")
    note = f"RMSE, ours - MC dropout's (paired difference in standard errors): {'; '.join(lines)}. "
    note += f"In log-likelihood better on {log_likelihoods}."
    rows["natgrad.3-wins"] = {"ours": int(won), "note": note}
    covered = {name: own.covered.mean() for name, own in found.items()}
    by_table = ", ".join(f"{name} {value:.3f}" for name, value in covered.items())
    n_rows = {name: own.y.size for name, own in found.items()}
    pooled = sum(covered[name] * n_rows[name] for name in found) / sum(n_rows.values())
    note = f"Tables: {by_table}; the mean of tables is {np.mean(list(covered.values())):.3f}."
    rows["natgrad.11-coverage"] = {"ours": round(float(pooled), 4), "note": note}
    ratios = {name: beside_conformal(own) for name, own in found.items()}
    note = ", ".join(
        f"{name} {ratio:.2f} (conformal covers {there:.3f})" for name, (ratio, there) in ratios.items()
    )
    rows["natgrad.11-width"] = {
        "ours": round(float(np.exp(np.mean([np.log(ratio) for ratio, _ in ratios.values()]))), 3),
        "note": f"Geometric mean of tables: {note}.",
    }
    return rows


def beside_conformal(own: Held) -> tuple[float, float]:
    """The mean width of our intervals as a part of split-conformal ones', and what those cover."""
    from crepes import ConformalRegressor

    ours, theirs, inside = [], [], []
    for split, y in enumerate(own.y):
        order = np.random.default_rng(split).permutation(len(y))
        calibrating, compared = order[: len(y) // 2], order[len(y) // 2 :]
        conformal = ConformalRegressor().fit(residuals=(y - own.mean[split])[calibrating])
        low, high = conformal.predict_int(own.mean[split][compared], confidence=LEVEL).T
        ours.append((own.high - own.low)[split][compared].mean())
        theirs.append((high - low).mean())
        inside.append(np.mean((low <= y[compared]) & (y[compared] <= high)))
    return float(np.mean(ours) / np.mean(theirs)), float(np.mean(inside))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=("paper", "default"))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    print(json.dumps({"paper": paper, "default": default}[arguments.which](arguments.keep)))


if __name__ == "__main__":
    main()
