"""Which tokens stand before and after each document.

What is asked for decides. Without that: the tokenizer's own template (what it adds to a text by itself), then the
tokens that its settings (tokenizer_config.json) name, then its only special token. A tokenizer with an EOS and no BOS
has EOS before each document. `add_bos_token: false` does not take a BOS away, since rows need one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bosrow.errors import OptionError

# Tokens with which chat templates begin or end a turn; no document begins with one unless it is asked for.
TURNS = ("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|eot_id|>", "<|user|>", "<|assistant|>", "<|system|>")
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class AskedTokens:
    """What the user asks for: names of tokens, and whether EOS ends each document. None leaves it to the tokenizer."""

    bos_token: str | None = None
    eos_token: str | None = None
    append_eos: bool | None = None


class Template(NamedTuple):
    """The ids that a tokenizer itself puts before and after a text."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


class DocumentTokens(NamedTuple):
    """The ids around a document."""

    bos_token_id: int
    eos_token_id: int
    append_eos: bool


def document_tokens(
    what: str,
    asked: AskedTokens,
    template: Template,
    settings: Mapping[str, Any],
    ids: Mapping[str, int],
    special: Mapping[str, int],
) -> DocumentTokens:
    """The tokens around a document of the tokenizer `what`.

    `ids` gives the id of every token, `special` of the special ones. Raises OptionError where BOS is not clear, is a
    token of a chat template, or has no id.
    """
    names = {number: name for name, number in special.items()}
    eos = _eos(what, asked, template, settings, ids)
    bos = _asked(what, "--bos_token", asked.bos_token, ids)
    if bos is None:
        bos = _own_bos(what, template, settings, ids)
        bos = eos if bos is None else bos
        if bos is None and len(special) == 1:
            (bos,) = special.values()
        listed = ", ".join(special) or "none"
        if bos is None:
            raise OptionError(
                f"{what} does not say which token begins a document (its special tokens: {listed}); "
                "name one with --bos_token"
            )
        if names.get(bos) in TURNS:
            raise OptionError(
                f"the BOS of {what} is {names[bos]}, with which a chat template begins a turn; name the token that "
                f"begins documents with --bos_token (its special tokens: {listed})"
            )
    ends = asked.append_eos
    if ends is None:
        ends = asked.eos_token != NONE and (bool(template.after) or settings.get("add_eos_token") is True)
    if ends and (eos is None or asked.eos_token == NONE):
        raise OptionError(f"--append_eos: {what} has no EOS; name one with --eos_token")
    return DocumentTokens(bos, bos if eos is None else eos, ends)


def _own_bos(what: str, template: Template, settings: Mapping[str, Any], ids: Mapping[str, int]) -> int | None:
    if len(template.before) > 1:
        raise OptionError(
            f"{what} puts {len(template.before)} tokens before a text by itself; name the one that begins documents "
            "with --bos_token"
        )
    if template.before:
        return template.before[0]
    return _named(what, "bos_token", settings, ids)


def _eos(
    what: str, asked: AskedTokens, template: Template, settings: Mapping[str, Any], ids: Mapping[str, int]
) -> int | None:
    if asked.eos_token is not None:
        return None if asked.eos_token == NONE else _asked(what, "--eos_token", asked.eos_token, ids)
    if len(template.after) == 1:
        return template.after[0]
    return _named(what, "eos_token", settings, ids)


def _asked(what: str, flag: str, name: str | None, ids: Mapping[str, int]) -> int | None:
    if name is not None and name not in ids:
        raise OptionError(f"{flag} is {name!r}, but {what} has no such token")
    return None if name is None else ids[name]


def _named(what: str, role: str, settings: Mapping[str, Any], ids: Mapping[str, int]) -> int | None:
    """The id of the token that the settings call `role`, as a name or as an object with it."""
    token = settings.get(role)
    name = token.get("content") if isinstance(token, dict) else token
    if not isinstance(name, str):
        return None
    if name not in ids:
        raise OptionError(f"{what} has no token {name!r}, which is said to be its {role}")
    return ids[name]
