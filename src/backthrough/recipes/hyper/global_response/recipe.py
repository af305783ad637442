"""A hypernetwork learns the best response everywhere, and the regulariser walks down along it."""

import jax
import numpy as np
from matplotlib.figure import Figure

from backthrough.core import check_integer
from backthrough.hyper import MLP, GlobalHypernet, tune
from backthrough.recipes.hyper.global_response.config import Config
from backthrough.recipes.hyper.one_regulariser import curves, load, nll, space, train_loss
from backthrough.train import Headline, Number, Run

CLOSE = 0.5  # in log lambda
PUBLISHED_NLL = 2.60  # of refits, in the paper's setting


def run(config: Config, run: Run) -> None:
    """Trains, walks, refits on a grid, and compares the curves."""
    for name in ("n_train", "n_valid", "n_steps", "n_refit"):
        check_integer(name, getattr(config, name), minimum=1)
    key, refit_key = jax.random.split(jax.random.key(config.seed))
    data = load(config.data, config.n_train, config.n_valid)
    found = tune(
        lambda w, hyper: train_loss(data.train, w, hyper),
        lambda w: nll(data.valid, w),
        data.initial(),
        space(0.0),
        engine=GlobalHypernet(
            MLP(config.width), config.learning_rate, n_samples=config.n_samples, spread=config.spread
        ),
        n_steps=config.n_steps,
        key=key,
        run=Run(run.path / "tuning", config={"of": "hyper-global"}, resume=run.is_resumed),
    )
    own = curves(found, np.arange(-3, 4.01, 0.1), n_steps=config.n_refit, key=refit_key)
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    own.plot(figure.subplots(), found)
    caption = f"{config.data}, {config.n_train} training pictures; crosses are refits."
    run.figures.save_plot("curves", figure, caption=caption)
    off = abs(own.best - own.best_refit)
    what = f"{config.data}, {config.n_train} training pictures"
    numbers = [
        Number("log lambda (hypernetwork's curve)", own.best, "", f"{what}, smallest validation loss"),
        Number("log lambda (refits)", own.best_refit, "", f"{what}, smallest validation loss"),
        Number("log lambda (found)", float(found.u[0]), "", f"{what}, where the walk has ended"),
        Number("distance of the minima", off, "", f"{what}, in log lambda"),
        Number("validation NLL (hypernetwork)", float(own.valid.min()), "nats", what),
        Number("validation NLL (refits)", float(own.refit_valid.min()), "nats", what),
        Number(
            "distance of the loss", abs(float(own.valid.min()) - PUBLISHED_NLL), "nats", f"{what}, from 2.60"
        ),
    ]
    verdict = "as" if off <= CLOSE else "not as"
    sentence = (
        f"The hypernetwork's curve is lowest at log lambda {own.best:.1f} ({own.valid.min():.2f} nats), "
        f"{verdict} refits have it: {own.best_refit:.1f} ({own.refit_valid.min():.2f} nats)."
    )
    run.save_result(numbers, headline=Headline(sentence, "distance of the minima", "curves.svg"))
