"""Agreement with NUTS: where posteriors over weights find a network uncertain, on three UCI tables.

    python benchmarks/natgrad_hmc.py

Split 0 of yacht, energy and boston-housing with 50 hidden units, and of yacht with 10, where the full
covariance is compared too; Gamma(6, 6) on the noise's precision, 400 epochs, batches of 10, three
starts of each method. The learning rate of Bayes by backprop and MC dropout is the better of 0.01 and 0.003
on a tenth of the training rows; the others have their defaults. `--keep FOLDER` keeps the draws and
what was compared with them, and reads both where they are there already. The last line is JSON for the
results table.
"""

import argparse
import json
import time
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from backthrough.datasets import load
from backthrough.natgrad import Draws
from backthrough.recipes.natgrad.hmc_agreement.config import Config
from backthrough.recipes.natgrad.hmc_agreement.recipe import (
    CONVERGED,
    Compared,
    Reference,
    compare,
    network,
    reference_of,
)
from backthrough.recipes.natgrad.methods import likelihood_named

FIRST = "noisy-kfac"
OTHERS = ("noisy-adam", "bayes-by-backprop", "mc-dropout")
CONFIGS = {
    "yacht": Config(methods=(FIRST, *OTHERS)),
    "energy": Config(data="energy", methods=(FIRST, *OTHERS), n_warmup=750, n_samples=750, thinning=2),
    "boston": Config(
        data="boston-housing", methods=(FIRST, *OTHERS), n_warmup=1000, n_samples=1000, thinning=3
    ),
    "small": Config(
        methods=("noisy-full", FIRST, "noisy-adam"), n_hidden=10, n_warmup=1000, n_samples=1000, thinning=2
    ),
}


def measured(short: str, config: Config, keep: Path | None) -> tuple[Reference, dict[str, Compared]]:
    """The reference of a table, and what each method makes of it."""
    table = load(config.data)
    started = time.monotonic()
    reference = kept_reference(short, config, keep)
    seconds = time.monotonic() - started
    print(f"{short} NUTS: largest R-hat {reference.r_hat.max():.4f}, {seconds:.0f} s", flush=True)
    found = {}
    for name in config.methods:
        file = None if keep is None else keep / f"{short}-{name}.npz"
        started = time.monotonic()
        if file is not None and file.exists():
            with np.load(file) as values:
                correlation, ratio, variance, rate = (values[part] for part in Compared._fields)
                own = Compared(correlation, ratio, variance, float(rate))
        else:
            own = compare(name, config, table, reference, key=jax.random.key(0))
            if file is not None:
                np.savez(file, **own._asdict())
        found[name] = own
        print(
            f"{short} {name}: correlations {own.correlation.round(3)}, ratios {own.ratio.round(3)}, learning "
            f"rate {own.learning_rate or 'its own'}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return reference, found


def kept_reference(short: str, config: Config, keep: Path | None) -> Reference:
    """The draws of NUTS, read where they are kept."""
    table = load(config.data)
    file = None if keep is None else keep / f"{short}-nuts.npz"
    if file is None or not file.exists():
        found = reference_of(config, table, key=jax.random.key(1))
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            leaves = jax.tree_util.tree_leaves(eqx.filter(found.draws, eqx.is_array))
            own = {f"leaf{place}": leaf for place, leaf in enumerate(leaves)}
            np.savez(file, r_hat=found.r_hat, variance=found.variance, **own)
        return found
    model = network(config, table, key=jax.random.key(0))
    likelihood = likelihood_named("paper")
    parameters = likelihood.draw(likelihood.init(), key=jax.random.key(0))
    like = Draws(model, parameters, likelihood, n_chains=config.n_chains)
    arrays, static = eqx.partition(like, eqx.is_array)
    structure = jax.tree_util.tree_structure(arrays)
    with np.load(file) as values:
        leaves = [jax.numpy.asarray(values[f"leaf{place}"]) for place in range(structure.num_leaves)]
        draws = eqx.combine(jax.tree_util.tree_unflatten(structure, leaves), static)
        return Reference(draws, values["r_hat"], values["variance"])


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def described(found: dict[str, Compared]) -> str:
    """Correlation, its spread over initialisations, mean variance ratio and learning rate of each method."""
    parts = []
    for name, own in found.items():
        rate = f", learning rate {own.learning_rate:g}" if own.learning_rate else ""
        spread = own.correlation.std(ddof=1)
        ratio = f"variance ratio {own.ratio.mean():.2f}"
        parts.append(f"{name} {own.correlation.mean():.3f} (s.d. {spread:.3f}; {ratio}{rate})")
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path)
    keep = parser.parse_args().keep
    references, rows = {}, {}
    for short, config in CONFIGS.items():
        references[short], found = measured(short, config, keep)
        first = found[FIRST].correlation
        largest = references[short].r_hat.max()
        note = f"Correlations, means of {len(first)} initialisations: {described(found)}. "
        note += f"Largest R-hat {largest:.3f}"
        note += "." if largest < CONVERGED else ": THE REFERENCE HAS NOT CONVERGED."
        if short == "small":
            best, name = found["noisy-full"].correlation - first, "natgrad.5-full"
        else:
            rival = max(OTHERS, key=lambda other: found[other].correlation.mean())
            best, name = first - found[rival].correlation, f"natgrad.5-{short}"
            note += f" The largest of the others is {rival}'s."
            note += " Learning rates of bayes-by-backprop and mc-dropout by a tenth of the training rows."
        rows[name] = {
            "ours": round(float(best.mean()), 4),
            "spread": round(standard_error(best), 4),
            "note": note,
        }
        if short == "yacht":
            rows["natgrad.5-pearson"] = {
                "ours": round(float(first.mean()), 4),
                "spread": round(standard_error(first), 4),
                "note": f"By initialisation: {', '.join(f'{own:.3f}' for own in first)}.",
            }
    each = {short: round(float(own.r_hat.max()), 4) for short, own in references.items()}
    with_50 = {short: value for short, value in each.items() if short != "small"}
    rows["natgrad.5-rhat"] = {
        "ours": max(with_50.values()),
        "note": f"By table: {with_50}; yacht with 10 units, which isn't among them: {each['small']}.",
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
