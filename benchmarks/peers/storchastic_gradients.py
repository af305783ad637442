"""Gradients by storchastic, in an environment of its own; called by `estimators_vs_storchastic.py`.

Reads lines of JSON, `{"estimator": ..., "n": ...}`, and answers with `{"seconds": ..., "gradients": ...}` of
n gradients of E[sum((b - 0.45)^2) + b_0 b_1], b three Bernoulli variables. An empty line ends it.
"""
# pyright: reportMissingImports=false

import json
import sys
import time
import warnings

import storch
import torch
from storch.method import ARM, REBAR, RELAX, ScoreFunction
from torch.distributions import Bernoulli

warnings.filterwarnings("ignore")
LOGITS = [0.5, -1.0, 0.3]
METHODS = {
    "ScoreFunction": lambda: ScoreFunction("z", n_samples=1),
    "LeaveOneOut": lambda: ScoreFunction("z", n_samples=2, baseline_factory="batch_average"),
    "ARM": lambda: ARM("z", n_samples=1),
    "REBAR": lambda: REBAR("z", n_samples=1),
    "RELAX": lambda: RELAX("z", n_samples=1, in_dim=3),
}


def gradient(method) -> tuple[list[float], float]:
    logits = torch.tensor(LOGITS, requires_grad=True)
    started = time.perf_counter()
    storch.reset()
    z = method(Bernoulli(logits=logits))
    storch.add_cost(((z - 0.45) ** 2).sum(-1) + z[..., 0] * z[..., 1], "cost")
    storch.backward()
    seconds = time.perf_counter() - started
    return logits.grad.detach().tolist(), seconds


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    methods = {name: make() for name, make in METHODS.items()}
    for line in sys.stdin:
        if not line.strip():
            break
        asked = json.loads(line)
        found = [gradient(methods[asked["estimator"]]) for _ in range(asked["n"])]
        answer = {"gradients": [own[0] for own in found], "seconds": [own[1] for own in found]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
