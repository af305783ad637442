import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="backthrough-tests-")  # not the user's

from jaxtyping import install_import_hook

install_import_hook("backthrough", "runtime_types.checked")

CHEAP = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"


def pytest_configure(config):
    """Makes XLA write plain code for quick tests, which compile far longer than they run.

    Slow tests, those in double precision (`make test-x64`) and any others selected run what users run.
    """
    double = os.environ.get("JAX_ENABLE_X64", "0") not in ("", "0")
    flags = os.environ.get("XLA_FLAGS", "")
    if config.option.markexpr == "not slow" and not double and CHEAP not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {CHEAP}".strip()
