"""Files of a run folder are untrusted: whatever stands in them, there is a report or one clear message."""

import json
import random
import shutil

import pytest
from compare_folders import write_run

from bosrow.cli import main

JUNK = [None, True, -1, 0, 10**30, 1e300, "", "<b>text</b>", [], [[]], {}, {"a": 1}, ["x"] * 3]
FILES = ("config.json", "evaluation/summary.json", "scalars.jsonl", "evaluation/items_bits_per_byte.jsonl")
FILES += ("evaluation/bos_no/items_hellaswag.jsonl", "evaluation/bos_yes/ewok_items.jsonl")


def spoil(value, choose):
    """`value` with one part, somewhere inside, replaced by junk or left out."""
    if isinstance(value, dict) and value and choose.random() < 0.9:
        name = choose.choice(sorted(value))
        rest = {key: part for key, part in value.items() if key != name}
        return rest if choose.random() < 0.15 else value | {name: spoil(value[name], choose)}
    if isinstance(value, list) and value and choose.random() < 0.8:
        place = choose.randrange(len(value))
        return [*value[:place], spoil(value[place], choose), *value[place + 1 :]]
    return choose.choice(JUNK)


def spoil_file(path, choose):
    if path.suffix == ".json":
        path.write_text(json.dumps(spoil(json.loads(path.read_text()), choose)))
        return
    lines = path.read_text().splitlines()
    place = choose.randrange(len(lines))
    lines[place] = json.dumps(spoil(json.loads(lines[place]), choose))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    place = tmp_path_factory.mktemp("sound")
    for policy in ("stream", "crop"):
        for seed in (1, 2, 3):
            write_run(place / f"{policy}_{seed}", seed, policy=policy)
    return place


def check(sound, place, seed, capsys):
    choose = random.Random(seed)
    shutil.copytree(sound, place / "runs")
    runs = sorted((place / "runs").iterdir())
    for _ in range(choose.choice([1, 1, 3])):
        spoil_file(choose.choice(runs) / choose.choice(FILES), choose)
    status = main(["compare", *map(str, runs), "--out", str(place / "out")])
    told = capsys.readouterr()
    assert status in (0, 2), told.err
    assert (place / "out").exists() == (status == 0)
    if status == 2:
        assert told.err.startswith("bosrow compare: ")
    else:
        assert "<b>text" not in (place / "out" / "report.html").read_text()


@pytest.mark.parametrize("seed", range(12))
def test_spoiled_files_give_a_report_or_a_message(sound, tmp_path, capsys, seed):
    check(sound, tmp_path, seed, capsys)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_more_spoiled_files_give_a_report_or_a_message(sound, tmp_path, capsys, seed):
    check(sound, tmp_path, seed, capsys)


@pytest.mark.parametrize("name", ["config.json", "evaluation/summary.json"])
def test_a_link_is_not_followed(sound, tmp_path, capsys, name):
    shutil.copytree(sound, tmp_path / "runs")
    path = tmp_path / "runs" / "crop_1" / name
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert main(["compare", str(tmp_path / "runs" / "crop_1"), "--out", str(tmp_path / "out")]) == 2
    assert "is not a regular file" in capsys.readouterr().err
