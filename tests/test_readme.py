"""The documents cannot drift: every command in them is parsed by the real command line, every file and link exists."""

import json
import re
import shlex
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from corpora import documents, prepared, write_corpus

import bosrow
from bosrow.cli import VERBS, load
from bosrow.flags import parse

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = {"signals_to_handle", "signal", "standalone", "nproc_per_node", "max_restarts"}  # flags of torchrun

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


@cache
def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language ("" for output)."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    return [block for found, block in fenced if found == language]


def prose(path: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(path: Path) -> list[str]:
    """The command lines of all `sh` blocks of a page, continuation lines joined."""
    return [line for block in blocks(path, "sh") for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("line", sorted({line for path in PAGES for line in commands(path)}))
def test_a_command_of_the_documents_is_one_that_exists(line):
    words = shlex.split(line)
    if words[0] == "torchrun":
        words = ["bosrow", *words[words.index("bosrow") + 1 :]]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "bosrow":
        verb = VERBS[words[1]]
        parse(load(verb.options), words[2:], "bosrow")  # raises where a flag is unknown
    elif words[0] == ".venv/bin/python":
        assert words[1:3] == ["-m", "pytest"]
        assert all((ROOT / word).exists() for word in words[3:])
    else:
        assert (ROOT / words[0]).stat().st_mode & 0o111, f"{words[0]} is no executable file"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_command_in_the_readme_and_a_page(verb):
    assert any(shlex.split(line)[:2] == ["bosrow", verb] or f"bosrow {verb} " in line for line in commands(README))
    assert f"](docs/{verb}.md)" in README.read_text()
    assert f"{verb}.md" in (ROOT / "mkdocs.yml").read_text()
    assert any(f"bosrow {verb} " in line for line in commands(ROOT / "docs" / f"{verb}.md"))


@page
def test_every_flag_named_in_the_text_exists(path):
    flags = {flag.replace("-", "_") for flag in re.findall(r"`--([a-z_-]+)", prose(path))}
    fields = [field for verb in VERBS.values() for field in load(verb.options).__dataclass_fields__.values()]
    known = {name for field in fields for name in (field.name, field.metadata.get("flag"))} | {"debug", "help"}
    assert flags <= known | OTHERS


@page
def test_every_link_to_a_file_or_a_chapter_leads_there(path):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    for target in (target for target in targets if not target.startswith("https://")):
        name, _, chapter = target.partition("#")
        found = path.parent / name if name else path
        assert found.exists(), target
        titles = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE) if chapter else []
        assert chapter in ["", *(re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles)]


def test_the_readme_is_short_enough_to_be_read():
    assert len(README.read_text().splitlines()) <= 200


def test_the_format_page_reads_a_data_set_without_bosrow(tmp_path):
    (source,) = write_corpus(tmp_path / "corpus", "jsonl", documents(80))[1:]
    prepared(tmp_path / "out", data_files=(source,), val_fraction=0.1)
    (program,) = blocks(ROOT / "docs" / "format.md", "python")
    names = {"DATA_DIR": tmp_path / "out"}
    exec(program, names)
    expected = bosrow.open_rows(tmp_path / "out", "train")
    assert np.array_equal(np.concatenate(names["rows"]), expected[:])
    assert np.array_equal(names["x"], expected[0][:-1])


def test_the_format_page_names_every_field_of_meta_json(tmp_path):
    (source,) = write_corpus(tmp_path / "corpus", "jsonl", documents(80))[1:]
    prepared(tmp_path / "out", data_files=(source,), val_fraction=0.1)
    meta = json.loads((tmp_path / "out" / "meta.json").read_bytes())
    fields = {*meta, *meta["bosrow"], *meta["bosrow"]["source"], *meta["bosrow"]["ledger"]["train"]}
    assert fields <= set(re.findall(r"`(\w+)`", prose(ROOT / "docs" / "format.md")))


def test_the_version_is_the_same_in_the_package_the_citation_and_the_changelog():
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    logged = re.search(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited[1] == logged[1] == bosrow.__version__
