"""What the READMEs and docs/ name exists: files, tests, links, and the options of the commands they show."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "bench" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOP = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
WRITTEN = ("data/", "runs/")  # by the programs
PROGRAMS = {
    r"python -m data_prep translate": ["data_prep/translation/command.py"],
    r"python -m data_prep(?! translate)": ["data_prep/__main__.py"],
    r"python -m eval": ["eval/__main__.py", "eval/report/program.py"],
    r"python -m studies": ["studies/__main__.py"],
    r"train\.py": ["train.py"],
    r"python -m bench\.(\w+)": [r"bench/\1.py"],
}


def in_backticks(page: Path) -> Iterator[str]:
    """Inline code of a page, outside code blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    return (found.replace("\n", " ") for found in re.findall(r"`([^`]+)`", prose))


def commands(page: Path) -> Iterator[str]:
    """Lines of the indented code blocks, without comments, continuation lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return (line.strip().partition(" # ")[0] for line in text.splitlines() if line.startswith("    "))


def is_path(text: str) -> bool:
    """Whether inline code is a path of the repository: below one of its folders, or a Python file at the top."""
    path = text.partition("::")[0]
    if not re.fullmatch(r"[\w.*/-]+", path) or path.startswith(WRITTEN):
        return False
    return path.split("/")[0] in TOP if "/" in path else path == "train.py" or path.startswith("test_")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_links_exist(page: Path) -> None:
    paths = [text.partition("::")[0] for text in in_backticks(page) if is_path(text)]
    patterns = {p: p.rstrip("/") if "/" in p or p == "train.py" else f"tests/**/{p}" for p in paths}
    missing = [path for path, pattern in patterns.items() if not any(ROOT.glob(pattern))]
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_guarantees_name_tests_that_pytest_collects() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = page.partition("| guarantee | tests |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    named = [re.findall(r"`(tests/[^`]+)`", row) for row in rows]
    assert len(rows) > 20 and all(named)
    for file, _, function in (name.partition("::") for names in named for name in names):
        body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body  # the project has no test classes
        collected = {n.name for n in body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}
        assert Path(file).name.startswith("test_") and collected, file
        assert not function or function in collected, (file, function)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_and_configs_that_are_shown(page: Path) -> None:
    for line in commands(page):
        if page.name != "extending.md":  # whose reader writes the configs
            assert all((ROOT / "configs" / name).is_file() for name in re.findall(r"--config (\w+\.json)", line)), line
        for pattern, files in PROGRAMS.items():
            if (found := re.search(pattern, line)) is None:
                continue
            sources = [(ROOT / found.expand(file)) for file in files]
            known = {option for path in sources for option in re.findall(r'"(--[\w-]+)"', path.read_text("utf-8"))}
            shown = re.findall(r"(?<![\w-])--[\w-]+", line[found.end() :])
            assert set(shown) <= known, (line, sorted(set(shown) - known))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
