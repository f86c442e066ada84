"""Rows for the Trainer of transformers: the loss of (x, y), though the model shifts the labels by itself."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import bosrow
from bosrow.errors import OptionError
from bosrow.train import hugging_face_dataset

transformers = pytest.importorskip("transformers")


def tiny_model(positions):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=61, n_positions=positions, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config).eval()


def first_batch(dataset):
    return next(iter(DataLoader(dataset, batch_size=8, collate_fn=transformers.default_data_collator)))


def test_the_loss_of_a_batch_is_the_loss_of_its_rows_as_x_and_y(data_dir):
    model = tiny_model(17)
    batch = first_batch(hugging_face_dataset(data_dir, "train", 16, positions=17))
    rows = torch.from_numpy(bosrow.open_rows(data_dir, "train")[:8].astype(np.int64))
    x, y = rows[:, :-1], rows[:, 1:]
    with torch.no_grad():
        expected = cross_entropy(model(x).logits.flatten(0, 1), y.flatten())
        assert model(**batch).loss.item() == pytest.approx(expected.item(), rel=1e-5)
        shifted_twice = model(x, labels=y).loss.item()
    assert shifted_twice != pytest.approx(expected.item(), rel=1e-5)


def test_a_model_of_seq_len_positions_gets_rows_without_their_last_token(data_dir):
    batch = first_batch(hugging_face_dataset(data_dir, "train", 16, positions=16))
    assert batch["input_ids"].shape == (8, 16)
    assert torch.equal(batch["input_ids"], batch["labels"])
    assert torch.isfinite(tiny_model(16)(**batch).loss)


def test_what_a_model_or_data_set_does_not_have_is_refused(data_dir):
    with pytest.raises(OptionError, match=r"has 15 positions.*--seq_len 14"):
        hugging_face_dataset(data_dir, "train", 16, positions=15)
    with pytest.raises(OptionError, match="no rows in split 'validation'; it has: train, val"):
        hugging_face_dataset(data_dir, "validation", 16)


@pytest.mark.filterwarnings("default")  # of accelerate's and transformers' own
def test_the_trainer_learns_from_the_rows(data_dir, tmp_path):
    pytest.importorskip("accelerate")
    model = tiny_model(17)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=30,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        logging_steps=10,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = hugging_face_dataset(data_dir, "train", 16, positions=model.config.n_positions)
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] > losses[-1] + 0.2
