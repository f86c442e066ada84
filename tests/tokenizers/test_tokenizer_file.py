"""Data sets made with a tokenizer.json: prepared, packed anew, verified, trained on and evaluated with it alone."""

import json
from pathlib import Path

import pytest
from corpora import bosrow, documents, prepared, write_corpus

tokenizers = pytest.importorskip("tokenizers")

from vocabularies import BOS, write_tokenizer  # noqa: E402 - after the skip

from bosrow.cli import main  # noqa: E402
from bosrow.dataset.dataset_tokenizer import dataset_tokenizer  # noqa: E402
from bosrow.dataset.documents import read_documents  # noqa: E402
from bosrow.dataset.manifest import read_manifest  # noqa: E402
from bosrow.dataset.provenance import Provenance  # noqa: E402
from bosrow.errors import DataSetError, OptionError, SourceError  # noqa: E402
from bosrow.tokenizers.by_name import open_tokenizer  # noqa: E402
from bosrow.tokenizers.special_tokens import AskedTokens  # noqa: E402


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, "parquet", [*documents(200), f"a {BOS} b", BOS])
    return (str(folder / "*.parquet"),)


def test_ids_are_those_of_the_library_and_no_text_forges_a_bos(tokenizer_json):
    tokenizer = open_tokenizer(str(tokenizer_json))
    reference = tokenizers.Tokenizer.from_file(str(tokenizer_json))
    assert tokenizer.spec.bos_token_id == reference.token_to_id(BOS)
    for text in documents(50):
        assert tokenizer.encode(text).tolist() == reference.encode(text).ids
    forged = tokenizer.encode(f"x{BOS}y")
    assert tokenizer.spec.bos_token_id not in forged
    assert tokenizer.decode(forged) == f"x{BOS}y"
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a�b"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"bos_token": "<s>", "eos_token": "</s>"}, "<s>"),
        ({"eos_token": "</s>"}, "</s>"),
        ({"bos_token": {"content": "</s>"}}, "</s>"),
    ],
)
def test_bos_is_the_token_named_beside_the_file_else_its_eos(tmp_path, config, expected):
    write_tokenizer(tmp_path, special=("<pad>", "<s>", "</s>"), **config)
    tokenizer = open_tokenizer(str(tmp_path))
    assert tokenizer.decode([tokenizer.spec.bos_token_id]) == expected


def test_a_tokenizer_without_a_bos_is_refused(tmp_path, capsys):
    path = write_tokenizer(tmp_path, special=("<pad>", "<mask>"))
    arguments = ["prepare", "--data_files", str(path), "--out_dir", str(tmp_path / "out"), "--tokenizer", str(path)]
    assert main(arguments) == 2
    assert "does not say which token begins a document (its special tokens: <pad>, <mask>)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_whose_bos_is_an_ordinary_word_is_refused(tmp_path):
    path = write_tokenizer(tmp_path, bos_token="e")
    with pytest.raises((OptionError, SourceError), match="gives its BOS"):
        open_tokenizer(str(path)).encode("e e")


@pytest.mark.parametrize("vocabulary", ["x", "ab"])  # at the start, or at the first text with another word
def test_a_tokenizer_without_an_unknown_token_is_refused_at_the_first_text_that_it_cannot_take(
    tmp_path, capsys, vocabulary
):
    words = {BOS: 0} | {word: number for number, word in enumerate((*vocabulary, "a<", ">b", "|", "endoftext"), 1)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(
        tokenizers.Regex(r"a|b| |<.*?>|\w+"), "removed", invert=True
    )
    tokenizer.add_special_tokens([BOS])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "texts.jsonl").write_text('{"text": "a b c"}\n')
    files = ["--data_files", str(tmp_path / "texts.jsonl"), "--out_dir", str(tmp_path / "out")]
    assert main(["prepare", *files, "--tokenizer", str(tmp_path), "--workers", "0"]) == 2
    assert "tokenizer.json has no ids for a text" in capsys.readouterr().err


def test_what_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(OptionError, match=r"is not a tokenizer\.json"):
        open_tokenizer(str(tmp_path))
    with pytest.raises(OptionError, match=r"give gpt2, a tokenizer\.json or its folder"):
        open_tokenizer("bert")


