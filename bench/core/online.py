"""Network access of the Hugging Face libraries: report a missing network at once instead of retrying."""

from functools import cache
from typing import Any


@cache
def give_up_soon() -> None:
    """Treat the hub as offline if the first connection of this process fails.

    The hub's client would retry every file six times, for half a minute. After the first response the client's own rules
    apply, so that a transfer over an unreliable connection is retried.
    """
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import get_session, httpx

    client: Any = get_session()  # a method of it is replaced
    send = client.send

    def send_first(request: Any, **options: Any) -> Any:
        try:
            response = send(request, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise OfflineModeIsEnabled(f'{request.url.host} cannot be reached: {error}') from error
        client.send = send
        return response

    client.send = send_first
