"""Ranks that are started again meet each other, and nothing that dead ones left behind."""

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist
from running import train_here

from bosrow.distributed.rendezvous import QUEUE, agreed_name


def meet(server: dist.Store, ranks: list[int], size: int, seconds: float = 20.0) -> list[str]:
    """Let `ranks` of `size` meet over a store client each; the names that they agree on."""

    def join(rank: int) -> str:
        client = dist.TCPStore("127.0.0.1", server.port, is_master=False, timeout=timedelta(seconds=seconds))
        return agreed_name(client, rank, size)

    with ThreadPoolExecutor(len(ranks)) as threads:
        return list(threads.map(join, ranks))


@pytest.mark.parametrize("port", ["in use", "70000", "http", None])
def test_a_port_that_cannot_be_used_is_named_and_no_rank_said_to_be_dead(data_dir, tmp_path, monkeypatch, capsys, port):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        used = str(other.getsockname()[1]) if port == "in use" else port
        for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": used}.items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
        assert train_here(data_dir, tmp_path / "run", "--timeout_seconds 5") == (1 if port == "in use" else 2)
    message = capsys.readouterr().err
    wanted = f"MASTER_PORT {used} is in use by another process" if port == "in use" else "MASTER_PORT is"
    assert wanted in message
    assert "another rank" not in message


@pytest.fixture
def server():
    return dist.TCPStore("127.0.0.1", 0, is_master=True)


@pytest.mark.parametrize("size", [1, 3])
def test_all_ranks_of_a_start_agree_on_a_name_that_the_next_start_does_not_have(server, size):
    first, second = (meet(server, list(range(size)), size) for _ in range(2))
    assert len(set(first)) == len(set(second)) == 1
    assert first != second


def test_questions_and_confirmations_of_the_dead_change_nothing(server):
    """Every way a start can be cut off: after asking, after the answer, after confirming."""
    server.queue_push(QUEUE, "bosrow/question_of_a_dead_rank asked")
    (former, _) = meet(server, [0, 1], 2)
    server.queue_push(QUEUE, f"{former} 1")
    server.queue_push(QUEUE, "bosrow/another_question asked")
    names = meet(server, [0, 1, 2], 3)
    assert len(set(names)) == 1
    assert former not in names


def test_a_rank_that_does_not_come_ends_the_wait(server):
    with pytest.raises(dist.DistError):
        meet(server, [0], 2, seconds=0.2)
