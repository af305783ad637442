"""`backthrough regress TABLE.csv --target NAME`."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from backthrough.cli.runs import Place, carry_out, parse_run, saved_config
from backthrough.cli.tables import NewRows, existing_table
from backthrough.core import ArgumentError, DataError, check_integer, check_positive
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    import pandas as pd

    from backthrough.regress import BayesianClassifier, BayesianRegressor, Labelled
    from backthrough.train import Run

Method = Literal[
    "noisy-kfac",
    "noisy-ekfac",
    "noisy-adam",
    "noisy-full",
    "bayes-by-backprop",
    "mc-dropout",
    "deep-ensemble",
    "map",
]
LEVEL = 0.9


@dataclass(frozen=True)
class Config:
    """What is predicted, and how it is learned."""

    target: str = ""
    """The column to predict."""
    columns: tuple[str, ...] = ()
    """The columns to predict it by; all others when none is named."""
    categories: tuple[str, ...] = ()
    """Columns that are categories although they may look like numbers."""
    task: Literal["auto", "regression", "classification"] = "auto"
    """By the target: text, and whole numbers with few values, are classes."""
    method: Method = "noisy-kfac"
    """How a distribution over the network's weights is found."""
    hidden_sizes: tuple[int, ...] = (50,)
    """Widths of the hidden layers."""
    prior_var: float = 1.0
    """Variance of the weights' prior."""
    kl_weight: float = 1.0
    """Weight of the divergence from the prior; less than 1 makes predictions surer."""
    n_epochs: int | None = None
    """Passes over the rows; by default as many as make 20,000 steps, 10 to 1,000."""
    batch_size: int | None = None
    """Rows in a minibatch; by default a 50th of the rows, 10 to 100."""
    learning_rate: float | None = None
    """By default the method's own."""
    n_samples: int = 100
    """Networks drawn from what was found, which make the predictions."""
    seed: int = 0
    """Determines split, weights, order and draws."""


@dataclass(frozen=True)
class Options:
    """Predicts a column of your own table, and says how sure it is.

    The other columns may be numbers, text, truth values or dates, with missing cells; what is made of each
    is written on the page. Into the run directory come what predictions of held-out rows are off by, beside
    a linear model and a random forest, whether intervals hold what they should, predictions.csv, model.npz,
    and a page with pictures.
    """

    table: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="TABLE.csv")]] = None
    """A CSV file with a header line."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    new: tyro.conf.OmitArgPrefixes[NewRows] = dataclasses.field(default=NewRows())
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Fits to a table, or predicts new rows with a model that is there."""
    saved = saved_config(arguments, "regress")
    call = parse_run(
        Options,
        arguments,
        prog="backthrough regress",
        default=Options(config=with_saved(Config(), saved)),
    )
    if call.new.model is not None or (call.new.is_asked_for and call.table is None and not saved):
        return _predict_new_rows(call)
    config = call.config
    path = existing_table(call.table, saved, "regress")
    if not config.target:
        raise ArgumentError("regress needs the column to predict: --target NAME")
    _check(config)
    answer = None
    if call.new.predict is not None:
        answer = call.new.answer("regress")
    elif call.new.out is not None:
        raise ArgumentError("--out is where predictions of new rows go: it needs --predict NEW.csv")

    from backthrough.regress import read_labelled

    labelled = read_labelled(
        path, config.target, task=config.task, categories=config.categories, columns=config.columns
    )
    about = f"{labelled.task} of {config.target!r}, since {labelled.why}"
    about = about if config.task != "auto" else f"{about} (--task says otherwise)"
    without = f"; {labelled.n_without:,} rows have no target and are left out" if labelled.n_without else ""
    print(f"backthrough: {about}{without}", file=sys.stderr)

    def work(run: "Run") -> None:
        model = _fit(config, run, labelled, path)
        if answer is not None:
            _write_answer(model, call.new.predict, answer)

    return carry_out(
        "regress",
        work,
        place=call.place,
        config={"data": str(path), **dataclasses.asdict(config)},
        again=["backthrough", "regress"],
    )


def _check(config: Config) -> None:
    """Refuses wrong numbers before JAX is imported."""
    for name in ("n_epochs", "batch_size"):
        if getattr(config, name) is not None:
            check_integer(name, getattr(config, name), minimum=1)
    check_integer("n_samples", config.n_samples, minimum=1)
    check_integer("seed", config.seed, minimum=0)
    for size in config.hidden_sizes:
        check_integer("hidden_sizes", size, minimum=1)
    for name in ("prior_var", "kl_weight"):
        check_positive(name, getattr(config, name))
    if config.learning_rate is not None:
        check_positive("learning_rate", config.learning_rate)


