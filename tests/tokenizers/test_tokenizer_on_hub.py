"""The tokenizer of a model on the Hub: its tokenizer files alone, at one commit, kept in the data set."""

import json
import re
from pathlib import Path

import pytest
from corpora import contents, documents, prepared, write_corpus
from hub_server import Fault, Hub

pytest.importorskip("tokenizers")

from vocabularies import write_tokenizer

from bosrow.dataset.manifest import read_manifest
from bosrow.errors import BosrowError, DataSetError, OptionError, SourceError
from bosrow.prepare.packer import Packer
from bosrow.tokenizers.by_name import find_tokenizer

NAME = "someone/model"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("model")
    write_tokenizer(folder, special=("<s>", "</s>"), bos_token="<s>", eos_token="</s>")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    return content | {"model.safetensors": b"weights", "README.md": b"# A model"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, "parquet", documents(200))
    return (str(folder / "*.parquet"),)


@pytest.fixture
def fetched(hub: Hub, monkeypatch, tmp_path):
    """The files that the Hub was asked for, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return lambda: {request.path for request in hub.requests if request.kind in ("resolve", "storage")}


def test_only_the_tokenizer_is_fetched_and_its_commit_recorded(hub, fetched, files, corpus, tmp_path):
    commit = hub.add(NAME, files)
    out = prepared(tmp_path / "out", data_files=corpus, tokenizer=NAME)
    assert fetched() == {"tokenizer.json", "tokenizer_config.json"}
    info = read_manifest(tmp_path / "out").tokenizer
    assert (info.name, info.revision) == (NAME, commit)
    assert out["tokenizer.json"] == files["tokenizer.json"]
    (tmp_path / "local").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "local" / name).write_bytes(files[name])
    local = prepared(tmp_path / "there", data_files=corpus, tokenizer=str(tmp_path / "local"))
    assert {name: data for name, data in out.items() if name.endswith(".bin")} == {
        name: data for name, data in local.items() if name.endswith(".bin")
    }


def test_what_goes_on_takes_its_own_copy_whatever_became_of_the_hub(hub, fetched, files, corpus, tmp_path, monkeypatch):
    settings = {"data_files": corpus, "tokenizer": NAME, "checkpoint_seconds": 1e-9, "batch_docs": 7}
    commit = hub.add(NAME, files)
    expected = prepared(tmp_path / "whole", **settings)
    add = Packer.add

    def die(self, document, *arguments):
        if document == 120:
            raise KeyboardInterrupt
        add(self, document, *arguments)

    monkeypatch.setattr(Packer, "add", die)
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path / "out", **settings)
    monkeypatch.setattr(Packer, "add", add)
    hub.add(NAME, files | {"tokenizer.json": b"{}"})  # a push
    hub.fault = lambda request: Fault(status=503)
    assert prepared(tmp_path / "out", **settings) == expected
    assert read_manifest(tmp_path / "out").tokenizer.revision == commit
    before = contents(tmp_path / "out")
    assert prepared(tmp_path / "out", **settings) == before  # complete
    with pytest.raises(DataSetError, match=r"tokenizer_revision|bos|appended_eos"):
        prepared(tmp_path / "out", **settings | {"bos_token": "</s>"})


def test_a_revision_is_named_after_an_at_sign(hub, fetched, files):
    first = hub.add(NAME, files)
    hub.add(NAME, files | {"tokenizer.json": b"{}"})
    assert find_tokenizer(f"{NAME}@{first}").revision == first
    with pytest.raises(SourceError, match=rf"{NAME} has no revision 'v9'; give a branch, a tag or a commit"):
        find_tokenizer(f"{NAME}@v9")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("someone/absent", {}, "the Hub has no model 'someone/absent', or it is private"),
        (NAME, {"gated": True}, rf"{NAME} is gated, and no token was given: accept its terms on \S*/{NAME},"),
        (NAME, {"private": True}, f"the Hub has no model '{NAME}', or it is private"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_message(hub, fetched, files, name, settings, message):
    hub.add(NAME, files, **settings)
    with pytest.raises(SourceError, match=message):
        find_tokenizer(name)


def test_a_model_with_a_sentencepiece_file_alone_is_refused_with_what_to_do(hub, fetched, files):
    hub.add(NAME, {"tokenizer.model": b"\x0a", "config.json": b"{}"})
    with pytest.raises(OptionError, match=r"has no tokenizer.json \(it has tokenizer.model\).*save_pretrained"):
        find_tokenizer(NAME)


def test_without_the_hub_the_message_says_what_to_do(hub, fetched, files, quick_retries):
    hub.add(NAME, files)
    hub.fault = lambda request: Fault(status=503)
    with pytest.raises(BosrowError, match=r"tokenizer of someone/model cannot be fetched .*give a tokenizer.json"):
        find_tokenizer(NAME)


def test_no_path_and_no_token_is_written(hub, fetched, files, corpus, tmp_path):
    hub.add(NAME, files)
    prepared(tmp_path / "out", data_files=corpus, tokenizer=NAME)
    meta = Path(tmp_path / "out" / "meta.json").read_text()
    assert not re.search(re.escape(str(tmp_path / "cache")), meta)
    assert json.loads(meta)["tokenizer"] == NAME
