"""How long the demo takes on a machine that has compiled nothing yet."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main():
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        words = [sys.executable, "-m", "backthrough", "demo", "--run-dir", f"{folder}/demo"]
        started = time.perf_counter()
        done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - started
        panels = sorted(path.name for path in Path(folder, "demo").iterdir() if path.is_dir())
    print(done.stdout, file=sys.stderr)
    note = f"{len(panels)} panels: {', '.join(panels)}."
    print(json.dumps({"demo.seconds": {"ours": round(seconds, 1), "note": note}}))


if __name__ == "__main__":
    main()
