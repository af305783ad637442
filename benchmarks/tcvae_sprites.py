"""Beta-TCVAE against beta-VAE on sprites: five betas, five seeds, and what comes of MIG at which price.

An hour on two idle cores, of which each trains some of the seeds: two threads on one program hinder each
other. When it is stopped, the same command goes on. With --correlated, the sprites whose scale and place
depend on each other.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from backthrough.recipes.latent.tcvae_dsprites.recipe import at_equal_elbo

N_SEEDS = 5
CORRELATED = ["--betas", "1", "4", "8", "12", "--correlated", "scale-place"]


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--correlated", action="store_true")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run directory")
    arguments = parser.parse_args()
    words = ["--scale", "full", *(CORRELATED if arguments.correlated else [])]
    name = f"tcvae-dsprites-{'correlated' if arguments.correlated else 'full'}"
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    parts = [own.tolist() for own in np.array_split(np.arange(N_SEEDS), min(len(cores), N_SEEDS))]
    paths = [arguments.runs / f"{name}-{part[0]}" for part in parts]
    begun = []
    for part, path, core in zip(parts, paths, cores, strict=False):
        if not (path / "result.json").exists():
            seeds = ["--first-seed", str(part[0]), "--n-seeds", str(len(part))]
            command = [sys.executable, "-m", "backthrough", "run", "tcvae-dsprites", *words, *seeds]
            begun.append(subprocess.Popen([*command, "--run-dir", str(path), "--resume"], stdout=sys.stderr))
            if core is not None:
                os.sched_setaffinity(begun[-1].pid, {core})
    if any([own.wait() for own in begun]):
        raise SystemExit("a training was stopped: the same command goes on")
    rows = pd.concat([pd.read_csv(path / "trainings.csv") for path in paths], keys=range(len(paths)))
    rows["training"] = rows.index.get_level_values(0).astype(str) + " " + rows["training"].astype(str)
    rows = rows.reset_index(drop=True)
    above = np.array(at_equal_elbo(rows))
    at_equal = {
        "ours": round(float(above.mean()), 4),
        "spread": round(float(above.std(ddof=1)), 4),
        "note": "By seed: "
        + ", ".join(f"{own:+.3f}" for own in above)
        + ". Medians of MIG: "
        + medians(rows),
    }
    if arguments.correlated:
        print(json.dumps({"disentanglement.correlated": at_equal}))
        return
    tc = rows.loc[rows["method"] == "beta-tcvae"].pivot(index="seed", columns="beta")
    gaps, scale = tc["MIG"], tc["MIG of scale"]
    distinct = rows.drop_duplicates("training")[["total correlation", "MIG"]]
    rank = float(np.corrcoef(distinct.rank().to_numpy(float), rowvar=False)[0, 1])
    lost = tc["ELBO"][1.0] - tc["ELBO"][6.0]
    over = gaps[6.0].median() / gaps[1.0].median()
    found = {
        "disentanglement.7": of(gaps[6.0]),
        "disentanglement.7-best": {
            "ours": round(float(gaps[6.0].max()), 4),
            "note": f"The largest of all trainings: {rows['MIG'].max():.3f}",
        },
        "disentanglement.7-ratio": {
            "ours": round(float(over), 3),
            "note": f"beta 1: {listed(gaps[1.0])}; beta 6: {listed(gaps[6.0])}",
        },
        "disentanglement.7-scale": of(scale[6.0]),
        "disentanglement.7-elbo": of(lost),
        "disentanglement.12": {"ours": round(rank, 3), "note": f"{len(distinct)} trainings"},
        "disentanglement.claim": at_equal,
    }
    print(json.dumps(found))


def of(values: pd.Series) -> dict[str, object]:
    """The median, the deviation and all of them."""
    return {
        "ours": round(float(np.median(values)), 4),
        "spread": round(float(np.std(values, ddof=1)), 4),
        "note": f"Median of {len(values)} seeds: {listed(values)}",
    }


def listed(values: pd.Series) -> str:
    """All of them."""
    return ", ".join(f"{own:.3f}" for own in values)


def medians(rows: pd.DataFrame) -> str:
    """MIG of each method and beta."""
    table = rows.groupby(["method", "beta"])["MIG"].median().unstack()
    words = [
        f"{method} " + ", ".join(f"{value:.3f} (beta {beta:g})" for beta, value in own.items())
        for method, own in table.iterrows()
    ]
    return "; ".join(words)


if __name__ == "__main__":
    main()
