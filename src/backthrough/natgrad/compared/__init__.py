"""What noisy natural gradient is compared with, through the same door."""

from backthrough.natgrad.compared.nuts import NUTS, r_hat

__all__ = ["NUTS", "r_hat"]
