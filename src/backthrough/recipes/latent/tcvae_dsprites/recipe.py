"""Beta-TCVAE and beta-VAE on sprites whose factors are known (Chen et al. 2018, sections 5 and 6)."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, check_integer
from backthrough.datasets import sprites
from backthrough.latent import MIG, Codes, mig
from backthrough.recipes.latent.tcvae_dsprites.config import Config
from backthrough.recipes.latent.tcvae_setting import METHODS, check_setting
from backthrough.recipes.latent.tcvae_training import (
    Pictures,
    Trained,
    codes_of,
    column,
    draw_traversals,
    measure,
    of_beta,
    plot_betas,
    train,
)
from backthrough.train import Headline, Number, Run

EDGE = 64  # of the pictures that the likelihood is meant for
PARTS = ("ELBO", "total correlation")
FACTORS = ("scale", "orientation", "posX", "posY")


class Hearts(NamedTuple):
    """Pictures and the classes of their factors, those of `FACTORS`."""

    pictures: Pictures
    classes: Int[np.ndarray, "picture factor"]


def run(config: Config, run: Run) -> None:
    """Trains all copies at once, then measures MIG, the ELBO and the parts of the KL of each."""
    check_setting(config)
    for name in ("every", "size"):
        check_integer(name, getattr(config, name), minimum=1)
    if EDGE % config.size:
        raise ArgumentError(f"size must divide {EDGE}, got {config.size}")
    if config.every > 16:
        raise ArgumentError(f"every must be at most 16, got {config.every}: fewer than two places are left")
    hearts = load(config)
    trained = train(config, run, hearts.pictures)
    codes = [codes_of(own, hearts.pictures) for own in trained.copies]
    scores = [mig(own, hearts.classes, names=FACTORS) for own in codes]
    measured = [
        {**measure(own, hearts.pictures, its), **gaps(score)}
        for own, its, score in zip(trained.copies, codes, scores, strict=True)
    ]
    rows = trained.plan.join(pd.DataFrame(measured), on="training")
    rows.to_csv(run.path / "trainings.csv", index=False)
    draw(config, run, rows)
    show(config, run, rows, trained, codes, scores, hearts)
    save(config, run, rows)


def load(config: Config) -> Hearts:
    """Hearts, drawn at the full size and reduced by averaging."""
    places = range(0, 32, config.every)
    turned = range(0, 39, config.every)  # the last orientation of the 40 is the first again
    drawn = sprites(classes={"shape": [2], "orientation": turned, "posX": places, "posY": places})
    block = EDGE // config.size
    small = drawn.images.reshape(-1, config.size, block, config.size, block).mean((2, 4), dtype=np.float32)
    classes = drawn.classes[:, 1:]
    times = np.ones(len(classes), int)
    if config.correlated != "no":  # likely where both are small, or both large
        scale, place = (classes[:, column] / classes[:, column].max() for column in (0, 2))
        times = np.rint(4 - 3 * np.abs(scale - place)).astype(int)
    pixels, shape = small.reshape(len(small), -1), (config.size, config.size)
    return Hearts(Pictures(pixels, times, float(block**2), shape), classes)


def gaps(score: MIG) -> dict[str, float]:
    """MIG, and that of each factor."""
    of_factors = zip(FACTORS, score.gaps, strict=True)
    return {"MIG": score.mean, **{f"MIG of {name}": float(gap) for name, gap in of_factors}}


def draw(config: Config, run: Run, rows: pd.DataFrame) -> None:
    """MIG against ELBO and total correlation."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, across in zip(figure.subplots(1, 2, sharey=True), PARTS, strict=True):
        plot_betas(axes, config, rows, across, "MIG")
        axes.set(xlabel=f"{across} (nats)")
    figure.axes[0].set(ylabel="MIG, mean of four factors")
    figure.axes[0].legend()
    caption = "Every training, and the medians of each beta (numbers)."
    run.figures.save_plot("mig", figure, caption=caption)


