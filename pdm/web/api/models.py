"""Trained models: what there is, which one is active, and take another one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from pdm import catching_up, respond
from pdm.errors import ConflictError, ModelError, NotFoundError
from pdm.plant import AssetClass
from pdm.ports import Models
from pdm.prognosis.learned import Model
from pdm.services import Services
from pdm.web import snapshot
from pdm.web.api.common import PROBLEMS, WRITE_PROBLEMS, Line, Said, Write, json_answer
from pdm.web.models import beside_view, class_models, impact_view, models_of
from pdm.web.shapes import BesideView, ClassModelsView, ImpactView, ModelsView

Version = Annotated[str, Query(max_length=300, examples=["0002-0123456789ab"])]
ClassName = Annotated[str, Path(max_length=300, examples=["fan"])]


class Choice(Said):
    """The version that shall speak."""

    version: Line = Field(examples=["0002-0123456789ab"])
    now: bool = Field(False, description="have the next tick fold all history, however long that takes")


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/models", tags=["models"])

    @router.get("", response_model=ModelsView, responses=PROBLEMS, summary="Trained models, and which are active")
    def models(request: Request) -> Response:
        """With their cards, and why one cannot be active."""
        return json_answer(request, ModelsView, models_of(services, snapshot.latest(services)))

    @router.get(
        "/{class_name}/impact",
        response_model=ImpactView,
        responses=WRITE_PROBLEMS,
        summary="What a model would change for people",
    )
    def impact(
        request: Request,
        class_name: ClassName,
        version: Version,
    ) -> Response:
        """Its twins are folded from all stored steps, which takes a while on a large plant. Nothing is changed."""
        asset_class, model = _loaded(services, class_name, version)
        return json_answer(request, ImpactView, impact_view(services, asset_class, version, model))

    @router.get(
        "/{class_name}/beside",
        response_model=BesideView,
        responses=WRITE_PROBLEMS,
        summary="How a model would have done beside the one that speaks",
    )
    def compared(request: Request, class_name: ClassName, version: Version) -> Response:
        """On the lives that have ended since both were trained; the stored steps are folded by each."""
        asset_class, model = _loaded(services, class_name, version)
        return json_answer(request, BesideView, beside_view(services, asset_class, version, model))

    @router.post(
        "/{class_name}/activate",
        response_model=ClassModelsView,
        responses=WRITE_PROBLEMS,
        summary="Have a model speak",
    )
    def activate(class_name: ClassName, choice: Choice, writing: Write) -> Response:
        """It is proven first, which takes seconds; what cannot be used is refused (409). It speaks from the next tick
        on, or, of much history, once that is folded (`coming`). To activate what is active gives up what is coming."""
        trained, asset_class = _trained(services, class_name)
        respond.expect_usable(trained, asset_class, choice.version)

        def change(connection: Connection) -> tuple[type, ClassModelsView]:
            act = writing.act(services, choice)
            catching_up.activate(connection, asset_class, choice.version, act, now=choice.now)
            return ClassModelsView, class_models(services, connection, asset_class)

        return writing.once(services, choice, change)

    return router


def _loaded(services: Services, class_name: str, version: str) -> tuple[AssetClass, Model]:
    trained, asset_class = _trained(services, class_name)
    try:
        return asset_class, trained.load(asset_class, version)
    except ModelError as error:
        raise ConflictError(str(error)) from None


def _trained(services: Services, class_name: str) -> tuple[Models, AssetClass]:
    asset_class = snapshot.latest(services).current.plant.classes.get(class_name)
    if asset_class is None or services.trained is None:
        raise NotFoundError(f"there is no class {class_name!r} with models")
    return services.trained, asset_class
