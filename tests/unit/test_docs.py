"""The documentation is fresh, complete and true where a test can tell: links, paths, names, versions, examples."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from shared.inventory import endpoints
from shared.settings import SERVICES, System
from tools.cli.dev.docs import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
PAGES = sorted({*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("services/**/README.md")})
CODE = ("services", "shared", "tools")
FOLDERS = (*CODE, "bench", "deploy", "docs", "tests")
FORGES = (".github/workflows/ci.yml", ".gitlab-ci.yml")
LONGEST_LINE = 120

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.mark.parametrize("page", pages())
def test_a_generated_page_is_fresh(page: str) -> None:
    assert (DOCS / page).read_text() == pages()[page], "run: pmflow docs"


def test_the_examples_of_inventories_can_be_used(tmp_path: Path) -> None:
    examples = [
        example
        for page in (DOCS.parent / "README.md", DOCS / "collecting.md")
        for example in re.findall(r"```yaml\n(- .*?)```", page.read_text(), re.DOTALL)
    ]
    assert len(examples) == 2
    for number, example in enumerate(examples):
        (tmp_path / f"{number}.yaml").write_text(example)
        assert len(endpoints(System(name="4ga", inventory=str(tmp_path / f"{number}.yaml")))) >= 2001


def prose(text: str) -> Iterator[str]:
    """Yields the lines outside of code blocks and tables."""
    inside = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and not line.startswith("|"):
            yield line


@each_page
def test_no_line_is_longer_than_a_screen(page: Path) -> None:
    generated = page.parent == DOCS and page.name in pages()
    lines = prose(page.read_text()) if generated else page.read_text().splitlines()
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yields the target and the anchor of each relative link of a page."""
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        if "://" not in target:
            yield (page.parent / target).resolve() if target else page, anchor


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [str(target) for target, _ in links(page) if not target.exists()] == []
    assert [anchor for target, anchor in links(page) if anchor and anchor not in anchors(target)] == []


@each_page
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    named = re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    ends = re.findall(r"`([\w/]+\.py)`", text)
    files = [f"/{file.relative_to(ROOT).as_posix()}" for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    assert [end for end in ends if not any(file.endswith(f"/{end}") for file in files)] == []


@each_page
def test_every_module_that_a_page_runs_exists(page: Path) -> None:
    modules = re.findall(rf"python -m ((?:{'|'.join(FOLDERS)})(?:\.\w+)+)", page.read_text())
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert [
        path for path in paths if not (path / "__main__.py").exists() and not path.with_suffix(".py").exists()
    ] == []


@each_page
def test_every_event_that_a_page_names_is_logged(page: Path) -> None:
    text = " ".join(page.read_text().split())
    named = re.findall(r"\bevent `([^`]+)`|\bevents `([^`]+)` and `([^`]+)`", text)
    events = [event for names in named for event in names if event]
    code = "\n".join(file.read_text() for folder in CODE for file in (ROOT / folder).rglob("*.py"))
    assert [event for event in events if f'"{event}"' not in code] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    left = {ROOT / "README.md"}
    while left:
        page = left.pop()
        reached.add(page)
        left |= {target for target, _ in links(page) if target.suffix == ".md"} - reached
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


def classes() -> set[str]:
    files = [file for folder in CODE for file in (ROOT / folder).rglob("*.py")]
    return {
        node.name for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)
    }


def glossary() -> dict[str, list[str]]:
    """Returns the names after "Code:", by term."""
    entries = re.findall(
        r"^- \*\*(.+?)\*\*: (.*?)(?=\n- |\n\n|\Z)", (DOCS / "glossary.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return {term: re.findall("`([^`]+)`", text.partition("Code:")[2]) for term, text in entries}


def test_every_class_of_the_glossary_exists() -> None:
    named = {name for names in glossary().values() for name in names if "/" not in name}
    assert len(named) > 30
    assert sorted(named - classes()) == []


def test_no_term_of_the_glossary_is_explained_twice() -> None:
    terms = re.findall(r"^- \*\*(.+?)\*\*:", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert len(terms) == len(glossary()) == len(set(terms))


def test_nothing_cites_a_document_that_is_not_in_the_repository() -> None:
    foreign = "DES" + "IGN"
    files = [
        file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in {".py", ".md", ".yaml"}
    ]
    citing = [
        file
        for file in (*files, *PAGES, *(ROOT / name for name in ("Makefile", "compose.yaml", "pyproject.toml")))
        if re.search(rf"\b{foreign}\b", file.read_text())
    ]
    assert citing == []


def test_every_page_that_the_code_names_exists() -> None:
    files = [file for folder in (*CODE, "bench", "deploy", "tests") for file in (ROOT / folder).rglob("*")]
    named = {
        (str(file.relative_to(ROOT)), page)
        for file in files
        if file.suffix in {".py", ".yaml", ".json"}
        for page in re.findall(r"\bdocs/[\w/-]+\.md", file.read_text())
    }
    assert len(named) > 5
    assert sorted(pair for pair in named if not (ROOT / pair[1]).exists()) == []


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", (DOCS / "decisions" / "README.md").read_text())
    assert listed == [page.name for page in DECISIONS]
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_why_and_when_it_would_change(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]}: ")
    assert [part for part in ("Context", "Decision", "What would change our mind") if f"\n**{part}" not in text] == []


def version(folder: Path) -> str:
    return str(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"])


def test_every_service_and_page_names_the_version_of_the_project() -> None:
    own = version(ROOT)
    assert {version(ROOT / "services" / service) for service in SERVICES} == {own}
    assert re.findall(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == own
    images = [image for page in PAGES for image in re.findall(r"pmflow-\w+:([\d.]+\d)", page.read_text())]
    assert set(images) <= {own}


@pytest.mark.parametrize("file", FORGES)
def test_a_forge_runs_the_projects_own_checks(file: str) -> None:
    jobs = yaml.safe_load((ROOT / file).read_text())
    job = jobs.get("jobs", jobs)["test"]
    commands = job.get("script") or [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]


def test_hooks_run_the_projects_own_tools() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"].split()[0] for hook in local["hooks"]] == [
        ".venv/bin/ruff",
        ".venv/bin/ruff",
        ".venv/bin/mypy",
    ]


def test_code_owners_own_what_exists_and_every_service() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text().splitlines()
    owned = {line.split()[0] for line in lines if line and not line.startswith("#")} - {"*"}
    assert sorted(path for path in owned if not (ROOT / path.strip("/")).exists()) == []
    assert owned >= {f"/services/{service}/" for service in SERVICES}


def test_make_help_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = " ".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)).split()
    explained = re.findall(r"^([a-z]+):.*?  ## \S", makefile, re.MULTILINE)
    assert sorted(targets) == sorted(explained)


def test_every_test_that_the_acceptance_page_names_exists() -> None:
    text = (DOCS / "acceptance.md").read_text()
    named = re.findall(r"^- \*\*(\w)\*\*: `(tests/\S+\.py)`\n  `(test_\w+)`$", text, re.MULTILINE)
    assert len(named) == text.count("- **") > 10
    for _, file, function in named:
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (file, function)
    results = [line.split("|")[3] for line in text.splitlines() if re.match(r"\| (FTC|25h|Max|Stab)\S*1?.*\|$", line)]
    used = {letter for result in results for letter in re.findall(r"(?<=[ :])([A-Z])(?=[ ,])", result)}
    assert used == {letter for letter, _, _ in named}
