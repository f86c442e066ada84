"""Held-out documents come back from a data set as they were before packing."""

import json

import pytest
from folders import items_file, model_folder

from bosrow.cli import main
from bosrow.errors import UserError
from bosrow.evals.heldout_documents import heldout_documents
from bosrow.tokenizers.gpt2 import load_tokenizer

TEXTS = [f"Document {number}: " + "a word, é and more " * (number % 40) for number in range(200)]


def prepared(place, policy, *more):
    source = items_file(place / "documents.jsonl", [{"text": text} for text in TEXTS])
    out = place / policy
    command = ["prepare", "--data_files", str(source), "--out_dir", str(out), "--policy", policy, "--seq_len", "64"]
    assert main([*command, "--workers", "0", *more]) == 0
    return out


@pytest.mark.parametrize("policy", ["stream", "keep"])
def test_val_documents_are_whole_whatever_the_packing(tmp_path, capsys, policy):
    documents = heldout_documents(prepared(tmp_path, policy, "--val_fraction", "0.2")).documents
    assert 20 < len(documents) < 60
    for document in documents:
        text = load_tokenizer().decode(document.tokens)
        assert text == TEXTS[document.number]
        assert document.bytes == len(text.encode())


def test_a_model_of_another_vocabulary_reads_the_same_texts(tmp_path, capsys):
    data = prepared(tmp_path, "keep", "--val_fraction", "0.1")
    model_folder(tmp_path / "bytes", seq_len=32)
    command = ["eval", str(tmp_path / "bytes"), "--tasks", "bits_per_byte", "--heldout", str(data)]
    assert main([*command, "--device", "cpu", "--heldout_max_documents", "7", "--out", str(tmp_path / "out")]) == 0
    (result,) = json.loads((tmp_path / "out" / "summary.json").read_text())["checkpoints"][0]["results"]
    assert result["tokens"] == result["bytes"] > 100  # each byte is a token of this model


def test_the_same_documents_are_held_out_of_both_packings_and_scored_alike(tmp_path, capsys):
    model_folder(tmp_path / "model", vocab_size=50257, seq_len=64, tokenizer=False)
    scored = []
    for policy in ("stream", "keep"):
        data, out = prepared(tmp_path, policy, "--val_fraction", "0.1"), tmp_path / f"out_{policy}"
        command = ["eval", str(tmp_path / "model"), "--tasks", "bits_per_byte", "--heldout", str(data)]
        assert main([*command, "--heldout_max_documents", "5", "--device", "cpu", "--out", str(out)]) == 0
        (result,) = json.loads((out / "summary.json").read_text())["checkpoints"][0]["results"]
        assert result["documents"] == len((out / "items_bits_per_byte.jsonl").read_text().splitlines()) == 5
        scored.append(result)
    assert scored[0] == scored[1]
    assert scored[0]["bits_per_byte"] > 0


def test_a_cropped_data_set_and_one_without_val_are_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="policy 'crop', which crops its val documents"):
        heldout_documents(prepared(tmp_path, "crop", "--val_fraction", "0.2"))
    with pytest.raises(UserError, match="has no val rows"):
        heldout_documents(prepared(tmp_path, "stream", "--val_fraction", "0"))
