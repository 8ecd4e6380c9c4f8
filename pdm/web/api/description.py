"""The API described: OpenAPI with problems as they are sent, and a page of it that needs no script and no network."""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from jinja2 import Environment
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from pdm.web import problems

_METHODS = ("get", "post", "put", "delete")


class Parameter(NamedTuple):
    """One parameter of an operation."""

    name: str
    place: str
    required: bool
    type: str
    meaning: str


class Operation(NamedTuple):
    """One operation as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    text: str
    parameters: list[Parameter]
    body: str | None
    examples: list[str]
    answers: list[tuple[str, str, str]]


def operation_id(route: APIRoute) -> str:
    """A stable name for generated clients, such as `alerts.acknowledge`."""
    return f"{route.tags[0]}.{route.name}" if route.tags else route.name


def install(app: FastAPI) -> None:
    """Describe errors as they are sent, and how a client proves who it is."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = plain()
            components = described["components"]
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            described["security"] = [{"key": []}, {}]
            for unused in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(unused, None)
            for _, _, operation in operations_of(described):
                _describe_problems(operation["responses"])
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def operations_of(described: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation."""
    for path, item in described["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method, path, item[method]


def example_requests(described: Mapping[str, Any], operation: Mapping[str, Any]) -> list[Any]:
    """The example bodies of an operation; [None] for one without a body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return [None]
    if "examples" in content:
        return [example["value"] for example in content["examples"].values()]
    examples: list[Any] = _resolved(described, content["schema"]).get("examples", [])
    return examples


def example_path(
    operation: Mapping[str, Any], path: str, shown: Callable[[str, str], str] = lambda _, value: value
) -> str:
    """The path of an operation with its example parameters in it; `shown` may replace a value by name."""
    query = []
    for parameter in operation.get("parameters", ()):
        examples: list[Any] = parameter["schema"].get("examples") or parameter.get("examples") or []
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(shown(parameter["name"], examples[0]), safe=""))
        elif parameter["in"] == "query" and examples:
            values = examples[0] if isinstance(examples[0], list) else [examples[0]]
            query += [f"{parameter['name']}={quote(str(value))}" for value in values]
    return f"{path}?{'&'.join(query)}" if query else path


def make_router(app: FastAPI) -> APIRouter:
    """The page of the API, made at its first use."""
    router = APIRouter(include_in_schema=False)
    here = files(__package__)
    style = here.joinpath("docs.css").read_bytes()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["marked"] = _marked
    template = environment.from_string(here.joinpath("docs.html").read_text(encoding="utf-8"))
    made: list[str] = []

    @router.get("/docs")
    async def docs() -> Response:
        if not made:
            described = app.openapi()
            made.append(template.render(api=described, families=_families(described), shapes=_shapes(described)))
        return HTMLResponse(made[0])

    @router.get("/docs/style.css")
    async def stylesheet() -> Response:
        return Response(style, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    return router


def _marked(text: str) -> Markup:
    """Text in which what stands between backticks is code, safe to put into a page."""
    parts = [escape(part) for part in text.split("`")]
    return Markup().join(Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in enumerate(parts))


def _describe_problems(answers: dict[str, Any]) -> None:
    """Errors go out as problem documents, and any operation may answer with one."""
    answers.setdefault("default", {"description": "Any other problem."})
    for status, answered in answers.items():
        if status == "default" or status >= "400":
            answered["content"] = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _families(described: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """The operations by tag."""
    found: dict[str, list[Operation]] = {}
    for method, path, operation in operations_of(described):
        family = found.setdefault(operation["tags"][0], [])
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        family.append(
            Operation(
                anchor=operation["operationId"],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                text=operation.get("description", ""),
                parameters=[_parameter(parameter) for parameter in operation.get("parameters", ())],
                body=None if content is None else type_text(content["schema"]),
                examples=[
                    _curl(method, example_path(operation, path), body)
                    for body in example_requests(described, operation)
                ],
                answers=[
                    (status, _shape_of(answered), answered["description"])
                    for status, answered in operation["responses"].items()
                ],
            )
        )
    return found


def _shapes(described: Mapping[str, Any]) -> dict[str, Any]:
    """What each shape means, and its fields with type and meaning."""
    return {
        name: (
            schema.get("description", ""),
            [(field, type_text(part), part.get("description", "")) for field, part in schema["properties"].items()],
        )
        for name, schema in described["components"]["schemas"].items()
        if "properties" in schema
    }


def _parameter(parameter: Mapping[str, Any]) -> Parameter:
    meaning = parameter.get("description", parameter["schema"].get("description", ""))
    required = parameter.get("required", False)
    return Parameter(parameter["name"], parameter["in"], required, type_text(parameter["schema"]), meaning)


def type_text(schema: Mapping[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_text(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {type_text(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))


def _shape_of(answered: Mapping[str, Any]) -> str:
    return " or ".join(
        type_text(content["schema"]) for content in answered.get("content", {}).values() if "schema" in content
    )


def _resolved(described: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _curl(method: str, path: str, body: Any) -> str:
    """A request as it can be pasted into a shell."""
    verb = "" if method == "get" else f"-X {method.upper()} "
    data = "" if body is None else f" \\\n  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(body)}'"
    return f"curl {verb}'http://localhost:8421{path}'{data}"
