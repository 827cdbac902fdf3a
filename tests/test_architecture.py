"""The arrows between the folders point one way, and every import is read to see it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"hub", "commands", "projections", "adapters", "migrations", "tests", "bench"}
MAY_IMPORT = {
    "hub": {"hub"},
    "commands": {"commands", "hub"},
    "projections": {"projections", "hub"},
    "adapters": {"adapters", "commands", "projections", "hub"},
    "migrations": set[str](),
}
MUST_NOT_IMPORT = {
    "commands": {"psycopg", "psycopg_pool", "fastapi", "starlette", "eventsourcing"},
    "projections": {"fastapi", "starlette", "eventsourcing"},
}
THE_ONE_DOOR = "hub/wiring.py"
FRONT = {"hub/__init__.py", "hub/__main__.py"}
MODULES = sorted(str(path.relative_to(ROOT)) for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def imports(module: str) -> set[str]:
    """Every module the file imports, anywhere in it, with dots resolved."""
    return set(_imported(ast.walk(ast.parse((ROOT / module).read_text())), module))


def top_level(module: str) -> set[str]:
    """What importing the file imports at once: outside any function and any TYPE_CHECKING."""
    return set(_imported(_run_at_once(ast.parse((ROOT / module).read_text())), module))


@pytest.mark.parametrize("module", [module for module in MODULES if module != THE_ONE_DOOR])
def test_arrows_point_one_way(module: str) -> None:
    assert {name.split(".")[0] for name in imports(module)} & OURS <= MAY_IMPORT[Path(module).parts[0]]


@pytest.mark.parametrize("module", [module for module in MODULES if Path(module).parts[0] in MUST_NOT_IMPORT])
def test_decisions_and_folds_know_no_machinery(module: str) -> None:
    folder = Path(module).parts[0]
    assert not {name.split(".")[0] for name in imports(module)} & MUST_NOT_IMPORT[folder]


def test_the_library_is_imported_in_one_module_of_the_log() -> None:
    found = [module for module in MODULES if any(name.split(".")[0] == "eventsourcing" for name in imports(module))]
    assert len(found) <= 1
    assert all(module.startswith("hub/log/") for module in found)


@pytest.mark.parametrize("module", sorted(FRONT))
def test_the_front_is_lazy_and_leads_to_the_door_only(module: str) -> None:
    if not (ROOT / module).exists():
        pytest.skip("not built yet")
    ours = {name for name in imports(module) if name.split(".")[0] in OURS}
    assert all(name == "hub.wiring" or name.startswith("hub.wiring.") for name in ours)
    assert not {name for name in top_level(module) if name.split(".")[0] in OURS}


def _imported(nodes: Iterator[ast.AST], module: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = list(Path(module).parts[: -node.level]) if node.level else []
            origin = ".".join([*package, *([node.module] if node.module else [])])
            # `from hub import wiring` imports the module hub.wiring, as far as a reader of imports can tell.
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _imports_by_name(node) and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def _imports_by_name(call: ast.Call) -> bool:
    return ast.unparse(call.func) in {"__import__", "import_module", "importlib.import_module"}


def _run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _run_at_once(child)
