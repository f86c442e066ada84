"""Turns what huggingface_hub and `datasets` raise into bosrow's errors.

Either the Hub refused (no such data set, gated, ...), and trying again does not help, or a request failed
on the way, and it may. No message holds a token or a signed address.
"""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from bosrow.errors import BosrowError, MachineError, SourceError

PASSING_STATUSES = (408, 429, 500, 502, 503, 504)
# A file that was there when the data set was resolved stays there, since the commit is pinned. So a 404 is really a
# server error, and a 403 means that a signed storage address has expired.
PASSING_STATUSES_OF_FILES = (403, 404, *PASSING_STATUSES)
Kind = Literal["data set", "model"]
LONGEST_WAIT_SECONDS = 300.0  # the Hub's rate limits count requests in windows of five minutes


def passing_wait(error: BaseException) -> float | None:
    """The least seconds to wait before trying again (as the Hub asks, else 0); None if trying again is no use."""
    from huggingface_hub.utils import httpx

    cause = _http_cause(error)
    if cause is None or isinstance(cause, httpx.ConnectError):
        return None
    response = getattr(cause, "response", None)
    if response is None:
        return 0.0
    return _asked_wait(response) if response.status_code in PASSING_STATUSES else None


def passing_wait_of_file(error: BaseException) -> float | None:
    """As `passing_wait`, for a request for a file that was there when the data set was resolved."""
    from huggingface_hub.utils import httpx

    response = getattr(error, "response", None)
    if response is None:
        return 0.0 if isinstance(error, httpx.TransportError) else None
    return _asked_wait(response) if response.status_code in PASSING_STATUSES_OF_FILES else None


def _asked_wait(response: Any) -> float:
    from huggingface_hub.utils import parse_ratelimit_headers

    if (limit := parse_ratelimit_headers(response.headers)) and limit.remaining == 0:
        wait = float(limit.reset_in_seconds)
    else:
        asked = response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else _seconds_until(asked)
    return min(wait, LONGEST_WAIT_SECONDS)


def _seconds_until(date: str) -> float:
    """Seconds from now to an HTTP date; 0 if it is past or not a date."""
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except ValueError:
        return 0.0


def _endpoint() -> str:
    """The Hub's address, without a password that it may hold."""
    from huggingface_hub.constants import ENDPOINT

    parts = urlsplit(ENDPOINT)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def reason(error: BaseException) -> str:
    """Why a request failed, in a few words without an address (a signed one is a secret) and without a token."""
    cause = _http_cause(error) or error
    response = getattr(cause, "response", None)
    return f"HTTP status {response.status_code}" if response is not None else type(cause).__name__


def refusal(error: Exception, name: str, revision: str | None, kind: Kind = "data set") -> SourceError | None:
    """The error to raise if the Hub refused repository `name`, so that trying again does not help; else None."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    endpoint = _endpoint()
    page = f"{endpoint}/{name}" if kind == "model" else f"{endpoint}/datasets/{name}"
    with_token = get_token() is not None
    for cause in _chain(error):
        if isinstance(cause, GatedRepoError):
            account = "the account of your token has no access yet" if with_token else "no token was given"
            return SourceError(
                f"{name} is gated, and {account}: accept its terms on {page}, "
                f"then set HF_TOKEN to a token of that account ({endpoint}/settings/tokens)"
            )
        if isinstance(cause, RevisionNotFoundError):
            return SourceError(f"{name} has no revision {revision!r}; give a branch, a tag or a commit of {page}")
        unauthorized = getattr(getattr(cause, "response", None), "status_code", None) == 401
        if isinstance(cause, RepositoryNotFoundError) or (unauthorized and not with_token):
            return SourceError(
                f"the Hub has no {kind} {name!r}, or it is private; check the name, "
                "and for a private one set HF_TOKEN to a token that may read it"
            )
        if unauthorized:
            return SourceError(
                f"the Hub refused your token when asked for {name}; set HF_TOKEN to a valid one "
                f"({endpoint}/settings/tokens), or unset it for a public {kind}"
            )
    return None


def explained(error: Exception, dataset: str, revision: str | None) -> BosrowError:
    """The error that a person sees if `dataset` could not be resolved."""
    if refused := refusal(error, dataset, revision):
        return refused
    if _http_cause(error) is not None:
        return SourceError(
            f"the Hub ({_endpoint()}) cannot be reached for {dataset} ({reason(error)}); "
            "check the network and try again, or give local files by --data_files"
        )
    for cause in _chain(error):
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno):  # a full disk, say
            return MachineError(f"{dataset} cannot be resolved: {cause}")
    return SourceError(f"`datasets` cannot resolve {dataset}: {str(error).strip().partition(chr(10))[0]}")


def _http_cause(error: BaseException) -> Any:
    """The failed request that caused `error`, if there is one. "There is no such file" is an answer, not a failure."""
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import httpx

    for cause in _chain(error):
        if isinstance(cause, httpx.HTTPError | ConnectionError):
            return None if isinstance(cause, EntryNotFoundError) else cause
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all of its causes; `datasets` hides them behind its own errors."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
