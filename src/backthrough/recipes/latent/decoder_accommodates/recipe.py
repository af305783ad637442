"""A decoder accommodates the posterior that it is trained with (Cremer, Li and Duvenaud 2018)."""

import jax
import numpy as np
from matplotlib.figure import Figure

from backthrough.latent import GapReport
from backthrough.recipes.latent.decoder_accommodates.config import Config
from backthrough.recipes.latent.gap_models import (
    FAMILIES,
    check_setting,
    describe,
    in_errors,
    load_images,
    measure,
    start_encoder,
    train_both,
    train_encoder,
)
from backthrough.train import Headline, Number, Run, mean_number


def run(config: Config, run: Run) -> None:
    """Trains a decoder with each family, and finds the best posteriors of both families on both.

    The search for q* starts from an encoder: the decoder's own, or one of the other family trained for it.
    """
    check_setting(config)
    images = load_images(config)
    key = jax.random.key(config.seed)
    reports: dict[tuple[str, str], GapReport] = {}
    numbers: list[Number] = []
    for index, trained_with in enumerate(FAMILIES):
        own_key, other_key, start_key, *gap_keys = jax.random.split(jax.random.fold_in(key, index), 5)
        model, own = train_both(config, run, trained_with, trained_with, images, key=own_key)
        for family, gap_key in zip(FAMILIES, gap_keys, strict=True):
            encoder = own
            if family != trained_with:
                encoder = start_encoder(family, config, images, key=start_key)
                name = f"{family}-on-{trained_with}"
                encoder = train_encoder(config, run, name, model, encoder, images, key=other_key)
            reports[trained_with, family] = measure(
                config, run, model, encoder, images.held_out, images, key=gap_key
            )
    log_p = {  # one estimate for each decoder: from the posterior of its own family
        trained_with: reports[trained_with, trained_with].log_p for trained_with in FAMILIES
    }
    gaps = {pair: log_p[pair[0]] - report.best_elbo for pair, report in reports.items()}
    for (trained_with, family), report in reports.items():
        own = reports[trained_with, trained_with]
        what = describe(own, f"decoder trained with a {trained_with} posterior, best {family} posteriors")
        if family == trained_with:
            numbers.append(
                mean_number(f"log p(x) ({trained_with} decoder)", log_p[trained_with], "nats", what)
            )
            numbers.append(
                mean_number(f"ELBO of q ({trained_with} decoder)", report.encoder_elbo, "nats", what)
            )
        name = f"ELBO of q*, {family} ({trained_with} decoder)"
        numbers.append(mean_number(name, report.best_elbo, "nats", what))
        name = f"approximation gap, {family} ({trained_with} decoder)"
        numbers.append(mean_number(name, gaps[trained_with, family], "nats", what))
    difference = gaps["flow", "factorised"] - gaps["factorised", "factorised"]
    what = describe(
        reports["flow", "flow"],
        "approximation gap of factorised posteriors: on the decoder trained with a flow, less that on the "
        "one trained with a factorised posterior",
    )
    numbers += in_errors("what factorised posteriors lose on the flow's decoder", difference, what)
    draw(run, gaps)
    run.save_result(numbers, headline=headline(numbers))


def headline(numbers: list[Number]) -> Headline:
    """How much worse the factorised family fits the decoder of the flow."""
    found = {number.name: number for number in numbers}
    before, after = (found[f"approximation gap, factorised ({name} decoder)"] for name in FAMILIES)
    name = "what factorised posteriors lose on the flow's decoder"
    errors = found[f"{name}, in standard errors"].value
    verdict = "the decoder accommodates its posterior" if errors > 3 else "no clear sign of accommodation"
    sentence = (
        f"The best factorised posteriors are {after} below log p(x) of a decoder trained with a flow, "
        f"and {before} below that of one trained with them: {verdict}."
    )
    return Headline(sentence, name, "gaps.svg")


def draw(run: Run, gaps: dict[tuple[str, str], np.ndarray]) -> None:
    """The four approximation gaps."""
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    for shift, family, colour in ((-0.2, "factorised", "C0"), (0.2, "flow", "C2")):
        values = [gaps[trained_with, family] for trained_with in FAMILIES]
        means = [own.mean() for own in values]
        errors = [own.std(ddof=1) / np.sqrt(len(own)) for own in values]
        axes.bar(
            np.arange(2) + shift,
            means,
            0.38,
            yerr=errors,
            capsize=4,
            color=colour,
            label=f"best {family} posteriors",
        )
    axes.set_xticks(range(2), [f"decoder trained with\n{name} posterior" for name in FAMILIES])
    axes.set_ylabel("approximation gap (nats)")
    axes.margins(y=0.25)
    axes.legend(loc="upper left")
    caption = (
        "How far the best posteriors of each family are below log p(x) on held-out images, for decoders "
        "trained with either family, with standard errors of the means."
    )
    run.figures.save_plot("gaps", figure, caption=caption)
