"""Maps by captum of scenes that `explain_scenes.py` has written; prints nothing, writes `captum.npz`.

    python benchmarks/peers/captum_scenes.py FOLDER

Needs torch and captum, and no JAX: the network is built anew from `classifier.npz`.
"""

# pyright: reportMissingImports=false

import sys
import time
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients, KernelShap, Occlusion

TOLERANCE = 1e-4  # of logits


def network(arrays) -> torch.nn.Module:
    """The exported network as torch has it: channels first."""
    layers = []
    n = sum(name.startswith("weight") for name in arrays)
    for number in range(n):
        weight, bias = arrays[f"weight{number}"], arrays[f"bias{number}"]
        kernel, stride, padding = (int(own) for own in arrays[f"layer{number}"])
        n_in = weight.shape[0] // kernel**2
        layer = torch.nn.Conv2d(n_in, weight.shape[1], kernel, stride, padding)
        with torch.no_grad():
            layer.weight.copy_(
                torch.tensor(weight.reshape(kernel, kernel, n_in, -1).transpose(3, 2, 0, 1).copy())
            )
            layer.bias.copy_(torch.tensor(bias))
        layers += [layer, torch.nn.ReLU()]
    return SmoothMaximum(torch.nn.Sequential(*layers[:-1]), float(arrays["sharpness"])).eval()


class SmoothMaximum(torch.nn.Module):
    """log-mean-exp over places."""

    def __init__(self, places, sharpness):
        super().__init__()
        self.places, self.sharpness = places, sharpness

    def forward(self, x):
        """Logits of a batch of pictures."""
        places = self.places(x).flatten(2)
        return (torch.logsumexp(self.sharpness * places, 2) - np.log(places.shape[2])) / self.sharpness


def main(folder: Path) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    arrays = dict(np.load(folder / "classifier.npz"))
    scenes, options = np.load(folder / "scenes.npz"), np.load(folder / "options.npz")
    model = network(arrays)
    x = torch.tensor(scenes["images"].transpose(0, 3, 1, 2).copy())
    target = torch.tensor(scenes["target"])
    with torch.no_grad():
        off = float((model(x) - torch.tensor(scenes["logits"])).abs().max())
    if off > TOLERANCE:
        sys.exit(f"the network in torch differs by {off:.2g}")
    baseline = float(options["baseline"])
    window, stride, cell = (int(options[name]) for name in ("window", "stride", "cell"))
    side = x.shape[2]
    rows = torch.arange(side) // cell
    feature_mask = (rows[:, None] * (int(rows.max()) + 1) + rows)[None, None]
    found, seconds = {"difference of logits": np.array(off)}, {}

    def kernel_shap():
        method = KernelShap(model)
        maps = [
            method.attribute(
                x[i : i + 1],
                baselines=baseline,
                target=int(target[i]),
                feature_mask=feature_mask,
                n_samples=int(options["n_shap"]),
                perturbations_per_eval=128,
            )
            for i in range(len(x))
        ]
        return torch.cat(maps)

    methods = {
        "IntegratedGradients": lambda: IntegratedGradients(model).attribute(
            x,
            baselines=baseline,
            target=target,
            n_steps=int(options["n_steps"]),
            method="gausslegendre",
            internal_batch_size=512,
        ),
        "Occlusion": lambda: Occlusion(model).attribute(
            x,
            sliding_window_shapes=(1, window, window),
            strides=(1, stride, stride),
            baselines=baseline,
            target=target,
        ),
        "KernelShap": kernel_shap,
    }
    for name, method in methods.items():
        started = time.perf_counter()
        found[name] = method().detach().numpy()[:, 0]
        seconds[f"seconds {name}"] = np.array(time.perf_counter() - started)
    np.savez(folder / "captum.npz", **found, **seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
