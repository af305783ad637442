"""A linear response is learned around the regulariser as that moves."""

import jax
import numpy as np
from matplotlib.figure import Figure

from backthrough.core import check_choice, check_integer, check_positive
from backthrough.hyper import CentredLinear, Linear, LocalHypernet, best_response_gap, tune
from backthrough.recipes.hyper.local_response.config import Config
from backthrough.recipes.hyper.one_regulariser import curves, load, nll, space, train_loss
from backthrough.train import Headline, Number, ResultTable, Run

CLOSE = 0.3  # in log lambda


def run(config: Config, run: Run) -> None:
    """Tunes, refits on a grid, and compares where either ends."""
    for name in ("n_train", "n_valid", "n_steps", "n_refit"):
        check_integer(name, getattr(config, name), minimum=1)
    check_choice("response", config.response, ("linear", "centred"))
    check_positive("around", config.around)
    key, refit_key = jax.random.split(jax.random.key(config.seed))
    data = load(config.data, config.n_train, config.n_valid)
    response = Linear() if config.response == "linear" else CentredLinear()
    found = tune(
        lambda w, hyper: train_loss(data.train, w, hyper),
        lambda w: nll(data.valid, w),
        data.initial(),
        space(config.start),
        engine=LocalHypernet(response, n_samples=config.n_samples),
        n_steps=config.n_steps,
        key=key,
        scale=config.around,
        run=Run(run.path / "tuning", config={"of": "hyper-local"}, resume=run.is_resumed),
    )
    gap = best_response_gap(found, key=refit_key, n_steps=config.n_refit)
    own = curves(found, np.arange(-4, 4.01, 0.2), n_steps=config.n_refit, key=refit_key)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    own.plot(left, found)
    found.plot(right)
    caption = f"{config.data}, {config.n_train} training pictures; crosses are refits. The response is local."
    run.figures.save_plot("curves", figure, caption=caption)
    off = abs(float(found.u[0]) - own.best_refit)
    what = f"{config.data}, {config.n_train} training pictures"
    numbers = [
        Number("log lambda (found)", float(found.u[0]), "", what),
        Number("log lambda (refits)", own.best_refit, "", f"{what}, smallest validation loss"),
        Number("distance from the optimum", off, "", f"{what}, in log lambda"),
        Number("validation NLL (found)", found.valid_loss, "nats", what),
        Number("validation NLL (refits)", float(own.refit_valid.min()), "nats", what),
    ]
    where = "at" if off <= CLOSE else "not at"
    sentence = (
        f"From {config.start:g} log lambda went to {float(found.u[0]):.2f}, {where} the optimum of refits, "
        f"{own.best_refit:.1f}; validation {found.valid_loss:.2f} nats, theirs {own.refit_valid.min():.2f}."
    )
    said = ResultTable("Can it be trusted?", ("a refit says",), ((gap.verdict(),),))
    run.save_result(
        numbers, headline=Headline(sentence, "distance from the optimum", "curves.svg"), tables=[said]
    )
