"""`bosrow eval` as a person uses it: tables, files, several checkpoints and ranks, and mistakes."""

import json
import signal

import pytest
from folders import BLIMP, EWOK, HELLASWAG, items_file, model_folder
from running import run_ranks
from synthetic import write_data_set

from bosrow.cli import main
from bosrow.errors import UserError
from bosrow.evals.results import distinct_names
from bosrow.model.gpt2 import ModelConfig
from bosrow.model.pretrained import read_config


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def workplace(tmp_path):
    model_folder(tmp_path / "model")
    items_file(tmp_path / "hellaswag.jsonl", HELLASWAG)
    items_file(tmp_path / "blimp.jsonl", BLIMP)
    items_file(tmp_path / "ewok.jsonl", EWOK)
    return tmp_path


def arguments(place, tasks, *more, model="model"):
    data = [
        part for name in ("hellaswag", "blimp", "ewok") for part in (f"--{name}_data", str(place / f"{name}.jsonl"))
    ]
    return ["eval", str(place / model), "--tasks", tasks, "--device", "cpu", *data, *map(str, more)]


def test_a_checkpoint_gives_a_table_items_and_a_summary(workplace, capsys):
    out = workplace / "out"
    assert main(arguments(workplace, "hellaswag,blimp,ewok", "--out", out)) == 0
    printed = capsys.readouterr().out
    for words in ("hellaswag without BOS", "blimp with BOS", "ewok with BOS", "acc_norm", "0.250", "standard error"):
        assert words in printed
    items = lines_of(out / "items_hellaswag.jsonl")
    assert [item["item"] for item in items] == list(range(7))
    assert [item["label"] for item in items] == [record["label"] for record in HELLASWAG]
    assert items[0]["tokens"] == [len(f" {ending}") for ending in HELLASWAG[0]["endings"]]
    assert all(isinstance(value, float) and value < 0 for item in items for value in item["logprobs"])
    results = json.loads((out / "summary.json").read_text())["checkpoints"][0]["results"]
    hellaswag, blimp, ewok = results
    right = sum(max(range(4), key=item["logprobs"].__getitem__) == item["label"] for item in items)
    assert hellaswag["accuracy"] == pytest.approx(right / 7)
    assert (hellaswag["rule"], hellaswag["bos"], hellaswag["chance"]) == ("reference", False, 0.25)
    assert blimp["groups"]["phenomenon"]["agreement"]["items"] == 6
    assert set(ewok["sum"]["groups"]["domain"]) == {"physical", "social"}
    assert lines_of(out / "ewok_items.jsonl")[0]["sum"]["T1|C1"] < 0
    assert len(lines_of(out / "items_ewok.jsonl")[0]["logprobs"]) == 4


def test_with_and_without_bos_stand_side_by_side(workplace, capsys):
    out = workplace / "out"
    assert main(arguments(workplace, "blimp", "--bos", "both", "--out", out, "--json")) == 0
    without, with_bos = json.loads(capsys.readouterr().out)["checkpoints"][0]["results"]
    assert (without["bos"], with_bos["bos"]) == (False, True)
    more = lines_of(out / "bos_yes" / "items_blimp.jsonl")[0]["tokens"][0]
    assert lines_of(out / "bos_no" / "items_blimp.jsonl")[0]["tokens"][0] == more - 1


@pytest.mark.usefixtures("rendered")
def test_checkpoints_of_a_run_side_by_side_are_drawn_over_steps(workplace, capsys):
    for step in (10, 20):
        model_folder(workplace / "run" / f"ckpt_periodic_step{step:07d}", seed=step)
    models = [str(workplace / "run" / f"ckpt_periodic_step{step:07d}") for step in (10, 20)]
    out = workplace / "out"
    command = arguments(workplace, "hellaswag,ewok", "--out", out)
    assert main([command[0], *models, *command[2:]]) == 0
    printed = capsys.readouterr().out
    assert "ckpt_periodic_step0000010" in printed
    assert "ckpt_periodic_step0000020" in printed
    assert (out / "ckpt_periodic_step0000020" / "items_ewok.jsonl").exists()
    assert [one["step"] for one in json.loads((out / "summary.json").read_text())["checkpoints"]] == [10, 20]
    for name in ("hellaswag_without_BOS.png", "ewok_with_BOS.png", "ewok_with_BOS_by_domain.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_names_of_checkpoints_differ(tmp_path):
    paths = tuple(tmp_path / run / "ckpt" for run in ("a", "b"))
    assert distinct_names(paths) == ["a_ckpt", "b_ckpt"]
    assert distinct_names(paths[:1]) == ["ckpt"]


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.soak)])
def test_any_number_of_ranks_and_any_batch_size_give_the_same_scores(workplace, ranks):
    alone, together = workplace / "alone", workplace / "together"
    main(arguments(workplace, "hellaswag,ewok", "--out", alone, "--batch_size", 1))
    run_ranks(["-m", "bosrow", *arguments(workplace, "hellaswag,ewok", "--out", together, "--batch_size", 3)], ranks)
    for name in ("items_hellaswag.jsonl", "items_ewok.jsonl"):
        for one, other in zip(lines_of(alone / name), lines_of(together / name), strict=True):
            assert other["logprobs"] == pytest.approx(one["logprobs"], rel=1e-6)
            assert other["item"] == one["item"]


