import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="backthrough-tests-")  # not the user's

from jaxtyping import install_import_hook

install_import_hook("backthrough", "runtime_types.checked")
