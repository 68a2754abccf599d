"""The network as the libraries of the Hugging Face hub use it: where there is none, this is said at once."""

from functools import cache
from typing import Any


@cache
def give_up_soon() -> None:
    """Take a hub that cannot be reached, and has not answered yet in this process, for being offline.

    Its client would ask six times for each file, half a minute long. After the first answer its own rules hold, so that a
    transfer over a bad line is tried again.
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
