import collections
import importlib.metadata
import os
import pathlib
import tempfile

import pytest
from packaging.version import Version

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="backthrough-tests-")  # not the user's

from jaxtyping import install_import_hook

install_import_hook("backthrough", "runtime_types.checked")

EFFORT = {"not slow": 0, "slow": 1}  # of XLA, for what is selected by `-m`

# With the last jaxlib known to accept them: over a flag that it does not know, XLA ends the process.
CHEAP_FLAGS = {
    "--xla_cpu_use_fusion_emitters=false": "0.11.0",
    "--xla_backend_optimization_level={effort}": "0.12.99",
    "--xla_cpu_parallel_codegen_split_count=1": "0.12.99",
}


def pytest_configure(config):
    """Makes XLA write plain code for the suites, which compile far longer than they run.

    Tests that are selected otherwise run what users run, as the demo does.
    """
    config.pluginmanager.register(Clock())
    if config.option.markexpr in EFFORT:
        jaxlib = Version(importlib.metadata.version("jaxlib"))
        for flag, last in CHEAP_FLAGS.items():
            flags = os.environ.get("XLA_FLAGS", "").strip()
            is_file = flags and not flags.startswith("-")  # XLA reads the name of a file of flags too
            if jaxlib <= Version(last) and flag.split("=")[0] not in flags and not is_file:
                flag = flag.format(effort=EFFORT[config.option.markexpr])
                os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()


def pytest_report_header():
    """Says which JAX is tested; pytest itself names the Python."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "numpy"))


def room(nodeid):
    """The folder of a test in tests/, or of a doctest in src/backthrough/."""
    first, *others = pathlib.PurePosixPath(nodeid.split("::")[0].removeprefix("src/backthrough/")).parts
    parts = others if first == "tests" else [first, *others]
    return parts[0] if len(parts) > 1 else "the package"


class Clock:
    """Times the rooms; a plugin, since doctests in src/ don't hear the hooks of tests/conftest.py."""

    def __init__(self):
        self.started = 0.0

    @staticmethod
    def cpu_seconds():
        """Of this process and of those that it has waited for."""
        return sum(os.times()[:4])

    def pytest_runtest_logstart(self):
        self.started = self.cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        """Writes the processor time of a phase beside its duration; xdist brings both back."""
        report = yield
        now = self.cpu_seconds()
        report.cpu_seconds, self.started = now - self.started, now
        return report

    def pytest_terminal_summary(self, terminalreporter):
        """Prints each room's seconds, fixtures and doctests included, added up over the workers."""
        cpu, wall = collections.Counter(), collections.Counter()
        for report in (report for reports in terminalreporter.stats.values() for report in reports):
            if hasattr(report, "cpu_seconds"):
                cpu[room(report.nodeid)] += report.cpu_seconds
                wall[room(report.nodeid)] += report.duration
        terminalreporter.section("seconds by room: processor, wall")
        for name, seconds in [*cpu.most_common(), ("all", cpu.total())]:
            terminalreporter.line(f"{seconds:8.1f} {wall.get(name, wall.total()):8.1f}  {name}")