def _fit(
    config: Config, run: "Run", labelled: "Labelled", path: Path
) -> "BayesianRegressor | BayesianClassifier":
    from backthrough.regress import (
        BayesianClassifier,
        BayesianRegressor,
        evaluate,
        evaluate_classes,
        hold_out,
    )
    from backthrough.train import Number, ResultTable

    settings: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("method", "hidden_sizes", "prior_var", "kl_weight", "n_epochs", "batch_size")
    }
    settings |= {"learning_rate": config.learning_rate, "n_samples": config.n_samples}
    known = [name for name in config.categories if name in labelled.features.columns]
    settings |= {"categories": known, "random_state": config.seed}
    is_regression = labelled.task == "regression"
    model = BayesianRegressor(**settings) if is_regression else BayesianClassifier(**settings)
    try:
        held = hold_out(labelled, seed=config.seed)
        X, X_test = (labelled.features.iloc[rows] for rows in held)
        y, y_test = (labelled.target.iloc[rows] for rows in held)
        model.fit(X, y, run=run)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    model.save(run.path / "model.npz")
    if isinstance(model, BayesianRegressor):
        found = evaluate(model, X, y, X_test, y_test, target=config.target)
        caption = (
            f"Left: held-out rows, what was predicted with its {LEVEL:.0%} interval against what came out. "
            "Right: the part of the rows that central intervals hold against the part that they should; "
            "above the line they are too wide, below it too narrow."
        )
    else:
        found = evaluate_classes(model, X, y, X_test, y_test, target=config.target)
        caption = (
            "Left: how often the class predicted came out, against the probability that it was given. "
            "Right: how uncertain predictions are that turn out right, and wrong."
        )
    answers = _columns(config.target, X_test, found.prediction)
    answers.insert(0, config.target, y_test)
    answers.sort_index().to_csv(run.path / "predictions.csv")
    run.figures.save_plot("predictions", found.plot(), caption=caption)
    epochs = f"{model.n_epochs_:,} passes in batches of {model.batch_size_:,}; {len(y_test):,} are held out"
    numbers = [*found.numbers(), Number("rows to train on", float(len(y)), "", epochs)]
    if labelled.n_without:
        what = f"rows of {path.name} without a value of {config.target}, left out"
        numbers.append(Number("rows without a target", float(labelled.n_without), "", what))
    decided = model.decisions_.table()
    rows = [
        (config.target, labelled.task, "", str(labelled.n_without), f"the target: {labelled.why}"),
        *(tuple(map(str, row)) for row in decided.itertuples(index=False)),
    ]
    table = ResultTable(f"What was made of the columns ({len(decided)})", tuple(decided.columns), tuple(rows))
    head = found.headline(picture="predictions.svg")
    run.save_result(numbers, headline=head, tables=[table])
    return model


def _predict_new_rows(call: Options) -> int:
    model_path, path, out = call.new.paths("regress", call.table)

    from backthrough.regress import load

    _write_answer(load(model_path), path, out)
    return 0


def _write_answer(model: Any, path: Path, out: Path) -> None:
    """The new rows as they are, with what is predicted behind them."""
    import pandas as pd

    from backthrough.regress import read_features

    features, cells = read_features(path, model)
    try:
        found = model.predictive(features)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    answer = pd.concat([cells, _columns(model.target_name_, features, found)], axis=1)
    answer.to_csv(out, index=False)
    print(f"{len(answer):,} rows predicted: {out}")


def _columns(target: str, features: "pd.DataFrame", found: Any) -> "pd.DataFrame":
    """What is predicted for each row, as columns named after the target."""
    import pandas as pd

    from backthrough.regress import ClassPrediction

    if isinstance(found, ClassPrediction):
        shares = found.probabilities
        own = {f"{target} predicted": found.classes[shares.argmax(1)]}
        own |= {f"P({target} = {label})": shares[:, i] for i, label in enumerate(found.classes)}
        own |= {"entropy (nats)": found.entropy, "epistemic entropy (nats)": found.epistemic}
    else:
        low, high = found.interval(LEVEL)
        own = {f"{target} predicted": found.mean, f"{target} std": found.std}
        own |= {f"{target} low {100 * LEVEL:.0f} %": low, f"{target} high {100 * LEVEL:.0f} %": high}
        own |= {"epistemic std": found.epistemic_std, "aleatoric std": found.aleatoric_std}
    return pd.DataFrame(own, index=features.index)
