"""What a flow does for the amortization gap at no more parameters (Cremer, Li and Duvenaud 2018)."""

import jax
import numpy as np
from matplotlib.figure import Figure

from backthrough.core import ArgumentError
from backthrough.latent import GapReport
from backthrough.recipes.latent.expressiveness_generalises.config import Config
from backthrough.recipes.latent.gap_models import (
    FAMILIES,
    Encoder,
    Images,
    check_setting,
    describe,
    in_errors,
    load_images,
    measure,
    n_parameters,
    stack_gaps,
    start_encoder,
    train_both,
    train_encoder,
)
from backthrough.train import Headline, Number, Run, mean_number

SETS = ("training", "held-out")


def run(config: Config, run: Run) -> None:
    """Trains a model with a factorised encoder, then an encoder of each family for its fixed decoder."""
    check_setting(config)
    images = load_images(config)
    both_key, *keys = jax.random.split(jax.random.key(config.seed), 1 + len(FAMILIES))
    starts = start_encoders(config, images, keys)
    model, _ = train_both(config, run, "model", "factorised", images, key=both_key)
    reports: dict[tuple[str, str], GapReport] = {}
    numbers: list[Number] = []
    for family, key in zip(FAMILIES, keys, strict=True):
        fit_key, *gap_keys = jax.random.split(key, 1 + len(SETS))
        encoder = train_encoder(config, run, f"encoder-{family}", model, starts[family], images, key=fit_key)
        what = f"the {family} encoder with all its networks"
        numbers.append(Number(f"parameters ({family})", float(n_parameters(encoder)), "", what))
        rows = (images.trained_on, images.held_out)
        for name, x, gap_key in zip(SETS, rows, gap_keys, strict=True):
            report = measure(config, run, model, encoder, x, images, key=gap_key)
            reports[family, name] = report
            what = describe(report, f"{family} encoder trained anew for a fixed decoder, {name} images")
            for gap in ("inference", "approximation", "amortization"):
                title = f"{gap} gap ({family}, {name})"
                numbers.append(mean_number(title, getattr(report, gap), "nats", what))
    for name in SETS:
        plain, flow = (reports[family, name] for family in FAMILIES)
        what = describe(plain, f"the factorised encoder's gap less the flow encoder's, {name} images")
        for gap in ("amortization", "inference"):
            difference = getattr(plain, gap) - getattr(flow, gap)
            numbers += in_errors(f"factorised less flow, {gap} gap ({name})", difference, what)
    draw(run, reports)
    run.save_result(numbers, headline=headline(numbers))


def start_encoders(config: Config, images: Images, keys: list[jax.Array]) -> dict[str, Encoder]:
    """The encoders before training; the flow's network is as wide as its fewer parameters allow.

    Raises:
        ArgumentError: if even a network of width 1 has too many.
    """
    plain = start_encoder("factorised", config, images, key=keys[0])
    for width in range(config.hidden_size, 0, -1):
        flow = start_encoder("flow", config, images, width=width, key=keys[1])
        if n_parameters(flow) <= n_parameters(plain):
            return {"factorised": plain, "flow": flow}
    raise ArgumentError(
        f"a flow of depth {config.flow_depth} alone has more parameters than the factorised encoder; use a "
        "larger hidden_size or a smaller flow_depth"
    )


def headline(numbers: list[Number]) -> Headline:
    """What the flow changes at held-out images."""
    found = {number.name: number for number in numbers}
    plain, flow = (found[f"amortization gap ({family}, held-out)"] for family in FAMILIES)
    name = "factorised less flow, amortization gap (held-out)"
    errors = found[f"{name}, in standard errors"].value
    verdict = "less" if errors > 3 else "more" if errors < -3 else "not clearly less or more"
    whole = found["factorised less flow, inference gap (held-out)"]
    sentence = (
        f"On held-out images an encoder of flows loses {flow} by amortization, {verdict} than the {plain} of "
        f"a factorised one with at least as many parameters; its whole gap is smaller by {whole}."
    )
    return Headline(sentence, name, "gaps.svg")


def draw(run: Run, reports: dict[tuple[str, str], GapReport]) -> None:
    """Both gaps of both encoders on both sets, one on the other."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    names = [(family, name) for name in SETS for family in FAMILIES]
    bars = [(reports[pair].approximation, reports[pair].amortization) for pair in names]
    place = np.array([0.0, 1.0, 2.5, 3.5])
    stack_gaps(axes, place, bars)
    axes.set_xticks(place, [f"{family}\n{name}" for family, name in names])
    caption = (
        "The two gaps of a factorised encoder, and of a flow encoder with no more parameters, trained for "
        "the same fixed decoder: on training and on held-out images, each with the standard error of its "
        "mean."
    )
    run.figures.save_plot("gaps", figure, caption=caption)
