"""Tokenizers of every kind: the tokens around a document, names inside a text, vocabularies of tiktoken, real ones."""

import base64
import json
import random
import re

import pytest
from corpora import bosrow, documents, prepared
from real_tokenizers import claude, deepseek, encodings, qwen

tokenizers = pytest.importorskip("tokenizers")

import tiktoken  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from vocabularies import write_tokenizer  # noqa: E402

from bosrow.cli import main  # noqa: E402
from bosrow.dataset.documents import read_documents  # noqa: E402
from bosrow.dataset.manifest import read_manifest  # noqa: E402
from bosrow.dataset.provenance import Provenance  # noqa: E402
from bosrow.errors import MachineError, OptionError  # noqa: E402
from bosrow.tokenizers.by_name import find_tokenizer, open_spec  # noqa: E402
from bosrow.tokenizers.chunks import text_chunks, word_cut  # noqa: E402
from bosrow.tokenizers.special_tokens import AskedTokens  # noqa: E402

SPECIAL = ("<s>", "</s>", "<|im_start|>")
ENDS = {"bos_token": "<s>", "eos_token": "</s>", "add_eos_token": True}
NANOCHAT = (  # the pattern of nanochat's tokenizer
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "nanochat": NANOCHAT,
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def with_template(path, single):
    """The tokenizer at `path`, which puts tokens around a text by itself."""
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    ids = [(name, tokenizer.token_to_id(name)) for name in SPECIAL]
    tokenizer.post_processor = tokenizers.processors.Sequence(
        [
            tokenizers.processors.ByteLevel(trim_offsets=False),
            tokenizers.processors.TemplateProcessing(single=single, special_tokens=ids),
        ]
    )
    tokenizer.save(str(path))
    return tokenizer


def documents_of(folder):
    return [tokens.tolist() for _, tokens in read_documents(Provenance(folder))]


@pytest.mark.parametrize("single", ["<s> $A", "<s> $A </s>"])
def test_documents_have_the_ids_that_the_tokenizer_itself_gives_a_text(tmp_path, single):
    path = write_tokenizer(tmp_path / "tokenizer", special=SPECIAL, bos_token="</s>")  # which the template overrules
    reference = with_template(path, single)
    texts = documents(150)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    files = ["--data_files", tmp_path / "texts.jsonl", "--tokenizer", path, "--policy", "keep", "--seq_len", 32]
    done = bosrow("prepare", *files, "--workers", 2, "--out_dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    ends = single.endswith("</s>")
    around = "<s> (0) before each document" + (", </s> (1) after it" if ends else "")
    assert f"tokenizer tokenizer.json: {around}; uint16 ids, engine " in done.stdout
    expected = [reference.encode(text, add_special_tokens=True).ids for text in texts]
    assert documents_of(tmp_path / "out") == expected
    meta = json.loads((tmp_path / "out" / "meta.json").read_bytes())
    assert (meta["bos_token_id"], meta["eos_token_id"]) == (0, 1 if ends else 0)
    assert meta["bosrow"]["tokenizer"]["append_eos"] == ends
    assert meta["doc_format"] == "[BOS] + tokenizer(text)" + (" + [EOS]" if ends else "")
    prepared(tmp_path / "anew", from_dir=tmp_path / "out", policy="stream", seq_len=16)
    assert documents_of(tmp_path / "anew") == expected
    assert read_manifest(tmp_path / "anew").tokenizer.append_eos == ends
    splits = [
        {info.source_row: info.split for info, _ in read_documents(Provenance(tmp_path / name))}
        for name in ("out", "anew")
    ]
    assert splits[0] == splits[1]


@pytest.mark.parametrize(
    ("config", "asked", "expected"),
    [
        ({"bos_token": "<s>", "eos_token": "</s>"}, {}, ("<s>", "</s>", False)),
        ({"bos_token": "<s>", "eos_token": "</s>", "add_eos_token": True}, {}, ("<s>", "</s>", True)),
        (
            {"bos_token": "<s>", "eos_token": "</s>", "add_eos_token": True},
            {"eos_token": "none"},
            ("<s>", "<s>", False),
        ),
        ({"eos_token": "</s>"}, {}, ("</s>", "</s>", False)),  # as Qwen
        ({"eos_token": "</s>"}, {"append_eos": True}, ("</s>", "</s>", True)),
        ({"bos_token": "<|im_start|>"}, {"bos_token": "<|im_start|>"}, ("<|im_start|>", "<|im_start|>", False)),
        ({"bos_token": "</s>"}, {"bos_token": "<s>", "eos_token": "</s>"}, ("<s>", "</s>", False)),
    ],
)
def test_the_tokens_around_a_document_are_those_asked_for_else_those_of_the_settings(tmp_path, config, asked, expected):
    write_tokenizer(tmp_path, special=SPECIAL, **config)
    spec = find_tokenizer(str(tmp_path), AskedTokens(**asked))
    assert (SPECIAL[spec.bos_token_id], SPECIAL[spec.eos_token_id], spec.append_eos) == expected


@pytest.mark.parametrize(
    ("config", "asked", "message"),
    [
        ({}, {}, r"does not say which token begins a document .*<s>, </s>, <\|im_start\|>.*--bos_token"),
        (
            {"bos_token": "<|im_start|>"},
            {},
            r"<\|im_start\|>, with which a chat template begins",
        ),
        ({"bos_token": "<s>"}, {"bos_token": "<bos>"}, r"--bos_token is '<bos>', but .* has no such token"),
        ({"bos_token": "<s>"}, {"append_eos": True}, "has no EOS; name one with --eos_token"),
        ({"bos_token": "<s>", "eos_token": "<end>"}, {}, "has no token '<end>', which is said to be its eos_token"),
        ({"bos_token": "<s>"}, {"bos_token": "a"}, r"gives its BOS \(\d+\) for ordinary text"),
    ],
)
def test_a_bos_that_is_not_clear_is_refused(tmp_path, config, asked, message):
    write_tokenizer(tmp_path, special=SPECIAL, **config)
    with pytest.raises(OptionError, match=message):
        find_tokenizer(str(tmp_path), AskedTokens(**asked))


@pytest.mark.parametrize("engine", ["reference", "auto"])
def test_names_of_special_and_added_tokens_in_a_text_are_ordinary_text_and_added_blanks_are_words(tmp_path, engine):
    path = write_tokenizer(tmp_path, special=SPECIAL, bos_token="<s>")
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.add_tokens([tokenizers.AddedToken("<tool>", special=False), tokenizers.AddedToken("    ", special=False)])
    tokenizer.save(str(path))
    found = open_spec(find_tokenizer(str(path)), engine)
    text = "x<s>y <tool>z    w</s>"
    ids = found.encode(text).tolist()
    assert not {tokenizer.token_to_id(name) for name in (*SPECIAL, "<tool>")} & set(ids)
    assert tokenizer.token_to_id("    ") in ids
    assert found.decode(ids) == text


def trained_encoding(pattern=NANOCHAT):
    """A tiktoken encoding with a vocabulary of its own, by tiktoken's own (educational) training."""
    from tiktoken._educational import bpe_train

    ranks = bpe_train("\n".join(documents(60)), 290, pattern, visualise=None)
    special = {"<|bos|>": len(ranks), "<|user_start|>": len(ranks) + 1}
    return tiktoken.Encoding(name="own", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


@pytest.fixture(scope="module")
def encoding():
    return trained_encoding()


def write_encoding(enc, folder):
    """The lines that the documentation shows to a user of nanochat."""
    lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in enc._mergeable_ranks.items()]
    (folder / "own.tiktoken").write_bytes(b"".join(lines))
    settings = {"pattern": enc._pat_str, "special_tokens": enc._special_tokens, "bos_token": "<|bos|>"}
    (folder / "own.tiktoken.json").write_text(json.dumps(settings))
    return folder / "own.tiktoken"


def test_an_encoding_of_tiktoken_with_another_pattern_is_exported_and_gives_its_ids(encoding, tmp_path):
    path = write_encoding(encoding, tmp_path)
    texts = [*documents(150), "a <|bos|> in a text"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    prepared(
        tmp_path / "out", data_files=(str(tmp_path / "texts.jsonl"),), tokenizer=str(path), policy="keep", workers=2
    )
    bos = encoding._special_tokens["<|bos|>"]
    assert documents_of(tmp_path / "out") == [[bos, *encoding.encode_ordinary(text)] for text in texts]
    path.unlink()  # the data set has its own copy
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert main(["inspect", str(tmp_path / "out"), "--rows", "1"]) == 0


def test_what_is_learnt_with_such_a_vocabulary_is_trained_and_evaluated_with_it(encoding, tmp_path, capsys):
    path = write_encoding(encoding, tmp_path)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(200)))
    data = tmp_path / "data"
    settings = {"data_files": (str(tmp_path / "texts.jsonl"),), "tokenizer": str(path), "val_fraction": 0.2}
    prepared(data, policy="stream", **settings)
    shape = "--n_layer 1 --n_head 2 --n_embd 16 --micro_batch_size 4 --total_batch_tokens 128 --max_train_steps 2"
    folders = ["--data_dir", str(data), "--run_dir", str(tmp_path / "run"), "--seq_len", "32", "--device", "cpu"]
    extra = "--sample_every 2 --hellaswag_every 0 --eval_every 0"
    assert main(["train", *folders, *shape.split(), *extra.split()]) == 0
    checkpoint = tmp_path / "run" / "ckpt_final_step0000002"
    assert (checkpoint / "tokenizer.tiktoken").read_bytes() == path.read_bytes()
    tasks = ["--tasks", "bits_per_byte", "--heldout", str(data), "--device", "cpu", "--json"]
    capsys.readouterr()
    assert main(["eval", str(checkpoint), *tasks]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"][0]["results"][0]["bits_per_byte"] > 0


@pytest.mark.parametrize("kind", PATTERNS)
@given(text=st.text(st.sampled_from("aZé7 '\n\t\rslt.,中́/\u2028"), max_size=60), chunk_bytes=st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_a_text_is_cut_where_no_pattern_in_use_sees_it(kind, text, chunk_bytes):
    split = tiktoken.Encoding(
        name="bytes",
        pat_str=PATTERNS[kind],
        mergeable_ranks={bytes([byte]): byte for byte in range(256)} | JOINED,
        special_tokens={},
    ).encode_ordinary
    cut = word_cut(PATTERNS[kind])
    found = [str(chunk, "utf-8") for chunk in text_chunks(text.encode(), cut, chunk_bytes)]
    assert "".join(found) == text
    assert [number for chunk in found for number in split(chunk)] == split(text)


# Two bytes are joined wherever they stand in one match, so that ids show where matches begin and end.
JOINED = {
    bytes([a, b]): 256 + 32 * i + j
    for i, a in enumerate(b"aZ7 '\n\t\rslt.,/")
    for j, b in enumerate(b"aZ7 '\n\t\rslt.,/")
}


def test_a_pattern_that_is_not_known_is_never_cut():
    assert word_cut(r"\w+ \w+|.") is None
    assert word_cut(NANOCHAT, r"[a-z ]+") is None


def test_a_document_that_cannot_be_cut_and_is_too_long_is_a_bad_row(encoding, tmp_path, monkeypatch):
    path = write_encoding(trained_encoding(r"[^ ]+ ?|."), tmp_path)
    monkeypatch.setattr("bosrow.tokenizers.tokenizer.MAX_UNCUT_BYTES", 600_000)
    texts = ["short", "long and " * 100_000, "short too"] * 20
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    flags = {"data_files": (str(tmp_path / "texts.jsonl"),), "tokenizer": str(path), "on_bad_row": "skip", "seq_len": 4}
    prepared(tmp_path / "out", **flags)
    told = (tmp_path / "out" / "bad_rows.jsonl").read_text()
    assert told.count("without a place where this tokenizer can cut them, at most 600,000") == 20
    assert read_manifest(tmp_path / "out").meta["docs_processed"] == 40


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.pkl", b"\x80\x04.", "is a pickle, which can run code and is never opened"),
        ("tokenizer.model", b"\x0a\x0b", r"is a SentencePiece model, .* save_pretrained\(FOLDER\)"),
        ("a.tiktoken", b"IQ== 0\n", r"a.tiktoken.json is required beside it"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OptionError, match=message):
        find_tokenizer(str(tmp_path / name))


@pytest.mark.parametrize(
    ("ranks", "settings", "message"),
    [
        (b"IQ== 0\nIg== 0\n", {}, "two tokens of one id"),
        (b"IQ== 0\nIg==\n", {}, "line 2: a token in Base64 and its id are required"),
        (b"", {}, "has no tokens"),
        (b"IQ== 0\n", {"pattern": 5}, "Expected str, got int - at .pattern"),
        (b"IQ== 0\n", {"special_tokens": {}}, "does not say which token begins a document"),
        (b"IQ== 0\n", {"special_tokens": {"<|bos|>": 0}}, "two tokens of one id"),
    ],
)
def test_a_vocabulary_of_tiktoken_that_does_not_hold_together_is_refused(tmp_path, ranks, settings, message):
    (tmp_path / "a.tiktoken").write_bytes(ranks)
    usual = {"pattern": ".", "special_tokens": {"<|bos|>": 1}}
    (tmp_path / "a.tiktoken.json").write_text(json.dumps(usual | settings))
    with pytest.raises(OptionError, match=message):
        find_tokenizer(str(tmp_path / "a.tiktoken"))


def test_an_encoding_that_cannot_be_fetched_is_told_in_one_message(monkeypatch, tmp_path):
    def unreachable(*_):
        raise ConnectionError("Max retries exceeded")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.load.read_file", unreachable)
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})
    with pytest.raises(MachineError, match=r"cannot fetch its encoding cl100k_base \(Max retries .*TIKTOKEN_CACHE_DIR"):
        find_tokenizer("cl100k_base")


TEXTS = [*documents(100), "don't stop\n\n  now", "x" * 3000, "漢字かな 123456 😀", " \n\t lead"]


@pytest.mark.parametrize("engine", ["reference", "auto"])
@pytest.mark.parametrize("kind", ["deepseek", "claude", "qwen", "cl100k_base", "o200k_base"])
def test_real_tokenizers_give_the_ids_of_their_own_library(kind, engine, tmp_path, monkeypatch):
    check_real(kind, engine, tmp_path, monkeypatch, TEXTS)


def check_real(kind, engine, tmp_path, monkeypatch, texts):
    """Ids of `texts` are those of the library that a tokenizer is made for."""
    asked = AskedTokens(bos_token="<SOS>") if kind == "claude" else AskedTokens()
    if kind in ("deepseek", "claude"):
        path = {"deepseek": deepseek, "claude": claude}[kind]()
        encode = tokenizers.Tokenizer.from_file(str(path)).encode
        expected = [encode(text, add_special_tokens=True).ids for text in texts]
        name = str(path)
    elif kind == "qwen":
        path = qwen(tmp_path)
        name = str(path)
        content = json.loads(path.with_name("qwen.tiktoken.json").read_text())
        lines = (line.split() for line in path.read_bytes().splitlines())
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        own = tiktoken.Encoding("qwen", pat_str=content["pattern"], mergeable_ranks=ranks, special_tokens={})
        expected = [own.encode_ordinary(text) for text in texts]
    else:
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(encodings()))
        name, own = kind, tiktoken.get_encoding(kind)
        expected = [own.encode_ordinary(text) for text in texts]
    found = open_spec(find_tokenizer(name, asked), engine)
    assert found.dtype == ("uint16" if kind == "claude" else "uint32")
    for text, ids in zip(texts, expected, strict=True):
        assert found.encode(text).tolist() == ids
        assert found.spec.bos_token_id not in ids
    forged = re.sub("[ab]", lambda _: found.decode([found.spec.bos_token_id]), "a text b")
    assert found.spec.bos_token_id not in found.encode(forged)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["reference", "auto"])
@pytest.mark.parametrize("kind", ["deepseek", "claude", "qwen", "cl100k_base", "o200k_base"])
def test_real_tokenizers_give_their_ids_for_20_000_real_documents(kind, engine, tmp_path, monkeypatch, dev_texts):
    check_real(kind, engine, tmp_path, monkeypatch, dev_texts)


@pytest.fixture(scope="module")
def dev_texts():
    """20,000 documents of real text, where there are any."""
    from pathlib import Path

    import pyarrow.parquet as pq

    files = sorted(Path(__file__).parents[3].glob("shared/data/dev/*.parquet"))
    if not files:
        pytest.skip("there is no real text here (shared/data/dev)")
    texts = [text for path in files for text in pq.read_table(path, columns=["text"])["text"].to_pylist()]
    return random.Random(1).sample(texts, 20_000)
