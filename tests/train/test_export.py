"""`bosrow export`: transformers loads the folder offline, weights and tokenizer, and training starts from it again."""

import json
import random

import pytest
import torch
from running import losses, train_here
from synthetic import write_data_set
from tiny import random_tokens, roughened

from bosrow.cli import main
from bosrow.model.gpt2 import ModelConfig
from bosrow.tokenizers.gpt2 import gpt2_ranks, load_tokenizer
from bosrow.train import load_model
from bosrow.train.checkpoint import TrainingState, save_checkpoint
from bosrow.train.exported_tokenizer import merge_of
from bosrow.train.text_samples import sample_tokens

TEXTS = (
    "Rows begin with BOS, and end wherever they end.",
    "  two spaces\n\n\tand a tab; 1234567890 it's we'll I'D",
    "naïve café — Straße, 東京, \U0001f600 and a lone \u0301",
    "def f(x):\n    return x ** 2  # comment\n" * 3,
    "".join(chr(code) for code in range(1, 0x250)),
)


def checkpoint_of(config: ModelConfig, folder):
    """A checkpoint of a model whose every parameter counts, without the training."""
    model = roughened(config)
    folder.mkdir()
    return save_checkpoint(folder, "final", model, torch.optim.AdamW(model.parameters()), TrainingState(step=7), {})


def export(checkpoint, out_dir, *flags: str) -> int:
    return main(["export", str(checkpoint), "--out_dir", str(out_dir), *flags])


