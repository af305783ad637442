"""The two inference gaps of VAEs, and what the encoder's size does to them (Cremer, Li and Duvenaud 2018)."""

import jax
import numpy as np
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, check_integer
from backthrough.latent import GapReport, elbo, evaluate_bound
from backthrough.recipes.latent.gap_models import (
    FAMILIES,
    check_setting,
    describe,
    in_errors,
    load_images,
    measure,
    stack_gaps,
    start_encoder,
    train_both,
    train_encoder,
)
from backthrough.recipes.latent.inference_gaps.config import Config
from backthrough.train import Headline, Number, Run, mean_number

EVALUATION = 7


def run(config: Config, run: Run) -> None:
    """Trains both models and measures their gaps; then encoders of several sizes for the first decoder."""
    check_setting(config)
    if config.families not in (FAMILIES, FAMILIES[:1]):
        raise ArgumentError(f"families must be factorised, or factorised flow, got {config.families}")
    if len(set(config.encoder_widths)) < len(config.encoder_widths):
        raise ArgumentError(f"encoder_widths must differ from each other, got {config.encoder_widths}")
    for width in config.encoder_widths:
        check_integer("encoder_widths", width, minimum=0)
    images = load_images(config)
    key = jax.random.key(config.seed)
    numbers: list[Number] = []
    bars: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # approximation and amortization gap of each image
    reports: dict[str, GapReport] = {}
    models = {}
    for index, family in enumerate(config.families):
        train_key, gap_key = jax.random.split(jax.random.fold_in(key, index))
        models[family], encoder = train_both(config, run, family, family, images, key=train_key)
        report = measure(config, run, models[family], encoder, images.held_out, images, key=gap_key)
        reports[family] = report
        bars[family] = (report.approximation, report.amortization)
        what = describe(report, f"VAE trained with a {family} posterior, held-out images")
        for name, values in (
            ("log p(x)", report.log_p),
            ("ELBO of q*", report.best_elbo),
            ("ELBO of q", report.encoder_elbo),
            ("inference gap", report.inference),
            ("approximation gap", report.approximation),
            ("amortization gap", report.amortization),
        ):
            numbers.append(mean_number(f"{name} ({family})", values, "nats", what))
        difference = report.amortization - report.approximation
        numbers += in_errors(f"amortization less approximation gap ({family})", difference, what)
    report = reports["factorised"]
    losses = {}
    for index, width in enumerate(config.encoder_widths):
        start_key, fit_key = jax.random.split(jax.random.fold_in(key, 100 + index))
        model = models["factorised"]
        name = f"{width}-{width}" if width else "linear"
        encoder = start_encoder("factorised", config, images, width=width, key=start_key)
        encoder = train_encoder(config, run, f"encoder-{name}", model, encoder, images, key=fit_key)
        values = evaluate_bound(
            elbo,
            model,
            encoder,
            images.held_out,
            key=jax.random.fold_in(key, EVALUATION),
            n_samples=config.n_samples,
            label=f"ELBO, {name}",
        )
        losses[width] = report.best_elbo - values
        bars[name] = (report.approximation, losses[width])
        what = describe(report, f"{name} encoder trained anew for the decoder of the factorised VAE")
        numbers.append(mean_number(f"amortization gap ({name} encoder)", losses[width], "nats", what))
    if len(losses) > 1:
        difference = losses[min(losses)] - losses[max(losses)]
        what = describe(report, "amortization gap of the smallest encoder less that of the largest")
        numbers += in_errors("smallest less largest encoder", difference, what)
    draw(run, report, bars)
    run.save_result(numbers, headline=headline(config, numbers))


def headline(config: Config, numbers: list[Number]) -> Headline:
    """Which gap is larger, and whether a larger encoder makes it smaller."""
    found = {number.name: number for number in numbers}
    parts = ("inference gap", "amortization gap", "approximation gap")
    total, amortization, approximation = (found[f"{name} (factorised)"] for name in parts)
    errors = found["amortization less approximation gap (factorised), in standard errors"].value
    verdict = "the larger part" if errors > 3 else "the smaller part" if errors < -3 else "about half"
    picture = "gaps.svg" if len(config.families) + len(config.encoder_widths) > 1 else "parts.svg"
    sentence = (
        f"Of the {total} between log p(x) and the ELBO of a factorised posterior, the encoder loses "
        f"{amortization} and the family {approximation}: the encoder's is {verdict}"
    )
    capacity = found.get("smallest less largest encoder")
    if capacity is not None:
        sentence += f"; the smallest encoder loses {capacity} more than the largest"
    return Headline(f"{sentence}.", amortization.name, picture)


def draw(run: Run, report: GapReport, bars: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """The gaps of the factorised VAE; both gaps of each encoder, one on the other."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    report.plot(figure.subplots())
    caption = (
        "The gap between log p(x) and the ELBO of a VAE with a factorised posterior on held-out images, and "
        "the two parts that it is the sum of, with standard errors of the means."
    )
    run.figures.save_plot("parts", figure, caption=caption)
    if len(bars) == 1:
        return
    figure = Figure(figsize=(1.6 + 1.1 * len(bars), 4), layout="constrained")
    axes = figure.subplots()
    place = np.arange(float(len(bars)))
    stack_gaps(axes, place, list(bars.values()))
    names = [name if name in FAMILIES else f"{name}\nencoder" for name in bars]
    axes.set_xticks(place, names)
    caption = (
        "The approximation and the amortization gap on held-out images, each with the standard error of its "
        "mean: VAEs trained with "
        + " and with ".join(f"{name} posteriors" for name in bars if name in FAMILIES)
    )
    if not bars.keys() <= set(FAMILIES):
        caption += ", then factorised encoders of other sizes trained anew for the first VAE's decoder"
    run.figures.save_plot("gaps", figure, caption=f"{caption}.")
