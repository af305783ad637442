"""One of several processes that train the shared problem: `python several.py PORT PROCESS OUT [OPTIONS]`.

The options are a JSON object; `fault` names what goes wrong, after 30 steps, in process `faulty`.
"""

import json
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))


def main(port, process, out, options):
    import jax

    jax.config.update("jax_num_cpu_devices", options.get("devices", 1))
    from backthrough.train import join
    from train.problem import open_run, plain, sharded_step, train

    fault = options.get("fault") if process == options.get("faulty") else None

    def evaluate(state, *, key):
        if fault and int(state["count"]) == 30:
            if fault == "raise":
                raise RuntimeError("the cat sat on the keyboard")
            os.kill(os.getpid(), getattr(signal, fault))
            if fault == "SIGSTOP":
                time.sleep(600)
        return {"valid": float(state["weight"].sum())}

    address = f"localhost:{port}"
    with join(address, process=process, processes=2, timeout=options.get("timeout", 60)) as group:
        rate = 0.02 if process == 0 else options.get("rate", 0.02)
        run = open_run(out, resume=options.get("resume", False), rate=rate)
        fitted = train(
            options.get("n_steps", 60),
            run=run,
            step=sharded_step,
            shards=4,
            seed=3 if process == 0 else options.get("seed", 3),
            evaluate=evaluate,
            evaluate_every=10,
            checkpoint_every=10,
            steps_per_dispatch=7,
            log_every=5,
        )
        print(json.dumps({"weight": fitted.state["weight"].tolist(), "rows": fitted.metrics}))
        assert plain(fitted.state)
        assert group.size == 2


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads((sys.argv[4:] or ["{}"])[0]))