def assert_logits_of_transformers(folder, tokens: torch.Tensor) -> None:
    from transformers import GPT2LMHeadModel

    ours, _ = load_model(folder)
    with torch.no_grad():
        theirs = GPT2LMHeadModel.from_pretrained(folder, local_files_only=True).eval()(tokens).logits
        torch.testing.assert_close(ours(tokens), theirs, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small model with GPT-2's vocabulary, exported."""
    place = tmp_path_factory.mktemp("export")
    checkpoint = checkpoint_of(ModelConfig(seq_len=32, n_embd=8, n_head=2, n_layer=1), place / "run")
    assert export(checkpoint, place / "model") == 0
    assert (place / "model" / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    return place / "model"


def test_transformers_reads_the_folder_and_gives_the_same_logits_and_tokens(exported):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(exported, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(exported, local_files_only=True)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, len(tokenizer)) == (50256, 50256, 50257)
    assert tokenizer.model_max_length == model.config.n_positions == 32
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        assert ids == load_tokenizer().encode(text).tolist()
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert_logits_of_transformers(exported, random_tokens(ModelConfig(), 2, 32))


def test_a_vocabulary_padded_with_ids_of_no_word_keeps_all_scores_and_generates_words_alone(tmp_path):
    """--vocab_size 50304, nanoGPT's number."""
    from transformers import AutoModelForCausalLM

    config = ModelConfig(vocab_size=50304, seq_len=32, n_embd=8, n_head=2, n_layer=1)
    model = roughened(config)
    with torch.no_grad():
        model.transformer.wte.weight[50257:50304] *= 100  # the likeliest of all, or the least likely
    (tmp_path / "run").mkdir()
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint = save_checkpoint(tmp_path / "run", "final", model, optimizer, TrainingState(step=7), {})
    assert export(checkpoint, tmp_path / "model") == 0
    assert_logits_of_transformers(tmp_path / "model", random_tokens(config, 2, 32))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True).eval()
    start = torch.tensor([[50256]])
    assert int(theirs(start).logits[0, -1].argmax()) >= 50257
    assert int(theirs.generate(start, max_new_tokens=20, do_sample=False).max()) < 50257
    ours = sample_tokens(model, [50256], 40, seed=1, vocab_size=50257)
    assert len(ours) == 40
    assert max(ours) < 50257


def test_the_other_files_of_a_tokenizer_say_the_same(exported):
    whole = json.loads((exported / "tokenizer.json").read_text())["model"]
    assert json.loads((exported / "vocab.json").read_text()) == whole["vocab"]
    assert (exported / "merges.txt").read_text().splitlines()[1:] == whole["merges"]
    assert len(whole["merges"]) == 50000
    assert len(whole["vocab"]) == 50257


def test_a_token_is_merged_from_the_two_that_encoding_joins_at_last():
    """tiktoken, kept from using the token itself, encodes its bytes as exactly these two."""
    import tiktoken

    ranks = gpt2_ranks()
    for token in random.Random(0).sample([token for token in ranks if len(token) > 2], 40):
        below = {other: rank for other, rank in ranks.items() if rank < ranks[token]}
        encoding = tiktoken.Encoding("below", pat_str=r"[\s\S]+", mergeable_ranks=below, special_tokens={})
        ids = encoding._encode_single_piece(token)
        assert tuple(encoding.decode_single_token_bytes(id) for id in ids) == merge_of(token, ranks)


def test_training_starts_from_what_was_exported(exported, tmp_path):
    data_dir = write_data_set(tmp_path / "data", vocab_size=61)
    model, config = load_model(exported)
    shape = " ".join(f"--{name} {getattr(config, name)}" for name in ("vocab_size", "n_embd", "n_head", "n_layer"))
    flags = f"--max_train_steps 1 --eval_every 0 --save_every 0 --exposure_every 0 {shape}"
    assert train_here(data_dir, tmp_path / "run", f"{flags} --init_from {exported}") == 0
    from bosrow.train import make_dataloader

    x, y = next(iter(make_dataloader(data_dir, "train", 16, 16)))
    assert losses(tmp_path / "run")[0] == pytest.approx(float(model(x, y)), abs=1e-5)


def test_a_run_folder_stands_for_its_newest_valid_checkpoint(data_dir, tmp_path, capsys):
    train_here(data_dir, tmp_path / "run", "--max_train_steps 4 --save_every 2 --eval_every 0")
    newest = tmp_path / "run" / "ckpt_final_step0000004"
    (newest / "model.safetensors").write_bytes(b"damaged")
    named = '{"added_tokens": [{"id": 0, "content": "<start>"}]}'
    (tmp_path / "tokenizer.json").write_text(named)
    assert export(tmp_path / "run", tmp_path / "out", "--tokenizer", str(tmp_path / "tokenizer.json")) == 0
    output = capsys.readouterr().out
    assert "passing over a damaged checkpoint" in output
    assert f"{tmp_path / 'run' / 'ckpt_periodic_step0000002'} -> {tmp_path / 'out'}" in output
    assert (tmp_path / "out" / "tokenizer.json").read_text() == named
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["bos_token"] == "<start>"


def test_a_run_with_a_tokenizer_of_its_own_is_exported_with_it_and_names_what_begins_and_ends_a_text(tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<pad>", "<s>"], initial_alphabet=alphabet, show_progress=False
    )
    own.train_from_iterator(TEXTS, trainer)
    own.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    texts = [json.dumps({"text": text * 3}) + "\n" for text in TEXTS]
    (tmp_path / "texts.jsonl").write_text("".join(texts))
    prepare = f"prepare --data_files {tmp_path / 'texts.jsonl'} --tokenizer {tmp_path / 'tokenizer.json'} --workers 0"
    prepare += f" --out_dir {tmp_path / 'data'} --seq_len 16 --policy keep --val_fraction 0"
    assert main(prepare.split()) == 0
    flags = "--max_train_steps 1 --eval_every 0 --save_every 1 --exposure_every 0 --vocab_size 300"
    assert train_here(tmp_path / "data", tmp_path / "run", flags) == 0
    assert export(tmp_path / "run", tmp_path / "out") == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.bos_token_id) == ("<s>", "<s>", 1)
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.vocab_size) == (1, 1, len(tokenizer))
    for text in TEXTS:
        assert tokenizer(text, add_special_tokens=False).input_ids == own.encode(text).ids
    tokens = torch.tensor([[1, *own.encode(TEXTS[0]).ids][:16]])
    assert_logits_of_transformers(tmp_path / "out", tokens)


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(data_dir, tmp_path, capsys):
    train_here(data_dir, tmp_path / "run", "--max_train_steps 1 --save_every 1 --eval_every 0")
    checkpoint = tmp_path / "run" / "ckpt_final_step0000001"
    (tmp_path / "there").mkdir()
    for arguments, message in (
        ((checkpoint, tmp_path / "out"), "vocabulary of 61, GPT-2's tokenizer one of 50,257; give the tokenizer.json"),
        ((checkpoint, tmp_path / "there"), "exists already; remove it, or name another folder"),
        ((data_dir, tmp_path / "out"), "holds no undamaged checkpoint"),
        ((tmp_path / "nothing", tmp_path / "out"), "is not a directory"),
    ):
        assert export(*arguments) == 2
        assert message in capsys.readouterr().err
    (checkpoint / "config.json").write_text("{}")
    assert export(checkpoint, tmp_path / "out") == 2
    assert "config.json is missing or does not have its" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.soak
@pytest.mark.parametrize(("layers", "heads", "width"), [(12, 12, 768), (24, 16, 1024)])
def test_gpt2_small_and_medium_have_the_logits_of_transformers(tmp_path, layers, heads, width):
    config = ModelConfig(n_layer=layers, n_head=heads, n_embd=width)
    checkpoint = checkpoint_of(config, tmp_path / "run")
    assert export(checkpoint, tmp_path / "model") == 0
    assert_logits_of_transformers(tmp_path / "model", random_tokens(config, 1, 256))
