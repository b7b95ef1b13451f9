"""The rules of the house: sizes, one meaning per name, docstrings that stand alone."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES_OF_A_FILE = 350
MOST_LINES_OF_A_BODY = 30
MOST_PARAMETERS = 6
CONTINUES_ITS_NAME = re.compile(
    r"(Of|That|Those|Where|Whether|Whose|What|Which|Who|So|As|In|With|By|From|For|To|Until|When|How|Not|Nothing)\b"
)
"""First words of a docstring that only makes sense behind the name above it."""
SAME_ROLE = ("services/mysql_writer", "services/ch_bridge")
"""Both sinks use the same names for the same roles."""
EVERYWHERE = {"log", "app", "main", "T"}
"""A module's logger, its command line or Faust application, its entry point, a type variable."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> Iterator[tuple[str, ast.Module, int]]:
    """Path, syntax tree and number of lines of each module."""
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            text = file.read_text()
            yield str(file.relative_to(ROOT)), ast.parse(text), len(text.splitlines())


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def body_lines(function: Function) -> int:
    """Lines of the statements, without the docstring."""
    body = [node for node in function.body if not is_docstring(node)]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(function: Function) -> int:
    """Parameters without self and cls, and without those that declare an option of the command line."""
    arguments = function.args
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    options = [a for a in found if a.annotation and "typer." in ast.unparse(a.annotation)]
    return len([a for a in found if a.arg not in {"self", "cls"}]) - len(options)


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring, those of attributes and constants included."""
    for node in ast.walk(tree):
        for statement in getattr(node, "body", None) or () if not isinstance(node, ast.Lambda | ast.IfExp) else ():
            if isinstance(statement, ast.Expr) and is_docstring(statement):
                yield statement.lineno, ast.literal_eval(statement.value)


def names(tree: ast.Module) -> Iterator[str]:
    """Public names that a module defines."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_no_file_is_longer_than_a_reader_keeps_in_mind() -> None:
    folders = ("shared", "services", "tools", "bench")
    assert [(path, lines) for path, _, lines in modules(*folders) if lines > MOST_LINES_OF_A_FILE] == []


def test_functions_are_short_and_take_few_parameters() -> None:
    found = [
        (path, function) for path, tree, _ in modules("shared", "services", "tools") for function in functions(tree)
    ]
    assert [(path, f.name, body_lines(f)) for path, f in found if body_lines(f) > MOST_LINES_OF_A_BODY] == []
    assert [(path, f.name, parameters(f)) for path, f in found if parameters(f) > MOST_PARAMETERS] == []


def test_a_docstring_stands_alone() -> None:
    assert [
        f"{path}:{line} {text.strip().splitlines()[0]}"
        for path, tree, _ in modules("shared", "services", "tools", "bench", "tests")
        for line, text in docstrings(tree)
        if CONTINUES_ITS_NAME.match(text.strip())
    ] == []


def test_a_name_means_one_thing() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path, tree, _ in modules("shared", "services", "tools"):
        role = next((f"sinks/{path.removeprefix(sink)}" for sink in SAME_ROLE if path.startswith(sink)), path)
        for name in names(tree):
            if not name.startswith("_") and name not in EVERYWHERE:
                places[name].add(role)
    assert {name: sorted(found) for name, found in places.items() if len(found) > 1} == {}