@pytest.mark.parametrize(("words", "dtype"), [(65_535, "uint16"), (65_536, "uint32")])
def test_ids_take_32_bits_where_an_added_token_is_above_65535(tmp_path, words, dtype):
    vocabulary = {f"word{number}": number for number in range(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="word0"))
    tokenizer.add_special_tokens([BOS])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = open_tokenizer(str(tmp_path))
    assert (found.vocab_size, found.dtype, found.encode("word7").dtype) == (words + 1, dtype, dtype)


def test_a_vocabulary_beyond_31_bits_is_refused(tmp_path):
    words = {"word0": 0, "word1": 1 << 31}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="word0")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(OptionError, match="up to 2,147,483,648; at most 2,147,483,647"):
        open_tokenizer(str(tmp_path), AskedTokens(bos_token="word0"))


def test_a_data_set_carries_its_tokenizer_and_goes_on_without_the_original(corpus, tokenizer_json, tmp_path):
    settings = {"data_files": corpus, "tokenizer": str(tokenizer_json), "policy": "keep", "val_fraction": 0.2}
    files = prepared(tmp_path / "keep", **settings)
    assert prepared(tmp_path / "workers", workers=2, **settings) == files
    assert files["tokenizer.json"] == tokenizer_json.read_bytes()
    assert str(tmp_path).encode() not in files["meta.json"]
    manifest = read_manifest(tmp_path / "keep")
    tokenizer = dataset_tokenizer(tmp_path / "keep", manifest)
    assert (manifest.vocab_size, manifest.bos_token_id) == (tokenizer.vocab_size, tokenizer.spec.bos_token_id)
    texts = [tokenizer.decode(tokens[1:]) for _, tokens in read_documents(Provenance(tmp_path / "keep"))]
    assert texts == [*documents(200), f"a {BOS} b", BOS]
    anew = prepared(tmp_path / "anew", from_dir=tmp_path / "keep", seq_len=16, policy="stream")
    straight = prepared(tmp_path / "straight", **settings | {"seq_len": 16, "policy": "stream"})
    assert {name: data for name, data in anew.items() if name.endswith((".bin", "tokenizer.json"))} == {
        name: data for name, data in straight.items() if name.endswith((".bin", "tokenizer.json"))
    }


def test_a_changed_tokenizer_is_refused(corpus, tokenizer_json, tmp_path):
    settings = {"data_files": corpus, "tokenizer": str(tokenizer_json), "val_fraction": 0.2}
    prepared(tmp_path / "out", **settings)
    other = write_tokenizer(tmp_path / "other", vocab_size=300)
    with pytest.raises(DataSetError, match="vocabulary"):
        prepared(tmp_path / "out", **settings | {"tokenizer": str(other)})
    (tmp_path / "out" / "tokenizer.json").write_bytes(other.read_bytes())
    done = bosrow("verify", tmp_path / "out")
    assert done.returncode == 1
    assert "tokenizer.json" in done.stdout


def test_training_and_evaluation_take_the_tokenizer_of_the_data_set(corpus, tokenizer_json, tmp_path, capsys):
    settings = {"data_files": corpus, "tokenizer": str(tokenizer_json), "policy": "stream", "val_fraction": 0.2}
    prepared(tmp_path / "data", **settings)
    shape = "--n_layer 1 --n_head 2 --n_embd 16 --micro_batch_size 4 --total_batch_tokens 128 --max_train_steps 3"
    extra = "--learning_rate 1e-3 --warmup_iters 1 --sample_every 3 --hellaswag_every 0 --heldout_every 3"
    folders = ["--data_dir", str(tmp_path / "data"), "--run_dir", str(tmp_path / "run")]
    flags = [*shape.split(), *extra.split(), "--seq_len", "32", "--device", "cpu", "--heldout", str(tmp_path / "data")]
    assert main(["train", *folders, *flags]) == 0
    checkpoint = tmp_path / "run" / "ckpt_final_step0000003"
    assert (
        json.loads((checkpoint / "config.json").read_bytes())["vocab_size"]
        == open_tokenizer(str(tokenizer_json)).vocab_size
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()]
    (in_training,) = [line["bits_per_byte"] for line in lines if line["type"] == "bits_per_byte"]
    capsys.readouterr()
    tasks = ["--tasks", "bits_per_byte", "--heldout", str(tmp_path / "data"), "--device", "cpu", "--json"]
    assert main(["eval", str(checkpoint), *tasks]) == 0
    (evaluated,) = json.loads(capsys.readouterr().out)["checkpoints"]
    (result,) = evaluated["results"]
    assert result["bits_per_byte"] == pytest.approx(in_training, abs=1e-5)
