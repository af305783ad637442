"""The training loop, run directories and checkpoints that every room uses."""

from backthrough.train.batches import Batches, BatchSource, Stream
from backthrough.train.checkpoints import Checkpoint, load_checkpoint, load_newest, save_checkpoint
from backthrough.train.environment import (
    describe_environment,
    describe_machine,
    use_compile_cache,
)
from backthrough.train.loop import Evaluate, Fitted, Step, fit, restore
from backthrough.train.metrics import read_metrics
from backthrough.train.placement import mean_over_shards
from backthrough.train.processes import Group, join
from backthrough.train.progress import ProgressBar
from backthrough.train.result import Number, mean_number
from backthrough.train.run import Run, read_config
from backthrough.train.seeds import over_seeds

__all__ = [
    "BatchSource",
    "Batches",
    "Checkpoint",
    "Evaluate",
    "Fitted",
    "Group",
    "Number",
    "ProgressBar",
    "Run",
    "Step",
    "Stream",
    "describe_environment",
    "describe_machine",
    "fit",
    "join",
    "load_checkpoint",
    "load_newest",
    "mean_number",
    "mean_over_shards",
    "over_seeds",
    "read_config",
    "read_metrics",
    "restore",
    "save_checkpoint",
    "use_compile_cache",
]
