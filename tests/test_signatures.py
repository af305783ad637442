"""The page of shared signatures says what the code says."""

import ast
import importlib
import inspect
import re

from backthrough import train

GIVEN_BY_CALLERS = {"step": train.Step.__call__, "evaluate": train.Evaluate.__call__}


def described(root):
    page = (root / "docs/signatures.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for section in re.split(r"^# backthrough\.", code, flags=re.MULTILINE)[1:]:
        name, code = re.fullmatch(r"(\w+)[^\n]*\n(.*)", section, re.DOTALL).groups()
        room = importlib.import_module(f"backthrough.{name}")
        for node in ast.parse(code).body:
            if isinstance(node, ast.FunctionDef):
                yield room, node.name, node.name, node.args
            elif isinstance(node, ast.ClassDef):
                for method in node.body:
                    yield room, node.name, method.name, method.args


def find(room, owner, name):
    if owner in GIVEN_BY_CALLERS:
        return GIVEN_BY_CALLERS[owner]
    assert owner in room.__all__, (room.__name__, owner)
    thing = getattr(room, owner)
    return thing if owner == name else getattr(thing, name)


def test_the_page_of_signatures_is_the_code(request):
    seen = 0
    for room, owner, name, arguments in described(request.config.rootpath):
        parameters = dict(inspect.signature(find(room, owner, name)).parameters)
        if owner in GIVEN_BY_CALLERS:
            parameters.pop("self")
        positional = [p.name for p in parameters.values() if p.kind.name.startswith("POSITIONAL")]
        keyword = [p.name for p in parameters.values() if p.kind.name == "KEYWORD_ONLY"]
        assert [a.arg for a in arguments.args] == positional, (owner, name)
        assert [a.arg for a in arguments.kwonlyargs] == keyword, (owner, name)
        seen += 1
    assert seen >= 12
