"""The page of shared signatures says what the code says."""

import ast
import inspect
import re

from backthrough import datasets, estimators, explain, flows, hyper, latent, natgrad, ode, train

ROOMS = (train, datasets, estimators, explain, flows, hyper, latent, natgrad, ode)
GIVEN_BY_CALLERS = {"step": train.Step.__call__, "evaluate": train.Evaluate.__call__}


def described(root):
    page = (root / "docs/signatures.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node.name, node.args
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                yield node.name, method.name, method.args


def find(owner, name):
    if owner in GIVEN_BY_CALLERS:
        return GIVEN_BY_CALLERS[owner]
    (room,) = [room for room in ROOMS if owner in room.__all__]
    thing = getattr(room, owner)
    return thing if owner == name else getattr(thing, name)


def test_the_page_of_signatures_is_the_code(request):
    seen = 0
    for owner, name, arguments in described(request.config.rootpath):
        parameters = dict(inspect.signature(find(owner, name)).parameters)
        if owner in GIVEN_BY_CALLERS:
            parameters.pop("self")
        positional = [p.name for p in parameters.values() if p.kind.name.startswith("POSITIONAL")]
        keyword = [p.name for p in parameters.values() if p.kind.name == "KEYWORD_ONLY"]
        assert [a.arg for a in arguments.args] == positional, (owner, name)
        assert [a.arg for a in arguments.kwonlyargs] == keyword, (owner, name)
        seen += 1
    assert seen >= 12
