"""Tries requests to the Hub again, and limits how long a connection may stay silent."""

import logging
from collections.abc import Callable
from typing import Any

import tenacity

from bosrow.hub.errors import reason

logger = logging.getLogger(__name__)

RETRY_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 8.0)
SILENCE_SECONDS = 30.0  # a connection that is silent for so long is closed and tried again


def retrying(doing: str, wait_of: Callable[[BaseException], float | None]) -> tenacity.Retrying:
    """Calls a function again while it fails; each retry is logged as `doing`.

    Waits are in seconds: RETRY_WAITS_SECONDS, or what `wait_of` says of the error if that is longer (None: give up).
    """

    def seconds(state: tenacity.RetryCallState) -> float:
        growing = RETRY_WAITS_SECONDS[min(state.attempt_number, len(RETRY_WAITS_SECONDS)) - 1]  # also asked at the end
        return max(growing, wait_of(_error_of(state)) or 0.0)

    def tell(state: tenacity.RetryCallState) -> None:
        retry, retries = state.attempt_number, len(RETRY_WAITS_SECONDS)
        text = "%s while %s; trying again in %g s (%d of %d)"
        logger.warning(text, reason(_error_of(state)), doing, state.upcoming_sleep, retry, retries)

    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(len(RETRY_WAITS_SECONDS) + 1),
        retry=tenacity.retry_if_exception(lambda error: wait_of(error) is not None),
        wait=seconds,
        before_sleep=tell,
        reraise=True,
    )


def _error_of(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None  # only errors are tried again
    return error


def limit_silence() -> None:
    """Give each request a time limit: huggingface_hub lists files without one, so a stall would last for ever."""
    from huggingface_hub.utils import get_session

    hooks = get_session().event_hooks["request"]
    if _set_time_limit not in hooks:
        hooks.append(_set_time_limit)


def _set_time_limit(request: Any) -> None:
    limits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        name: limits.get(name) or SILENCE_SECONDS for name in ("connect", "read", "write", "pool")
    }
