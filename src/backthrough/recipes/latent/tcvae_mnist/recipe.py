"""Beta-TCVAE beside beta-VAE on pictures whose factors nobody knows (Chen et al. 2018, section 6)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from backthrough.recipes.digits import load_digits
from backthrough.recipes.latent.tcvae_mnist.config import Config
from backthrough.recipes.latent.tcvae_setting import check_setting
from backthrough.recipes.latent.tcvae_training import (
    Pictures,
    codes_of,
    column,
    draw_traversals,
    measure,
    of_beta,
    plot_betas,
    train,
)
from backthrough.train import Headline, Number, Run


def run(config: Config, run: Run) -> None:
    """Trains all copies at once, and shows what latents do in those of equal ELBO."""
    check_setting(config)
    digits = load_digits(config.data, seed=config.first_seed)
    pictures = Pictures(digits.train, np.ones(len(digits.train), int), 1.0, digits.shape)
    trained = train(config, run, pictures)
    measured = [measure(own, pictures, codes_of(own, pictures)) for own in trained.copies]
    rows = trained.plan.join(pd.DataFrame(measured), on="training")
    rows.to_csv(run.path / "trainings.csv", index=False)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    plot_betas(axes, config, rows, "ELBO", "total correlation")
    axes.set(xlabel="ELBO (nats)", ylabel="total correlation (nats)")
    axes.legend()
    run.figures.save_plot(
        "total-correlation", figure, caption="Every training, and the medians of each beta (numbers)."
    )
    pressed = of_beta(rows, config.methods[0], max(config.betas)).sort_values("ELBO")
    chosen = int(pressed.index[(len(pressed) - 1) // 2])
    figure, caption = draw_traversals(trained, rows, chosen, pictures, 0)
    run.figures.save_plot("traversals", figure, caption=caption)
    save(config, run, rows, chosen)


def save(config: Config, run: Run, rows: pd.DataFrame, chosen: int) -> None:
    """Medians of each method and beta, and a headline."""
    numbers = []
    for method in config.methods:
        for beta in config.betas:
            own = of_beta(rows, method, beta)
            for quantity in ("ELBO", "total correlation", "mutual information"):
                value, what = float(np.median(column(own, quantity))), f"median of {len(own)} trainings"
                numbers.append(
                    Number(f"{quantity}, {method}, beta {beta:g}", value, "nats", what, n=len(own))
                )
    method, beta = rows["method"][chosen], rows["beta"][chosen]
    name = f"total correlation, {method}, beta {beta:g}"
    value = next(number.value for number in numbers if number.name == name)
    sentence = f"With {method} and beta {beta:g} the code's total correlation is {value:.2f} nats"
    plain = column(rows.loc[rows["beta"] == 1], "total correlation")
    if len(plain):
        sentence += f"; a plain VAE's is {np.median(plain):.2f}"
    run.save_result(numbers, headline=Headline(sentence + ".", name, "traversals.svg"))
