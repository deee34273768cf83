"""Tell others what happened: a signed webhook, built in; Apprise, when it is installed, for everything else.

The body of the webhook is JSON. `X-Loom-Signature: t=SECONDS,v1=HEX` signs `SECONDS.body` with HMAC-SHA256 and the
site's secret; a receiver checks it and the age. A notification is for people: when it cannot be delivered, the run
goes on, and the failure is recorded.
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

__all__ = ["SIGNATURE_HEADER", "send_webhook", "signature", "verify_signature"]

SIGNATURE_HEADER: Final = "X-Loom-Signature"
MAX_AGE_S: Final = 300
TIMEOUT_S: Final = 10.0


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the header's value for a body sent at a time (seconds since 1970)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def verify_signature(secret: str, body: bytes, header: str, *, now: int) -> bool:
    """Tell whether a header signs this body with this secret, not long ago."""
    at, _, _ = header.removeprefix("t=").partition(",")
    if not (at.isascii() and at.isdigit() and len(at) < 16 and abs(now - int(at)) <= MAX_AGE_S):
        return False
    return hmac.compare_digest(signature(secret, body, int(at)).encode(), header.encode())


async def send_webhook(
    url: str, event: Mapping[str, Any], *, secret: str | None, clock: Callable[[], float] = time.time
) -> int:
    """Send one event; return the status.

    Raises:
        LoomOpsError: It was not delivered. The address is named without what may be secret in it.
    """
    import httpx

    body = json.dumps(event, ensure_ascii=False, sort_keys=True).encode()
    headers = {"content-type": "application/json", "user-agent": "loom-ops"}
    if secret is not None:
        headers[SIGNATURE_HEADER] = signature(secret, body, int(clock()))
    shown = (
        url.split("?", maxsplit=1)[0].rpartition("@")[2].removeprefix("https://").removeprefix("http://").split("/")[0]
    )
    try:
        async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT_S) as client:
            answer = await client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        raise LoomOpsError(f"cannot tell {shown}: {str(exc).replace(url, shown) or type(exc).__name__}.") from exc
    if not answer.is_success:
        raise LoomOpsError(f"cannot tell {shown}: it answered HTTP {answer.status_code}.")
    return answer.status_code
