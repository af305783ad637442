"""`backthrough disentangle CODES.npz FACTORS.csv`."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from backthrough.cli.runs import Place, carry_out, parse_run, saved_config
from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    from backthrough.train import Run

MEANS = ("means", "mean", "mu", "codes")
SCALES = {
    "scales": ("scales", "scale", "std", "sigma"),
    "log scales": ("log_scales", "log_scale", "log_std", "log_sigma"),
    "variances": ("variances", "variance", "var"),
    "log variances": ("log_variances", "log_variance", "log_var", "logvar"),
}


@dataclass(frozen=True)
class Config:
    """What is measured."""

    factors: tuple[str, ...] = ()
    """Columns of the table that are factors; all of them by default."""
    bins: tuple[str, ...] = ()
    """Continuous factors and the number of bins that each is cut into, such as angle=20."""
    n_samples: int = 2000
    """Draws at which the parts of the KL are measured, where the file has scales."""
    n_rows: int = 10000
    """Rows, drawn at random, for the scores that fit models."""
    seed: int = 0
    """Determines all draws."""


@dataclass(frozen=True)
class Options:
    """Which factor does each latent of your codes tell of? MIG, DCI, SAP and the others, with a heat map.

    CODES.npz holds the array means, shape (example, latent), and if the codes are distributions their scales
    (or log_scales, variances, log_variances). FACTORS.csv has a header, a row for each example in the same
    order, and a column for each factor, of words or numbers. Into the run directory come scores.csv,
    information.csv, and a page.
    """

    codes: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="CODES.npz")]] = ""
    """Means of the codes, and their scales."""
    table: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="FACTORS.csv")]] = ""
    """The factors."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Reads both files, and scores the codes."""
    saved = saved_config(arguments, "disentangle")
    default = Options(saved.get("codes", ""), saved.get("table", ""), config=with_saved(Config(), saved))
    call = parse_run(Options, arguments, prog="backthrough disentangle", default=default)
    config = call.config
    check_integer("n_samples", config.n_samples, minimum=2)
    check_integer("n_rows", config.n_rows, minimum=2)
    check_integer("seed", config.seed, minimum=0)
    bins = dict(map(_bins, config.bins))
    if not call.codes or not call.table:
        raise ArgumentError("disentangle needs CODES.npz and FACTORS.csv (all of it: --help)")
    codes, table = (str(Path(own).expanduser().absolute()) for own in (call.codes, call.table))
    means, scales = _codes(codes)
    factors = _factors(table, config.factors)
    unknown = sorted(set(bins) - set(factors))
    if unknown:
        check_choice("factor of --bins", unknown[0], factors)
    return carry_out(
        "disentangle",
        lambda run: _score(config, run, means, scales, factors, bins),
        place=call.place,
        config={"codes": codes, "table": table, **dataclasses.asdict(config)},
        again=["backthrough", "disentangle"],
    )


def _bins(words: str) -> tuple[str, int]:
    name, _, number = words.rpartition("=")
    if not name or not number.isdigit():
        raise ArgumentError(f"--bins takes NAME=NUMBER, such as angle=20, got {words!r}")
    return name, check_integer(f"bins of {name}", int(number), minimum=2)


def _codes(path: str) -> tuple[Any, Any]:
    """Means, and scales or None."""
    import numpy as np

    from backthrough.datasets import read_arrays

    arrays = read_arrays(path)
    held = ", ".join(f"{name} {arrays[name].shape}" for name in arrays)
    found = [name for name in MEANS if name in arrays]
    if len(found) != 1:
        raise ArgumentError(
            f"{path} must hold one array of means, by the name {', '.join(MEANS[:-1])} or {MEANS[-1]}; it "
            f"holds {held}"
        )
    means = arrays[found[0]]
    kinds = [(kind, name) for kind, names in SCALES.items() for name in names if name in arrays]
    if len(kinds) > 1:
        raise ArgumentError(f"{path} holds {' and '.join(name for _, name in kinds)}: keep one of them")
    others = [name for name in arrays if name not in (found[0], *(own for _, own in kinds))]
    alike = [name for name in others if arrays[name].shape == means.shape]
    if not kinds and alike:
        raise ArgumentError(
            f"{path} holds {alike[0]}, of the shape of the means: if these are scales, name them scales, "
            "log_scales, variances or log_variances; if not, leave them out"
        )
    if others:
        print(f"backthrough: not used of {path}: {', '.join(others)}", file=sys.stderr)
    if not kinds:
        return means, None
    kind, name = kinds[0]
    numbers = np.asarray(arrays[name], np.float64)
    numbers = np.exp(numbers) if kind.startswith("log") else numbers
    return means, np.sqrt(numbers) if kind.endswith("variances") else numbers


def _factors(path: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Columns of numbers or words."""
    import numpy as np

    from backthrough.core import DataError
    from backthrough.datasets import read_cells
    from backthrough.datasets.tables import check_names

    cells = read_cells(path, columns=wanted)
    if not wanted:
        check_names(path, cells.names)
    columns = {}
    for name in wanted or cells.names:
        texts = cells.texts(name)
        if None in texts:
            line = cells.lines[texts.index(None)]
            raise DataError(f"{path} line {line}: factor {name!r} is missing; mend it or drop the example")
        numbers = cells.numbers(name)
        columns[name] = np.array(texts) if numbers is None else numbers
    return columns


def _score(
    config: Config, run: "Run", means: Any, scales: Any, factors: dict[str, Any], bins: dict[str, int]
) -> None:
    import jax
    import pandas as pd
    from matplotlib.figure import Figure

    from backthrough.latent import Codes, metrics, tc_decomposition
    from backthrough.train import Headline

    codes = means if scales is None else Codes(means, scales)
    scores = metrics(codes, factors, bins=bins, n_rows=config.n_rows, random_state=config.seed)
    numbers = scores.numbers()
    scores.table().to_csv(run.path / "scores.csv")
    information = pd.DataFrame(scores.information.values.T, index=pd.Index(scores.names, name="factor"))
    information.to_csv(run.path / "information.csv")
    figure = Figure(figsize=(6.5, 1.2 + 0.5 * len(scores.names)), layout="constrained")
    scores.plot(figure.subplots())
    mixtures = "binned means" if scales is None else "q(z | n), by integration"
    run.figures.save_plot("information", figure, caption=f"I(latent; factor) / H(factor) of {mixtures}.")
    if isinstance(codes, Codes):
        parts = tc_decomposition(codes, key=jax.random.key(config.seed), n_samples=config.n_samples)
        numbers += parts.numbers()
        figure = Figure(figsize=(6.5, 3.5), layout="constrained")
        parts.plot(figure.subplots())
        run.figures.save_plot("kl", figure, caption="Parts of the mean KL, with standard errors.")
    print(scores)
    first = next(iter(scores.means))
    run.save_result(numbers, headline=Headline(scores.sentence(), first, "information.svg"))
