"""The study over HTTP: three files for the page, the next page's content, answers, and videos.

An invitation's token stands in the link's fragment, which no browser sends; the page sends it as a bearer token. Video
addresses are random and differ from participant to participant, so nothing in them tells one method from another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Annotated, Any, cast

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from benchmark.study.ballots import Question
from benchmark.study.guards import BoundedBody, Quota, SecurityHeaders
from benchmark.study.making import MAX_METHODS, videos_folder
from benchmark.study.store import Refused, Store

_OURS, _SHARED = "benchmark.study", "vpdata.report"
_ASSETS = {
    "/": ("text/html", [(_OURS, "study.html")]),
    "/study.css": ("text/css", [(_SHARED, "base.css"), (_OURS, "study.css")]),
    "/study.js": ("text/javascript", [(_SHARED, "elements.js"), (_OURS, "study.js")]),
}
"""Path to media type and parts."""
_Place = Annotated[int, Field(strict=True, ge=0, lt=MAX_METHODS)]


class Answers(BaseModel):
    """To one page; a place is the position of a video on it, from 0."""

    model_config = ConfigDict(extra="forbid")

    ballot: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    background: _Place
    text: _Place
    quality: _Place


def build_app(store: Store, *, allowed_hosts: Sequence[str]) -> FastAPI:
    """The application. `allowed_hosts`: names by which it may be addressed; others may be pointed here by strangers."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BoundedBody)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts))
    app.add_middleware(SecurityHeaders)
    folder = videos_folder(store.path)
    own, failures = Quota(per_s=5, burst=100), Quota(per_s=0.5, burst=30)

    def stranger(request: Request, asks: str, status: int) -> HTTPException:
        """What one is told whose token or address nobody was given. A right one is never refused for the wrong ones of
        others behind the same address.
        """
        if failures.allows((asks, request.client.host if request.client else "")):
            return HTTPException(status, f"unknown {asks}")
        return HTTPException(429, f"too many unknown {asks}s")

    def participant(request: Request) -> int:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        number = store.participant_of(token) if scheme.lower() == "bearer" else None
        if number is None:
            raise stranger(request, "invitation", 401)
        if not own.allows(number):
            raise HTTPException(429, "too many requests")
        return number

    @app.exception_handler(Refused)
    def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: Exception) -> Response:
        # Without a word of the request: what it held need not even be text.
        return JSONResponse({"detail": "got answers of another form than the page sends"}, 422)

    @app.get("/api/page")
    def next_page(number: int = Depends(participant)) -> dict[str, Any]:
        num_answered, num_pages = store.progress(number)
        page = store.page(number)
        content = page and {
            "ballot": page.number,
            "text": page.case.text,
            "region": page.case.region_text,
            "instruction": page.case.instruction,
            "reference": f"/videos/{page.reference_id}",
            "videos": [f"/videos/{video_id}" for video_id in page.video_ids],
        }
        return {"answered": num_answered, "total": num_pages, "page": content}

    @app.post("/api/answers", status_code=204)
    def answer(answers: Answers, number: int = Depends(participant)) -> None:
        places = answers.model_dump(exclude={"ballot"})
        store.answer(number, answers.ballot, cast("dict[Question, int]", places))

    @app.get("/videos/{video_id}")
    def video(video_id: str, request: Request) -> Response:
        found = store.video(video_id)
        if found is None:
            raise stranger(request, "video", 404)
        number, file = found
        if not own.allows(number):
            raise HTTPException(429, "too many requests")
        return FileResponse(
            folder / file, media_type="video/mp4", headers={"Cache-Control": "private, max-age=86400, immutable"}
        )

    for path, (media_type, parts) in _ASSETS.items():
        app.get(path)(_asset(media_type, parts))
    return app


def _asset(media_type: str, parts: Sequence[tuple[str, str]]) -> Callable[[], Response]:
    content = b"".join(files(package).joinpath("assets", name).read_bytes() for package, name in parts)

    def asset() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return asset
