"""Estimates of log p(x) by pythae, in an environment of its own; called by `latent_nll_vs_pythae.py`.

Takes the path of an `.npz` file with the weights of the yardstick and images. Reads lines of JSON,
`{"batch_size": ..., "n_images": ..., "n_samples": ...}`, and answers with `{"seconds": ..., "log_p": ...}`,
the mean over the first images. An empty line ends it.
"""
# pyright: reportMissingImports=false

import json
import os
import sys
import time

import numpy as np
import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import nn


class Encoder(BaseEncoder):
    """As pythae wants it."""

    def __init__(self, layers, latent_size):
        super().__init__()
        self.layers, self.latent_size = layers, latent_size

    def forward(self, x):
        """Means and log variances."""
        mean, log_var = self.layers(x.flatten(1)).split(self.latent_size, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class Decoder(BaseDecoder):
    """As pythae wants it."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, z):
        """Probabilities."""
        return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)))


def network(arrays, names):
    layers = []
    for name in names:
        weight, bias = (torch.from_numpy(arrays[f"{name}_{part}"]) for part in ("weight", "bias"))
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, bias
        layers += [layer, nn.ELU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with np.load(sys.argv[1], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    x = torch.from_numpy(arrays.pop("x"))
    latent_size = arrays["fc4_weight"].shape[1]
    config = VAEConfig(input_dim=(x.shape[1],), latent_dim=latent_size, reconstruction_loss="bce")
    encoder = Encoder(network(arrays, ("fc1", "fc2", "fc3")), latent_size)
    model = VAE(config, encoder=encoder, decoder=Decoder(network(arrays, ("fc4", "fc5", "fc6")))).eval()
    for line in sys.stdin:
        if not line.strip():
            break
        asked = json.loads(line)
        started = time.perf_counter()
        with torch.no_grad():
            found = model.get_nll(
                x[: asked["n_images"]], n_samples=asked["n_samples"], batch_size=asked["batch_size"]
            )
        print(json.dumps({"seconds": time.perf_counter() - started, "log_p": float(found)}), flush=True)


if __name__ == "__main__":
    main()
