"""The arms hold what they say: the same documents, and C exactly the tokens that B kept."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from corpora import documents, write_corpus

from bosrow.dataset.manifest import SPLITS
from bosrow.dataset.piece_table import PieceTable
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import open_rows
from bosrow.errors import DataSetError
from bosrow.experiment.arms import ARMS, require_same_tokens, with_sources
from bosrow.packing.policy import Piece
from bosrow.prepare.command import prepare
from bosrow.prepare.prepare_options import PrepareOptions


@pytest.fixture(scope="module")
def arms(tmp_path_factory) -> Path:
    """The data sets of all arms, made from each other as an experiment makes them."""
    folder = tmp_path_factory.mktemp("arms")
    write_corpus(folder / "corpus", "parquet", documents(400))
    for arm in with_sources(tuple(ARMS)):
        common = {"out_dir": folder / arm.folder, "policy": arm.policy, "seq_len": 32, "workers": 0}
        if arm.source is None:
            files = (str(folder / "corpus" / "*"),)
            prepare(PrepareOptions(data_files=files, val_fraction=0.1, shard_rows=50, **common))
        else:
            source = folder / ARMS[arm.source].folder
            prepare(PrepareOptions(from_dir=source, allow_lossy=arm.source == "B", buffer_docs=20, **common))
    return folder


def tokens_held(data_dir: Path, split: str) -> set[tuple[str, int, int, int]]:
    """Slow and obvious: (file, row, offset, token) of every token of a document in rows and tail."""
    provenance = Provenance(data_dir)
    infos = provenance.documents.of(range(len(provenance.documents)))
    rows = open_rows(data_dir, split)
    held = [
        (placed.piece, rows[row][placed.column : placed.column + placed.piece.length])
        for row, pieces in provenance.pieces.of_rows(split, range(len(rows))).items()
        for placed in pieces
    ]
    tail, tokens = provenance.pieces.of_tail(split)
    ends = np.cumsum(tail["length"])
    for document, offset, added_bos, part in zip(
        tail["document"], tail["offset"], tail["added_bos"], np.split(tokens, ends)[:-1], strict=True
    ):
        held.append((Piece(int(document), int(offset), len(part), bool(added_bos)), part))
    return {
        (infos[piece.document].source_file, infos[piece.document].source_row, piece.offset + place, token)
        for piece, part in held
        for place, token in enumerate(part[int(piece.added_bos) :].tolist())
    }


def test_an_arm_is_made_after_the_arm_out_of_which_it_is_made():
    assert [arm.letter for arm in with_sources(("C",))] == ["A", "B", "C"]
    assert [arm.letter for arm in with_sources(("D", "A"))] == ["A", "D"]


@pytest.mark.parametrize("split", SPLITS)
def test_c_holds_each_token_that_b_kept_at_its_offset_and_no_other(arms, split):
    kept = tokens_held(arms / "crop", split)
    assert tokens_held(arms / "stream_of_crop", split) == kept
    assert 0 < len(kept) < len(tokens_held(arms / "stream", split))


def test_the_check_counts_the_tokens_of_both_splits(arms):
    counted = sum(len(tokens_held(arms / "crop", split)) for split in SPLITS)
    assert require_same_tokens(arms / "crop", arms / "stream_of_crop") == counted


def test_all_arms_have_the_same_val_documents(arms):
    def val(folder: str) -> set[tuple[str, int]]:
        return {place[:2] for place in tokens_held(arms / folder, "val")}

    assert val("stream") == val("keep")
    for folder in ("crop", "stream_of_crop", "crop_long_first"):
        assert val(folder)
        assert val(folder) <= val("stream")
        assert not val(folder) & {place[:2] for place in tokens_held(arms / "stream", "train")}


@pytest.mark.parametrize("other", ["stream", "keep", "crop_long_first"])
def test_a_data_set_of_other_tokens_is_refused_and_the_first_difference_named(arms, other):
    with pytest.raises(DataSetError, match=r"first difference in train:\n.*crop: .*row \d+, tokens 0 to \d+\n"):
        require_same_tokens(arms / "crop", arms / other)


@pytest.mark.parametrize("change", ["one token less", "a document less", "a gap"])
def test_the_smallest_difference_is_found(arms, tmp_path, monkeypatch, change):
    """The pieces of C, changed as they are read."""
    shutil.copytree(arms / "stream_of_crop", tmp_path / "changed")
    whole = PieceTable.of_split

    def changed(self, split):
        for columns in whole(self, split):
            if self._files.data_dir.name == "changed" and split == "train":
                # One whose end no other piece repeats: the last of its document, in the middle of a row.
                last = columns["document"][1:] != columns["document"][:-1]
                (place, *_) = np.flatnonzero(last & (columns["length"][:-1] > 2))
                columns = {name: values.copy() for name, values in columns.items()}
                if change == "one token less":
                    columns["length"][place] -= 1
                elif change == "a document less":
                    keep = columns["document"] != columns["document"][place]
                    columns = {name: values[keep] for name, values in columns.items()}
                else:
                    columns["offset"][place] += 1
            yield columns

    monkeypatch.setattr(PieceTable, "of_split", changed)
    with pytest.raises(DataSetError, match="does not hold the tokens"):
        require_same_tokens(arms / "crop", tmp_path / "changed")
