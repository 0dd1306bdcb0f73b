"""What goes wrong here and nowhere else, and the HTTP status of every error that this project raises on purpose.

AceStepError
├── InputError
│   ├── NotHereError    404  a file, a job or a model's weights that this server does not have
│   ├── TooLargeError   413  more bytes than are taken
│   └── TooSlowError    408  a body that does not come to its end
├── DeniedError         401, 403  no key, or sent from a place that may not ask
└── BusyError           429  the queue is full, or others are being served (says when to come again)
"""

from __future__ import annotations

from http import HTTPStatus

from acestep.errors import AceStepError, CancelledError, InputError
from acestep.output.scrub import scrubbed


class NotHereError(InputError):
    """Something that a request names is not on this server."""


class TooLargeError(InputError):
    """A body or a file has more bytes than are taken."""


class TooSlowError(InputError):
    """A body takes too long to arrive."""


class DeniedError(AceStepError):
    """The caller may not ask this.

    Args:
        message: one sentence.
        status: 401 where a key would help, else 403.
    """

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(message)
        self.status = status


class BusyError(AceStepError):
    """There is no room in the queue, or at the door.

    Args:
        message: one sentence.
        retry_after_s: when there may be.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


_STATUSES = (  # the first that fits
    (NotHereError, HTTPStatus.NOT_FOUND),
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (TooSlowError, HTTPStatus.REQUEST_TIMEOUT),
    (InputError, HTTPStatus.BAD_REQUEST),
    (BusyError, HTTPStatus.TOO_MANY_REQUESTS),
    (CancelledError, HTTPStatus.CONFLICT),
    (AceStepError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
_OUR_FAULT = "The server failed; its log says why."


def status_of(error: BaseException) -> HTTPStatus:
    """The status of an error; what nobody raised on purpose is 500."""
    if isinstance(error, DeniedError):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def detail_of(error: BaseException) -> str:
    """The sentence for a client: what it said is repeated, folders of this machine are not told.

    Messages about input never hold a folder that the client did not name; all others are cleaned of them.
    """
    if not isinstance(error, AceStepError):
        return _OUR_FAULT
    return str(error) if isinstance(error, InputError) else scrubbed(str(error))


def headers_of(error: BaseException) -> dict[str, str]:
    """Headers that belong to the answer about an error."""
    if isinstance(error, BusyError):
        return {"Retry-After": str(error.retry_after_s)}
    if status_of(error) == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {}
