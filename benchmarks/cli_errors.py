"""Seconds until a wrong option is refused, over those that Python takes to import NumPy.

    python benchmarks/cli_errors.py

Rounds are interleaved and compared in pairs. The last line is a JSON object for the results table.
"""

import json
import statistics
import subprocess
import sys
import time

WRONG = [sys.executable, "-m", "backthrough", "run", "vae-mnist", "--no-such-option"]
NUMPY = [sys.executable, "-c", "import numpy"]
ROUNDS = 15


def seconds(command: list[str], code: int) -> float:
    """Of a process that ends with this exit code."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    elapsed = time.perf_counter() - started
    assert done.returncode == code, done.stderr.decode()
    return elapsed


def main():
    for command, code in ((WRONG, 2), (NUMPY, 0)):
        seconds(command, code)  # so that all files are in memory
    pairs = [(seconds(WRONG, 2), seconds(NUMPY, 0)) for _ in range(ROUNDS)]
    ratios = [ours / numpy for ours, numpy in pairs]
    ours, numpy = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"refusal {ours:.2f} s, import of NumPy {numpy:.2f} s")
    row = {
        "ours": statistics.median(ratios),
        "spread": statistics.stdev(ratios),
        "note": f"Median of {ROUNDS} interleaved pairs: {ours:.2f} s over {numpy:.2f} s.",
    }
    print(json.dumps({"cli.errors": row}))


if __name__ == "__main__":
    main()
