"""An ODE-Net beside a residual network on digits: accuracy and evaluations (Chen et al. 2018, sec. 3)."""

from dataclasses import dataclass

BODIES = ("ODE-Net", "ResNet", "RK-Net")


@dataclass(frozen=True)
class Config:
    """Networks of the same widths, trained side by side on the same batches."""

    data: str = "mnist-small"
    """mnist or mnist-small."""
    models: tuple[str, ...] = BODIES
    """Which of ODE-Net, ResNet (six residual blocks in its place) and RK-Net (fixed Runge-Kutta steps)."""
    channels: int = 16
    """Channels throughout; at most 16, or a multiple of 8."""
    n_steps: int = 938
    """Steps of Adam; 469 are an epoch of MNIST at 128 images a batch."""
    batch_size: int = 128
    """Images in a batch."""
    learning_rate: float = 3e-3
    """The largest; it falls along half a cosine."""
    tolerance: float = 1e-3
    """Absolute and relative tolerance of the ODE-Net's solver, in training and testing."""
    shift: int = 0
    """Training images are moved by up to so many pixels each way at random; 4 in torchdiffeq's example."""
    n_test: int = 10_000
    """At most so many test images."""
    n_measured: int = 2000
    """Test images that are solved to five tolerances."""
    seed: int = 0
    """Determines weights and order."""


SCALES = {
    "quick": Config(models=("ODE-Net",), channels=8, n_steps=400, batch_size=15, n_test=500, n_measured=250),
    "full": Config(data="mnist"),
}
DEMO = None
