"""What tests of the app look at in an `AppTest`."""

import json
from typing import Any


def checked(app: Any) -> Any:
    """The page again: no run may raise, or show an error."""
    assert not app.exception, [one.message for one in app.exception]
    assert not app.error, [one.value for one in app.error]
    return app


def sent(app: Any) -> dict[str, Any]:
    """Header of what the map component got."""
    (component,) = app.get("bidi_component")
    data = component.proto.bytes
    header: dict[str, Any] = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
    return header
