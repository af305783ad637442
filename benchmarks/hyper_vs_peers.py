"""Hyperparameters in equal seconds: our engines, black-box searches, gradhpo and betty, all judged alike.

    python benchmarks/hyper_vs_peers.py [--seconds 10] [--seeds 3] [--peer-python PATH] [--keep FOLDER]

Ridge regression with 1, 10 (one a class) and 650 (one a weight) regularisers on digits (100 rows for
training, 600 for validation, 597 for the test), and 7,850 on MNIST (the first 1,000 images for training, the
last 10,000 of the 60,000 for validation, the official test set). What a contender has found is judged twice:
its regularisers, by an exact refit in double precision, and the weights that it returned.

All that follow gradients start at log lambda = -4 in the box [-20, 5] (gradhpo and betty know no bounds),
with Adam of rate 0.02 for log lambda and 0.01 for the weights, both falling along half a cosine of the time.
The searches have the narrower box [-10, 0], and trainings of 1,000 such steps (MNIST 300). Compiling, imports
and, for peers, the first steps are not counted. OptunaSearch needs the extras search and torch. PATH is the
Python of an environment with the extra bench-hyper, .venv-hyper/bin/python by default. What FOLDER has is not
run again. The last line is JSON for the results table.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from backthrough.core import ArgumentError
from backthrough.datasets import Images, load
from backthrough.hyper import (
    CG,
    Elementwise,
    HyperSpace,
    Implicit,
    LocalHypernet,
    OptunaSearch,
    RandomSearch,
    Real,
    Unroll,
    compare,
    weighted_l2,
)

N_CLASSES, MOST_ON_DIGITS, START = 10, 650, -4.0
WIDE, NARROW = (-20.0, 5.0), (-10.0, 0.0)
PEERS = ("gradhpo, greedy", "betty, CG")
MNIST_TRIAL = 300


class Data(NamedTuple):
    """A regression of one-hot classes: (x, y) of each split, the last column of x is 1."""

    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


class Problem(NamedTuple):
    """Its data, and how many regularisers there are: one, one a class, or one a weight."""

    name: str
    data: Data
    n_hyper: int

    @property
    def shape(self) -> tuple[int, int]:
        """Of log lambda, beside the weights."""
        n_features = self.data.train[0].shape[1]
        return {1: (1, 1), N_CLASSES: (1, N_CLASSES)}.get(self.n_hyper, (n_features, N_CLASSES))


@dataclass(frozen=True)
class Found:
    """What a contender gives back, and what it took."""

    log_decay: np.ndarray
    weights: np.ndarray
    seconds: float
    count: int
    compiling: float


def digits() -> Data:
    own: Any = load_digits()
    images, labels = own.data, own.target
    order = np.random.RandomState(0).permutation(1797)
    return of_rows(images / 16, labels, order[:100], order[600:1200], order[1200:])


def mnist() -> Data:
    own = load("mnist")
    assert isinstance(own, Images)
    images = np.concatenate([own.train_images, own.test_images]).reshape(70_000, -1) / 255
    labels = np.concatenate([own.train_labels, own.test_labels])
    rows = np.arange(70_000)
    return of_rows(images, labels, rows[:1000], rows[50_000:60_000], rows[60_000:])


def of_rows(x: np.ndarray, labels: np.ndarray, *splits: np.ndarray) -> Data:
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float32)
    y = np.eye(N_CLASSES, dtype=np.float32)[labels]
    return Data(*((x[rows], y[rows]) for rows in splits))


def refit(problem: Problem, log_decay: np.ndarray) -> np.ndarray:
    """argmin over w of mean((x w - y)^2) + sum(lambda w^2), in double precision."""
    x, y = (np.asarray(part, np.float64) for part in problem.data.train)
    decay = np.broadcast_to(np.exp(log_decay.astype(np.float64)), (x.shape[1], N_CLASSES))
    gram = x.T @ x / y.size
    each = [np.linalg.solve(gram + np.diag(decay[:, c]), x.T @ y[:, c] / y.size) for c in range(N_CLASSES)]
    return np.stack(each, axis=1)


def judged(problem: Problem, found: Found) -> dict[str, float]:
    """Losses and accuracy after the exact refit, and of the weights returned."""
    scores = {}
    for name, w in (("refit", refit(problem, found.log_decay)), ("own", found.weights.astype(np.float64))):
        for split in ("valid", "test"):
            x, y = getattr(problem.data, split)
            scores[f"{name} {split}"] = float(np.mean((x @ w - y) ** 2))
        scores[f"{name} accuracy"] = float(np.mean((x @ w).argmax(1) == y.argmax(1)))
    return scores


def strategies(problem: Problem) -> dict[str, Any]:
    """Ours, and the black-box searches."""
    found: dict[str, Any] = {}
    if problem.n_hyper <= MOST_ON_DIGITS:  # 7,850 x 7,851 slopes do not train in this time
        found["ours, LocalHypernet(CentredLinear())"] = LocalHypernet()
    found |= {
        "ours, LocalHypernet(Elementwise())": LocalHypernet(Elementwise()),
        "ours, Implicit(CG(20))": Implicit(CG(20)),
        "ours, Unroll(5)": Unroll(5),
    }
    steps = MNIST_TRIAL if problem.name == "mnist" else 1000
    found["random search"] = RandomSearch(trial_steps=steps)
    for sampler in ("tpe", "gp", "cmaes"):
        try:
            found[f"Optuna, {sampler.upper()}"] = OptunaSearch(sampler, trial_steps=steps)
        except ArgumentError as error:
            print(f"left out: {error}")
    return found


def initial_weights(problem: Problem, seed: int) -> np.ndarray:
    n_features = problem.data.train[0].shape[1]
    drawn = np.random.default_rng(seed).normal(size=(n_features, N_CLASSES))
    return (0.01 * drawn).astype(np.float32)


def by_library(problem: Problem, strategy: Any, seconds: float, seed: int) -> Found:
    (x, y), (x_valid, y_valid), _ = problem.data
    is_search = isinstance(strategy, RandomSearch | OptunaSearch)
    low, high = np.exp(NARROW if is_search else WIDE)
    per = {1: "all", N_CLASSES: "output"}.get(problem.n_hyper, "weight")
    real: Any = {"per": per, "output_axis": 1, "initial": float(np.exp(START))}
    result = compare(
        lambda w, hyper: jnp.mean((x @ w - y) ** 2) + weighted_l2(w, hyper["decay"]),
        lambda w: jnp.mean((x_valid @ w - y_valid) ** 2),
        jnp.asarray(initial_weights(problem, seed)),
        HyperSpace(decay=Real(float(low), float(high), log=True, **real)),
        strategies={"it": strategy},
        seconds=seconds,
        key=jax.random.key(seed),
    )
    for note in result.notes:
        print("   ", note)
    return Found(
        result.u[0].reshape(problem.shape),
        np.asarray(result.params[0]),
        float(result.seconds[0]),
        result.counts[0],
        float(result.seconds_compiling[0]),
    )


def by_peer(problem: Problem, name: str, seconds: float, seed: int, python: str) -> Found:
    """In a process of its own."""
    script = {PEERS[0]: "hyper_gradhpo.py", PEERS[1]: "hyper_betty.py"}[name]
    with tempfile.TemporaryDirectory() as folder:
        (x, y), (x_valid, y_valid), _ = problem.data
        np.savez(
            Path(folder) / "problem.npz",
            x=x,
            y=y,
            x_valid=x_valid,
            y_valid=y_valid,
            weights=initial_weights(problem, seed),
            log_decay=np.full(problem.shape, START, np.float32),
            seconds=seconds,
            seed=seed,
        )
        path = Path(__file__).parent / "peers" / script
        subprocess.run([python, str(path), folder], check=True, stdout=subprocess.DEVNULL)
        with np.load(Path(folder) / "found.npz") as own:
            return of_file(own)


def of_file(arrays: Any) -> Found:
    numbers = {name: arrays[name].item() for name in ("seconds", "count", "compiling")}
    return Found(arrays["log_decay"], arrays["weights"], **numbers)


def kept(path: Path | None, make: Any) -> Found:
    """From the file if it is there, else made and written."""
    if path is None or not path.exists():
        found = make()
        if path is None:
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = asdict(found)
        np.savez(path, **arrays)
    with np.load(path) as own:
        return of_file(own)


def measured(problem: Problem, arguments: argparse.Namespace) -> dict[str, dict[str, np.ndarray]]:
    """For each contender its scores, a number for each seed."""
    contenders: dict[str, Any] = strategies(problem)
    if shutil.which(arguments.peer_python) is None:
        print(f"there is no {arguments.peer_python}: gradhpo and betty are left out")
    else:
        contenders |= dict.fromkeys(PEERS)
    seconds = arguments.mnist_seconds if problem.name == "mnist" else arguments.seconds
    table = {}
    print(f"\n{problem.name}, {problem.n_hyper:,} regularisers, {seconds:g} seconds each")
    for name, strategy in contenders.items():
        rows = []
        for seed in range(arguments.seeds):

            def make(name: str = name, strategy: Any = strategy, seed: int = seed) -> Found:
                if strategy is None:
                    return by_peer(problem, name, seconds, seed, arguments.peer_python)
                return by_library(problem, strategy, seconds, seed)

            slug = "".join(letter if letter.isalnum() else "-" for letter in name)
            file = f"{problem.name}-{problem.n_hyper}-{slug}-{seed}.npz"
            try:
                found = kept(None if arguments.keep is None else arguments.keep / file, make)
            except (subprocess.CalledProcessError, ArgumentError) as error:
                print(f"  {name}, seed {seed}, failed: {error}", flush=True)
                continue
            numbers = {"seconds": found.seconds, "count": found.count, "compiling": found.compiling}
            rows.append(judged(problem, found) | numbers)
        if rows:
            table[name] = {column: np.array([row[column] for row in rows]) for column in rows[0]}
            show(name, table[name])
    print("load average", *(f"{own:.1f}" for own in os.getloadavg()), flush=True)
    return table


def show(name: str, scores: Mapping[str, np.ndarray]) -> None:
    words = [f"{name:<36}"]
    for kind in ("refit", "own"):
        valid, test = (f"{kind} {split}" for split in ("valid", "test"))
        words.append(f"{kind}: valid {shown(scores[valid])} test {shown(scores[test])}")
        words.append(f"accuracy {scores[f'{kind} accuracy'].mean():.3f}")
    words.append(f"{scores['seconds'].mean():.1f} s, {scores['count'].mean():,.0f} steps or trainings")
    print("  ".join(words), flush=True)


def shown(values: np.ndarray) -> str:
    """Mean and, over seeds, standard deviation."""
    return f"{values.mean():.5f} ({values.std(ddof=1) if len(values) > 1 else 0:.5f})"


def result(table: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Test loss after the exact refit: the best of ours less the best other, both by validation loss."""

    def best(names: list[str]) -> str:
        return min(names, key=lambda name: table[name]["refit valid"].mean())

    ours = best([name for name in table if name.startswith("ours")])
    other = best([name for name in table if not name.startswith("ours")])
    test = {name: scores["refit test"] for name, scores in table.items()}
    difference = test[ours].mean() - test[other].mean()
    spread = float(np.hypot(test[ours].std(), test[other].std()))
    note = "; ".join(f"{name} {values.mean():.5f}" for name, values in test.items())
    verdict = "even" if abs(difference) <= max(2 * spread, 1e-4) else "won" if difference < 0 else "lost"
    print(f"{verdict}: {ours} {shown(test[ours])}, {other} {shown(test[other])}")
    return {
        "ours": round(float(difference), 6),
        "spread": round(spread, 6),
        "note": f"{verdict.capitalize()}; {ours} less {other}. Test MSE after an exact refit: {note}.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for each")
    parser.add_argument("--mnist-seconds", type=float, default=30.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", nargs="+", type=int, default=[1, 10, 650, 7850], help="by regularisers")
    parser.add_argument("--peer-python", default=".venv-hyper/bin/python", help="has gradhpo and betty")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    rows = {}
    for n_hyper in arguments.problems:
        problem = (
            Problem("mnist", mnist(), n_hyper) if n_hyper > 1000 else Problem("digits", digits(), n_hyper)
        )
        table = measured(problem, arguments)
        rows[f"hyper.vs-peers-{n_hyper}"] = result(table)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