def show(
    config: Config,
    run: Run,
    rows: pd.DataFrame,
    trained: Trained,
    codes: list[Codes],
    scores: list[MIG],
    hearts: Hearts,
) -> None:
    """What a middling training of the best method and beta has learnt, and its codes as files."""
    method, beta, _ = best(config, rows)
    some = of_beta(rows, method, beta).sort_values("MIG")
    index = int(some.index[(len(some) - 1) // 2])
    which = f"{method}, beta {beta:g}, the training of median MIG ({column(rows, 'MIG')[index]:.2f})"
    figure, caption = draw_traversals(trained, rows, index, hearts.pictures, len(hearts.classes) // 2)
    run.figures.save_plot("traversals", figure, caption=f"{which}. {caption}")
    number = rows["training"].tolist()[index]
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    scores[number].plot(figure.subplots())
    caption = f"I(latent; factor) / H(factor) of {which}: its codes are codes.npz, with factors.csv."
    run.figures.save_plot("information", figure, caption=caption)
    chosen, times = codes[number], hearts.pictures.times
    means, scales, classes = (
        np.repeat(own, times, axis=0) for own in (chosen.means, chosen.scales, hearts.classes)
    )
    np.savez_compressed(run.path / "codes.npz", means=means, scales=scales)
    pd.DataFrame(classes, columns=FACTORS).to_csv(run.path / "factors.csv", index=False)


def best(config: Config, rows: pd.DataFrame) -> tuple[str, float, float]:
    """The method and beta of the largest median MIG, and that."""
    middle = {
        (method, beta): float(np.median(column(of_beta(rows, method, beta), "MIG")))
        for method in config.methods
        for beta in config.betas
    }
    method, beta = max(middle, key=lambda own: middle[own])
    return method, beta, middle[method, beta]


def at_equal_elbo(rows: pd.DataFrame) -> list[float]:
    """For each seed, how far beta-TCVAE is above beta-VAE in MIG, over all ELBOs that both have.

    MIG of a method and seed is drawn as a line over the ELBO through its betas; it is the mean height
    between both lines, over the ELBOs from which both start to those that both reach.
    """
    found = []
    for _, of_seed in rows.groupby("seed"):
        lines = [
            own.sort_values("ELBO")[["ELBO", "MIG"]].to_numpy(float).T
            for own in (of_seed.loc[of_seed["method"] == method] for method in METHODS)
        ]
        low, high = max(line[0, 0] for line in lines), min(line[0, -1] for line in lines)
        if low < high:
            between = np.linspace(low, high, 1001)
            above, below = (np.interp(between, *line) for line in lines)
            found.append(float((above - below).mean()))
    return found


def save(config: Config, run: Run, rows: pd.DataFrame) -> None:
    """Medians of each method and beta, the rank correlation, both methods at equal ELBO, and a headline."""
    numbers = []
    for method in config.methods:
        for beta in config.betas:
            own = of_beta(rows, method, beta)
            name, n = f"{method}, beta {beta:g}", len(own)
            gaps = column(own, "MIG")
            spread = f"median of {n} trainings, from {gaps.min():.3f} to {gaps.max():.3f}"
            numbers.append(Number(f"MIG, {name}", float(np.median(gaps)), "", spread, n=n))
            for quantity, unit in (("MIG of scale", ""), *((part, "nats") for part in PARTS)):
                value = float(np.median(column(own, quantity)))
                numbers.append(Number(f"{quantity}, {name}", value, unit, f"median of {n} trainings", n=n))
    distinct = rows.drop_duplicates("training")
    if len(distinct) > 2:
        what = "Spearman's, of total correlation and MIG over all trainings"
        ranks = distinct[["total correlation", "MIG"]].rank().to_numpy(float)
        rank = float(np.corrcoef(ranks, rowvar=False)[0, 1])
        numbers.append(Number("rank correlation", rank, "", what, n=len(distinct)))
    if len(config.methods) == len(METHODS) and len(config.betas) > 1:
        above = at_equal_elbo(rows)
        if above:
            what = "mean over seeds, of beta-TCVAE's less beta-VAE's over the ELBOs that both have"
            error = float(np.std(above, ddof=1) / len(above) ** 0.5) if len(above) > 1 else None
            value = float(np.mean(above))
            numbers.append(Number("MIG at equal ELBO", value, "", what, error, n=len(above)))
    method, beta, value = best(config, rows)
    sentence = f"The best median MIG is {value:.2f}, of {method} with beta {beta:g}"
    plain = column(rows.loc[rows["beta"] == 1], "MIG")
    sentence += f"; plain VAEs have {np.median(plain):.2f}." if len(plain) else "."
    picture = "mig.svg" if len(rows) > 1 else "traversals.svg"
    run.save_result(numbers, headline=Headline(sentence, f"MIG, {method}, beta {beta:g}", picture))
