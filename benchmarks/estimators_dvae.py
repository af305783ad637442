"""ELBO and gradient variance of the discrete VAE on Omniglot by several estimators, three seeds.

    python benchmarks/estimators_dvae.py

2,500 steps of the recipe `relax-dvae` at learning rates 1e-3 and 3e-3. The last line is JSON for the results
table.
"""

import json
import statistics
import tempfile
from pathlib import Path

from backthrough.recipes.estimators.dvae import recipe as relax_dvae
from backthrough.recipes.estimators.dvae.config import Config
from backthrough.train import Run, read_metrics

N_SEEDS, N_STEPS = 3, 2500
CHOSEN = {
    1e-3: ("REINFORCE", "leave-one-out", "DisARM", "REBAR", "RELAX", "Concrete", "straight-through"),
    3e-3: ("DisARM", "REBAR", "RELAX"),
}


def train(learning_rate: float, folder: Path) -> tuple[dict[str, dict[str, float]], list[float]]:
    """The numbers of the run by name, and the held-out ELBO of RELAX's last evaluation for each seed."""
    config = Config(
        data="omniglot",
        estimators=CHOSEN[learning_rate],
        learning_rate=learning_rate,
        n_steps=N_STEPS,
        n_seeds=N_SEEDS,
    )
    relax_dvae.run(config, Run(folder))
    numbers = json.loads((folder / "result.json").read_text())["numbers"]
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if "held-out ELBO (nats)/RELAX" in row]
    for number in numbers:
        print(f"{learning_rate:g}: {number['name']:<36} {number['value']:9.3f}", flush=True)
    return {number["name"]: number for number in numbers}, rows[-1]["held-out ELBO (nats)/RELAX"]


def main() -> None:
    with tempfile.TemporaryDirectory() as parent:
        slow, slow_seeds = train(1e-3, Path(parent) / "slow")
        fast, fast_seeds = train(3e-3, Path(parent) / "fast")

    def elbos(numbers: dict, rate: float) -> str:
        pairs = [f"{name} {numbers[f'held-out ELBO ({name})']['value']:.2f}" for name in CHOSEN[rate]]
        return f"Held-out ELBO at {rate:g}: {', '.join(pairs)}."

    def ratio(name: str) -> dict:
        logs = [slow[f"log10 variance ({own})"]["value"] for own in ("RELAX", name)]
        return {"ours": 10 ** (logs[0] - logs[1])}

    logs = ", ".join(f"{name} {slow[f'log10 variance ({name})']['value']:.2f}" for name in CHOSEN[1e-3])
    rows = {
        "estimators.4": {
            "ours": slow["held-out ELBO (RELAX)"]["value"],
            "spread": statistics.stdev(slow_seeds),
            "peer": {"name": "DisARM", "value": slow["held-out ELBO (DisARM)"]["value"]},
            "note": elbos(slow, 1e-3),
        },
        "estimators.4-fast": {
            "ours": fast["held-out ELBO (RELAX)"]["value"],
            "spread": statistics.stdev(fast_seeds),
            "peer": {"name": "DisARM", "value": fast["held-out ELBO (DisARM)"]["value"]},
            "note": elbos(fast, 3e-3),
        },
        "estimators.4-disarm": {**ratio("DisARM"), "note": f"log10 of the variances: {logs}."},
        "estimators.4-leave-one-out": ratio("leave-one-out"),
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
