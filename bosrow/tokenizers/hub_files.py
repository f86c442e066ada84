"""The tokenizer of a model on the Hugging Face Hub: its tokenizer files alone, at one commit."""

from pathlib import Path
from typing import NamedTuple

from bosrow.errors import BosrowError, MachineError, OptionError
from bosrow.hub.errors import passing_wait, reason, refusal
from bosrow.hub.retries import limit_silence, retrying
from bosrow.tokenizers.spec import CONFIGS, TOKENIZER_FILE


class HubFiles(NamedTuple):
    """The contents of tokenizer.json and of those of CONFIGS that there are, by name, and their commit."""

    commit: str
    files: dict[str, bytes]


def tokenizer_files(repository: str, revision: str | None) -> HubFiles:
    """Fetch the tokenizer of a model at a branch, tag or commit (None: main's head); what is cached is not fetched.

    Raises OptionError if there is none, SourceError if the Hub refuses it, MachineError if the Hub cannot be reached.
    """
    try:
        return retrying(f"reading the tokenizer of {repository}", passing_wait)(_fetch, repository, revision)
    except BosrowError:
        raise
    except Exception as error:  # of huggingface_hub and of what it is built on
        refused = refusal(error, repository, revision, "model")
        raise refused or MachineError(
            f"the tokenizer of {repository} cannot be fetched ({reason(error)}); check the network and try again, or "
            "give a tokenizer.json"
        ) from error


def _fetch(repository: str, revision: str | None) -> HubFiles:
    from huggingface_hub import HfApi, hf_hub_download

    limit_silence()
    info = HfApi().model_info(repository, revision=revision)
    assert info.sha is not None
    listed = {sibling.rfilename for sibling in info.siblings or ()}
    if TOKENIZER_FILE not in listed:
        models = sorted(name for name in listed if name.endswith((".model", ".tiktoken")))
        only = f" (it has {', '.join(models)})" if models else ""
        raise OptionError(
            f"{repository} has no {TOKENIZER_FILE}{only}; load it once with transformers and give the folder of "
            "AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)"
        )
    wanted = [name for name in (TOKENIZER_FILE, *CONFIGS) if name in listed]
    paths = {name: hf_hub_download(repository, name, revision=info.sha) for name in wanted}
    return HubFiles(info.sha, {name: Path(path).read_bytes() for name, path in paths.items()})
