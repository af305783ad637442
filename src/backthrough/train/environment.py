"""What a run was made on: versions, devices, host and command. Kept apart from what is reproducible."""

import importlib.metadata
import os
import platform
import shlex
import sys
import time
from typing import Any

import jax
import platformdirs

LIBRARIES = ("backthrough", "jax", "jaxlib", "equinox", "optax", "numpy")


def describe_environment() -> dict[str, Any]:
    """Versions, devices, host, command line and start time of this process, as JSON values."""
    return {
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": command_line(),
        "machine": describe_machine(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "x64": bool(jax.config.read("jax_enable_x64")),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def describe_machine() -> str:
    """One line: processor, cores that may be used, accelerator if any."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{_processor()}, {cores} cores"
    device = jax.devices()[0]
    return text if device.platform == "cpu" else f"{text}, {device.device_kind}"


def command_line() -> str:
    """The command of this process as a user would type it."""
    program, *arguments = sys.argv or [""]
    name = os.path.basename(program)
    words = [name] if name == "backthrough" else ["python", os.path.relpath(program)] if name else ["python"]
    return shlex.join([*words, *arguments])


def use_compile_cache() -> None:
    """Keeps compiled programs in the user's cache folder, so that the next command starts faster.

    JAX's own variable `JAX_COMPILATION_CACHE_DIR` is respected.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("backthrough/jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