def test_rows_and_held_out_documents_of_data_sets_are_scored(workplace, capsys):
    model_folder(workplace / "small", tokenizer=True, vocab_size=257, seq_len=16)
    data = write_data_set(workplace / "packed" / "data", seq_len=16, vocab_size=257)
    stream = write_data_set(workplace / "stream" / "data", seq_len=16, vocab_size=257, policy="stream")
    command = ["eval", str(workplace / "small"), "--tasks", "rows", "--rows", str(data), str(stream), "--json"]
    assert main([*command, "--device", "cpu", "--out", str(workplace / "out")]) == 0
    packed, streamed = json.loads(capsys.readouterr().out)["checkpoints"][0]["results"]
    assert (packed["policy"], streamed["policy"]) == ("crop", "stream")
    assert len(packed["by_position"]) == 16
    for result in (packed, streamed):
        lines = lines_of(workplace / "out" / f"items_rows_{result['rows_of']}.jsonl")
        assert sum(-line["logprob"] for line in lines) / 160 == pytest.approx(result["loss"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tasks", "hellaswug"], "--tasks has 'hellaswug'; there are: hellaswag, ewok"),
        (["--tasks", ","], "--tasks names none"),
        (["--tasks", "bits_per_byte"], "needs --heldout"),
        (["--tasks", "rows"], "needs --rows"),
        (["--batch_size", "0"], "--batch_size is 0; at least 1"),
        (["--hellaswag_data", "nowhere.jsonl"], "nowhere.jsonl is not there"),
        (["--tokenizer", "unheard"], "unheard"),
    ],
)
def test_a_wrong_flag_is_told_plainly(workplace, capsys, more, message):
    assert main([*arguments(workplace, "hellaswag"), *more]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_a_checkpoint_of_another_vocabulary_is_refused(workplace, capsys):
    model_folder(workplace / "untold", tokenizer=False)
    assert main(arguments(workplace, "hellaswag", model="untold")) == 2
    assert "has no tokenizer.json and a vocabulary of 257" in capsys.readouterr().err
    assert main([*arguments(workplace, "hellaswag", model="untold"), "--tokenizer", "gpt2"]) == 2
    assert "knows 257 tokens, but the tokenizer has 50,257" in capsys.readouterr().err


def test_rows_that_a_model_cannot_read_are_refused(workplace, capsys):
    long_rows = write_data_set(workplace / "long", seq_len=64, vocab_size=257)
    assert main([*arguments(workplace, "rows"), "--rows", str(long_rows)]) == 2
    assert "has rows of seq_len 64, the model knows 48 positions" in capsys.readouterr().err
    other = write_data_set(workplace / "other", seq_len=16, vocab_size=61)
    assert main([*arguments(workplace, "rows"), "--rows", str(other)]) == 2
    assert "made with a vocabulary of 61, the model's tokenizer has 257" in capsys.readouterr().err
    heldout = write_data_set(workplace / "cropped")
    assert main([*arguments(workplace, "bits_per_byte"), "--heldout", str(heldout)]) == 2
    assert "--policy keep or stream" in capsys.readouterr().err


def test_what_was_cut_is_said_once_if_it_is_the_same_for_all(workplace, capsys):
    records = [{"query": "word " * 9, "endings": ["a", "b" * 60], "label": 0}]
    items_file(workplace / "hellaswag.jsonl", records)
    model_folder(workplace / "other", seed=5)
    command = arguments(workplace, "hellaswag")
    assert main([command[0], str(workplace / "other"), *command[1:]]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "longer than the model, of which" in line)
    assert line.startswith("hellaswag without BOS: 1 items had a choice")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_a_sentence(workplace, capsys, monkeypatch, number):
    def interrupted(*arguments, **more):
        signal.raise_signal(number)

    monkeypatch.setattr("bosrow.evals.command.evaluate", interrupted)
    assert main(arguments(workplace, "hellaswag")) == 75
    assert capsys.readouterr().err.endswith("stopped; the same command starts again from the first checkpoint\n")


def test_a_folder_that_is_no_model_is_refused(workplace, capsys):
    assert main(arguments(workplace, "hellaswag", model="nowhere")) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_text_cannot_forge_a_special_token(workplace):
    from bosrow.model.pretrained_tokenizer import tokenizer_of

    tokenizer = tokenizer_of(workplace / "model", read_config(workplace / "model"), None)
    assert tokenizer.spec.bos_token_id == 256
    assert tokenizer.encode("a<|endoftext|>").tolist() == tokenizer.encode("a").tolist() + [
        token for letter in "<|endoftext|>" for token in tokenizer.encode(letter).tolist()
    ]


def test_a_folder_without_tokenizer_files_and_gpt2s_vocabulary_uses_the_shipped_tokenizer(tmp_path):
    from bosrow.model.pretrained_tokenizer import tokenizer_of

    for vocab_size in (50257, 50304):  # nanoGPT's number: padded with ids of no word
        assert tokenizer_of(tmp_path, ModelConfig(vocab_size=vocab_size), None).vocab_size == 50257
    with pytest.raises(UserError, match=r"has no tokenizer\.json and a vocabulary of 50,304"):
        tokenizer_of(tmp_path, ModelConfig(vocab_size=50304, bos_token_id=0), None)
