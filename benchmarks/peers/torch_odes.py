"""Times of torchdiffeq and torchode, asked for line by line on standard input, where torch is installed.

A line is {"problem": NAME, "rounds": N, "file": PATH}, with the problem's arrays in an .npz file: y0, and mu
or the layers' weights and biases. The answer gives, for each peer that can do it, the CPU milliseconds of
each round.
"""
# pyright: reportMissingImports=false

import json
import sys
import time
import warnings

import numpy as np
import torch
import torchode
from torchdiffeq import odeint, odeint_adjoint

warnings.filterwarnings("ignore")


class Network(torch.nn.Module):
    """Tanh layers, of a state that does not depend on time."""

    def __init__(self, arrays, decay):
        super().__init__()
        n_layers = sum(name.startswith("weight") for name in arrays)
        shapes = [arrays[f"weight{i}"].shape for i in range(n_layers)]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in shapes)
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                layer.weight.copy_(torch.tensor(arrays[f"weight{i}"].T))
                layer.bias.copy_(torch.tensor(arrays[f"bias{i}"]))
        self.decay = decay

    def forward(self, t, y):
        """dy/dt."""
        x = y
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x) - self.decay * y


class VanDerPol(torch.nn.Module):
    """One oscillator a row."""

    def __init__(self, mu):
        super().__init__()
        self.mu = torch.nn.Parameter(torch.tensor(mu))

    def forward(self, t, y):
        """dy/dt."""
        x, v = y[..., 0], y[..., 1]
        return torch.stack([v, self.mu * (1 - x**2) * v - x], dim=-1)


def lotka_volterra(t, y):
    x, z = y[..., 0], y[..., 1]
    return torch.stack([1.5 * x - x * z, z * x - 3.0 * z], dim=-1)


def forward(field, y0, end, tolerance, times=2):
    ts = torch.linspace(0.0, end, times)
    with torch.no_grad():
        return odeint(field, y0, ts, rtol=tolerance, atol=tolerance, method="dopri5")


def gradient(solve, field, y0, end, tolerance, **options):
    ts = torch.tensor([0.0, end])
    field.zero_grad()
    loss = (solve(field, y0, ts, rtol=tolerance, atol=tolerance, method="dopri5", **options)[-1] ** 2).mean()
    loss.backward()


def parallel(field, y0, end, tolerance):
    """torchode: a step size for each row."""
    term = torchode.ODETerm(field)
    method = torchode.Dopri5(term=term)
    controller = torchode.PIDController(tolerance, tolerance, 0.2, 0.5, 0.0, term=term)
    solver = torchode.AutoDiffAdjoint(method, controller)
    times = torch.tensor([[0.0, end]]).expand(len(y0), 2)
    with torch.no_grad():
        return solver.solve(torchode.InitialValueProblem(y0=y0, t_eval=times)).ys


def ways(problem, arrays):
    """The peers that can do the problem."""
    y0 = torch.tensor(arrays["y0"])
    if problem == "lotka-volterra":
        return {"torchdiffeq": lambda: forward(lotka_volterra, y0, 10.0, 1e-6)}
    if problem == "save-times":
        return {"torchdiffeq": lambda: forward(lotka_volterra, y0, 10.0, 1e-6, 200)}
    if problem == "small-network":
        field = Network(arrays, 0.1)
        seminorm = {"adjoint_options": {"norm": "seminorm"}}
        return {
            "torchdiffeq, tape": lambda: gradient(odeint, field, y0, 100.0, 1e-6),
            "torchdiffeq, adjoint": lambda: gradient(odeint_adjoint, field, y0, 100.0, 1e-6),
            "torchdiffeq, seminorm": lambda: gradient(odeint_adjoint, field, y0, 100.0, 1e-6, **seminorm),
        }
    if problem == "large-network":
        field = Network(arrays, 0.0)
        return {
            "torchdiffeq, tape": lambda: gradient(odeint, field, y0, 1.0, 1e-6),
            "torchdiffeq, adjoint": lambda: gradient(odeint_adjoint, field, y0, 1.0, 1e-6),
        }
    field = VanDerPol(arrays["mu"])
    return {
        "torchdiffeq": lambda: forward(field, y0, 10.0, 1e-5),
        "torchode": lambda: parallel(field, y0, 10.0, 1e-5),
    }


def main() -> None:
    for line in sys.stdin:
        if not line.strip():
            break
        asked = json.loads(line)
        answer = {}
        for name, way in ways(asked["problem"], dict(np.load(asked["file"]))).items():
            taken = []
            for _ in range(asked["rounds"] + 1):
                started = time.process_time()
                way()
                taken.append(1e3 * (time.process_time() - started))
            answer[name] = taken[1:]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
