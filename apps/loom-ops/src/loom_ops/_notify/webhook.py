"""The webhook: one POST of JSON, signed.

`X-Loom-Signature: t=SECONDS,v1=HEX` signs `SECONDS.body` with HMAC-SHA256 and the site's secret; a
receiver verifies it and the age.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any, Final

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SIGNATURE_HEADER", "send_webhook", "signature"]

SIGNATURE_HEADER: Final = "X-Loom-Signature"
TIMEOUT_S: Final = 10.0


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the value of the header for a body sent at a time (seconds since 1970)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def send_webhook(
    url: str, event: Mapping[str, Any], *, secret: str | None, clock: Callable[[], float] = time.time
) -> int:
    """Send one event; return the HTTP status.

    Args:
        secret: Signs the event; None sends it unsigned.
        clock: Seconds since 1970.

    Raises:
        LoomOpsError: It was not delivered. The message names the host only: the rest of a URL may
            be secret.
    """
    import httpx

    body = json.dumps(event, ensure_ascii=False, sort_keys=True).encode()
    headers = {"content-type": "application/json", "user-agent": "loom-ops"}
    if secret is not None:
        headers[SIGNATURE_HEADER] = signature(secret, body, int(clock()))
    shown = _host_of(url)
    try:
        async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT_S) as client:
            answer = await client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        why = str(exc).replace(url, shown) or type(exc).__name__
        raise LoomOpsError(f"cannot notify {shown}: {why}.") from exc
    if not answer.is_success:
        raise LoomOpsError(f"cannot notify {shown}: it answered HTTP {answer.status_code}.")
    return answer.status_code


def _host_of(url: str) -> str:
    without_query = url.split("?", maxsplit=1)[0]
    without_user = without_query.rpartition("@")[2]
    return without_user.removeprefix("https://").removeprefix("http://").split("/")[0]
