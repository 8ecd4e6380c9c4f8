"""Which model of a class is active: take another one, or the one before."""

from sqlalchemy import Connection

from pdm.errors import ConflictError, ModelError, NotFoundError
from pdm.plant import AssetClass
from pdm.ports import Models
from pdm.respond.act import Act
from pdm.state.models import activate, activations_of


def expect_usable(models: Models, asset_class: AssetClass, version: str) -> None:
    """Load a model in a child process and here: what cannot be used cannot be active. Takes seconds.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it cannot be used, with the reason.
    """
    try:
        models.load(asset_class, version)
    except ModelError as error:
        raise ConflictError(f"{error}. What was active stays so.") from None


def activate_model(connection: Connection, class_name: str, version: str, act: Act) -> None:
    """Have a version that can be used speak for its class from the next tick on.

    Raises:
        ConflictError: it speaks already.
    """
    rows = activations_of(connection, class_name)
    if rows and rows[0].version == version:
        raise ConflictError(f"model {version} of class {class_name} is active already")
    activate(connection, class_name, version, act.at_ms, act.who, act.reason)


def version_before(connection: Connection, class_name: str) -> str:
    """What was active before what is active now.

    Raises:
        NotFoundError: nothing was.
    """
    versions = [str(row.version) for row in activations_of(connection, class_name)]
    others = [version for version in versions if version != versions[0]]
    if not others:
        raise NotFoundError(f"class {class_name} has had no other active model")
    return others[0]
