"""Network layers that rooms share: what Equinox lacks, or what is slow inside a loop on a CPU."""

from backthrough.nets.images import Convolution, GroupNorm

__all__ = ["Convolution", "GroupNorm"]
