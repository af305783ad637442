"""The beta-TCVAE of `tcvae_step_vs_torch.py` in torch: trains as many steps as each line of input says.

    python benchmarks/peers/tcvae_torch.py FILE.npz THREADS

Needs torch, and no JAX. The loop is that of the method's public code.
"""

# pyright: reportMissingImports=false

import math
import sys
import time
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

BETA, PIXEL_WEIGHT, LATENT, HIDDEN, BATCH = 6.0, 16.0, 10, 128, 256
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def network(*sizes: int) -> torch.nn.Sequential:
    """Linear layers with ReLU between them."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def main() -> None:
    """Trains and times."""
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    pixels = torch.tensor(np.load(sys.argv[1])["pixels"])
    centre = pixels.mean(0)
    encoder = network(pixels.shape[1], HIDDEN, HIDDEN, 2 * LATENT)
    decoder = network(LATENT, HIDDEN, HIDDEN, pixels.shape[1])
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def step() -> None:
        x = pixels[torch.randint(len(pixels), (BATCH,))]
        mean, log_scale = encoder(x - centre).chunk(2, dim=1)
        z = mean + log_scale.exp() * torch.randn_like(mean)
        likelihood = -PIXEL_WEIGHT * F.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum(
            1
        )
        kl = (0.5 * ((2 * log_scale).exp() + mean**2 - 1) - log_scale).sum(1)
        noise = (z[:, None] - mean) * (-log_scale).exp()
        log_q = -0.5 * noise**2 - log_scale - HALF_LOG_2PI
        tc = torch.logsumexp(log_q.sum(2), 1) - torch.logsumexp(log_q, 1).sum(1)
        loss = -(likelihood - kl - (BETA - 1) * tc).mean()  # constants are left out
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
