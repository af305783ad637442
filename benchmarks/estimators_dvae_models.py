"""The discrete VAE's other models: two layers, nonlinear layers, and MNIST; several estimators, three seeds.

    python benchmarks/estimators_dvae_models.py [--pictures FOLDER]

2,500 steps of the recipe `relax-dvae` at a learning rate of 1e-3 for each model. With `--pictures` the page's
figure of each is written to the folder. The last line is JSON for the results table.
"""

import argparse
import json
import tempfile
from pathlib import Path

from backthrough.recipes.estimators.dvae import recipe as relax_dvae
from backthrough.recipes.estimators.dvae.config import Config
from backthrough.train import Run

N_SEEDS, N_STEPS = 3, 2500
ESTIMATORS = ("leave-one-out", "DisARM", "REBAR", "RELAX")
MODELS = {
    "omniglot-two-layers": {"data": "omniglot", "n_layers": 2},
    "omniglot-nonlinear": {"data": "omniglot", "n_hidden": 2},
    "mnist-one-layer": {"data": "mnist", "n_layers": 1},
    "mnist-two-layers": {"data": "mnist", "n_layers": 2},
    "mnist-nonlinear": {"data": "mnist", "n_hidden": 2},
}


def train(options: dict, folder: Path) -> dict[str, float]:
    """The numbers of one model's training by name."""
    config = Config(estimators=ESTIMATORS, n_steps=N_STEPS, n_seeds=N_SEEDS, **options)
    relax_dvae.run(config, Run(folder))
    numbers = json.loads((folder / "result.json").read_text())["numbers"]
    for number in numbers:
        print(f"{folder.name}: {number['name']:<36} {number['value']:9.3f}", flush=True)
    return {number["name"]: number["value"] for number in numbers}


def table(found: dict[str, dict[str, float]], quantity: str) -> str:
    """The quantity of every model and estimator in one line."""
    lines = []
    for model, numbers in found.items():
        values = [f"{name} {numbers[f'{quantity} ({name})']:.2f}" for name in ESTIMATORS]
        lines.append(f"{model}: {', '.join(values)}")
    return "; ".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each model's training")
    pictures = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as parent:
        found = {name: train(options, Path(parent) / name) for name, options in MODELS.items()}
        for name in MODELS if pictures else ():
            picture = Path(parent) / name / "figures" / "estimators.svg"
            (pictures / f"estimators-{name}.svg").write_bytes(picture.read_bytes())
    gains = {
        name: own["held-out ELBO (RELAX)"] - own["held-out ELBO (leave-one-out)"]
        for name, own in found.items()
    }
    variances = {
        name: own["log10 variance (RELAX)"] - own["log10 variance (DisARM)"] for name, own in found.items()
    }
    over = f"after {N_STEPS:,} steps, mean of {N_SEEDS} seeds"
    rows = {
        "estimators.4-models": {
            "ours": min(gains.values()),
            "note": f"Held-out ELBO {over}. {table(found, 'held-out ELBO')}. With two "
            "layers two samples of each make four paths, over which leave-one-out and DisARM average the "
            "decoder's gradient too; RELAX and REBAR take one.",
        },
        "estimators.4-models-variance": {
            "ours": 10 ** max(variances.values()),
            "note": f"log10 of the variances. {table(found, 'log10 variance')}.",
        },
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
