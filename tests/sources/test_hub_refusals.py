"""What cannot be had from the Hub, each with one message that says what to do."""

import pytest
from hub_corpora import FINEWEB, README, add_fineweb, jsonl, parquet, refused
from hub_server import TOKEN, Hub

from bosrow.errors import MachineError
from bosrow.hub import errors
from bosrow.sources.hub_repository import resolve


def test_no_such_data_set(hub: Hub):
    message = refused("someone/nothing")
    assert "no data set 'someone/nothing'" in message
    assert "private" in message


def test_a_private_data_set_opens_with_the_token_alone(hub: Hub, monkeypatch):
    hub.add("someone/secret", {"train.txt": b"secret\n"}, private=True)
    assert "private" in refused("someone/secret")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert resolve("someone/secret").format == "text"


def test_a_token_that_is_not_valid_is_not_shown(hub: Hub, monkeypatch):
    add_fineweb(hub, seed=1000)
    monkeypatch.setenv("HF_TOKEN", "hf_wrongandnotshown")
    message = refused(FINEWEB, "sample-10BT")
    assert "refused your token" in message
    assert "wrongandnotshown" not in message


def test_a_password_in_the_address_of_the_hub_is_not_shown(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://user:hf_shown@hub.example:8080")
    message = str(errors.explained(ConnectionError("away"), FINEWEB, None))
    assert "(http://hub.example:8080)" in message
    assert "hf_shown" not in message


def test_a_gated_data_set_without_a_token_says_how_to_get_in(hub: Hub):
    add_fineweb(hub, seed=1100, gated=True)
    message = refused(FINEWEB, "sample-10BT")
    assert "gated" in message
    assert f"/datasets/{FINEWEB}" in message
    assert "HF_TOKEN" in message


def test_a_gated_data_set_whose_readme_is_open_to_all_is_still_found_gated(hub: Hub):
    hub.add("someone/gated", {"train.txt": b"text\n"}, gated=True)
    assert "gated" in refused("someone/gated")


def test_no_such_config_lists_those_there_are(hub: Hub):
    add_fineweb(hub, seed=1200)
    message = refused(FINEWEB, "sample-10GT")
    assert "no config 'sample-10GT'" in message
    assert "default, sample-10BT, notes" in message


def test_a_config_that_is_needed_lists_those_there_are(hub: Hub):
    readme = README.replace("config_name: default", "config_name: full")
    hub.add("someone/configs", {"README.md": readme.encode(), "data/a/0.parquet": parquet(3)})
    assert "--config: full, sample-10BT, notes" in refused("someone/configs")


def test_no_such_split_lists_those_there_are(hub: Hub):
    add_fineweb(hub, seed=1300)
    assert "there are: train, validation" in refused(FINEWEB, "notes", "test")


@pytest.mark.parametrize("split", ["train[:1%]", "train+test", "train[10:20]", ""])
def test_a_split_expression_is_refused_with_max_docs_as_the_way(split: str):
    assert "--max_docs" in refused(FINEWEB, None, split)


def test_no_such_revision(hub: Hub):
    add_fineweb(hub, seed=1400)
    assert "no revision 'v9'" in refused(FINEWEB, "sample-10BT", "train", "v9")


@pytest.mark.parametrize("name", ["wikitext", "a/b/c", "../x/y", "", "owner/na me"])
def test_what_cannot_be_a_name_on_the_hub_is_refused_without_a_request(hub: Hub, name: str):
    assert "--data_files" in refused(name)
    assert not hub.requests


def test_other_formats_are_refused_and_those_that_are_read_are_named(hub: Hub):
    hub.add("someone/tables", {"train.xml": b"<text>hello</text>"})
    assert "train.xml; bosrow reads files that end in .parquet" in refused("someone/tables")


def test_two_formats_in_one_split_are_refused(hub: Hub):
    readme = b"---\nconfigs:\n- config_name: default\n  data_files: '*'\n---\n"
    hub.add("someone/mixed", {"README.md": readme, "a.jsonl": jsonl("a"), "b.txt": b"b\n", "c.jsonl": jsonl("c")})
    assert "a.jsonl and b.txt" in refused("someone/mixed")


def test_a_data_set_that_is_a_script_is_refused_and_never_run(hub: Hub, tmp_path):
    trap = tmp_path / "trap"
    hub.add("someone/script", {"script.py": f"open({str(trap)!r}, 'w')".encode(), "train.txt": b"text\n"})
    assert "script" in refused("someone/script")
    assert not trap.exists()


def test_a_data_set_without_files_is_refused(hub: Hub):
    hub.add("someone/empty", {"README.md": b"# nothing yet\n"})
    assert "someone/empty" in refused("someone/empty")


def test_a_readme_that_is_not_yaml_is_refused(hub: Hub):
    hub.add("someone/broken", {"README.md": b"---\nconfigs: [\n---\n", "train.txt": b"x\n"})
    assert "someone/broken" in refused("someone/broken")


def test_settings_that_would_change_which_text_is_read_are_refused(hub: Hub):
    readme = b"---\nconfigs:\n- config_name: default\n  data_files: train.json\n  field: rows\n---\n"
    hub.add("someone/nested", {"README.md": readme, "train.json": b'{"rows": [{"text": "a"}]}'})
    assert "field='rows'" in refused("someone/nested")


def test_a_cache_that_cannot_be_written_is_a_fault_of_the_machine_and_named(hub: Hub, monkeypatch):
    add_fineweb(hub, seed=77)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/proc/cache")
    with pytest.raises(MachineError, match="/proc/cache"):
        resolve(FINEWEB)
