"""Seconds of `backthrough run relax-toy` with one estimator, 200 seeds, 10,000 steps.

    python benchmarks/estimators_toy.py

In a process of its own that compiles everything anew. The last line is JSON for the results table.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "run"
        command = [sys.executable, "-m", "backthrough", "run", "relax-toy", "--scale", "full"]
        options = ["--estimators", "RELAX", "--targets", "0.499", "--run-dir", str(folder)]
        fresh = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder.with_suffix(".compiled"))}
        started = time.perf_counter()
        subprocess.run([*command, *options], check=True, stdout=sys.stderr, env=fresh)
        seconds = time.perf_counter() - started
    print(json.dumps({"estimators.3-seconds": {"ours": seconds}}))


if __name__ == "__main__":
    main()
