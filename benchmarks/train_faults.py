"""How many of the faults that the tests know a run survives: each is one test that breaks something.

    python benchmarks/train_faults.py

Full disks, quotas, read-only folders, locks, clocks, signals, kills, damaged and old checkpoints, lost
processes. A fault counts as survived when its test passes: a clear error, earlier checkpoints whole, and a
resume that gives the numbers of an undisturbed run. The last line is a JSON object for the results table.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
FAULTS = (
    "tests/train/test_faults.py",
    "tests/train/test_kill_resume.py",
    "tests/train/test_checkpoints.py",
    "tests/train/test_processes.py",
)


def main() -> None:
    """Runs the tests and counts."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *FAULTS]
        subprocess.run(command, cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = [c.get("name") for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c.get("name") for c in cases if c.find("skipped") is not None]
    tried = len(cases) - len(skipped)
    note = f"{tried - len(failed)} of {tried} survived."
    if failed:
        note += f" Not: {', '.join(map(str, failed))}."
    if skipped:
        note += f" Could not be tried here: {', '.join(map(str, skipped))}."
    print(json.dumps({"train.faults": {"ours": (tried - len(failed)) / tried, "note": note}}))


if __name__ == "__main__":
    main()
